// A table of many rows: sorted by any column, shown some hundred rows at a time.

const ROWS_AT_A_TIME = 200;

// columns: {title, value(row), show(row)?, number?, help?}. rows: any objects. Returns an element with .replace(rows).
function dataTable(caption, columns, rows, nothing = "none") {
  const body = element("tbody"), more = element("button", { type: "button", class: "more" });
  const summary = element("caption", {}, caption);
  let shown = rows, sortedBy = -1, ascending = true, count = ROWS_AT_A_TIME;

  const heads = columns.map((one, index) => element("th", { scope: "col", class: one.number ? "number" : null },
    element("button", { type: "button", title: `Sort by ${one.title}`, onclick: () => sort(index) }, one.title)));

  function sort(index) {
    ascending = sortedBy === index ? !ascending : !columns[index].number;
    sortedBy = index;
    heads.forEach((head, at) => at === index
      ? head.setAttribute("aria-sort", ascending ? "ascending" : "descending") : head.removeAttribute("aria-sort"));
    draw();
  }

  function ordered() {
    if (sortedBy < 0) return shown;
    const value = columns[sortedBy].value, sign = ascending ? 1 : -1;
    const compare = (a, b) => {
      if (a === b) return 0;
      if (a === null || a === undefined || Number.isNaN(a)) return 1;
      if (b === null || b === undefined || Number.isNaN(b)) return -1;
      return (a < b ? -1 : 1) * sign;
    };
    return [...shown].sort((a, b) => compare(value(a), value(b)));
  }

  function cell(one, row) {
    const content = one.show ? one.show(row) : one.number ? number(one.value(row)) : String(one.value(row) ?? "");
    return element("td", { class: one.number ? "number" : one.wide ? "wide" : null, "data-title": one.title },
      element("span", {}, content));
  }

  function draw() {
    const some = ordered().slice(0, count);
    body.replaceChildren(...some.map((row) => element("tr", {}, columns.map((one) => cell(one, row)))));
    if (!shown.length) body.append(element("tr", {}, element("td", { colspan: columns.length }, nothing)));
    more.hidden = count >= shown.length;
    more.textContent = `Show more of ${number(shown.length)} rows`;
    summary.textContent = `${caption}: ${number(shown.length)}`;
  }

  more.addEventListener("click", () => { count += 5 * ROWS_AT_A_TIME; draw(); });
  const table = element("table", { class: "data" }, summary, element("thead", {}, element("tr", {}, heads)), body);
  const made = element("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": caption }, table, more);
  made.replace = (others) => { shown = others; count = ROWS_AT_A_TIME; draw(); };
  draw();
  return made;
}
