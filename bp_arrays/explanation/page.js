"use strict";
const data = JSON.parse(document.getElementById("data").textContent);
const { columns, weights } = data;
const edges = weights.filter(weight => weight.from !== undefined);
const byId = id => document.getElementById(id);
const LAST = columns.length - 1;
const hidden = columns.some((column, c) => c > 0 && c < LAST);

/* The letter of the weights after a hidden unit: u in a net of two layers, as its formulas say. */
const above = edges.find(edge => edge.column === LAST)?.name[0] ?? "w";
const classOf = unit => columns[LAST].units?.[columns[LAST].shown.indexOf(unit)] ?? "";

const STEPS = [
  ["Forward", "Each unit adds up its inputs times their weights and applies its activation to the sum. The units show the results; below each output is its target.", "a⁽¹⁾ = xw + b⁽¹⁾"],
  ["Output δ", "How would the loss change if the sum a of an output unit changed a little? That is its δ: the derivative of the loss by the output, times the slope of the activation.", "δₖ = ∂L/∂yₖ · ∂yₖ/∂aₖ"],
  ["Hidden δ", "A hidden unit changes the loss through the units of the next layer: its δ is the sum of their δ, each times the weight between the two, times the slope of its activation.", `δⱼ = Σₖ δₖ ${above}ⱼₖ · ∂hⱼ/∂aⱼ`],
  ["Gradients", "The derivative of the loss by a weight is the δ of the unit at its end, times the value of the unit at its start. The lines show these derivatives.", "∂L/∂wᵢⱼ = δⱼ xᵢ"],
  ["Update", `Each weight moves against its derivative. The lines show the weights after one update with η = ${data.eta}.`, "w ← w − η ∂L/∂w"],
].filter(([name]) => hidden || name !== "Hidden δ");
const first = Math.max(data.frames[0].gradients.findIndex(gradient => gradient !== 0), 0);
const state = { step: 0, frame: 0, chosen: weights.length ? first : -1, playing: 0 };
const stepIs = (...names) => names.includes(STEPS[state.step][0]);
const now = () => data.frames[state.frame];

/* How numbers and names are written. */
const minus = text => text.replaceAll("-", "−");
const brief = (value, digits = 2) => {
  const size = Math.abs(value);
  return minus(size && (size >= 1e4 || size < 1e-3) ? value.toExponential(0) : String(+value.toPrecision(digits)));
};
/* As many digits as fit into a number of characters. */
const fitted = (value, room) => [4, 3, 2].map(digits => {
  const size = Math.abs(value);
  return minus(size && (size >= 1e5 || size < 1e-3) ? value.toExponential(digits - 2) : String(+value.toPrecision(digits)));
}).find((text, k) => text.length <= room || k === 2);
const shown = value => {
  const size = Math.abs(value);
  return minus(size && (size >= 1e5 || size < 1e-4) ? value.toExponential(2) : String(+value.toPrecision(4)));
};
const bracketed = value => (value < 0 ? `(${shown(value)})` : shown(value));
const escaped = text => text.replace(/[&<>"]/g, c => ({ "&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;" })[c]);
const subscript = number => String(number).replace(/\d/g, d => "₀₁₂₃₄₅₆₇₈₉"[d]);
const ABOVE = "⁰¹²³⁴⁵⁶⁷⁸⁹⁽⁾", PLAIN_ABOVE = "0123456789()", BELOW = "₀₁₂₃₄₅₆₇₈₉ᵢⱼₖ", PLAIN_BELOW = "0123456789ijk";
const swapped = (text, from, to) => [...text].map(c => (from.includes(c) ? to[from.indexOf(c)] : c)).join("");
const SCRIPTS = new RegExp(`([${ABOVE}]+)?([${BELOW}]+(?:,[${BELOW}]+)*)|([${ABOVE}]+)`, "g");
const typeset = text => escaped(text)
  .replace(/(?<![A-Za-z&])(?:[a-z]?[wu]|[A-Za-zδησλαφΦ])(?![A-Za-z;])/g, "<i>$&</i>")
  .replace(SCRIPTS, (_, above, below, alone) => {
    const up = above || alone ? `<sup>${swapped(above || alone, ABOVE, PLAIN_ABOVE)}</sup>` : "";
    const down = below ? `<sub>${swapped(below, BELOW, PLAIN_BELOW)}</sub>` : "";
    return up && down ? `<span class="scripts">${up}${down}</span>` : up + down;
  });
const svg = (kind, attributes, parent, text) => {
  const element = document.createElementNS("http://www.w3.org/2000/svg", kind);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  if (text !== undefined) element.textContent = text;
  if (parent) parent.append(element);
  return element;
};

/* Where the symbols of a formula are in the drawing: "h₁", "a⁽¹⁾₁" and "δ⁽¹⁾₁" are one unit. */
const placeOf = new Map();
columns.forEach((column, c) => column.shown.forEach((unit, k) => {
  const names = [column.name, column.sum, column.delta, ...(c === LAST ? ["t", "p", "q"] : [])];
  names.filter(Boolean).forEach(name => placeOf.set(name + subscript(unit), `[data-unit="${c}.${k}"]`));
}));
weights.forEach((weight, k) => placeOf.set(weight.name, `[data-edge="${k}"]`));
const NAMES = new RegExp(`[a-zδ]′*[${ABOVE}]*[${BELOW}]+(?:,[${BELOW}]+)*`, "g");
const places = symbol => [symbol, ...(symbol.match(NAMES) ?? [])].map(name => placeOf.get(name)).filter(Boolean);
const weightNamed = new Map(weights.map((weight, k) => [weight.name, k]));

/* The units, weights and links that carry a weight's influence to the loss. */
function pathFrom(chosen) {
  const units = new Set(), lines = new Set(), weight = weights[chosen];
  if (weight?.to === undefined) return { units, lines };
  if (weight.from !== undefined) { lines.add(chosen); units.add(`${weight.column - 1}.${weight.from}`); }
  let reached = new Set([weight.to]);
  for (let c = weight.column; c <= LAST; c += 1) {
    if (c > weight.column && columns[c].sum) {
      const next = new Set();
      weights.forEach((edge, k) => {
        if (edge.column === c && reached.has(edge.from)) { lines.add(k); next.add(edge.to); }
      });
      reached = next;
    } else if (c > weight.column) {
      linksTo(c).forEach(([from, to]) => { if (reached.has(from)) lines.add(`${c}.${from}.${to}`); });
    }
    if (columns[c].mixes) reached = new Set(columns[c].shown.keys());
    reached.forEach(k => units.add(`${c}.${k}`));
  }
  return { units, lines };
}

/* Lines between columns that no weights join: one to one, or all to all through a block. */
const linksTo = c => columns[c - 1].shown.flatMap((one, from) => columns[c].shown.flatMap((other, to) =>
  columns[c].mixes || one === other ? [[from, to]] : []));
