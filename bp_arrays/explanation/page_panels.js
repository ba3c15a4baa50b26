/* The chain rule of the chosen weight. */
function formula(place, numbers, mark = "=") {
  let depth = 0;
  const written = data.formulas[place].map(item => {
    const [index, own] = Array.isArray(item) ? item : [item];
    const piece = data.pieces[index];
    if (typeof piece === "string") return [...piece.matchAll(/[[\]]|·| \+ |[^[\]·+]+?(?=[[\]·]| \+ |$)|\+/g)].map(([part]) => {
      if (part === "[") depth += 1;
      if (part === "]") depth -= 1;
      if (part === " + ") return depth === 1 ? "<br>+ " : " +<wbr> ";
      return part === "·" ? "·<wbr>" : typeset(part);
    }).join("");
    const value = own ?? now().values[index];
    const go = weightNamed.has(piece[0]) ? ` data-go="${weightNamed.get(piece[0])}"` : "";
    return `<span data-symbol="${escaped(piece[0])}"${go} title="${escaped(piece[0])} = ${shown(value)}">${numbers ? bracketed(value) : typeset(piece[0])}</span>`;
  }).join("");
  return `<span><span>${mark}</span><span>${written}</span></span>`;
}

function derive() {
  const box = byId("rule"), k = state.chosen;
  if (k < 0) { box.textContent = "This net has no weights."; return; }
  const weight = weights[k], rule = now().rules[k];
  const [parameter, ...at] = weight.parameter;
  const open = box.querySelector("details")?.open;
  const where = rule.where.map(name => [name, ...now().where[name]]).map(([name, place, value]) =>
    `<div class="formula">${typeset(name)}${formula(place)}<span class="numbers">${formula(place, true).slice(6, -7)}</span><span class="numbers"><span>=</span><span>${shown(value)}</span></span></div>`).join("");
  const deltas = where && `<details${open ?? rule.where.length <= 3 ? " open" : ""}><summary>where these ${rule.where.length} come from</summary>${where}</details>`;
  box.innerHTML = `<h2><span class="maths">${typeset(`∂L/∂${weight.name}`)}</span> <small>weight("${escaped(parameter)}", ${at.join(", ")})</small></h2>
    <p class="formula" id="symbols">${formula(rule.formula)}</p>
    <p class="formula numbers" id="numbers">${formula(rule.formula, true)}</p>
    <p class="formula numbers"><span><span>=</span><span id="value">${rule.value}</span></span></p>${deltas}
    <dl class="checks"><dt>by backward</dt><dd id="computed">${rule.computed}</dd>
    <dt>by central differences</dt><dd id="numeric">${rule.numeric}</dd>
    <dt>update</dt><dd>${typeset(weight.name)} ← ${shown(now().weights[k])} − ${data.eta} · ${bracketed(now().gradients[k])} = ${rule.updated}</dd></dl>`;
}

/* Bars go right for positive, left and hollow for negative derivatives. */
function bar(value, most) {
  const width = 50 * Math.abs(value) / most;
  const x = value < 0 ? 50 - width : 50;
  return `<svg viewBox="0 0 100 14" preserveAspectRatio="none" aria-hidden="true"><line x1="50" x2="50" y1="0" y2="14"/><rect class="${value < 0 ? "down" : "up"}" x="${x}" y="3" width="${width}" height="8"/></svg>`;
}

