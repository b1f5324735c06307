for (const button of document.querySelectorAll("th button")) {
  button.addEventListener("click", () => {
    const head = button.parentElement, body = head.closest("table").tBodies[0];
    const place = head.cellIndex, numeric = head.classList.contains("num");
    const down = head.getAttribute("aria-sort") === "ascending";
    for (const other of head.parentElement.cells) other.removeAttribute("aria-sort");
    head.setAttribute("aria-sort", down ? "descending" : "ascending");
    const value = row => row.cells[place].dataset.sort;
    const compare = (a, b) => {
      const left = value(a), right = value(b);
      if (left === undefined || right === undefined) return (left === undefined) - (right === undefined);
      const order = numeric ? left - right : left.localeCompare(right, undefined, {numeric: true});
      return down ? -order : order;
    };
    body.append(...[...body.rows].sort(compare));
  });
}
