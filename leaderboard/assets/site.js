// What pages can do beyond being read: sort, search, filter, choose columns, read out points, compare two models.
// Every page is whole without this script. It changes no number: cells carry their place in `data-s`, best first.
"use strict";

const plain = (text) => text.normalize("NFKC").toLowerCase();

// ---- The address carries the state: #table.key=value&... ----

const state = new URLSearchParams(location.hash.includes("=") ? location.hash.slice(1) : "");

function remember(key, value) {
  if (value === null || value === "") state.delete(key);
  else state.set(key, value);
  const hash = state.toString();
  history.replaceState(null, "", hash ? `#${hash}` : location.pathname.split("/").pop() || "./");
}

// ---- Tables ----

function ranking(table) {
  const heads = [...table.tHead.rows[0].cells];
  const body = table.tBodies[0];
  const rows = [...body.rows].filter((row) => !row.classList.contains("group"));
  const groups = [...body.rows].filter((row) => row.classList.contains("group"));
  const order = new Map([...body.rows].map((row, place) => [row, place]));
  const form = document.querySelector(`form[data-for="${table.id}"]`);
  const words = new Map(rows.map((row) => [row, plain(row.textContent)]));
  const key = (name) => `${table.id}.${name}`;
  const titles = heads.map((head) => [...head.childNodes].map((part) => part.textContent.trim()).filter(Boolean).join(", "));
  const slugs = titles.map((title) => plain(title).replace(/[^a-z0-9]+/g, "-").replace(/^-|-$/g, "")); // an address outlives new columns

  for (const row of rows) {
    [...row.cells].forEach((cell, k) => {
      if (k) cell.dataset.label = heads[k].firstChild.textContent;
      cell.setAttribute("role", k ? "cell" : "rowheader");
    });
    row.setAttribute("role", "row");
  }
  table.setAttribute("role", "table");

  heads.forEach((head, column) => {
    const button = document.createElement("button");
    button.type = "button";
    button.className = "sort";
    button.setAttribute("aria-label", `Sort by ${titles[column]}`);
    head.insertBefore(button, head.querySelector("small"));
    button.addEventListener("click", () => order_by(column, sorted.column === column && !sorted.reversed));
  });

  const chooser = node("select", null, { name: "sort" });
  titles.forEach((title, column) => chooser.append(node("option", title, { value: column })));
  const label = node("label", "Order by ", { class: "order" });
  label.append(chooser);
  form.querySelector("label").after(label);
  chooser.addEventListener("input", () => order_by(Number(chooser.value), false));

  function order_by(column, reversed) {
    sort(column, reversed);
    remember(key("sort"), `${reversed ? "-" : ""}${slugs[column]}`);
  }

  const sorted = { column: heads.findIndex((head) => head.hasAttribute("aria-sort")), reversed: false };
  const phone = matchMedia("(max-width: 720px)");
  const lead = () => {
    if (phone.matches) for (const row of rows) [...row.cells].forEach((cell, k) => cell.toggleAttribute("data-main", k === (sorted.column || 1)));
  };
  phone.addEventListener("change", lead);
  lead();

  function sort(column, reversed) {
    sorted.column = column;
    sorted.reversed = reversed;
    lead();
    chooser.value = column;
    const falls = (heads[column].dataset.best === "higher") !== reversed;
    heads.forEach((head) => head.removeAttribute("aria-sort"));
    heads[column].setAttribute("aria-sort", falls ? "descending" : "ascending");
    const sign = reversed ? -1 : 1;
    const places = new Map(rows.map((row) => [row, row.cells[column].dataset.s]));
    rows.sort((a, b) => {
      const x = places.get(a);
      const y = places.get(b);
      if (x === undefined || y === undefined) return (x === undefined) - (y === undefined) || order.get(a) - order.get(b);
      return sign * (x - y) || order.get(a) - order.get(b);
    });
    groups.forEach((row) => row.remove());
    body.append(...rows);
  }

  function choose(column, shown) {
    for (const row of [heads, ...rows.map((row) => row.cells)]) row[column].hidden = !shown;
  }

  function show() {
    const search = plain(form.elements.search.value).split(/\s+/).filter(Boolean);
    let count = 0;
    for (const row of rows) {
      const floor = row.classList.contains("floor");
      const visible = [...form.elements].every((field) => {
        if (field.name === "sort") return true;
        if (field.tagName === "SELECT")
          return floor || !field.value || (row.dataset[field.name] || "").split("|").includes(field.value);
        if (field.type !== "checkbox" || field.dataset.column) return true;
        if (field.name === "floor") return !floor || field.checked;
        return floor || !field.checked || row.dataset[field.name];
      });
      row.hidden = !(visible && search.every((word) => words.get(row).includes(word)));
      count += !row.hidden;
    }
    form.querySelector("output").textContent = count === rows.length ? "" : `${count} of ${rows.length} rows`;
  }

  const usual = new Map([...form.elements].map((field) => [field, field.type === "checkbox" ? field.checked : field.value]));
  const name = (field) => key(field.dataset.column ? `show.${slugs[field.dataset.column]}` : field.name);

  for (const field of form.elements) {
    if (field.name === "sort" || (!field.name && !field.dataset.column)) continue;
    const kept = state.get(name(field));
    if (kept !== null) {
      if (field.type === "checkbox") field.checked = kept === "1";
      else field.value = kept;
      if (field.dataset.column) choose(Number(field.dataset.column), field.checked);
    }
    field.addEventListener("input", () => {
      const value = field.type === "checkbox" ? field.checked : field.value;
      remember(name(field), value === usual.get(field) ? null : value === true ? "1" : value === false ? "0" : value);
      if (field.dataset.column) choose(Number(field.dataset.column), field.checked);
      else show();
    });
  }
  form.addEventListener("submit", (event) => event.preventDefault());
  chooser.value = sorted.column;
  const kept = state.get(key("sort")) || "";
  const column = slugs.indexOf(kept.replace(/^-/, ""));
  if (kept && column >= 0) sort(column, kept.startsWith("-"));
  show();
  if (phone.matches) form.querySelector(".filters").open = false;
  form.hidden = false;
}

