// The page: what is chosen follows from limits, preference and, if one was clicked, the network itself.

const data = JSON.parse(document.getElementById("data").textContent);
const networks = data.networks;
const byName = new Map(networks.map((network) => [network.candidate, network]));
const $ = (selector) => document.querySelector(selector);

/** A number with so many significant digits, no exponent. */
function digits(value, count = 3) {
  if (value === 0) return "0";
  const decimals = Math.max(0, count - 1 - Math.floor(Math.log10(Math.abs(value))));
  return value.toFixed(Math.min(decimals, 6));
}

const MEASURES = {
  error_validation: { title: ["validation", "error"], unit: "%", factor: 100 },
  error_test: { title: ["test", "error"], unit: "%", factor: 100 },
  latency_ms: { title: ["latency"], unit: "ms", factor: 1 },
  memory_bytes: { title: ["memory"], unit: "MB", factor: 1e-6 },
  macs: { title: ["multiply-", "adds"], unit: "M", factor: 1e-6 },
  parameters: { title: ["parameters"], unit: "k", factor: 1e-3 },
};
const shown = (name, network) => network[name] * MEASURES[name].factor;
const NBSP = "\u00a0";
const text = (name, network) => `${digits(shown(name, network))}${NBSP}${MEASURES[name].unit}`;

// Limits by the name they have in the address: in the unit shown, and as the rule wants them, rounded so that a limit
// typed as a network's figure includes that network.
const LIMITS = {
  latency: { objective: "latency_ms", title: "Latency", unit: "ms", plain: (value) => value },
  memory: { objective: "memory_bytes", title: "Memory", unit: "MB", plain: (value) => Math.round(value * 1e6) },
  error: { objective: "error_validation", title: "Error", unit: "%", plain: (value) => Number((value / 100).toPrecision(15)) },
};
const WORDS = { accuracy: "Accuracy first", latency: "Latency first", memory: "Memory first", knee: "Balanced" };

const state = { prefer: "knee", limits: {}, picked: null };

function readAddress() {
  const fields = new URLSearchParams(location.hash.slice(1));
  state.prefer = Object.hasOwn(WORDS, fields.get("prefer")) ? fields.get("prefer") : "knee";
  state.picked = byName.has(fields.get("network")) ? fields.get("network") : null;
  state.limits = {};
  for (const name of Object.keys(LIMITS)) {
    const value = fields.get(name);
    if (value && Number.isFinite(Number(value))) state.limits[name] = Number(value);
  }
}

function writeAddress() {
  const fields = new URLSearchParams({ prefer: state.prefer, ...state.limits });
  if (state.picked) fields.set("network", state.picked);
  try {
    history.replaceState(null, "", `#${fields}`);
  } catch {
    // A page inside a report of one file has no address of its own.
  }
}

/** Limits in the objectives' own units. */
function plainLimits() {
  return Object.fromEntries(
    Object.entries(state.limits).map(([name, value]) => [LIMITS[name].objective, LIMITS[name].plain(value)]));
}

// --- controls ---------------------------------------------------------------------------------------------------

const STEPS = 1000;

function makeSliders() {
  for (const [name, limit] of Object.entries(LIMITS)) {
    const values = networks.map((network) => shown(limit.objective, network));
    const [low, high] = [Math.min(...values), Math.max(...values)];
    const row = document.createElement("div");
    row.className = "slider";
    row.innerHTML =
      `<label for="${name}">${limit.title}</label>` +
      `<span class="field"><input type="number" id="${name}" min="0" step="any" placeholder="any" ` +
      `aria-label="${limit.title}, at most, in ${limit.unit}">${limit.unit}</span>` +
      `<input type="range" min="0" max="${STEPS}" step="1" aria-label="${limit.title}, at most">`;
    const [field, range] = row.querySelectorAll("input");
    range.dataset.limit = name;
    const move = (value) => {
      if (Number.isFinite(value)) state.limits[name] = value;
      else delete state.limits[name];
      state.picked = null;
      show();
    };
    range.addEventListener("input", () => {
      const exact = low + ((high - low) * range.value) / STEPS;
      const grain = 10 ** (Math.floor(Math.log10(exact || 1)) - 3);
      move(Number(range.value) === STEPS ? NaN : Number((Math.ceil(exact / grain - 1e-9) * grain).toPrecision(6)));
    });
    field.addEventListener("input", () => move(field.valueAsNumber));
    limit.refresh = () => {
      const value = state.limits[name];
      if (document.activeElement !== field) field.value = value === undefined ? "" : value;
      const share = value === undefined ? 1 : (value - low) / (high - low || 1);
      if (document.activeElement !== range) range.value = Math.round(STEPS * Math.min(1, Math.max(0, share)));
      range.setAttribute("aria-valuetext", value === undefined ? "any" : `${value} ${limit.unit}`);
    };
    $(".sliders").append(row);
  }
}

