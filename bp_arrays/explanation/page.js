"use strict";
const data = JSON.parse(document.getElementById("data").textContent);
const parameters = [...data.edges, ...data.biases];
const byId = id => document.getElementById(id);
const few = data.edges.length <= 40;

const STEPS = [
  ["Forward", "Each unit adds up its inputs times their weights, and the activation makes of the sum what the unit gives on. The circles show these values; under the outputs stand the targets."],
  ["Output δ", "How much would the loss change if the sum a of an output unit changed? That is its δ: the derivative of the loss by the output, times the slope of the activation there."],
  ["Hidden δ", "A hidden unit is to blame as far as it reaches the units above: its δ is the sum of their δ, each times the weight that leads there, times the slope of its own activation."],
  ["Gradients", "The derivative of the loss by a weight is the δ of the unit it leads to, times the value it comes from. Line thickness shows its size; full orange lines are positive, dashed blue ones negative."],
  ["Update", `Each weight moves against its gradient: w ← w − η ∂L/∂w, here with η = ${data.eta}. The lines show the weights after the update.`],
];
const state = { step: 0, frame: 0, chosen: parameters.length ? 0 : -1 };

const brief = value => String(+value.toPrecision(3)).replace("-", "−");
const shown = value => {
  if (value === 0) return "0";
  const size = Math.abs(value);
  const text = size >= 1e5 || size < 1e-4 ? value.toExponential(3) : String(+value.toPrecision(4));
  return text.replace("-", "−");
};
const bracketed = value => (value < 0 ? `(${shown(value)})` : shown(value));
const escaped = text => text.replace(/[&<>"]/g, c => ({ "&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;" })[c]);
const svg = (kind, attributes, parent, text) => {
  const element = document.createElementNS("http://www.w3.org/2000/svg", kind);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  if (text !== undefined) element.textContent = text;
  if (parent) parent.append(element);
  return element;
};

/* Where everything is drawn. */
const WIDTH = 760, MARGIN = 70, RADIUS = few ? 29 : 19;
const tallest = Math.max(...data.columns.map(column => column.shown.length), 1);
const HEIGHT = Math.max(300, 60 + tallest * (few ? 104 : 56));
const place = (c, k) => {
  const rows = data.columns[c].shown.length;
  const x = MARGIN + c * (WIDTH - 2 * MARGIN) / Math.max(data.columns.length - 1, 1);
  return [x, 46 + (k + 0.5) * (HEIGHT - 56) / rows];
};

const frame = () => data.frames[state.frame];
const pathFrom = chosen => {
  /* The units and edges that carry the chosen weight's influence to the loss. */
  const units = new Set(), edges = new Set();
  if (chosen < 0) return { units, edges };
  const item = parameters[chosen];
  const isEdge = chosen < data.edges.length;
  let column = isEdge ? item.column + 1 : item.column, reached = new Set([item.to]);
  if (isEdge) { edges.add(chosen); units.add(`${item.column}.${item.from}`); }
  units.add(`${column}.${item.to}`);
  while (column < data.columns.length - 1) {
    const next = new Set();
    data.edges.forEach((edge, k) => {
      if (edge.column === column && reached.has(edge.from)) {
        edges.add(k); next.add(edge.to); units.add(`${column + 1}.${edge.to}`);
      }
    });
    column += 1; reached = next;
  }
  return { units, edges };
};

function draw() {
  const drawing = byId("drawing");
  const focused = document.activeElement?.dataset?.edge;
  drawing.replaceChildren();
  drawing.setAttribute("viewBox", `0 0 ${WIDTH} ${HEIGHT}`);
  const now = frame(), path = pathFrom(state.chosen);
  const updated = k => now.weights[k] - data.eta * now.gradients[k];
  const reach = Math.max(...now.gradients.slice(0, data.edges.length).map(Math.abs), 1e-300);
  const heaviest = Math.max(...now.weights.slice(0, data.edges.length).map(Math.abs), 1e-300);

  /* The chosen path last, so that nothing is drawn over it. */
  const order = data.edges.map((_, k) => k).sort((a, b) => rank(a) - rank(b));
  function rank(k) { return k === state.chosen ? 2 : path.edges.has(k) ? 1 : 0; }
  const labels = [];
  order.forEach(k => {
    const edge = data.edges[k];
    const [x1, y1] = place(edge.column, edge.from), [x2, y2] = place(edge.column + 1, edge.to);
    const gradient = state.step >= 3;
    const size = gradient ? now.gradients[k] / reach : now.weights[k] / heaviest;
    const classes = ["edge", path.edges.has(k) ? "path" : "", k === state.chosen ? "chosen" : "",
      gradient ? (now.gradients[k] < 0 ? "down" : "up") : ""];
    const value = state.step === 4 ? updated(k) : now.weights[k];
    const group = svg("g", {
      class: classes.filter(Boolean).join(" "), tabindex: few || k === state.chosen ? 0 : -1,
      role: "button", "data-edge": k, "aria-pressed": k === state.chosen,
      "aria-label": `${edge.name} = ${shown(value)}, gradient ${shown(now.gradients[k])}`,
    }, drawing);
    svg("title", {}, group, `${edge.name} = ${shown(value)}, ∂L/∂${edge.name} = ${shown(now.gradients[k])}`);
    svg("line", { x1, y1, x2, y2, class: "seen", "stroke-width": (few ? 0.8 + 5 * Math.abs(size) : 0.3 + 2 * Math.abs(size)).toFixed(2) }, group);
    svg("line", { x1, y1, x2, y2, class: "target" }, group);
    if (few || k === state.chosen) {
      /* Alternately nearer to either end, so that labels seldom meet where lines cross. */
      const share = (edge.from + edge.to) % 2 ? 0.68 : 0.3;
      const text = state.step === 3 ? shown(now.gradients[k]) : shown(value);
      labels.push([x1 + share * (x2 - x1), y1 + share * (y2 - y1) - 4, `${edge.name} ${text}`, path.edges.has(k)]);
    }
  });
  labels.forEach(([x, y, text, bold]) =>
    svg("text", { x, y, class: bold ? "small paper strong" : "small paper" }, drawing, text));

  data.columns.forEach((column, c) => {
    const [x] = place(c, 0);
    const left = column.size - column.shown.length;
    svg("text", { x, y: 16 }, drawing, column.name + (left ? `: ${column.shown.length} of ${column.size}` : ""));
    column.shown.forEach((unit, k) => {
      const [cx, cy] = place(c, k);
      const group = svg("g", { class: "node" + (path.units.has(`${c}.${k}`) ? " path" : "") }, drawing);
      svg("circle", { cx, cy, r: RADIUS }, group);
      const sub = String(unit).replace(/\d/g, d => "₀₁₂₃₄₅₆₇₈₉"[d]);
      svg("text", { x: cx, y: cy - (few ? 3 : 2) }, group, few ? column.name + sub : sub);
      svg("text", { x: cx, y: cy + 12, class: few ? "value" : "small" }, group, few ? shown(now.values[c][k]) : brief(now.values[c][k]));
      const last = c === data.columns.length - 1;
      const withDelta = column.weights && ((last && state.step >= 1) || (!last && state.step >= 2));
      const below = [];
      if (last && few) below.push(`t${sub} = ${shown(now.targets[k])}`);
      if (withDelta) below.push(`δ = ${shown(now.deltas[c][k])}`);
      below.forEach((text, row) =>
        svg("text", { x: cx, y: cy + RADIUS + 13 + 13 * row, class: "small paper" }, group, text));
    });
  });
  if (focused !== undefined) drawing.querySelector(`[data-edge="${focused}"]`)?.focus();
}

const pieces = (formula, numbers) => formula.map(piece => typeof piece === "string" ? escaped(piece)
  : numbers ? bracketed(piece[1]) : `<b>${escaped(piece[0])}</b>`).join("");

function derive() {
  const box = byId("rule"), k = state.chosen;
  if (k < 0) { box.textContent = "This net has no weights."; return; }
  const item = parameters[k], now = frame(), rule = now.rules[k];
  const heading = `<h2>∂L/∂${escaped(item.name)} <small>(${escaped(item.parameter[0])} ${item.parameter.slice(1).join(", ")})</small></h2>`;
  if (!rule) {
    box.innerHTML = `${heading}<p>= ${shown(now.gradients[k])}</p>
      <p>In so large a net the derivation is written out for the first moment of the training only.</p>`;
    return;
  }
  const where = rule.where.map(name => [name, ...now.where[name]]).map(([name, formula, value]) =>
    `<p class="formula">with <b>${escaped(name)}</b> = ${pieces(formula)}<br><span class="numbers">= ${pieces(formula, true)} = ${shown(value)}</span></p>`).join("");
  box.innerHTML = `${heading}
    <p class="formula" id="symbols">= ${pieces(rule.formula)}</p>
    <p class="formula numbers" id="numbers">= ${pieces(rule.formula, true)}</p>
    <p class="formula numbers">= <strong id="value">${rule.value.replace("-", "−")}</strong></p>${where}
    <dl class="checks"><dt>by backward</dt><dd id="computed">${rule.computed.replace("-", "−")}</dd>
    <dt>by central differences</dt><dd id="numeric">${rule.numeric.replace("-", "−")}</dd>
    <dt>update</dt><dd>${escaped(item.name)} ← ${shown(now.weights[k])} − ${data.eta}·${bracketed(now.gradients[k])} = ${rule.updated.replace("-", "−")}</dd></dl>`;
}

function table() {
  const now = frame();
  byId("weights").innerHTML = "<thead><tr><th scope='col'>weight</th><th scope='col'>value</th><th scope='col'>∂L/∂</th><th scope='col'>new</th></tr></thead><tbody>"
    + parameters.map((item, k) => `<tr class="${k === state.chosen ? "chosen" : ""}"><th scope="row"><button data-choose="${k}" aria-pressed="${k === state.chosen}">${escaped(item.name)}</button></th><td>${shown(now.weights[k])}</td><td>${shown(now.gradients[k])}</td><td>${shown(now.weights[k] - data.eta * now.gradients[k])}</td></tr>`).join("") + "</tbody>";
}

function curve() {
  const chart = byId("curve"), box = [1100, 110], pad = 12;
  chart.replaceChildren();
  chart.setAttribute("viewBox", `0 0 ${box[0]} ${box[1]}`);
  const losses = data.frames.map(f => f.loss), top = Math.max(...losses, 1e-300);
  const at = k => [pad + k * (box[0] - 2 * pad) / Math.max(losses.length - 1, 1), 12 + (1 - losses[k] / top) * (box[1] - 34)];
  svg("path", { d: losses.map((_, k) => `${k ? "L" : "M"}${at(k).map(v => v.toFixed(1)).join(" ")}`).join("") }, chart);
  const [cx, cy] = at(state.frame);
  svg("circle", { cx, cy, r: 6 }, chart);
  svg("text", { x: pad, y: box[1] - 4 }, chart, `L from ${shown(losses[0])} to ${shown(losses[losses.length - 1])}`);
}

function render() {
  byId("said").textContent = STEPS[state.step][1];
  byId("when").textContent = `after step ${frame().epoch}, L = ${shown(frame().loss)}`;
  byId("steps").querySelectorAll("button").forEach((button, k) =>
    k === state.step ? button.setAttribute("aria-current", "step") : button.removeAttribute("aria-current"));
  draw(); derive(); table(); curve();
}

const choose = k => { state.chosen = k; render(); };
function start() {
  byId("net").textContent = `${data.net}, loss ${data.loss}`;
  byId("notes").textContent = data.notes;
  STEPS.forEach(([name], k) => {
    const button = document.createElement("button");
    button.textContent = `${k + 1}. ${name}`;
    button.addEventListener("click", () => { state.step = k; render(); });
    byId("steps").append(button);
  });
  const hidden = data.columns.filter(column => column.size > column.shown.length);
  byId("caption").textContent = hidden.length
    ? `Drawn are the units with the largest gradients: ${hidden.map(c => `${c.shown.length} of the ${c.size} of ${c.name}`).join(", ")}; ${data.histograms.reduce((n, h) => n + h.size, 0) - data.edges.length} weights are not drawn.`
    : "Click a line, or choose it with Tab and Enter, to see its chain rule. The arrow keys go through the steps.";
  byId("drawing").addEventListener("click", event => {
    const edge = event.target.closest("[data-edge]");
    if (edge) choose(Number(edge.dataset.edge));
  });
  document.addEventListener("keydown", event => {
    const edge = event.target.closest?.("[data-edge]");
    if (edge && (event.key === "Enter" || event.key === " ")) { event.preventDefault(); choose(Number(edge.dataset.edge)); }
    if (event.target.matches?.("input")) return;
    const move = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
    if (move) { state.step = Math.min(Math.max(state.step + move, 0), STEPS.length - 1); render(); }
  });
  byId("weights").addEventListener("click", event => {
    const button = event.target.closest("[data-choose]");
    if (button) { const k = Number(button.dataset.choose); choose(k); byId("weights").querySelector(`[data-choose="${k}"]`).focus(); }
  });
  const time = byId("time");
  time.max = data.frames.length - 1;
  time.addEventListener("input", () => { state.frame = Number(time.value); render(); });
  byId("spread").innerHTML = "<h2>How the gradients are spread</h2>" + data.histograms.map(h => {
    const most = Math.max(...h.counts, 1), width = 300 / h.counts.length;
    const bars = h.counts.map((n, k) => `<rect x="${(k * width).toFixed(1)}" width="${(width - 1).toFixed(1)}" y="${(70 - 64 * n / most).toFixed(1)}" height="${(64 * n / most).toFixed(1)}"/>`).join("");
    return `<p>${h.name}: ${h.size} gradients from ${shown(-h.reach)} to ${shown(h.reach)}</p><svg class="bars" width="300" height="72" role="img" aria-label="histogram of the gradients of ${h.name}">${bars}</svg>`;
  }).join("");
  render();
}
start();