// ---- Points of parity plots: the nearest one is read out ----

function readable(figure) {
  const path = figure.querySelector("path.points:not(.off)");
  if (!path) return;
  const { low, high, unit } = figure.dataset;
  const frame = figure.querySelector("rect.frame");
  const [left, top, side] = ["x", "y", "width"].map((name) => Number(frame.getAttribute(name)));
  const points = [...path.getAttribute("d").matchAll(/M([\d.]+) ([\d.]+)/g)].map((found) => [Number(found[1]), Number(found[2])]);
  const value = (part) => (Number(low) + part * (high - low)).toPrecision(3).replace("-", "−");
  const mark = document.createElementNS("http://www.w3.org/2000/svg", "circle");
  mark.setAttribute("class", "near");
  mark.setAttribute("r", "4");
  const told = document.createElement("p");
  told.className = "told";
  figure.after(told);
  figure.addEventListener("pointermove", (event) => {
    const at = new DOMPoint(event.clientX, event.clientY).matrixTransform(figure.getScreenCTM().inverse());
    const far = (point) => (point[0] - at.x) ** 2 + (point[1] - at.y) ** 2;
    const near = points.reduce((best, point) => (far(point) < far(best) ? point : best));
    mark.setAttribute("cx", near[0]);
    mark.setAttribute("cy", near[1]);
    figure.append(mark);
    const [label, model] = [(near[0] - left) / side, 1 - (near[1] - top) / side].map(value);
    told.textContent = `DFT ${label}, model ${model} ${unit}, to the width of a point`;
  });
}

// ---- Two models side by side ----

const xferbench = { loaded: {} };
xferbench.model = (data) => (xferbench.loaded[data.id] = data);
xferbench.board = (data) => (xferbench.about = data);

