"use strict";
(function () {
  document.documentElement.classList.add("scripted");

  function value(row, column) {
    const cell = row.cells[column];
    const number = parseFloat(cell.dataset.value);
    return { number: number, text: cell.textContent.trim(), known: !Number.isNaN(number) };
  }

  function sort(head) {
    const table = head.closest("table");
    const column = Array.prototype.indexOf.call(head.parentNode.cells, head);
    const descending = head.getAttribute("aria-sort") === "ascending";
    head.parentNode.querySelectorAll("th[aria-sort]").forEach(function (other) { other.setAttribute("aria-sort", "none"); });
    head.setAttribute("aria-sort", descending ? "descending" : "ascending");
    const body = table.tBodies[0];
    const rows = Array.from(body.rows);
    rows.sort(function (a, b) {
      const x = value(a, column), y = value(b, column);
      if (x.known !== y.known) return x.known ? -1 : 1;
      const order = x.known ? x.number - y.number : x.text.localeCompare(y.text, "en", { numeric: true });
      return descending ? -order : order;
    });
    rows.forEach(function (row) { body.appendChild(row); });
  }

  document.querySelectorAll("th[aria-sort] button").forEach(function (button) {
    button.addEventListener("click", function () { sort(button.closest("th")); });
  });

  document.querySelectorAll(".tabs").forEach(function (tabs) {
    const buttons = Array.from(tabs.querySelectorAll("button"));
    function show(chosen) {
      buttons.forEach(function (button) {
        const selected = button === chosen;
        button.setAttribute("aria-selected", String(selected));
        button.tabIndex = selected ? 0 : -1;
        document.getElementById(button.getAttribute("aria-controls")).hidden = !selected;
      });
    }
    buttons.forEach(function (button, place) {
      button.addEventListener("click", function () { show(button); });
      button.addEventListener("keydown", function (event) {
        const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
        if (!step) return;
        const next = buttons[(place + step + buttons.length) % buttons.length];
        show(next);
        next.focus();
      });
    });
    tabs.hidden = false;
    show(buttons[0]);
  });

  function unfold() {
    const target = location.hash.length > 1 && document.getElementById(decodeURIComponent(location.hash.slice(1).split("&")[0]));
    if (!target) return;
    for (let part = target; part; part = part.parentElement) {
      if (part.tagName === "DETAILS") part.open = true;
    }
    const inside = target.querySelector(":scope > details");
    if (inside) inside.open = true;
    target.scrollIntoView();
  }
  window.addEventListener("hashchange", unfold);
  unfold();

  function reaching(box) {
    box.classList.toggle("wide", box.scrollWidth - box.clientWidth > 2);
    box.classList.toggle("more", box.scrollWidth - box.clientWidth - box.scrollLeft > 2);
  }
  const boxes = Array.from(document.querySelectorAll(".scroll"));
  boxes.forEach(function (box) { box.addEventListener("scroll", function () { reaching(box); }, { passive: true }); });
  const watch = new ResizeObserver(function (entries) { entries.forEach(function (entry) { reaching(entry.target); }); });
  boxes.forEach(function (box) { watch.observe(box); });

  const contents = document.querySelector("nav.contents details");
  if (contents && window.matchMedia("(max-width: 60rem)").matches) contents.open = false;
})();
