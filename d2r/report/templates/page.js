"use strict";
// Everything is drawn from the JSON in #data; nothing is fetched.
const data = JSON.parse(document.getElementById("data").textContent);
const byId = (id) => document.getElementById(id);
const percentages = new Set(["success"]);

// ---- light and dark -------------------------------------------------------------------------------------------------
const systemDark = window.matchMedia("(prefers-color-scheme: dark)");
function applyTheme(theme) {
  document.documentElement.dataset.theme = theme;
  drawCurves();
  drawRoute();
}
const color = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
byId("theme").addEventListener("click", () =>
  applyTheme(document.documentElement.dataset.theme === "dark" ? "light" : "dark"));
systemDark.addEventListener("change", (event) => applyTheme(event.matches ? "dark" : "light"));

function layout(extra) {
  const axis = { gridcolor: color("--line"), linecolor: color("--line"), zerolinecolor: color("--line"), automargin: true };
  return {
    paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)", showlegend: false,
    font: { color: color("--fore"), family: "system-ui, DejaVu Sans, sans-serif", size: 13 },
    margin: { l: 55, r: 15, t: 15, b: 45 }, hovermode: "closest",
    hoverlabel: { bgcolor: color("--panel"), bordercolor: color("--line"), font: { color: color("--fore") } },
    ...extra, xaxis: { ...axis, ...extra.xaxis }, yaxis: { ...axis, ...extra.yaxis },
  };
}
const plotOptions = { responsive: true, displayModeBar: false };

function fill(select, options, chosen) {
  const before = chosen ?? select.value;
  select.replaceChildren(...options.map(([value, text]) => new Option(text, value)));
  select.value = options.some(([value]) => value === before) ? before : options.length ? options[0][0] : "";
}
const methodOf = (id) => data.methods.find((method) => method.id === id);
const lineColor = (method) => method.color ?? color("--fore");

// ---- curves ---------------------------------------------------------------------------------------------------------
const curve = { benchmark: byId("curve-benchmark"), quantity: byId("curve-quantity"), task: byId("curve-task"),
  bands: byId("curve-bands"), seeds: byId("curve-seeds"), plot: byId("curve-plot") };
const shown = new Set(data.methods.filter((method) => method.kind !== "variant").map((method) => method.id));

function curvesNow() { return data.curves[curve.benchmark.value]?.[curve.quantity.value] ?? {}; }

function refreshCurveChoices() {
  const quantities = data.curves[curve.benchmark.value] ?? {};
  fill(curve.quantity, data.quantities.filter(({ id }) => id in quantities).map(({ id, label }) => [id, label]));
  const perTask = Object.values(curvesNow()).some((entry) => entry.tasks);
  const tasks = perTask ? data.tasks[curve.benchmark.value] : [];
  fill(curve.task, [["", "all tasks (mean)"], ...tasks.map((task) => [task, task])]);
}

/** Indices of known values, in runs of neighbours: a band has a gap where there is no interval. */
function stretches(values) {
  const parts = [];
  values.forEach((value, i) => {
    if (value === null) return;
    if (i > 0 && values[i - 1] !== null) parts.at(-1).push(i);
    else parts.push([i]);
  });
  return parts;
}

