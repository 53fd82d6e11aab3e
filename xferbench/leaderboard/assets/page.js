// Sorting by a click or the keyboard, and opening what a link points to. The page reads without this script.
"use strict";

for (const table of document.querySelectorAll("table.ranking")) {
  const headers = [...table.tHead.rows[0].cells];
  headers.forEach((header, column) => {
    const button = document.createElement("button");
    button.type = "button";
    button.append(...header.childNodes);
    header.append(button);
    button.addEventListener("click", () => sortBy(table, headers, column));
  });
}

function sortBy(table, headers, column) {
  const header = headers[column];
  const first = header.dataset.first || "ascending";
  const other = first === "ascending" ? "descending" : "ascending";
  const direction = header.getAttribute("aria-sort") === first ? other : first;
  headers.forEach((cell) => cell.removeAttribute("aria-sort"));
  header.setAttribute("aria-sort", direction);
  const sign = direction === "ascending" ? 1 : -1;
  for (const body of table.tBodies) {
    const rows = [...body.querySelectorAll("tr[data-row]")];
    rows.sort((a, b) => compare(a.cells[column].dataset.sort, b.cells[column].dataset.sort, sign));
    body.append(...rows);
  }
}

// Cells without a value stay last in both directions.
function compare(a, b, sign) {
  if (a === "" || b === "") return (a === "") - (b === "");
  const x = Number(a);
  const y = Number(b);
  return sign * (Number.isNaN(x) || Number.isNaN(y) ? a.localeCompare(b, "en") : x - y);
}

function reveal() {
  const target = document.getElementById(decodeURIComponent(location.hash.slice(1)));
  if (target instanceof HTMLDetailsElement) target.open = true;
}

addEventListener("hashchange", reveal);
reveal();