function tables() {
  const { weights: values, gradients, columns: numbers, targets } = now();
  const most = Math.max(...gradients.map(Math.abs), 1e-300);
  const row = (weight, k) => `<tr class="${k === state.chosen ? "chosen" : ""}"><th scope="row"><button type="button" class="maths" data-choose="${k}" tabindex="${k === Math.max(state.chosen, 0) ? 0 : -1}" aria-pressed="${k === state.chosen}">${typeset(weight.name)}</button></th><td>${shown(values[k])}</td><td>${shown(gradients[k])}</td><td class="bar">${bar(gradients[k], most)}</td><td>${shown(values[k] - data.eta * gradients[k])}</td></tr>`;
  byId("weights").innerHTML = `<thead><tr><th scope="col">weight</th><th scope="col">value</th><th scope="col">∂L/∂w</th><td></td><th scope="col">after the update</th></tr></thead><tbody>${weights.map(row).join("")}</tbody>`;
  const cell = value => `<td>${value === undefined ? "" : shown(value)}</td>`;
  const units = columns.flatMap((column, c) => column.shown.map((unit, k) => {
    const { a, y, slope, delta } = numbers[c];
    const named = column.units ? ` <small>${escaped(column.units[k])}</small>` : "";
    return `<tr><th scope="row" class="maths">${typeset(column.name + subscript(unit))}${named}</th>${cell(a?.[k])}${cell(y[k])}${cell(slope?.[k])}${cell(delta?.[k])}${cell(c === LAST ? targets[k] : undefined)}</tr>`;
  }));
  byId("units").innerHTML = `<thead><tr><th scope="col">unit</th><th scope="col">sum a</th><th scope="col">value</th><th scope="col">slope</th><th scope="col">δ</th><th scope="col">target</th></tr></thead><tbody>${units.join("")}</tbody>`;
}

const CURVE = { left: 84, right: 16, top: 16, bottom: 26, height: 150 };

/* The training: the loss of every recorded moment, and where we are. */
function curve() {
  const chart = byId("curve"), { frames } = data;
  const { left, right, top, bottom, height } = CURVE, width = Math.max(chart.clientWidth || 700, 200);
  const losses = frames.map(frame => frame.loss), highest = Math.max(...losses, 1e-300);
  const at = k => [
    left + k * (width - left - right) / Math.max(frames.length - 1, 1),
    top + (1 - losses[k] / highest) * (height - top - bottom),
  ];
  chart.replaceChildren();
  chart.setAttribute("viewBox", `0 0 ${width} ${height}`);
  [[0, height - bottom], [highest, top]].forEach(([value, y]) => {
    svg("line", { x1: left, x2: width - right, y1: y, y2: y }, chart);
    svg("text", { x: left - 8, y: y + 4, "text-anchor": "end" }, chart, shown(value));
  });
  svg("text", { x: left - 8, y: (top + height - bottom) / 2 + 4, "text-anchor": "end" }, chart, "L");
  svg("text", { x: left, y: height - 7 }, chart, `${frames[0].epoch}`);
  svg("text", { x: width - right, y: height - 7, "text-anchor": "end" }, chart, `step ${frames[frames.length - 1].epoch}`);
  svg("path", { d: losses.map((_, k) => `${k ? "L" : "M"}${at(k).map(v => v.toFixed(1)).join(" ")}`).join("") }, chart);
  const [cx, cy] = at(state.frame), right_half = cx > width / 2;
  svg("line", { x1: cx, x2: cx, y1: top, y2: height - bottom }, chart);
  svg("circle", { cx, cy, r: 6 }, chart);
  svg("text", { x: cx + (right_half ? -10 : 10), y: Math.max(cy - 8, 12), class: "here", "text-anchor": right_half ? "end" : "start" }, chart, `L = ${shown(losses[state.frame])}`);
  byId("when").textContent = `${now().epoch} of ${frames[frames.length - 1].epoch}, L = ${shown(now().loss)}`;
  byId("time").setAttribute("aria-valuetext", byId("when").textContent);
}

function spreads() {
  if (!data.histograms.length) return;
  const drawn = data.histograms.map(({ name, symbol, reach, counts, size }) => {
    const most = Math.max(...counts, 1), wide = 400 / counts.length;
    const bars = counts.map((n, k) => `<rect x="${(k * wide).toFixed(1)}" width="${(wide - 2).toFixed(1)}" y="${(86 - 76 * n / most).toFixed(1)}" height="${(76 * n / most).toFixed(1)}"><title>${n}</title></rect>`).join("");
    return `<figure><svg viewBox="0 0 400 110" preserveAspectRatio="none" role="img" aria-label="histogram of the derivatives of ${escaped(name)}">${bars}<line x1="0" x2="400" y1="87" y2="87"/><text x="0" y="104">${shown(-reach)}</text><text x="200" y="104" text-anchor="middle">0</text><text x="400" y="104" text-anchor="end">${shown(reach)}</text></svg>
      <figcaption>${typeset(`∂L/∂${symbol}`)}: all ${size} of ${escaped(name)}; ${most} in the highest bar</figcaption></figure>`;
  });
  byId("spread").hidden = false;
  byId("spread").innerHTML = `<h2>How all derivatives are spread, before the training</h2><div class="spreads">${drawn.join("")}</div>`;
}

