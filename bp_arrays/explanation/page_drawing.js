/* The drawing. */
function draw() {
  const drawing = byId("drawing"), path = pathFrom(state.chosen), frame = now();
  const focused = document.activeElement?.dataset?.edge;
  const width = Math.max(drawing.clientWidth || 700, 300);
  const wide = width >= 560;
  const tallest = Math.max(...columns.map(column => column.shown.length), 1);
  const crowded = columns.some((column, c) => c && column.shown.length * columns[c - 1].shown.length > 12);
  const radius = crowded || !wide ? (width < 420 ? 18 : 21) : 33;
  const labelled = !crowded && wide;
  const cut = columns.some(column => column.size > column.shown.length);
  const top = cut ? 44 : 30;
  const height = top + 4 + tallest * (labelled ? 138 : crowded ? 62 : 96);
  const left = radius + (labelled ? 12 : 34), beside = labelled ? 0 : wide ? 74 : 62;
  const right = radius + beside + (wide ? 112 : 0);
  const place = (c, k) => [
    LAST ? left + c * (width - left - right) / LAST : width / 2,
    top + (k + 0.42) * (height - top) / columns[c].shown.length,
  ];
  drawing.replaceChildren();
  const whole = height + (labelled && columns[LAST].units ? 18 : 0);
  drawing.setAttribute("viewBox", `0 0 ${width} ${whole}`);
  drawing.style.height = `${whole}px`;

  drawing.classList.toggle("crowded", crowded);
  if (wide) drawLoss(drawing, place, width, top + 0.42 * (height - top), radius, path);
  columns.forEach((column, c) => {
    if (c && !column.sum) linksTo(c).forEach(([from, to]) => {
      const [x1, y1] = place(c - 1, from), [x2, y2] = place(c, to);
      svg("line", { x1, y1, x2, y2, class: `link${path.lines.has(`${c}.${from}.${to}`) ? " path" : ""}` }, drawing);
    });
  });

  const byGradient = stepIs("Gradients", "Update");
  const gradient = k => frame.gradients[k];
  const value = k => (stepIs("Update") ? frame.weights[k] - data.eta * gradient(k) : frame.weights[k]);
  const size = k => Math.abs(byGradient ? gradient(k) : frame.weights[k]);
  const most = Math.max(...edges.map((_, k) => size(k)), 1e-300);
  const rank = k => (k === state.chosen ? 2 : path.lines.has(k) ? 1 : 0);
  const order = edges.map((_, k) => k).sort((a, b) => rank(a) - rank(b) || size(a) - size(b));
  const stop = state.chosen >= 0 && state.chosen < edges.length ? state.chosen : 0;
  const labels = [];
  order.forEach(k => {
    const edge = edges[k], share = size(k) / most, lit = path.lines.has(k), chosen = k === state.chosen;
    const [x1, y1] = place(edge.column - 1, edge.from), [x2, y2] = place(edge.column, edge.to);
    const sign = (byGradient ? gradient(k) : frame.weights[k]) < 0 ? "down" : "up";
    const thick = crowded ? 0.5 + 3.5 * share : 1 + 6 * share;
    const group = svg("g", {
      class: `edge ${sign}${lit ? " path" : ""}${chosen ? " chosen" : ""}`,
      tabindex: k === stop ? 0 : -1, role: "button", "data-edge": k, "aria-pressed": chosen,
      "aria-label": `${edge.name} = ${shown(frame.weights[k])}, its derivative ${shown(gradient(k))}`,
    }, drawing);
    svg("title", {}, group, `${edge.name} = ${shown(frame.weights[k])}, ∂L/∂${edge.name} = ${shown(gradient(k))}`);
    svg("line", { x1, y1, x2, y2, class: "halo", "stroke-width": thick + (chosen ? 11 : crowded ? 4 : 7) }, group);
    svg("line", { x1, y1, x2, y2, class: "seen", "stroke-width": thick.toFixed(2), opacity: lit || !crowded ? 1 : (0.25 + 0.75 * share).toFixed(2) }, group);
    svg("line", { x1, y1, x2, y2, class: "reach" }, group);
    if (labelled && x2 - x1 - 2 * radius > 110 || (chosen && x2 - x1 > 110 + 2 * radius)) {
      const number = brief(stepIs("Gradients") ? gradient(k) : value(k), 3);
      labels.push({
        x: x1, y: y1, angle: Math.atan2(y2 - y1, x2 - x1), length: Math.hypot(x2 - x1, y2 - y1),
        thick, text: `${edge.name} ${number}`, lit,
      });
    }
  });
  placed(labels, radius, labelled ? 18 : 8).forEach(({ x, y, angle, along, across, text, lit }) => svg("text", {
    transform: `translate(${x} ${y}) rotate(${angle * 180 / Math.PI}) translate(${along} ${across})`,
    class: `paper left ${lit ? "value" : "quiet"}`,
  }, drawing, text));
  columns.forEach((column, c) => drawColumn(drawing, c, k => place(c, k), { radius, labelled, path, frame }));
  if (focused !== undefined) drawing.querySelector(`[data-edge="${focused}"]`)?.focus();
}

