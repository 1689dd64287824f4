// The rule of hamp/choice.py, to the letter; a test holds the two against each other.

const OBJECTIVES = ["error_validation", "latency_ms", "memory_bytes"];

/** The network of a front that limits and preference give: {network, fits, allowed, excess}. */
function choose(front, limits, prefer) {
  const limited = OBJECTIVES.filter((name) => name in limits);
  const allowed = front.filter((row) => limited.every((name) => row[name] <= limits[name]));
  if (allowed.length === 0) {
    const network = nearest(front, limits, limited);
    const over = limited.map((name) => [name, network[name] - limits[name]]).filter(([, value]) => value > 0);
    return { network, fits: false, allowed: 0, excess: Object.fromEntries(over) };
  }
  return { network: preferred(allowed, front, prefer), fits: true, allowed: allowed.length, excess: {} };
}

function preferred(allowed, front, prefer) {
  if (prefer === "accuracy") return least(allowed, "error_validation", "latency_ms", "memory_bytes");
  if (prefer === "memory") return least(allowed, "memory_bytes", "error_validation", "latency_ms");
  if (prefer === "latency") {
    const fastest = least(allowed, "latency_ms", "error_validation", "memory_bytes");
    const tied = allowed.filter((row) => isTied(row, fastest));
    return least(tied, "error_validation", "memory_bytes", "latency_ms");
  }
  const scales = OBJECTIVES.map((name) => [name, ...scaleOf(front, name)]);
  const scored = allowed.map((row) => {
    let distance = 0;
    for (const [name, low, width] of scales) {
      const share = width > 0 ? (row[name] - low) / width : 0;
      distance += share * share;
    }
    return { row, distance, error_validation: row.error_validation, latency_ms: row.latency_ms, candidate: row.candidate };
  });
  return least(scored, "distance", "error_validation", "latency_ms").row;
}

/** Whether the noise of two measurements reaches across their difference. */
function isTied(row, fastest) {
  return row.latency_ms - fastest.latency_ms <= (row.latency_iqr_ms + fastest.latency_iqr_ms) / 2;
}

function nearest(front, limits, limited) {
  const scored = front.map((row) => {
    let largest = 0;
    let total = 0;
    for (const name of limited) {
      const width = scaleOf(front, name)[1] || Math.abs(limits[name]) || 1;
      const excess = Math.max(0, (row[name] - limits[name]) / width);
      largest = Math.max(largest, excess);
      total += excess;
    }
    return { row, largest, total, candidate: row.candidate };
  });
  return least(scored, "largest", "total").row;
}

/** The row that is least in the first of some values, or in the next where equal, and at last by name. */
function least(rows, ...names) {
  const before = (a, b) => {
    for (const name of [...names, "candidate"]) {
      if (a[name] !== b[name]) return a[name] < b[name];
    }
    return false;
  };
  return rows.reduce((best, row) => (before(row, best) ? row : best));
}

/** Least value and width of an objective over a front. */
function scaleOf(front, name) {
  const values = front.map((row) => row[name]);
  const low = Math.min(...values);
  return [low, Math.max(...values) - low];
}