/* The sample as an image; signed images have full squares for positive, hollow ones for negative. */
function images() {
  if (!data.image) return;
  const { shape: [rows, cols, channels], x, signed } = data.image, box = byId("images");
  box.hidden = false;
  box.innerHTML = `<h2>The sample as an image, before the training</h2><div class="pictures"></div>`;
  const low = Math.min(...x), high = Math.max(...x), range = high - low || 1;
  const figure = (drawn, words) => {
    const made = document.createElement("figure"), text = document.createElement("figcaption");
    text.innerHTML = words;
    made.append(drawn, text);
    box.lastChild.append(made);
  };
  const canvas = document.createElement("canvas");
  Object.assign(canvas, { width: cols, height: rows });
  canvas.setAttribute("role", "img");
  canvas.setAttribute("aria-label", `x as an image of ${rows} by ${cols} pixels`);
  const context = canvas.getContext("2d"), pixels = context.createImageData(cols, rows);
  for (let k = 0; k < rows * cols; k += 1) {
    for (let c = 0; c < 3; c += 1) pixels.data[4 * k + c] = 255 * (x[channels * k + (channels > 1 ? c : 0)] - low) / range;
    pixels.data[4 * k + 3] = 255;
  }
  context.putImageData(pixels, 0, 0);
  const name = columns[LAST].name, best = data.frames[0].columns[LAST].y;
  const target = data.frames[0].targets.indexOf(Math.max(...data.frames[0].targets));
  const unit = columns[LAST].shown[target], largest = columns[LAST].shown[best.indexOf(Math.max(...best))];
  const told = columns[LAST].units?.length > 1 ? `; target ${escaped(classOf(unit))}, largest output ${typeset(name + subscript(largest))}, ${escaped(classOf(largest))}` : "";
  figure(canvas, `${typeset("x")}: ${rows} × ${cols}, from ${shown(low)} (dark) to ${shown(high)} (light)${told}`);
  signed.forEach(({ name: what, unit: number, values }) => {
    const most = Math.max(...values.map(Math.abs), 1e-300);
    const picture = svg("svg", { viewBox: `0 0 ${cols} ${rows}`, role: "img", "aria-label": `${what}${number && subscript(number)} as an image` });
    values.forEach((value, k) => {
      const side = Math.sqrt(Math.abs(value) / most) * 0.94;
      if (side < 0.06) return;
      const wide = value < 0 ? side * 0.8 : side;
      svg("rect", {
        x: (k % cols) + (1 - wide) / 2, y: Math.floor(k / cols) + (1 - wide) / 2, width: wide, height: wide,
        class: value < 0 ? "down" : "up", ...(value < 0 ? { "stroke-width": side * 0.2 } : {}),
      }, picture);
    });
    figure(picture, `${typeset(what + (number && subscript(number)))}, up to ${shown(most)}`);
  });
  if (signed.length) {
    const note = document.createElement("p");
    note.textContent = "Full squares are positive, hollow ones negative; the area is the size of the number.";
    box.append(note);
  }
}

function steps() {
  const [, words, rule] = STEPS[state.step];
  byId("said").innerHTML = `${escaped(words)} <span class="formula">${typeset(rule)}</span>`;
  byId("steps").querySelectorAll("button").forEach((button, k) =>
    (k === state.step ? button.setAttribute("aria-current", "step") : button.removeAttribute("aria-current")));
}

function render() {
  steps(); draw(); caption(); derive(); tables(); curve();
}

