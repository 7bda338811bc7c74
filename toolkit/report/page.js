"use strict";
// Sorting of tables, choice of the metric, and the details of a video. The page reads without it.
const data = JSON.parse(document.getElementById("data").textContent);
const LEVELS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";

function valueOf(row, column) {
  const cell = row.cells[column];
  const text = cell.dataset.value ?? cell.textContent.trim();
  return text === "" || Number.isNaN(Number(text)) ? text : Number(text);
}

function compare(a, b, sign) {
  if (a === "" || b === "") return (a === "") - (b === ""); // what is not defined comes last
  if (typeof a === "number" && typeof b === "number") return sign * (a - b);
  return sign * String(a).localeCompare(String(b), "en", { numeric: true });
}

function sortBy(header, direction) {
  const table = header.closest("table");
  const body = table.tBodies[0];
  const sign = direction === "ascending" ? 1 : -1;
  const rows = [...body.rows].map((row) => [valueOf(row, header.cellIndex), row]);
  rows.sort((a, b) => compare(a[0], b[0], sign)); // stable: equals keep their order
  body.append(...rows.map((pair) => pair[1]));
  for (const other of table.tHead.rows[0].cells) {
    if (other.hasAttribute("aria-sort")) other.setAttribute("aria-sort", "none");
  }
  header.setAttribute("aria-sort", direction);
}

function onHeader(button) {
  const header = button.closest("th");
  const turned = { ascending: "descending", descending: "ascending" };
  sortBy(header, turned[header.getAttribute("aria-sort")] ?? button.dataset.first);
}

function shown(value, metric) {
  return value === null ? "\u2013" : value.toFixed(data.metrics[metric].digits);
}

function mark(cells, values, metric) {
  const sign = data.metrics[metric].higher ? -1 : 1;
  const read = values.map((value) => (value === null ? null : Number(shown(value, metric))));
  const order = [...new Set(read.filter((value) => value !== null))].sort((a, b) => sign * (a - b));
  cells.forEach((cell, i) => {
    cell.classList.toggle("first", cells.length > 1 && read[i] !== null && read[i] === order[0]);
  });
}

function fill(table, metric) {
  const groups = data[table.id];
  const column = data.order.indexOf(metric);
  const first = Number(table.dataset.first);
  for (const row of table.tBodies[0].rows) {
    const values = groups[row.dataset.name].map((of) => (of === null ? null : of[column]));
    const cells = [...row.cells].slice(first);
    cells.forEach((cell, i) => {
      cell.dataset.value = values[i] ?? "";
      cell.textContent = shown(values[i], metric);
    });
    mark(cells, values, metric);
  }
  for (const header of [...table.tHead.rows[0].cells].slice(first)) {
    header.setAttribute("aria-sort", "none");
    header.querySelector("button").dataset.first =
      data.metrics[metric].higher ? "descending" : "ascending";
  }
}

function element(name, attributes, text) {
  const made = document.createElementNS("http://www.w3.org/2000/svg", name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  if (text !== undefined) made.textContent = text;
  return made;
}

function linePath(line, x, y) {
  let path = "", pen = false;
  [...line].forEach((letter, i) => {
    const level = LEVELS.indexOf(letter);
    if (level >= 0) path += `${pen ? "L" : "M"}${x(i, line.length)} ${y(level / (LEVELS.length - 1))}`;
    pen = level >= 0;
  });
  return path;
}

function timeline(name) {
  const lines = data.timelines[name];
  const svg = element("svg", { viewBox: "0 0 700 230", role: "img" });
  svg.setAttribute("aria-label", `Overlap of each tracker over the frames of ${name}`);
  const x = (i, n) => (40 + (650 * (i + 0.5)) / n).toFixed(1);
  const y = (value) => (200 - 190 * value).toFixed(1);
  for (const value of [0, 0.25, 0.5, 0.75, 1]) {
    svg.append(element("line", { class: "grid", x1: 40, x2: 690, y1: y(value), y2: y(value) }));
    svg.append(element("text", { x: 34, y: Number(y(value)) + 4, "text-anchor": "end" }, value));
  }
  svg.append(element("text", { x: 40, y: 218 }, "frame 0"));
  const last = data.frames[name] - 1;
  svg.append(element("text", { x: 690, y: 218, "text-anchor": "end" }, `frame ${last}`));
  lines.forEach((line, i) => {
    const look = { fill: "none", stroke: data.trackers[i].color, "stroke-width": 1.6 };
    const path = element("path", { d: linePath(line, x, y), ...look });
    path.append(element("title", {}, data.trackers[i].name));
    svg.append(path);
  });
  return svg;
}

function scoresOf(name) {
  const table = document.createElement("table");
  const head = table.createTHead().insertRow();
  for (const text of ["Tracker", ...data.order.map((metric) => data.metrics[metric].label)]) {
    const cell = document.createElement("th");
    cell.scope = "col";
    cell.textContent = text;
    head.append(cell);
  }
  const body = table.createTBody();
  data.videos[name].forEach((values, i) => {
    const row = body.insertRow();
    const cell = document.createElement("th");
    cell.scope = "row";
    const swatch = document.createElement("span");
    swatch.className = "swatch";
    swatch.style.background = data.trackers[i].color;
    cell.append(swatch, data.trackers[i].name);
    row.append(cell);
    data.order.forEach((metric, k) => {
      row.insertCell().textContent = values === null ? "\u2013" : shown(values[k], metric);
    });
  });
  return table;
}

function openVideo(name) {
  if (!Object.hasOwn(data.videos, name)) return;
  const dialog = document.getElementById("video");
  dialog.querySelector("h2").textContent = name;
  const parts = [`${data.frames[name]} frames`, ...data.tags[name]];
  dialog.querySelector("p").textContent = parts.join(" \u00b7 ");
  const plot = dialog.querySelector(".plot");
  plot.replaceChildren(...(data.timelines[name] ? [timeline(name)] : []));
  dialog.querySelector(".scroll").replaceChildren(scoresOf(name));
  if (!dialog.open) dialog.showModal();
}

// #sort=videos.2 or #sort=scores.success.ascending sorts a table, #open=<video> shows a video.
function followFragment() {
  const [action, target] = decodeURIComponent(location.hash.slice(1)).split(/=(.*)/s);
  if (action === "open") openVideo(target);
  if (action !== "sort") return;
  const [table, key, direction] = target.split(".");
  const button = document.querySelector(`#${CSS.escape(table)} button[data-key="${CSS.escape(key)}"]`);
  if (button) sortBy(button.closest("th"), direction ?? button.dataset.first);
}

document.addEventListener("click", (event) => {
  const button = event.target.closest("button");
  if (!button) return;
  if (button.dataset.key) onHeader(button);
  if (button.dataset.video) openVideo(button.dataset.video);
  if (button.className === "close") document.getElementById("video").close();
});
for (const select of document.querySelectorAll("select[data-table]")) {
  const change = () => fill(document.getElementById(select.dataset.table), select.value);
  select.addEventListener("change", change);
  if (!select.options[select.selectedIndex].defaultSelected) change(); // kept by a reload
}
addEventListener("hashchange", followFragment);
followFragment();
