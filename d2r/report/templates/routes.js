// ---- routes: one route at one time, and the modules that all tasks use over training ----------------------------------
const route = { benchmark: byId("route-benchmark"), method: byId("route-method"), seed: byId("route-seed"), task: byId("route-task"),
  step: byId("route-step"), at: byId("route-at"), play: byId("route-play"), words: byId("route-words"), arcs: byId("route-arcs"),
  usage: byId("route-usage"), scale: byId("route-scale") };
const chosenMethod = () => data.routes[route.benchmark.value]?.[route.method.value];
const ofTask = (texts, task) => texts[data.tasks[route.benchmark.value].indexOf(task)];
const chosenRun = () => chosenMethod()?.seeds[route.seed.value];

function refreshRouteChoices() {
  const found = data.routes[route.benchmark.value] ?? {};
  fill(route.method, data.methods.filter(({ id }) => id in found).map(({ id, title }) => [id, title]));
  fill(route.seed, Object.keys(chosenMethod()?.seeds ?? {}).map((seed) => [seed, seed]));
  const run = chosenRun(), tasks = run ? data.tasks[route.benchmark.value].filter((task) => ofTask(run.routes, task)) : [];
  fill(route.task, tasks.map((task) => [task, shortTask(task)]));
  const last = run ? data.grids[run.grid].length - 1 : 0, atEnd = Number(route.step.value) >= Number(route.step.max);
  route.step.max = last;
  if (atEnd || Number(route.step.value) > last) route.step.value = last;
}

/** Edges [target, source, weight] of one route; the output is one module more. */
function edgesOf(text, place, modules) {
  const pairs = (modules * (modules + 1)) / 2, edges = [];
  let at = place * pairs;
  for (let target = 2; target <= modules + 1; target++) {
    for (let source = 1; source < target; source++, at++) {
      const level = digit.get(text[at]);
      if (level) edges.push([target, source, (level - 1) / WEIGHT_LEVELS]);
    }
  }
  return edges;
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
  const run = chosenRun(), text = run && ofTask(run.routes, route.task.value);
  route.arcs.replaceChildren();
  if (!text) { route.words.textContent = "No finished run recorded routes."; return; }
  const { modules } = chosenMethod(), place = Number(route.step.value), output = modules + 1;
  const edges = edgesOf(text, place, modules), used = usedModules(edges, output), step = data.grids[run.grid][place];
  const width = Math.max(260, route.arcs.clientWidth), gap = (width - 40) / modules;
  const highest = Math.max(1, ...edges.map(([to, from]) => to - from)) * gap / 2;
  const tall = Math.min(highest, 300), height = tall + 44, base = tall + 12, x = (module) => 20 + (module - 1) * gap;
  const plot = svg("svg", { width, height, viewBox: `0 0 ${width} ${height}`, role: "img", "aria-labelledby": "route-words" });
  const active = ([to]) => to === output || used.has(to);
  for (const edge of [...edges].sort((a, b) => active(a) - active(b))) {
    const [to, from, weight] = edge, radius = (x(to) - x(from)) / 2;
    const name = `${from} → ${to === output ? "output" : to}: weight ${weight.toFixed(2)}${active(edge) ? "" : ", not used"}`;
    plot.append(svg("path", { d: `M${x(from)},${base} A${radius},${Math.min(radius, (radius * tall) / highest)} 0 0 1 ${x(to)},${base}`,
      class: `arc ${active(edge) ? "on" : ""}`, "stroke-width": active(edge) ? 1 + 8 * weight : 1 }, svg("title", {}, name)));
  }
  for (let module = 1; module <= output; module++) {
    const on = module === output || used.has(module);
    const label = module === output ? "output" : `module ${module}: ${on ? "used" : "not used"}`;
    plot.append(svg("circle", { cx: x(module), cy: base, r: Math.min(10, gap / 3), class: `node ${on ? "on" : ""} ${module === output ? "out" : ""}` },
      svg("title", {}, label)));
    plot.append(svg("text", { x: x(module), y: base + 26, "text-anchor": "middle" }, module === output ? "out" : `${module}`));
  }
  route.arcs.append(plot);
  route.at.textContent = `${step.toLocaleString("en")} steps`;
  route.step.setAttribute("aria-valuetext", route.at.textContent);
  const list = [...used].sort((a, b) => a - b).join(", ");
  route.words.textContent = `${methods.get(route.method.value).title}, ${route.benchmark.value}, ${shortTask(route.task.value)}, ` +
    `seed ${route.seed.value}, step ${step.toLocaleString("en")}: uses ${used.size} of ${modules} modules in some state (${list}).`;
}