function curveTraces(id, entry) {
  const method = methodOf(id), line = lineColor(method), task = curve.task.value;
  const scale = percentages.has(curve.quantity.value) ? 100 : 1;
  const times = (values) => values.map((value) => (value === null ? null : scale * value));
  const width = method.kind === "d2r" ? 3.5 : 2;
  if (task) {
    if (!entry.tasks?.[task]) return [];
    return [{ x: entry.steps, y: times(entry.tasks[task]), name: method.title, mode: "lines+markers",
      line: { color: line, width, dash: method.dash }, marker: { size: 4 },
      hovertemplate: `%{y:.3~g}, step %{x:,}<extra>${escapeText(method.title)}, ${escapeText(task)}</extra>` }];
  }
  const traces = [];
  const banded = entry.runs >= data.runs_for_a_band && entry.low.some((value) => value !== null);
  if (curve.bands.checked && banded) {
    const x = [], y = [];
    for (const part of stretches(entry.low)) {
      const back = [...part].reverse();
      x.push(...part.map((i) => entry.steps[i]), ...back.map((i) => entry.steps[i]), null);
      y.push(...part.map((i) => entry.high[i]), ...back.map((i) => entry.low[i]), null);
    }
    traces.push({ x, y: times(y), fill: "toself", fillcolor: line, opacity: 0.13, line: { width: 0 }, mode: "lines",
      hoverinfo: "skip" });
  }
  if (curve.seeds.checked) {
    for (const [seed, values] of Object.entries(entry.seeds ?? {})) {
      traces.push({ x: entry.steps, y: times(values), mode: "lines", line: { color: line, width: 0.8 },
        hovertemplate: `%{y:.3~g}, step %{x:,}<extra>${escapeText(method.title)}, seed ${seed}</extra>` });
    }
  }
  const format = (value) => (value === null ? null : Number((scale * value).toPrecision(3)));
  const interval = entry.steps.map((_, i) =>
    entry.low[i] === null ? "no interval" : `[${format(entry.low[i])}, ${format(entry.high[i])}]`);
  traces.push({ x: entry.steps, y: times(entry.mean), text: interval, name: method.title, mode: "lines+markers",
    line: { color: line, width, dash: method.dash }, marker: { size: entry.steps.length < 15 ? 6 : 3 },
    hovertemplate: `%{y:.3~g} %{text}, step %{x:,}<extra>${escapeText(method.title)}, n=${entry.runs}</extra>` });
  return traces;
}
const escapeText = (text) => text.replace(/&/g, "&amp;").replace(/</g, "&lt;").replace(/>/g, "&gt;");

function drawCurves() {
  const entries = Object.entries(curvesNow()).filter(([id]) => shown.has(id));
  entries.sort(([a], [b]) => (methodOf(a).kind === "d2r") - (methodOf(b).kind === "d2r"));
  const label = data.quantities.find(({ id }) => id === curve.quantity.value)?.label ?? "";
  const percent = percentages.has(curve.quantity.value);
  Plotly.react(curve.plot, entries.flatMap(([id, entry]) => curveTraces(id, entry)), layout({
    xaxis: { title: { text: "environment steps per task" }, rangemode: "tozero" },
    yaxis: { title: { text: percent ? `${label}, %` : label }, range: percent ? [-3, 103] : undefined },
  }), plotOptions);
}

function buildChecks() {
  const box = byId("curve-checks");
  for (const method of data.methods) {
    const label = document.createElement("label"), check = document.createElement("input");
    const swatch = document.createElement("span");
    check.type = "checkbox";
    check.value = method.id;
    check.checked = shown.has(method.id);
    check.addEventListener("change", () => {
      if (check.checked) shown.add(method.id); else shown.delete(method.id);
      drawCurves();
    });
    swatch.className = "swatch";
    swatch.style.background = method.color ?? "var(--fore)";
    label.append(check, " ", swatch, method.title);
    box.append(label);
  }
  for (const button of document.querySelectorAll("[data-pick]")) {
    button.addEventListener("click", () => {
      const pick = button.dataset.pick;
      for (const check of box.querySelectorAll("input")) {
        const kind = methodOf(check.value).kind;
        check.checked = pick === "all" || (pick !== "none" && (kind === "d2r" || kind === pick));
        if (check.checked) shown.add(check.value); else shown.delete(check.value);
      }
      drawCurves();
    });
  }
}

// ---- routes ---------------------------------------------------------------------------------------------------------
const route = { benchmark: byId("route-benchmark"), method: byId("route-method"), task: byId("route-task"),
  step: byId("route-step"), at: byId("route-at"), play: byId("route-play"), words: byId("route-words"),
  plot: byId("route-plot") };