/* Labels of lines with a place each: at the unit that the line comes from, where lines do not cross
   yet, or, if another label is in the way there, further along. Those of the path come first. */
function placed(labels, radius, gap) {
  const apart = 14, taken = [];
  [...labels].reverse().forEach(label => {
    const { x, y, angle, length, thick, text, lit } = label, width = text.length * (lit ? 7.6 : 6.8);
    const first = radius + gap, last = Math.max(first, length - radius - 8 - width);
    const points = along => Array.from({ length: Math.ceil(width / 8) + 1 }, (_, k) => {
      const u = along + 8 * k, v = label.across - 4;
      return [x + u * Math.cos(angle) - v * Math.sin(angle), y + u * Math.sin(angle) + v * Math.cos(angle)];
    });
    const isFree = along => points(along).every(([a, b]) => taken.every(([c, d]) => Math.hypot(a - c, b - d) > apart));
    label.across = -5 - thick / 2;
    const candidates = [0, 0.15, 0.3, 1, 0.85, 0.7, 0.5].map(share => first + share * (last - first));
    label.along = candidates.find(isFree) ?? first;
    taken.push(...points(label.along));
  });
  return labels;
}

function drawColumn(drawing, c, place, { radius, labelled, path, frame }) {
  const column = columns[c], numbers = frame.columns[c], last = c === LAST;
  const left = column.size - column.shown.length;
  svg("text", { x: place(0)[0], y: 16, class: "name" }, drawing, column.name);
  if (left) svg("text", { x: place(0)[0], y: 31, class: "quiet tiny" }, drawing, `${column.shown.length} of ${column.size}`);
  const withDelta = numbers.delta && (last ? !stepIs("Forward") : !stepIs("Forward", "Output δ"));
  const isNow = (last && stepIs("Output δ")) || (c > 0 && !last && stepIs("Hidden δ"));
  column.shown.forEach((unit, k) => {
    const [cx, cy] = place(k), sub = subscript(unit), name = column.name + sub;
    const bias = weights.findIndex(w => w.column === c && w.to === k && w.from === undefined);
    const lit = path.units.has(`${c}.${k}`);
    const group = svg("g", {
      class: `node${lit ? " path" : ""}${isNow ? " now" : ""}`, "data-unit": `${c}.${k}`,
      ...(bias < 0 ? {} : { "data-bias": bias }),
    }, drawing);
    const full = column.units ? `${name} (${column.units[k]})` : name;
    svg("title", {}, group, bias < 0 ? full : `${full}: click for its δ, the derivative by ${weights[bias].name}`);
    svg("circle", { cx, cy, r: radius }, group);
    if (!labelled) {
      svg("text", { x: cx, y: cy + 4, class: "tiny" }, group, brief(numbers.y[k]));
      const delta = withDelta ? [`δ ${brief(numbers.delta[k])}`] : [];
      if (!last) {
        svg("text", { x: cx - radius - 4, y: cy + 4, class: "paper tiny right" }, group, name);
        delta.forEach(text => svg("text", { x: cx, y: cy + radius + 12, class: "paper tiny" }, group, text));
        return;
      }
      const lines = [classOf(unit) ? `${name}: ${clipped(classOf(unit))}` : name, ...delta, `t ${brief(frame.targets[k])}`];
      lines.forEach((text, row) => svg("text", {
        x: cx + radius + 6, y: cy + 4 + 13 * (row - (lines.length - 1) / 2), class: "paper tiny left",
      }, group, text));
      return;
    }
    svg("text", { x: cx, y: cy - 6, class: "name" }, group, name);
    svg("text", { x: cx, y: cy + 13, class: "value" }, group, fitted(numbers.y[k], 8));
    const below = [];
    if (last && classOf(unit)) below.push([clipped(classOf(unit)), "name"]);
    if (numbers.a && stepIs("Forward")) below.push([`a = ${shown(numbers.a[k])}`, "quiet"]);
    if (withDelta) below.push([`δ = ${shown(numbers.delta[k])}`, "value"]);
    if (last) below.push([`t${sub} = ${shown(frame.targets[k])}`, "quiet"]);
    /* To the side where fewer lines run. */
    const side = last ? { x: cx - 20, class: "left" } : { x: cx + 12, class: "right" };
    below.forEach(([text, kind], row) => svg("text", {
      x: side.x, y: cy + radius + 17 + 16 * row, class: `paper ${side.class} ${kind}`,
    }, group, text));
  });
}