function drawUsage() {
  const run = chosenRun();
  route.usage.replaceChildren();
  route.scale.replaceChildren();
  if (!run?.used?.length) { route.usage.textContent = "This run did not record the modules that it uses."; return; }
  const { modules } = chosenMethod(), grid = data.grids[run.used_grid];
  const tasks = data.tasks[route.benchmark.value].filter((task) => ofTask(run.used, task));
  const rows = tasks.map((task) => decode(ofTask(run.used, task), 0, modules)), all = rows.flat();
  const low = Math.floor(Math.min(...all)), high = Math.max(low + 1, Math.ceil(Math.max(...all)));
  const width = Math.max(260, route.usage.clientWidth), left = width < 500 ? 96 : 150, right = 40, tall = tasks.length > 20 ? 13 : 22;
  const cell = (width - left - right) / grid.length, height = tasks.length * tall + 24, now = data.grids[run.grid][Number(route.step.value)];
  const plot = svg("svg", { width, height, viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": "modules used by each task over training" });
  tasks.forEach((task, row) => {
    const chosen = task === route.task.value, y = row * tall;
    plot.append(svg("text", { x: left - 8, y: y + tall / 2 + 4, "text-anchor": "end", class: chosen ? "chosen" : "" }, shortTask(task)));
    rows[row].forEach((value, i) => {
      const share = (value - low) / (high - low);
      const box = svg("rect", { x: left + i * cell, y: y + 1, width: cell + 0.5, height: tall - 2, class: "cell", style: `--v: ${share.toFixed(3)}` });
      box.addEventListener("pointermove", (event) => showTip(event, [`${shortTask(task)}, step ${grid[i].toLocaleString("en")}: `,
        element("b", {}, `${value.toFixed(1)} modules`)]));
      box.addEventListener("pointerleave", hideTip);
      box.addEventListener("click", () => choose(task, grid[i]));
      plot.append(box);
    });
    plot.append(svg("text", { x: width - right + 6, y: y + tall / 2 + 4, class: chosen ? "chosen" : "" }, rows[row].at(-1).toFixed(1)));
    if (chosen) plot.append(svg("rect", { x: left, y: y + 0.5, width: width - left - right, height: tall - 1, class: "frame" }));
  });
  const near = grid.reduce((best, value, i) => (Math.abs(value - now) < Math.abs(grid[best] - now) ? i : best), 0);
  plot.append(svg("rect", { x: left + near * cell, y: 0, width: cell, height: height - 24, class: "frame thin" }));
  for (const i of [0, Math.floor((grid.length - 1) / 2), grid.length - 1]) {
    plot.append(svg("text", { x: left + (i + 0.5) * cell, y: height - 7, "text-anchor": "middle" }, steps(grid[i])));
  }
  route.usage.append(plot);
  route.scale.append(`${low}`, element("span", { class: "ramp" }), `${high} of ${modules} modules used, mean over states`);
}

function choose(task, step) {
  const grid = data.grids[chosenRun().grid];
  if ([...route.task.options].some(({ value }) => value === task)) route.task.value = task;
  route.step.value = grid.reduce((best, value, i) => (Math.abs(value - step) < Math.abs(grid[best] - step) ? i : best), 0);
  drawRoutes();
}
function drawRoutes() { drawRoute(); drawUsage(); }

let playing = null;
route.play.addEventListener("click", () => {
  const stop = () => { clearInterval(playing); playing = null; route.play.setAttribute("aria-pressed", "false"); };
  if (playing) { stop(); return; }
  route.play.setAttribute("aria-pressed", "true");
  route.step.value = 0;
  drawRoutes();
  playing = setInterval(() => {
    if (Number(route.step.value) >= Number(route.step.max)) { stop(); return; }
    route.step.value = Number(route.step.value) + 1;
    drawRoutes();
  }, 700);
});

fill(route.benchmark, Object.keys(data.routes).map((name) => [name, name]));
refreshRouteChoices();
for (const control of [route.benchmark, route.method, route.seed]) {
  control.addEventListener("change", () => { refreshRouteChoices(); drawRoutes(); });
}
for (const control of [route.task, route.step]) control.addEventListener("input", drawRoutes);
let routeWidth = route.arcs.clientWidth;
new ResizeObserver(() => {
  if (route.arcs.clientWidth === routeWidth) return;
  routeWidth = route.arcs.clientWidth;
  drawRoutes();
}).observe(route.arcs);
drawRoutes();
openTarget();
markSection();
document.documentElement.dataset.ready = "true";
