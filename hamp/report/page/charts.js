// Drawing: a scatter plot and parallel coordinates as SVG, many faint points behind on a canvas.

const SVG = "http://www.w3.org/2000/svg";
const STAR = "M0.0 -7.0L1.8 -2.4L6.7 -2.2L2.9 0.9L4.1 5.7L0.0 3.0L-4.1 5.7L-2.9 0.9L-6.7 -2.2L-1.8 -2.4Z";

/** A new SVG element with attributes, appended to a parent. */
function draw(parent, name, attributes = {}, text) {
  const node = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) node.setAttribute(key, value);
  if (text !== undefined) node.textContent = text;
  parent.append(node);
  return node;
}

/** Round numbers that span an interval, about `count` of them. */
function ticks(low, high, count) {
  const rough = (high - low) / count;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = power * [1, 2, 5, 10].find((factor) => factor * power >= rough);
  const found = [];
  for (let k = Math.ceil(low / step - 1e-9); k * step <= high + 1e-9 * step; k++) found.push(k * step);
  return { step, values: found };
}

/** Text of a tick with as many decimals as the step needs. */
function tickText(value, step) {
  return value.toFixed(Math.max(0, -Math.floor(Math.log10(step) + 1e-9)));
}

/** An interval a little wider than some values. */
function padded(values, share) {
  const low = Math.min(...values);
  const high = Math.max(...values);
  const room = (high - low || Math.abs(high) || 1) * share;
  return [Math.max(0, low - room), high + room];
}

/** A linear scale from an interval to another. */
function linear([a, b], [from, to]) {
  return (value) => from + ((value - a) / (b - a)) * (to - from);
}

/** Scatter plot. Returns {update}, which shows a state. */
function scatter(box, { points, behind, star, x, y, onPick }) {
  const { width, height } = box.getBoundingClientRect();
  const edge = { left: 52, right: 16, top: 22, bottom: 42 };
  const ends = points.flatMap(({ x, noise }) => [x - noise, x + noise]);
  const xs = [...ends, ...[star, ...behind].map((point) => point.x)];
  const ys = [...points, star, ...behind].map((point) => point.y);
  const toX = linear(padded(xs, 0.04), [edge.left, width - edge.right]);
  const toY = linear(padded(ys, 0.1), [height - edge.bottom, edge.top]);
  const bottom = height - edge.bottom;
  const right = width - edge.right;

  box.replaceChildren();
  const canvas = document.createElement("canvas");
  box.append(canvas);
  cloud(canvas, width, height, behind.map((point) => [toX(point.x), toY(point.y)]));
  const svg = draw(box, "svg", { viewBox: `0 0 ${width} ${height}`, height });

  const [x0, x1] = padded(xs, 0.04);
  const [y0, y1] = padded(ys, 0.1);
  const across = ticks(x0, x1, Math.max(3, width / 110));
  for (const value of across.values) {
    draw(svg, "line", { class: "grid", x1: toX(value), x2: toX(value), y1: edge.top, y2: bottom });
    draw(svg, "text", { x: toX(value), y: bottom + 17, "text-anchor": "middle" }, tickText(value, across.step));
  }
  const up = ticks(y0, y1, Math.max(3, height / 70));
  for (const value of up.values) {
    draw(svg, "line", { class: "grid", x1: edge.left, x2: right, y1: toY(value), y2: toY(value) });
    draw(svg, "text", { x: edge.left - 8, y: toY(value) + 4, "text-anchor": "end" }, tickText(value, up.step));
  }
  draw(svg, "text", { class: "title", x: right, y: height - 6, "text-anchor": "end" }, x);
  draw(svg, "text", { class: "title", x: 4, y: 12 }, y);

  const shades = ["x", "y"].map(() => draw(svg, "rect", { class: "shade" }));
  const bounds = ["x", "y"].map(() => draw(svg, "line", { class: "bound" }));
  draw(svg, "path", { class: "star", d: STAR, transform: `translate(${toX(star.x)} ${toY(star.y)}) scale(1.25)` });

  const list = draw(svg, "g", { role: "listbox", "aria-label": "Networks of the front, fastest first" });
  const nodes = points.map((point, index) => {
    const node = draw(list, "g", {
      class: "option", role: "option", tabindex: -1, "data-candidate": point.id,
      transform: `translate(${toX(point.x)} ${toY(point.y)})`,
    });
    const reach = Math.abs(toX(point.x + point.noise) - toX(point.x));
    draw(node, "line", { class: "noise", x1: -reach, x2: reach });
    for (const end of [-reach, reach]) draw(node, "line", { class: "noise", x1: end, x2: end, y1: -3, y2: 3 });
    draw(node, "circle", { class: "ring", r: point.r + 4 });
    draw(node, "circle", { class: "point", r: point.r });
    const arm = point.r * 0.6;
    draw(node, "path", { class: "cross", d: `M${-arm} ${-arm} ${arm} ${arm}M${-arm} ${arm} ${arm} ${-arm}` });
    draw(node, "circle", { class: "halo", r: Math.max(14, point.r + 6) });
    draw(node, "title", {}, point.label);
    node.addEventListener("click", () => onPick(point.id));
    node.addEventListener("keydown", (event) => {
      const steps = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1, Home: -points.length, End: points.length };
      if (event.key in steps) {
        const next = Math.min(points.length - 1, Math.max(0, index + steps[event.key]));
        onPick(points[next].id);
        nodes[next].focus();
      } else if (event.key === "Enter" || event.key === " ") {
        onPick(point.id);
      } else {
        return;
      }
      event.preventDefault();
    });
    return node;
  });
  const name = draw(svg, "text", { class: "name" });

  function update({ chosen, outside, limitX, limitY }) {
    nodes.forEach((node, index) => {
      const { id } = points[index];
      node.classList.toggle("out", outside.has(id));
      node.classList.toggle("chosen", id === chosen);
      node.setAttribute("aria-label", points[index].label + (outside.has(id) ? ", outside the limits" : ""));
      node.setAttribute("aria-selected", id === chosen);
      node.setAttribute("tabindex", id === chosen ? 0 : -1);
    });
    const point = points.find(({ id }) => id === chosen);
    const atRight = toX(point.x) > width * 0.7;
    name.textContent = point.id;
    name.setAttribute("x", toX(point.x) + (atRight ? -point.r - 8 : point.r + 8));
    name.setAttribute("y", toY(point.y) - point.r - 4);
    name.setAttribute("text-anchor", atRight ? "end" : "start");
    const xl = limitX === undefined ? right : Math.min(right, Math.max(edge.left, toX(limitX)));
    const yl = limitY === undefined ? edge.top : Math.max(edge.top, Math.min(bottom, toY(limitY)));
    set(shades[0], { x: xl, y: edge.top, width: right - xl, height: bottom - edge.top });
    set(shades[1], { x: edge.left, y: edge.top, width: right - edge.left, height: yl - edge.top });
    set(bounds[0], { x1: xl, x2: xl, y1: edge.top, y2: bottom, visibility: limitX === undefined ? "hidden" : "visible" });
    set(bounds[1], { x1: edge.left, x2: right, y1: yl, y2: yl, visibility: limitY === undefined ? "hidden" : "visible" });
  }
  return { update };
}

