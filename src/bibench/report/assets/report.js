// The report's behaviour: tables that sort and filter, plots in the colours of the page, folded cells.
"use strict";
(() => {
  const root = document.documentElement;

  // -- colours: tokens such as "@bnn" in a figure are variables of the style sheet -------------------
  const isDark = () =>
    root.dataset.theme ? root.dataset.theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;

  function coloured(value, style) {
    if (typeof value === "string") {
      return value[0] === "@" ? style.getPropertyValue("--c-" + value.slice(1)).trim() || value : value;
    }
    if (Array.isArray(value)) return value.map((v) => coloured(v, style));
    if (value && typeof value === "object") {
      const plain = new Set(["text", "customdata", "name", "x", "y", "title"]);
      return Object.fromEntries(
        Object.entries(value).map(([k, v]) => [k, plain.has(k) ? v : coloured(v, style)]));
    }
    return value;
  }

  // -- plots ------------------------------------------------------------------------------------------
  const CONFIG = { responsive: true, displaylogo: false, modeBarButtonsToRemove: ["lasso2d", "select2d", "autoScale2d"] };
  const save = (plot, format) =>
    Plotly.downloadImage(plot, { format, filename: plot.dataset.name, width: 900, height: plot.clientHeight, scale: 2 });
  const svgButton = {
    name: "svg", title: "Download plot as SVG", click: (plot) => save(plot, "svg"),
    icon: { width: 24, height: 24, path: "M12 3v10l4-4 1.4 1.4L12 15.8 6.6 10.4 8 9l3 3V3zM5 19h14v2H5z" },
  };

  function draw(plot) {
    if (typeof Plotly === "undefined") return;
    plot.spec ??= JSON.parse(plot.querySelector("script").textContent);
    const { data, layout } = coloured(plot.spec, getComputedStyle(root));
    const touch = matchMedia("(pointer: coarse)").matches;
    if (touch) layout.dragmode = false; // a finger scrolls the page
    for (const trace of data) { // numbers in fields that are too narrow for them only blur
      if (trace.type === "heatmap" && plot.clientWidth - 180 < 24 * trace.x.length) delete trace.texttemplate;
    }
    plot.drawn = true;
    Plotly.react(plot, data, layout, { ...CONFIG, displayModeBar: touch ? false : "hover", modeBarButtonsToAdd: [svgButton] });
  }

  const plots = [...document.querySelectorAll(".plot")];
  const seen = new IntersectionObserver((entries) => {
    for (const entry of entries) {
      if (entry.isIntersecting) { seen.unobserve(entry.target); draw(entry.target); }
    }
  }, { rootMargin: "400px" });
  plots.forEach((plot) => seen.observe(plot));
  addEventListener("beforeprint", () => plots.filter((p) => !p.drawn).forEach(draw));
  document.querySelectorAll("[data-save]").forEach((button) =>
    button.addEventListener("click", () => {
      const plot = button.closest("figure").querySelector(".plot");
      if (!plot.drawn) draw(plot);
      save(plot, button.dataset.save);
    }));

  // -- light and dark -----------------------------------------------------------------------------------
  const redraw = () => plots.filter((plot) => plot.drawn).forEach(draw);
  document.getElementById("theme").addEventListener("click", () => {
    root.dataset.theme = isDark() ? "light" : "dark";
    try { localStorage.setItem("bibench-theme", root.dataset.theme); } catch { /* private window */ }
    redraw();
  });
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", redraw);

  // -- tables ---------------------------------------------------------------------------------------------
  const COLLATOR = new Intl.Collator(undefined, { numeric: true, sensitivity: "base" });
  const key = (cell, numeric) =>
    numeric ? ("v" in cell.dataset ? Number(cell.dataset.v) : null) : cell.textContent.trim() || null;

  function sort(header) {
    const table = header.closest("table"), body = table.tBodies[0], column = header.cellIndex;
    const numeric = header.classList.contains("n");
    // Numbers start with the largest, names with the first.
    const now = header.getAttribute("aria-sort");
    const down = now ? now === "ascending" : numeric;
    const rows = [...body.rows].map((row) => [key(row.cells[column], numeric), row]);
    rows.sort(([a], [b]) => {
      if (a === null || b === null) return (a === null) - (b === null); // what is missing comes last
      const order = numeric ? a - b : COLLATOR.compare(a, b);
      return down ? -order : order;
    });
    body.append(...rows.map(([, row]) => row));
    table.querySelectorAll("th[aria-sort]").forEach((th) => th.removeAttribute("aria-sort"));
    header.setAttribute("aria-sort", down ? "descending" : "ascending");
  }

  document.querySelectorAll("table.sortable").forEach((table) => {
    table.querySelectorAll("thead th button").forEach((button) =>
      button.addEventListener("click", () => sort(button.closest("th"))));
    if (table.tBodies[0].rows.length < 15) return;
    const field = document.createElement("input");
    field.type = "search";
    field.className = "filter";
    field.placeholder = "Filter rows";
    field.setAttribute("aria-label", "Filter the rows of: " + (table.closest(".table").querySelector(".caption").textContent));
    field.addEventListener("input", () => {
      const words = field.value.toLowerCase().split(/\s+/).filter(Boolean);
      for (const row of table.tBodies[0].rows) {
        const text = row.textContent.toLowerCase();
        row.hidden = !words.every((word) => text.includes(word));
      }
    });
    table.closest(".scroll").before(field);
  });

  // A table that is wider or longer than its box fades out where there is more, and its caption says so.
  document.querySelectorAll(".table > .scroll").forEach((box) => {
    const mark = () => {
      const wide = box.scrollWidth - box.clientWidth, long = box.scrollHeight - box.clientHeight;
      const { dataset } = box.parentElement;
      dataset.scrolls = wide > 1 && long > 1 ? "both" : wide > 1 ? "columns" : long > 1 ? "rows" : "";
      box.classList.toggle("right", wide - box.scrollLeft > 1);
      box.classList.toggle("down", long - box.scrollTop > 1);
    };
    box.addEventListener("scroll", mark, { passive: true });
    const sizes = new ResizeObserver(mark);
    sizes.observe(box);
    sizes.observe(box.firstElementChild);
  });

  // -- cells: a link to a group opens it ----------------------------------------------------------------------
  function open() {
    const target = location.hash && document.getElementById(decodeURIComponent(location.hash.slice(1)));
    if (target && target.classList.contains("group")) {
      target.querySelectorAll("details").forEach((one) => { one.open = true; });
      target.scrollIntoView();
    }
  }
  addEventListener("hashchange", open);
  open();
  const here = document.querySelector("nav [aria-current]");
  if (here) here.parentElement.scrollLeft = here.offsetLeft - here.parentElement.offsetLeft - 60;
})();