function load(path) {
  return new Promise((resolve, reject) => {
    const script = document.createElement("script");
    script.src = path;
    script.onload = resolve;
    script.onerror = () => reject(new Error(`${path} cannot be loaded`));
    document.head.append(script);
  });
}

function node(tag, text, attributes = {}) {
  const made = document.createElement(tag);
  if (text !== null) made.append(text);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  return made;
}

async function comparing() {
  await load("data/board.js");
  const { models, tasks } = xferbench.about;
  const form = node("form", null, { class: "controls", "aria-label": "Which two models" });
  const selects = ["a", "b"].map((side, place) => {
    const select = node("select", null, { name: side });
    for (const model of models) select.append(node("option", model.name, { value: model.id }));
    const wanted = state.get(side);
    select.value = models.some((model) => model.id === wanted) ? wanted : models[Math.min(place, models.length - 1)].id;
    const label = node("label", place ? "with " : "Compare ");
    label.append(select);
    form.append(label);
    return select;
  });
  const out = node("div", null, { "aria-live": "polite" });
  document.querySelector("#main").prepend(form, out);
  document.querySelector("#main > p.note")?.remove();

  async function show() {
    const [a, b] = selects.map((select) => select.value);
    await Promise.all([a, b].filter((id) => !xferbench.loaded[id]).map((id) => load(`data/model-${encodeURIComponent(id)}.js`)));
    out.replaceChildren();
    if (a === b) return out.append(node("p", "Choose two different models."));
    const names = [a, b].map((id) => models.find((model) => model.id === id).name);
    for (const task of tasks) {
      const [first, second] = [a, b].map((id) => xferbench.loaded[id].tasks[task.key]);
      if (!first || !second) continue;
      out.append(node("h2", task.title));
      const test = first.tests[b];
      out.append(node("p", test ? `${test[0]}; ${test[1]}.` : `Not tested here: xferbench compare ${a} ${b} -t ${task.key.split("@")[0]}`, { class: "lead" }));
      const table = node("table", null, { class: "plain" });
      const head = table.createTHead().insertRow();
      for (const text of ["Metric", ...names, "Better"]) head.append(node("th", text, { scope: "col" }));
      const body = table.createTBody();
      for (const metric of task.metrics) {
        const [x, y] = [first, second].map((side) => side.metrics[metric.key]);
        const row = body.insertRow();
        const heading = node("th", metric.label, { scope: "row" });
        heading.append(node("small", metric.note));
        const better = !metric.main || !test ? "not tested" : test[2] ? names[x[2] < y[2] ? 0 : 1] : "not told apart";
        row.append(heading, ...[x, y].map((side) => {
          const cell = node("td", side[0]);
          if (side[1]) cell.append(node("small", side[1]));
          return cell;
        }), node("td", better));
      }
      const scroller = node("div", null, { class: "scroll", tabindex: "0", role: "region", "aria-label": `Metrics on ${task.title}` });
      scroller.append(table);
      out.append(scroller, byElement(task, names, first.elements, second.elements));
    }
  }

  function byElement(task, names, x, y) {
    const both = Object.keys(x).filter((symbol) => symbol in y);
    const sides = [[], []];
    for (const symbol of both.sort((s, t) => x[s] / y[s] - x[t] / y[t])) if (x[symbol] !== y[symbol]) sides[x[symbol] < y[symbol] ? 0 : 1].push(symbol);
    const list = node("dl", null, { class: "facts long" });
    names.forEach((name, place) => {
      const item = node("div", null);
      item.append(node("dt", `${name} has the lower error on (not tested)`), node("dd", sides[place].join(" ") || "no element"));
      list.append(item);
    });
    return list;
  }

  const changed = () => {
    remember("a", selects[0].value);
    remember("b", selects[1].value);
    return show();
  };
  selects.forEach((select) => select.addEventListener("input", changed));
  await show();
}

document.querySelectorAll("table.ranking").forEach(ranking);
document.querySelectorAll("svg.parity").forEach(readable);
if (document.querySelector("main[data-page=compare]")) comparing();
