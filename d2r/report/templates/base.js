"use strict";
// Everything is drawn from the JSON in #data; nothing is fetched.
const data = JSON.parse(document.getElementById("data").textContent);
const byId = (id) => document.getElementById(id);
const methods = new Map(data.methods.map((method) => [method.id, method]));
const number = (value) => (value || 0).toLocaleString("en", { maximumSignificantDigits: 3 });
const steps = (value) => value >= 1e6 ? `${number(value / 1e6)}M` : value >= 1e3 ? `${number(value / 1e3)}k` : `${value}`;
const shortTask = (task) => task.replace(/-v\d$/, "");

// ---- what the data are written in -----------------------------------------------------------------------------------
const ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_", LEVELS = 4000, WEIGHT_LEVELS = 62;
const digit = new Map([...ALPHABET].map((letter, i) => [letter, i]));
function decode(text, low, high) {
  const values = [];
  for (let i = 0; i < text.length; i += 2) {
    values.push(low + ((64 * digit.get(text[i]) + digit.get(text[i + 1])) / LEVELS) * (high - low));
  }
  return values;
}

// ---- elements -------------------------------------------------------------------------------------------------------
function element(name, attributes = {}, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  made.append(...children);
  return made;
}
function svg(name, attributes = {}, ...children) {
  const made = document.createElementNS("http://www.w3.org/2000/svg", name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  made.append(...children);
  return made;
}
const spot = (color) => element("span", { class: "spot", style: `--c: ${color}` });

function fill(select, options, chosen) {
  const before = chosen ?? select.value;
  select.replaceChildren(...options.map(([value, text]) => new Option(text, value)));
  select.value = options.some(([value]) => value === before) ? before : options[0]?.[0] ?? "";
}

const tip = byId("tip");
function showTip(event, lines) {
  tip.replaceChildren(...lines);
  tip.hidden = false;
  const box = tip.getBoundingClientRect(), room = document.documentElement.clientWidth;
  const right = event.clientX + 14 + box.width > room;
  tip.style.left = `${Math.max(4, right ? event.clientX - box.width - 14 : event.clientX + 14)}px`;
  tip.style.top = `${Math.max(4, Math.min(event.clientY + 14, window.innerHeight - box.height - 4))}px`;
}
const hideTip = () => { tip.hidden = true; };
window.addEventListener("scroll", hideTip, { passive: true });

// ---- light and dark -------------------------------------------------------------------------------------------------
const systemDark = window.matchMedia("(prefers-color-scheme: dark)");
byId("theme").addEventListener("click", () => {
  const now = document.documentElement.dataset.theme ?? (systemDark.matches ? "dark" : "light");
  document.documentElement.dataset.theme = now === "dark" ? "light" : "dark";
});

// ---- links open what they name --------------------------------------------------------------------------------------
function openTarget() {
  const target = location.hash.length > 1 ? byId(decodeURIComponent(location.hash.slice(1))) : null;
  if (!target) return;
  for (let at = target; at; at = at.parentElement) if (at.tagName === "DETAILS") at.open = true;
  target.scrollIntoView();
}
window.addEventListener("hashchange", openTarget);
document.addEventListener("click", (event) => {
  const anchor = event.target.closest?.('a[href^="#"]');
  if (anchor && anchor.hash === location.hash) openTarget();
});

const sections = [...document.querySelectorAll("main > section")];
const links = new Map([...document.querySelectorAll("nav a")].map((anchor) => [anchor.hash.slice(1), anchor]));
function markSection() {
  const line = window.innerHeight / 3;
  const atEnd = window.innerHeight + window.scrollY >= document.documentElement.scrollHeight - 2;
  const here = atEnd ? sections.at(-1) : sections.filter((section) => section.getBoundingClientRect().top < line).at(-1);
  for (const [id, anchor] of links) {
    if (id === here?.id && !anchor.hasAttribute("aria-current")) {
      anchor.setAttribute("aria-current", "true");
      const bar = anchor.parentElement;
      bar.scrollLeft = anchor.offsetLeft - bar.clientWidth / 2;
    } else if (id !== here?.id) anchor.removeAttribute("aria-current");
  }
}
window.addEventListener("scroll", markSection, { passive: true });

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
document.addEventListener("click", (event) => {
  const anchor = event.target.closest?.('a[href^="../runs/"][href$="/"]');
  if (!anchor || event.ctrlKey || event.metaKey) return;
  const [benchmark, method, seed] = anchor.getAttribute("href").split("/").slice(2).filter(Boolean);
  const runs = (data.runs[`${benchmark}/${method}`] ?? []).filter((run) => !seed || seed === `seed${run.seed}`);
  if (!runs.length) return;
  event.preventDefault();
  byId("files-title").textContent = `${methods.get(method)?.title ?? method}, ${benchmark}`;
  byId("files-list").replaceChildren(...runs.map((run) => {
    const score = run.success === null ? "" : `, final success ${(100 * run.success).toFixed(1)} %`;
    const line = element("p", {}, `seed ${run.seed}: ${run.status}${score} `);
    if (run.status !== "missing") {
      const folder = `../runs/${benchmark}/${method}/seed${run.seed}`;
      for (const file of data.files) line.append(element("a", { href: `${folder}/${file}` }, file), " ");
    }
    return line;
  }));
  byId("files").showModal();
});