/** Parallel coordinates: an axis a measure, a line a network. */
function parallel(box, { lines, axes, onPick }) {
  const { width, height } = box.getBoundingClientRect();
  const edge = { left: 44, right: 44, top: 52, bottom: 24 };
  const bottom = height - edge.bottom;
  box.replaceChildren();
  const svg = draw(box, "svg", { viewBox: `0 0 ${width} ${height}`, height, role: "img", "aria-label": "Parallel coordinates; the table below holds the same figures" });
  const at = (index) => edge.left + (index * (width - edge.left - edge.right)) / (axes.length - 1);
  const scales = axes.map((axis, k) => linear(padded(lines.map((line) => line.values[k]), 0), [bottom, edge.top]));
  axes.forEach((axis, k) => {
    const values = lines.map((line) => line.values[k]);
    draw(svg, "line", { class: "axis", x1: at(k), x2: at(k), y1: edge.top, y2: bottom });
    axis.title.forEach((text, row) =>
      draw(svg, "text", { class: "title", x: at(k), y: 11 + 13 * row, "text-anchor": "middle" }, text));
    draw(svg, "text", { x: at(k), y: edge.top - 4, "text-anchor": "middle" }, axis.format(Math.max(...values)));
    draw(svg, "text", { x: at(k), y: bottom + 15, "text-anchor": "middle" }, axis.format(Math.min(...values)));
  });
  const flat = (value, k) => {
    const y = scales[k](value);
    return Number.isFinite(y) ? y : (edge.top + bottom) / 2;
  };
  const nodes = lines.map((line) => {
    const d = line.values.map((value, k) => `${k ? "L" : "M"}${at(k)} ${flat(value, k)}`).join("");
    const node = draw(svg, "path", { class: "line", d, "data-candidate": line.id });
    draw(node, "title", {}, line.label);
    node.addEventListener("click", () => onPick(line.id));
    return node;
  });
  function update({ chosen, outside }) {
    nodes.forEach((node, index) => {
      node.classList.toggle("out", outside.has(lines[index].id));
      node.classList.toggle("chosen", lines[index].id === chosen);
      if (lines[index].id === chosen) svg.append(node);
    });
  }
  return { update };
}

function set(node, attributes) {
  for (const [key, value] of Object.entries(attributes)) node.setAttribute(key, value);
}

/** Faint dots on a canvas, at the screen's own resolution. */
function cloud(canvas, width, height, dots) {
  const ratio = window.devicePixelRatio || 1;
  canvas.width = width * ratio;
  canvas.height = height * ratio;
  const context = canvas.getContext("2d");
  context.scale(ratio, ratio);
  context.fillStyle = getComputedStyle(document.documentElement).getPropertyValue("--faint");
  for (const [x, y] of dots) {
    context.beginPath();
    context.arc(x, y, 2, 0, 2 * Math.PI);
    context.fill();
  }
}