/* The loss at the right end, where all outputs lead. */
function drawLoss(drawing, place, width, y, radius, path) {
  const number = fitted(now().loss, 9), half = Math.max(37, 4.2 * number.length + 8), x = width - half - 3;
  columns[LAST].shown.forEach((_, k) => {
    const [x1, y1] = place(LAST, k);
    svg("line", { x1: x1 + radius, y1, x2: x, y2: y, class: `link${path.units.has(`${LAST}.${k}`) ? " path" : ""}` }, drawing);
  });
  const group = svg("g", { class: `node${path.units.size ? " path" : ""}` }, drawing);
  svg("rect", { x: x - half, y: y - 25, width: 2 * half, height: 50, rx: 9 }, group);
  svg("text", { x, y: y - 5, class: "name" }, group, "L");
  svg("text", { x, y: y + 14, class: "value" }, group, number);
}

/* A name as long as there is room beside a unit. */
const clipped = name => (name.length > 10 ? `${name.slice(0, 9)}…` : name);

function caption() {
  const line = kind => `<svg class="${kind}" viewBox="0 0 40 10"><line class="seen" x1="0" y1="5" x2="40" y2="5" stroke-width="3"/></svg>`;
  const what = stepIs("Gradients", "Update") ? "∂L/∂w" : "w";
  byId("legend").innerHTML = edges.length ? `<span>${line("up")}${typeset(what)} positive</span><span>${line("down")}${typeset(what)} negative</span><span>thickness: the size of ${typeset(what)}</span>` : "";
  const cut = columns.filter(c => c.size > c.shown.length).map(c => `${c.shown.length} of the ${c.size} of ${c.name}`);
  const sentences = cut.length ? [`Only the units with the largest gradients are drawn: ${cut.join(", ")}.`] : [];
  if (data.leftOut) sentences.push(`${data.leftOut} weights and biases are not shown; bp.explain(…).weight(name, i, j) writes out any of them.`);
  if (weights.some(weight => weight.to === undefined)) sentences.push("Weights inside a block have a row in the table, but no line.");
  if (edges.length) sentences.push("Click a line for its chain rule, a unit for its δ. Keys: ← → for the steps, ↑ ↓ for the weights.");
  byId("caption").textContent = sentences.join(" ");
}