/* What a reader does. */
function choose(k) {
  if (k < 0 || k >= weights.length) return;
  state.chosen = k;
  render();
  byId("status").textContent = `∂L/∂${weights[k].name} = ${now().rules[k].value}`;
}
function goTo(step) {
  state.step = Math.min(Math.max(step, 0), STEPS.length - 1);
  render();
}
function moveTo(frame) {
  state.frame = Math.min(Math.max(frame, 0), data.frames.length - 1);
  byId("time").value = state.frame;
  render();
}
function play() {
  const button = byId("play");
  if (state.playing) { clearInterval(state.playing); state.playing = 0; button.textContent = "Play"; return; }
  if (state.frame === data.frames.length - 1) moveTo(0);
  button.textContent = "Pause";
  state.playing = setInterval(() => {
    moveTo(state.frame + 1);
    if (state.frame === data.frames.length - 1) play();
  }, 160);
}
function glow(symbol, on) {
  document.querySelectorAll(".hot").forEach(element => element.classList.remove("hot"));
  if (!on) return;
  places(symbol).forEach(selector => byId("drawing").querySelector(selector)?.classList.add("hot"));
}

const MEAN = "Why a training divides by the number of samples: this page shows one sample. Of a batch L is the mean over its samples, so its derivatives are the means of those shown here, one for each sample, and a step does not grow with the batch.";

function start() {
  byId("net").innerHTML = [...data.net.slice(1), `L = ${data.loss}`].map(text => `<span>${typeset(text)}</span>`).join("");
  byId("recorded").textContent = data.recorded;
  byId("notes").innerHTML = escaped(data.notes).replace(/([a-z])_([a-z]+)/g, "<i>$1</i><sub>$2</sub>");
  byId("steps").innerHTML = STEPS.map(([name], k) => `<button type="button" data-step="${k}">${k + 1}. ${escaped(name)}</button>`).join("");
  byId("time").max = data.frames.length - 1;
  byId("time").addEventListener("input", event => moveTo(Number(event.target.value)));
  byId("play").addEventListener("click", play);
  byId("curve").addEventListener("click", event => {
    const { left, width } = byId("curve").getBoundingClientRect();
    moveTo(Math.round((event.clientX - left - CURVE.left) / (width - CURVE.left - CURVE.right) * (data.frames.length - 1)));
  });
  document.addEventListener("click", event => {
    const { step, edge, bias, go, choose: row } = event.target.closest("[data-step], [data-edge], [data-bias], [data-go], [data-choose]")?.dataset ?? {};
    if (step !== undefined) goTo(Number(step));
    const k = edge ?? bias ?? go ?? row;
    if (k !== undefined) choose(Number(k));
    if (row !== undefined) byId("weights").querySelector(`[data-choose="${row}"]`).focus();
  });
  document.addEventListener("keydown", event => {
    const here = event.target.closest?.("[data-edge], [data-choose]");
    const line = here?.dataset.edge !== undefined;
    if (line && (event.key === "Enter" || event.key === " ")) { event.preventDefault(); choose(Number(here.dataset.edge)); }
    if (event.target.matches?.("input") || event.altKey || event.ctrlKey || event.metaKey) return;
    const along = { ArrowRight: 1, ArrowLeft: -1 }[event.key], among = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    if (along) goTo(state.step + along);
    if (!among || !here) return;
    event.preventDefault();
    const next = Math.min(Math.max(state.chosen + among, 0), (line ? edges : weights).length - 1);
    choose(next);
    document.querySelector(line ? `[data-edge="${next}"]` : `[data-choose="${next}"]`).focus();
  });
  byId("rule").addEventListener("pointerover", event => glow(event.target.closest("[data-symbol]")?.dataset.symbol ?? "", true));
  byId("rule").addEventListener("pointerleave", () => glow("", false));
  new ResizeObserver(() => { draw(); curve(); }).observe(document.querySelector("main figure"));
  byId("mean").textContent = MEAN + (data.loss.includes("1/n") ? " In the formula of L here n is the number of outputs." : "");
  images();
  spreads();
  render();
}
start();