function refreshRouteChoices() {
  const methods = data.routes[route.benchmark.value] ?? {};
  fill(route.method, data.methods.filter(({ id }) => id in methods).map(({ id, title }) => [id, title]));
  const entry = methods[route.method.value];
  const tasks = entry ? data.tasks[route.benchmark.value].filter((task) => task in entry.tasks) : [];
  fill(route.task, tasks.map((task) => [task, task]));
  const last = entry ? entry.steps.length - 1 : 0;
  const follow = Number(route.step.value) >= Number(route.step.max);
  route.step.max = last;
  if (follow || Number(route.step.value) > last) route.step.value = last;
}

function usedModules(edges, output) {
  const used = new Set(), waiting = [output];
  while (waiting.length) {
    const target = waiting.pop();
    for (const [to, from] of edges) {
      if (to === target && !used.has(from)) { used.add(from); waiting.push(from); }
    }
  }
  return used;
}

function drawRoute() {
  const entry = data.routes[route.benchmark.value]?.[route.method.value];
  if (!entry || !route.task.value) {
    route.words.textContent = "No finished run recorded routes.";
    Plotly.react(route.plot, [], layout({ xaxis: { visible: false }, yaxis: { visible: false } }), plotOptions);
    return;
  }
  const place = Math.min(Number(route.step.value), entry.tasks[route.task.value].length - 1);
  const edges = entry.tasks[route.task.value][place], output = entry.modules + 1;
  const used = usedModules(edges, output);
  const traces = edges.map(([to, from, weight]) => {
    const middle = (to + from) / 2, radius = (to - from) / 2, active = to === output || used.has(to);
    const angles = Array.from({ length: 25 }, (_, i) => (Math.PI * i) / 24);
    const name = `${from} → ${to === output ? "output" : to}: weight ${weight}${active ? "" : ", not used"}`;
    return { x: angles.map((angle) => middle - radius * Math.cos(angle)),
      y: angles.map((angle) => radius * Math.sin(angle)), mode: "lines", hoverinfo: "text", text: name,
      line: { color: active ? color("--link") : color("--line"), width: active ? 1 + 7 * weight : 1 } };
  });
  const highest = Math.max(...edges.map(([to, from]) => (to - from) / 2));
  const nodes = Array.from({ length: entry.modules }, (_, i) => i + 1);
  traces.push({ x: [...nodes, output], y: [...nodes, output].map(() => 0), mode: "markers+text",
    text: [...nodes.map(String), "out"], textposition: "bottom center", hoverinfo: "text",
    hovertext: [...nodes.map((n) => `module ${n}: ${used.has(n) ? "used" : "not used"}`), "output"],
    marker: { size: 15, symbol: [...nodes.map(() => "circle"), "triangle-right"],
      color: [...nodes.map((n) => (used.has(n) ? color("--fore") : color("--line"))), color("--bad")] } });
  route.at.textContent = entry.steps[place].toLocaleString("en");
  const success = data.curves[route.benchmark.value]?.success?.[route.method.value];
  const at = success ? success.steps.indexOf(entry.steps[place]) : -1;
  const solved = at >= 0 ? `; success over all runs then ${(100 * success.tasks[route.task.value][at]).toFixed(0)} %` : "";
  const list = [...used].sort((a, b) => a - b).join(", ");
  route.words.textContent = `${methodOf(route.method.value).title}, ${route.task.value}, seed ${entry.seed}, step ` +
    `${entry.steps[place].toLocaleString("en")}: uses ${used.size} of ${entry.modules} modules in some state (${list})${solved}.`;
  Plotly.react(route.plot, traces, layout({
    margin: { l: 10, r: 10, t: 5, b: 5 },
    xaxis: { visible: false, range: [0.3, output + 0.7] },
    yaxis: { visible: false, range: [-0.2 * highest, 1.08 * highest] },
  }), plotOptions);
}

let playing = null;
route.play.addEventListener("click", () => {
  const stop = () => { clearInterval(playing); playing = null; route.play.setAttribute("aria-pressed", "false"); };
  if (playing) { stop(); return; }
  route.play.setAttribute("aria-pressed", "true");
  route.step.value = 0;
  drawRoute();
  playing = setInterval(() => {
    if (Number(route.step.value) >= Number(route.step.max)) { stop(); return; }
    route.step.value = Number(route.step.value) + 1;
    drawRoute();
  }, 700);
});