// --- what is shown ----------------------------------------------------------------------------------------------

const SPEED = (network) => network.baseline_latency_ms / network.latency_ms;

/** Whether a network is slower than the unpruned one beyond the noise; one that is neither that nor faster ties. */
const slower = (network) => network.latency_ms - network.baseline_latency_ms > network.latency_iqr_ms;

function label(network) {
  return `${network.candidate}: validation error ${text("error_validation", network)}, latency ` +
    `${text("latency_ms", network)}, memory ${text("memory_bytes", network)}`;
}

let charts = [];

function makeCharts() {
  const memory = networks.map((network) => network.memory_bytes);
  const [small, large] = [Math.min(...memory), Math.max(...memory)];
  const radius = (bytes) => 5 + (6 * (bytes - small)) / (large - small || 1);
  const everything = $("#everything").checked;
  const points = networks.map((network) => ({
    id: network.candidate,
    x: network.latency_ms,
    y: 100 * network.error_validation,
    noise: network.latency_iqr_ms / 2,
    r: radius(network.memory_bytes),
    label: label(network),
  }));
  // On a narrow screen, what the choice goes by, and one more.
  const wide = $("#parallel").clientWidth > 480;
  const measures = Object.keys(MEASURES).filter((name) => wide || !["error_test", "macs"].includes(name));
  const behind = everything ? data.evaluated.map(([x, y]) => ({ x, y: 100 * y })) : [];
  const { unpruned } = data;
  charts = [
    scatter($("#scatter"), {
      points, behind, x: `latency (ms), ${data.described ? "predicted" : "measured"}`, y: "validation error (%)", onPick: pick,
      star: { x: unpruned.latency_ms, y: 100 * unpruned.reference_error_validation },
    }),
    parallel($("#parallel"), {
      onPick: pick,
      axes: measures.map((name) => {
        const { title, unit } = MEASURES[name];
        return { title: title.length > 1 ? title : ["", ...title], format: (value) => `${digits(value)} ${unit}` };
      }),
      lines: networks.map((network) => ({
        id: network.candidate, label: label(network), values: measures.map((name) => shown(name, network)),
      })),
    }),
  ];
  $("#sizes").textContent = `size: ${digits(small / 1e6)} to ${digits(large / 1e6)} MB`;
}

function pick(candidate) {
  state.picked = candidate;
  show();
}

/** Elements from [tag, attributes, ...children]; text is never read as HTML. */
function build([tag, attributes, ...children]) {
  const node = document.createElement(tag);
  for (const [key, value] of Object.entries(attributes)) node.setAttribute(key, value);
  node.append(...children.map((child) => (Array.isArray(child) ? build(child) : child)));
  return node;
}

function change(value, unit) {
  return `${value > 0 ? "+" : value < 0 ? "−" : "±"}${digits(Math.abs(value), 2)}${NBSP}${unit}`;
}

/** Rows of figures: what was measured is not mixed up with what was predicted. */
function latencies(network) {
  const [latency, predicted, unpruned] = [network.latency_ms, network.latency_predicted_ms, network.baseline_latency_ms];
  if (data.described) return [["Latency, predicted", `${digits(latency)} ms`], ["… unpruned", `${digits(unpruned)} ms`]];
  return [
    ["Latency, measured", `${digits(latency)} ± ${digits(network.latency_iqr_ms / 2, 2)} ms`],
    ["… predicted", `${digits(predicted)} ms (${change(100 * (predicted / latency - 1), "%")})`],
    ["… unpruned, same session", `${digits(unpruned)} ms`],
  ];
}

