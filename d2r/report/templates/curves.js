// ---- curves: small multiples with one legend ------------------------------------------------------------------------
const curve = { quantity: byId("curve-quantity"), legend: byId("curve-legend"), panels: byId("curve-panels") };
const tooMany = data.methods.length > 14;
const shown = new Set(data.methods.filter(({ kind }) => !tooMany || kind !== "variant").map(({ id }) => id));
const dashes = (method) => (method.kind === "variant" ? "5 2.5" : "none");
const GAP = 14, PANEL = 205;

/** Three to five round numbers from ``low`` to ``high``. */
function ticks(low, high, most = 4) {
  const rough = (high - low) / most || 1, power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].find((factor) => factor * power >= rough * 0.999) * power;
  const found = [];
  for (let i = Math.ceil(low / step - 1e-9); i * step <= high + 1e-9 * step; i++) found.push(i * step || 0);
  return found;
}

/** One plot: series of {xs, ys, method, faint, label} inside a range that all plots of a row share. */
function panel(title, series, range, width, options = {}) {
  const height = Math.round(width * (options.ratio ?? 0.62)), left = 38, right = 8, top = 8, bottom = 20;
  const at = (x) => left + ((x - range.x[0]) / (range.x[1] - range.x[0] || 1)) * (width - left - right);
  const up = (y) => height - bottom - ((y - range.y[0]) / (range.y[1] - range.y[0] || 1)) * (height - top - bottom);
  const plot = svg("svg", { width, height, viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": title });
  for (const tick of ticks(...range.y)) {
    plot.append(svg("line", { x1: left, x2: width - right, y1: up(tick), y2: up(tick), class: "grid" }));
    plot.append(svg("text", { x: left - 5, y: up(tick) + 3.5, "text-anchor": "end" }, options.write(tick)));
  }
  for (const tick of ticks(...range.x, width < 300 ? 2 : 5)) {
    plot.append(svg("text", { x: at(tick), y: height - 5, "text-anchor": tick === range.x[0] ? "start" : "middle" }, steps(tick)));
  }
  plot.append(svg("line", { x1: left, x2: width - right, y1: height - bottom, y2: height - bottom, class: "axis" }));
  for (const { xs, ys, method, faint } of series) {
    const points = xs.map((x, i) => `${at(x).toFixed(1)},${up(ys[i]).toFixed(1)}`).join(" ");
    const one = xs.length === 1;
    plot.append(svg(one ? "circle" : "polyline", {
      ...(one ? { cx: at(xs[0]), cy: up(ys[0]), r: faint ? 2 : 3.5 } : { points }),
      class: `series ${one ? "dot" : ""} ${faint ? "faint" : ""} ${method.kind === "d2r" && !faint ? "main" : ""}`,
      style: `--c: ${method.color}`, "stroke-dasharray": faint ? "none" : dashes(method), "data-method": method.id,
    }));
  }
  const marker = svg("line", { y1: top, y2: height - bottom, class: "marker", visibility: "hidden" });
  plot.append(marker);
  plot.addEventListener("pointermove", (event) => {
    const box = plot.getBoundingClientRect();
    const x = range.x[0] + ((((event.clientX - box.left) * width) / box.width - left) / (width - left - right)) * (range.x[1] - range.x[0]);
    const lines = series.filter(({ label }) => label).map(({ xs, ys, label, method }) => {
      const i = xs.reduce((best, value, k) => (Math.abs(value - x) < Math.abs(xs[best] - x) ? k : best), 0);
      return { step: xs[i], value: ys[i], label, method };
    }).sort((a, b) => b.value - a.value);
    if (!lines.length) return;
    marker.setAttribute("x1", at(lines[0].step));
    marker.setAttribute("x2", at(lines[0].step));
    marker.setAttribute("visibility", "visible");
    showTip(event, [element("b", {}, `${title}, step ${lines[0].step.toLocaleString("en")}`), ...lines.slice(0, 14).map((line) =>
      element("div", {}, spot(line.method.color), `${line.label} `, element("b", {}, options.write(line.value))))]);
  });
  plot.addEventListener("pointerleave", () => { hideTip(); marker.setAttribute("visibility", "hidden"); });
  return element("figure", { class: "panel" }, element("figcaption", {}, title), plot);
}

const mean = (rows) => rows[0].map((_, i) => rows.reduce((sum, row) => sum + row[i], 0) / rows.length);
function extent(series, axis) {
  const values = series.flatMap((one) => one[axis]);
  return [Math.min(...values), Math.max(...values)];
}
function rangeOf(series, { percent, log }) {
  let [low, high] = extent(series, "ys");
  if (percent) [low, high] = [0, Math.min(1, Math.max(0.1, Math.ceil(high * 10 - 1e-6) / 10))];
  else if (!log && low >= 0 && low < 0.5 * high) low = 0;
  const room = (high - low || 1) * 0.03;
  return { x: [0, extent(series, "xs")[1]], y: [percent ? low : low - room, high + room] };
}

function drawCurves() {
  const quantity = data.quantities.find(({ id }) => id === curve.quantity.value);
  curve.panels.replaceChildren();
  for (const [benchmark, quantities] of Object.entries(data.curves)) {
    const entry = quantities[quantity?.id];
    if (!entry) continue;
    const kind = { percent: quantity.percent, log: entry.log };
    const write = (value) => quantity.percent ? `${number(100 * value)} %` : number(entry.log ? 10 ** value : value);
    const read = (text) => decode(text, entry.low, entry.high);
    const chosen = Object.entries(entry.methods).filter(([id]) => shown.has(id))
      .sort(([a], [b]) => (methods.get(a).kind === "d2r") - (methods.get(b).kind === "d2r"));
    const all = [], single = new Map(), byTask = new Map();
    for (const [id, { grid, runs, tasks }] of chosen) {
      const method = methods.get(id), xs = data.grids[grid];
      const values = Object.entries(runs).map(([seed, text]) => ({ seed, ys: read(text) }));
      all.push({ xs, ys: mean(values.map(({ ys }) => ys)), method, label: method.title });
      single.set(id, values.map(({ seed, ys }) => ({ xs, ys, method, faint: true, label: `seed ${seed}` })));
      for (const [i, text] of (tasks ?? []).entries()) {
        const task = data.tasks[benchmark][i];
        if (!text) continue;
        if (!byTask.has(task)) byTask.set(task, []);
        byTask.get(task).push({ xs, ys: read(text), method, label: method.title });
      }
    }
    curve.panels.append(element("h3", {}, `${benchmark}: ${quantity.label}`));
    if (!all.length) { curve.panels.append(element("p", {}, "No method that is chosen recorded this.")); continue; }
    const grid = element("div", { class: "panels" });
    curve.panels.append(grid);
    const width = columns(grid, all.length + 1), range = rangeOf([...all, ...[...single.values()].flat()], kind);
    grid.append(panel("all methods, means", all, range, width, { write }));
    const reference = all.find(({ method }) => method.kind === "d2r");
    for (const one of [...all].reverse()) {
      const beside = reference && one !== reference ? [{ ...reference, label: null, faint: true }] : [];
      const made = panel(one.method.title, [...beside, ...single.get(one.method.id), { ...one, label: "mean" }], range, width, { write });
      made.querySelector("figcaption").prepend(spot(one.method.color));
      grid.append(made);
    }
    if (byTask.size) {
      const tasks = data.tasks[benchmark].filter((task) => byTask.has(task));
      const small = element("div", { class: "panels" });
      const title = element("summary", {}, `${benchmark}: each task, easiest first, means over runs`);
      const drawer = element("details", {}, title, small);
      drawer.open = tasks.length <= 10;
      const span = rangeOf([...byTask.values()].flat(), kind);
      const draw = () => {
        if (!drawer.open || small.childElementCount) return;
        const narrow = columns(small, tasks.length);
        small.append(...tasks.map((task) => panel(shortTask(task), byTask.get(task), span, narrow, { write })));
      };
      drawer.addEventListener("toggle", draw);
      curve.panels.append(drawer);
      draw();
    }
  }
}

/** Lay a grid of so many plots out in rows as even as can be; the width of each plot. */
function columns(grid, plots) {
  const room = grid.clientWidth, most = Math.max(2, Math.floor((room + GAP) / (PANEL + GAP)));
  const count = Math.ceil(plots / Math.ceil(plots / most));
  grid.style.gridTemplateColumns = `repeat(${count}, minmax(0, 1fr))`;
  return Math.floor((room - (count - 1) * GAP) / count);
}

function buildLegend() {
  for (const method of data.methods) {
    const chip = element("button", { type: "button", class: "chip", "aria-pressed": shown.has(method.id), "data-method": method.id },
      element("span", { class: `line ${method.kind}`, style: `--c: ${method.color}` }), method.title);
    chip.addEventListener("click", () => {
      if (shown.has(method.id)) shown.delete(method.id); else shown.add(method.id);
      chip.setAttribute("aria-pressed", shown.has(method.id));
      drawCurves();
    });
    chip.addEventListener("pointerenter", () => highlight(method.id));
    chip.addEventListener("pointerleave", () => highlight(null));
    curve.legend.append(chip);
  }
  for (const button of document.querySelectorAll("[data-pick]")) {
    button.addEventListener("click", () => {
      for (const chip of curve.legend.children) {
        const id = chip.dataset.method, { kind } = methods.get(id), pick = button.dataset.pick;
        if (pick === "all" || kind === "d2r" || kind === pick) shown.add(id); else shown.delete(id);
        chip.setAttribute("aria-pressed", shown.has(id));
      }
      drawCurves();
    });
  }
}
function highlight(id) {
  for (const line of curve.panels.querySelectorAll("[data-method]")) {
    line.classList.toggle("off", id !== null && line.dataset.method !== id);
  }
}

fill(curve.quantity, data.quantities.filter(({ id }) => Object.values(data.curves).some((found) => id in found))
  .map(({ id, label }) => [id, label]));
buildLegend();
drawCurves();
curve.quantity.addEventListener("change", drawCurves);
let lastWidth = curve.panels.clientWidth;
new ResizeObserver(() => {
  if (curve.panels.clientWidth === lastWidth) return;
  lastWidth = curve.panels.clientWidth;
  drawCurves();
}).observe(curve.panels);
