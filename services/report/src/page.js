// Tables are sorted by clicking on a heading; without this script they are as they were written.
for (const table of document.querySelectorAll("table")) {
  const heads = [...table.tHead.rows[0].cells], body = table.tBodies[0];
  heads.forEach((head, at) => {
    const button = document.createElement("button");
    button.append(...head.childNodes);
    if (!button.textContent) button.textContent = "name";
    head.append(button);
    const value = row => {
      const cell = row.cells[at];
      return cell.dataset.sort === undefined ? cell.textContent : Number(cell.dataset.sort);
    };
    const compare = (one, other) => {
      const [a, b] = [value(one), value(other)];
      if (typeof a !== typeof b) return typeof a === "number" ? -1 : 1;
      return typeof a === "number" ? a - b : a.localeCompare(b);
    };
    button.addEventListener("click", () => {
      const up = head.getAttribute("aria-sort") !== "ascending";
      heads.forEach(other => other.removeAttribute("aria-sort"));
      head.setAttribute("aria-sort", up ? "ascending" : "descending");
      const rows = [...body.rows].sort(compare);
      body.append(...(up ? rows : rows.reverse()));
    });
  });
}
// Whatever has the colour under the pointer stands out in all pictures.
const key = shape => /\b[fs]i-([0-9a-f]{6})\b/.exec(shape.getAttribute("class"))?.[1];
const drawn = [...document.querySelectorAll("figure [class]")].filter(key);
const show = wanted => drawn.forEach(shape => shape.classList.toggle("faint", Boolean(wanted) && key(shape) !== wanted));
for (const shape of drawn) {
  shape.addEventListener("pointerenter", () => show(key(shape)));
  shape.addEventListener("pointerleave", () => show());
}
for (const row of document.querySelectorAll("tbody tr")) {
  const mark = row.querySelector(".key [class]");
  if (!mark) continue;
  row.addEventListener("pointerenter", () => show(key(mark)));
  row.addEventListener("pointerleave", () => show());
}