function details(network, reason) {
  const { unpruned } = data;
  const iqr = network.latency_iqr_ms; // the whole of it, as for the verdict: it stands for the noise of both
  const ends = [iqr, -iqr].map((noise) => digits(network.baseline_latency_ms / Math.max(0, network.latency_ms + noise)));
  const range = data.described ? "" : ` (${ends[0]}–${ends[1]}×)`;
  const points = 100 * (network.error_test - unpruned.reference_error_test);
  const badges = [["span", { class: "badge" }, reason]];
  const verdict = slower(network) ? "slower than the unpruned network" : "not faster than the unpruned network beyond the noise";
  if (!network.faster) badges.push(["span", { class: "badge warn" }, verdict]);
  const facts = [
    ["Validation error", text("error_validation", network)],
    ["Test error", text("error_test", network)],
    ["… unpruned, fine-tuned alike", `${digits(100 * unpruned.reference_error_test)}${NBSP}%`],
    ["… unpruned, as given", `${digits(100 * unpruned.baseline_error_test)}${NBSP}%`],
    ...latencies(network),
    ["Multiply-adds", `${text("macs", network)} of ${digits(unpruned.macs / 1e6)} M`],
    ["Parameters", `${text("parameters", network)} of ${digits(unpruned.parameters / 1e3)} k`],
    ["Found by", `${network.method}, seed ${network.seed}`],
  ];
  const command = `hamp export ${network.candidate} --results ${data.results} --format onnx --output ${network.candidate}.onnx`;
  // A line breaks between words only, not after a hyphen.
  const words = command.split(" ").flatMap((word, index) => [index ? " " : "", ["span", { class: "word" }, word]]);
  const linked = window.top === window;
  const file = (path) => (linked ? ["a", { href: `../${path}` }, path] : ["code", {}, path]);
  $("#details").replaceChildren(...[
    ["h2", { class: "mono" }, network.candidate],
    ["div", { class: "badges" }, ...badges],
    ["dl", { class: "big" },
      ["div", {}, ["dt", {}, "test error"], ["dd", {}, text("error_test", network), ["small", {}, `${change(points, "points")} against unpruned`]]],
      ["div", {}, ["dt", {}, "latency"], ["dd", {}, text("latency_ms", network), ["small", {}, `${digits(SPEED(network))}× as fast${range}`]]],
      ["div", {}, ["dt", {}, "memory"], ["dd", {}, text("memory_bytes", network), ["small", {}, `${digits((100 * network.memory_bytes) / unpruned.memory_bytes, 2)} % of ${digits(unpruned.memory_bytes / 1e6)} MB`]]],
    ],
    ["h3", {}, "Take it home"],
    ["div", { class: "command" }, ["code", { id: "command" }, ...words], ["button", { type: "button", id: "copy" }, "Copy"]],
    ["h3", {}, "Figures"],
    ["table", { class: "facts" }, ["tbody", {}, ...facts.map(([name, value]) => ["tr", {}, ["th", { scope: "row" }, name], ["td", {}, value]])]],
    ["h3", {}, "Channels kept"],
    ["div", { class: "widths", tabindex: "0", role: "group", "aria-label": "Channels kept, by group" }, ...data.groups.map(({ name, channels }, index) => {
      const width = network.widths[index];
      return ["div", { class: "width" }, ["span", { class: "mono", title: name }, name],
        ["span", { class: "bar" }, ["i", { style: `width: ${(100 * width) / channels}%` }]], ["b", {}, `${width} / ${channels}`]];
    })],
    ["h3", {}, "Files, in the results"],
    ["ul", { class: "files" }, ["li", {}, file(network.onnx)], ["li", {}, file(network.model)]],
  ].map(build));
  $("#copy").addEventListener("click", () => copy(command));
}

async function copy(command) {
  try {
    await navigator.clipboard.writeText(command);
    $("#copy").textContent = "Copied";
  } catch {
    // No access to the clipboard: mark the text, so that one key copies it.
    getSelection().selectAllChildren($("#command"));
    $("#copy").textContent = "Marked";
  }
}

