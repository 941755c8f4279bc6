// Sorting and filtering of tables, and hiding series of figures. Without a script everything is there, in its order.
"use strict";
(() => {
  const number = (text) => {
    const found = text.replace(/[\u2212<\[]/g, "").match(/^-?[\d.]+(e[-+]?\d+)?/i);
    return found ? parseFloat(found[0]) : NaN;
  };
  const order = (a, b, column) => {
    const x = a.cells[column].textContent, y = b.cells[column].textContent;
    const p = number(x), q = number(y);
    if (isNaN(p) !== isNaN(q)) return isNaN(p) ? 1 : -1;
    return isNaN(p) ? x.localeCompare(y) : p - q;
  };
  for (const table of document.querySelectorAll("table")) {
    const body = table.tBodies[0];
    [...table.tHead.rows[0].cells].forEach((head, column) => {
      const button = document.createElement("button");
      button.append(...head.childNodes);
      head.append(button);
      button.addEventListener("click", () => {
        const down = head.getAttribute("aria-sort") === "ascending";
        for (const other of table.tHead.rows[0].cells) other.removeAttribute("aria-sort");
        head.setAttribute("aria-sort", down ? "descending" : "ascending");
        const rows = [...body.rows].sort((a, b) => order(a, b, column));
        body.append(...(down ? rows.reverse() : rows));
      });
    });
    if (body.rows.length > 7) {
      const field = document.createElement("input");
      Object.assign(field, { type: "search", className: "filter", placeholder: "filter rows" });
      field.setAttribute("aria-label", "filter the rows of this table");
      field.addEventListener("input", () => {
        const words = field.value.toLowerCase().split(/\s+/);
        for (const row of body.rows) {
          const text = row.textContent.toLowerCase();
          row.hidden = !words.every((word) => text.includes(word));
        }
      });
      table.parentNode.before(field);
    }
  }
  for (const key of document.querySelectorAll(".key")) {
    for (const item of key.children) {
      const button = document.createElement("button");
      button.append(...item.childNodes);
      button.setAttribute("aria-pressed", "true");
      item.append(button);
      button.addEventListener("click", () => {
        const show = button.getAttribute("aria-pressed") === "false";
        button.setAttribute("aria-pressed", String(show));
        for (const series of key.parentNode.querySelectorAll(`figure g[data-style="${item.dataset.style}"]`)) {
          series.classList.toggle("hidden", !show);
        }
      });
    }
  }
  addEventListener("beforeprint", () => document.querySelectorAll("details").forEach((part) => { part.open = true; }));
})();