// ---- tables ---------------------------------------------------------------------------------------------------------
function sortKey(cell) {
  return cell.dataset.sort === undefined ? cell.textContent : Number(cell.dataset.sort);
}
function compareCells(a, b) {
  const numeric = [typeof a === "number", typeof b === "number"];
  if (numeric[0] && numeric[1]) return a - b;
  if (numeric[0] !== numeric[1]) return numeric[0] ? -1 : 1;
  return a.localeCompare(b, "en", { numeric: true });
}
for (const table of document.querySelectorAll("table[data-table]")) {
  const heads = [...table.tHead.rows[0].cells], body = table.tBodies[0];
  heads.forEach((head, column) => head.querySelector("button").addEventListener("click", () => {
    const descending = head.getAttribute("aria-sort") === "ascending";
    heads.forEach((other) => other.removeAttribute("aria-sort"));
    head.setAttribute("aria-sort", descending ? "descending" : "ascending");
    const rows = [...body.rows].map((row) => [sortKey(row.cells[column]), row]);
    rows.sort(([a], [b]) => (descending ? -1 : 1) * compareCells(a, b));
    body.append(...rows.map(([, row]) => row));
  }));
}
for (const input of document.querySelectorAll("[data-filter]")) {
  const body = document.querySelector(`table[data-table="${input.dataset.filter}"]`).tBodies[0];
  input.addEventListener("input", () => {
    const words = input.value.toLowerCase().split(/\s+/).filter(Boolean);
    for (const row of body.rows) {
      const text = row.textContent.toLowerCase();
      row.hidden = !words.every((word) => text.includes(word));
    }
  });
}

// ---- run files behind a number --------------------------------------------------------------------------------------
function link(href, text) {
  const anchor = document.createElement("a");
  anchor.href = href;
  anchor.textContent = text;
  return anchor;
}
document.addEventListener("click", (event) => {
  const anchor = event.target.closest?.("a[data-runs]");
  if (!anchor || event.ctrlKey || event.metaKey) return;
  const [benchmark, method, seed] = anchor.dataset.runs.split("/");
  const runs = (data.runs[`${benchmark}/${method}`] ?? []).filter((run) => !seed || seed === `seed${run.seed}`);
  if (!runs.length) return;
  event.preventDefault();
  byId("files-title").textContent = `${benchmark} / ${method}`;
  byId("files-list").replaceChildren(...runs.map((run) => {
    const line = document.createElement("p");
    const score = run.success === null ? "" : `, success ${(100 * run.success).toFixed(1)} %`;
    line.append(`seed ${run.seed}: ${run.status}${score} `);
    if (run.status !== "missing") {
      for (const file of data.files) line.append(link(`../runs/${benchmark}/${method}/seed${run.seed}/${file}`, file), " ");
    }
    return line;
  }));
  byId("files").showModal();
});

// ---- start ----------------------------------------------------------------------------------------------------------
fill(curve.benchmark, Object.keys(data.curves).filter((name) => Object.keys(data.curves[name]).length).map((n) => [n, n]));
fill(route.benchmark, Object.keys(data.routes).map((name) => [name, name]));
refreshCurveChoices();
refreshRouteChoices();
buildChecks();
for (const control of [curve.benchmark, curve.quantity]) {
  control.addEventListener("change", () => { refreshCurveChoices(); drawCurves(); });
}
for (const control of [curve.task, curve.bands, curve.seeds]) control.addEventListener("change", drawCurves);
for (const control of [route.benchmark, route.method]) {
  control.addEventListener("change", () => { refreshRouteChoices(); drawRoute(); });
}
for (const control of [route.task, route.step]) control.addEventListener("input", drawRoute);
applyTheme(systemDark.matches ? "dark" : "light");
document.documentElement.dataset.ready = "true";