function makeTable() {
  const head = ["network", ...Object.values(MEASURES).map(({ title, unit }) => `${title.join(" ").replace("- ", "-")} (${unit})`), "speed-up", "noise (ms)", "method"];
  const row = (network) => ["tr", { "data-candidate": network.candidate },
    ["td", {}, ["button", { type: "button", class: "mono" }, network.candidate]],
    ...Object.keys(MEASURES).map((name) => ["td", {}, digits(shown(name, network))]),
    ["td", {}, `${digits(SPEED(network))}×${network.faster ? "" : slower(network) ? " (slower)" : " (tie)"}`],
    ["td", {}, `±${digits(network.latency_iqr_ms / 2, 2)}`], ["td", {}, network.method]];
  $("#table").replaceChildren(
    build(["thead", {}, ["tr", {}, ...head.map((name) => ["th", { scope: "col" }, name])]]),
    build(["tbody", {}, ...networks.map(row)]));
  $("#table").addEventListener("click", (event) => {
    const button = event.target.closest("button");
    if (button) pick(button.closest("tr").dataset.candidate);
  });
}

const UNITS = { latency_ms: "latency", memory_bytes: "memory", error_validation: "validation error" };

function status(choice) {
  const box = $("#status");
  box.classList.toggle("none", !choice.fits);
  if (choice.fits) {
    const limited = Object.keys(state.limits).length > 0;
    const count = limited ? `${choice.allowed} of ${networks.length} networks are within the limits` : `${networks.length} networks`;
    box.textContent = `${count}. ${WORDS[state.prefer]}: ${choice.network.candidate}.`;
    return;
  }
  const over = Object.entries(choice.excess).map(([name, value]) => {
    const { factor, unit } = MEASURES[name];
    return `${digits(value * factor)} ${unit} over the limit in ${UNITS[name]}`;
  });
  box.textContent = `Nothing fits. The nearest is ${choice.network.candidate}: ${over.join(", ")}.`;
}

function show() {
  const limits = plainLimits();
  const choice = choose(networks, limits, state.prefer);
  const network = state.picked ? byName.get(state.picked) : choice.network;
  const outside = new Set(
    networks.filter((row) => Object.entries(limits).some(([name, limit]) => row[name] > limit)).map((row) => row.candidate));
  const reason = state.picked ? "picked by you" : choice.fits ? WORDS[state.prefer].toLowerCase() : "nearest to the limits";
  for (const chart of charts) {
    chart.update({ chosen: network.candidate, outside, limitX: limits.latency_ms, limitY: limits.error_validation === undefined ? undefined : 100 * limits.error_validation });
  }
  for (const input of document.querySelectorAll("[name=prefer]")) input.checked = input.value === state.prefer;
  for (const limit of Object.values(LIMITS)) limit.refresh();
  for (const row of document.querySelectorAll("#table tbody tr")) {
    row.classList.toggle("chosen", row.dataset.candidate === network.candidate);
    row.classList.toggle("out", outside.has(row.dataset.candidate));
    row.setAttribute("aria-current", row.dataset.candidate === network.candidate);
  }
  status(choice);
  details(network, reason);
  writeAddress();
}

function redraw() {
  makeCharts();
  show();
}

$(".key .star").setAttribute("d", STAR);
$("#about").textContent = data.about;
const drawn = data.evaluated.length < data.evaluations ? `${data.evaluated.length} of ${data.evaluations}` : data.evaluations;
$(".toggle span").textContent = `everything evaluated (${drawn}, before fine-tuning)`;
makeSliders();
makeTable();
readAddress();
redraw();

$("#preferences").addEventListener("change", (event) => {
  state.prefer = event.target.value;
  state.picked = null;
  show();
});
$("#reset").addEventListener("click", () => {
  state.limits = {};
  state.picked = null;
  show();
});
$("#controls").addEventListener("submit", (event) => event.preventDefault());
$("#everything").addEventListener("change", redraw);
window.addEventListener("hashchange", () => {
  readAddress();
  show();
});
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", redraw);
let before = window.innerWidth;
window.addEventListener("resize", () => {
  if (window.innerWidth !== before) requestAnimationFrame(redraw);
  before = window.innerWidth;
});
