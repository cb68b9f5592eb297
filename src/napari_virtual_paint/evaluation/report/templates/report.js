"use strict";
(() => {
  const root = document.documentElement;
  const plots = [];
  let tones = {};

  // Colours of the page, light or dark, that figures are drawn in.
  function readTones() {
    const style = getComputedStyle(root);
    const tone = (name) => style.getPropertyValue(name).trim();
    tones = { "@ink": tone("--ink"), "@paper": tone("--paper"), line: tone("--line"), card: tone("--card"), soft: tone("--soft") };
  }

  // A copy of what Python wrote, with the page's own colours where it asks for them.
  function tinted(value, key) {
    if (Array.isArray(value)) return value.length && typeof value[0] === "object" && value[0] !== null ? value.map((each) => tinted(each, key)) : value;
    if (value !== null && typeof value === "object") return Object.fromEntries(Object.entries(value).map(([name, each]) => [name, tinted(each, name)]));
    return typeof value === "string" && key === "color" && value in tones ? tones[value] : value;
  }

  function traceOf(source, columns, off) {
    const { rows, ...rest } = source;
    const trace = tinted(rest, "");
    if (source.meta && source.meta.some((key) => off.has(key))) trace.visible = false;
    delete trace.meta;
    if (rows) {
      for (const name of ["x", "y", "text"]) trace[name] = rows.map((row) => columns[name][row]);
      if (trace.marker.colours) {
        const colours = columns[trace.marker.colours];
        trace.marker.color = rows.map((row) => colours[row]);
        delete trace.marker.colours;
      }
    }
    return trace;
  }

  function layoutOf(source, width) {
    const layout = {
      ...tinted(source, ""),
      width,
      paper_bgcolor: "rgba(0,0,0,0)",
      plot_bgcolor: "rgba(0,0,0,0)",
      font: { family: getComputedStyle(document.body).fontFamily, size: 13, color: tones["@ink"] },
      margin: { l: 52, r: 14, t: 10, b: 46 },
      showlegend: false,
      modebar: { bgcolor: "rgba(0,0,0,0)", color: tones.soft, activecolor: tones["@ink"] },
      hoverlabel: { bgcolor: tones.card, bordercolor: tones.line, font: { color: tones["@ink"] }, align: "left" },
    };
    for (const name of ["xaxis", "yaxis"]) {
      layout[name] = { gridcolor: tones.line, zerolinecolor: tones.line, linecolor: tones.line, ...layout[name] };
      if (layout[name].title) layout[name].title = { standoff: 8, ...layout[name].title };
    }
    return layout;
  }

  function draw(plot) {
    const view = plot.data.views[plot.view];
    view.panels.forEach((panel, place) => {
      const traces = panel.traces.map((trace) => traceOf(trace, plot.data.columns, plot.off));
      const config = {
        displaylogo: false,
        modeBarButtons: [["toImage"], ["zoom2d", "pan2d", "resetScale2d"]],
        toImageButtonOptions: { format: "svg", filename: plot.box.closest("figure").id },
      };
      const target = plot.targets[place];
      window.Plotly.react(target, traces, layoutOf(panel.layout, target.clientWidth || undefined), config);
    });
    plot.drawn = true;
  }

  function element(name, text, className) {
    const made = document.createElement(name);
    if (text) made.textContent = text;
    if (className) made.className = className;
    return made;
  }

  function legendEntry(plot, entry) {
    const button = element("button");
    const sign = element("span", entry.glyph);
    sign.setAttribute("aria-hidden", "true");
    sign.style.color = entry.colour === "@ink" ? "var(--ink)" : entry.colour;
    button.type = "button";
    button.append(sign, entry.name);
    button.setAttribute("aria-pressed", "true");
    button.title = "Show or hide";
    button.addEventListener("click", () => {
      const shown = plot.off.delete(entry.key);
      if (!shown) plot.off.add(entry.key);
      button.setAttribute("aria-pressed", String(shown));
      draw(plot);
    });
    return button;
  }

  function ramp(scale) {
    const made = element("div", "", "ramp");
    const bar = element("i");
    bar.style.background = `linear-gradient(to right, ${scale.colours.join(", ")})`;
    made.append(element("b", scale.title), bar, element("span", scale.low), element("span", scale.middle), element("span", scale.high));
    return made;
  }

  // The places of a view's panels, at their height already, so that nothing moves once they are drawn.
  function lay(plot) {
    const view = plot.data.views[plot.view];
    plot.targets.forEach((target) => window.Plotly.purge(target));
    plot.off.clear();
    const legend = plot.box.querySelector(".legend");
    legend.replaceChildren(...view.legend.map((entry) => legendEntry(plot, entry)), ...(view.scale ? [ramp(view.scale)] : []));
    plot.targets = [];
    const panels = view.panels.map((panel) => {
      const made = element("div", "", "panel");
      made.style.maxWidth = `${panel.most}px`;
      if (panel.title) made.append(element("h4", panel.title));
      const target = element("div");
      target.style.height = `${panel.layout.height}px`;
      target.setAttribute("role", "group");
      const label = [plot.box.dataset.title, view.label, panel.title].filter(Boolean).join(", ");
      target.setAttribute("aria-label", `${label}: a figure; its numbers are in the table below.`);
      made.append(target);
      plot.targets.push(target);
      return made;
    });
    const grid = plot.box.querySelector(".panels");
    const least = Math.max(...view.panels.map((panel) => panel.least));
    const columns = panels.length > 1 ? `repeat(auto-fit, minmax(${least <= 340 ? `min(100%, ${least}px)` : `${least}px`}, 1fr))` : `minmax(${least <= 340 ? 0 : least}px, 1fr)`;
    grid.style.gridTemplateColumns = columns;
    grid.replaceChildren(...panels);
    plot.drawn = false;
  }

  function drawAll() {
    readTones();
    plots.forEach(draw);
  }

  // One figure a turn, so that the page answers meanwhile.
  function drawInTurn() {
    const next = plots.find((plot) => !plot.drawn);
    if (next === undefined) return;
    draw(next);
    setTimeout(drawInTurn, 0);
  }

  function preparePlots() {
    for (const box of document.querySelectorAll(".plot")) {
      const plot = { box, data: JSON.parse(box.querySelector("script").textContent), view: 0, off: new Set(), targets: [], drawn: false };
      const choice = box.querySelector(".choice select");
      if (choice) {
        choice.value = "0";
        choice.addEventListener("change", () => {
          plot.view = Number(choice.value);
          lay(plot);
          draw(plot);
        });
      }
      lay(plot);
      plots.push(plot);
    }
    if (!plots.length) return;
    readTones();
    drawInTurn();
    let waiting = 0;
    let width = window.innerWidth;
    window.addEventListener("resize", () => {
      if (window.innerWidth === width) return;
      width = window.innerWidth;
      clearTimeout(waiting);
      waiting = setTimeout(drawAll, 150);
    });
    window.matchMedia("(prefers-color-scheme: dark)").addEventListener("change", drawAll);
    preparePrint();
  }

  // On paper figures are light, and as wide as the sheet.
  function preparePrint() {
    let theme = "";
    window.addEventListener("beforeprint", () => {
      theme = root.dataset.theme || "";
      root.dataset.theme = "light";
      for (const target of document.querySelectorAll(".panel")) target.style.width = `${Math.min(target.clientWidth, 660)}px`;
      drawAll();
    });
    window.addEventListener("afterprint", () => {
      if (theme) root.dataset.theme = theme;
      else delete root.dataset.theme;
      for (const target of document.querySelectorAll(".panel")) target.style.width = "";
      drawAll();
    });
  }

  // Of a long table paper gets the first rows that are seen.
  function preparePaper() {
    window.addEventListener("beforeprint", () => {
      for (const box of document.querySelectorAll(".box.high")) {
        const seen = [...box.querySelectorAll("tbody tr")].filter((row) => !row.hidden);
        seen.forEach((row, place) => row.classList.toggle("off-paper", place >= 40));
        box.classList.toggle("cut", seen.length > 40);
      }
    });
  }

  function prepareTheme() {
    const select = document.getElementById("theme");
    select.closest("p").hidden = false;
    select.addEventListener("change", () => {
      if (select.value) root.dataset.theme = select.value;
      else delete root.dataset.theme;
      if (plots.length) drawAll();
    });
  }

  function sortBy(table, column, header) {
    const upward = header.getAttribute("aria-sort") !== "ascending";
    for (const each of table.tHead.rows[0].cells) each.removeAttribute("aria-sort");
    header.setAttribute("aria-sort", upward ? "ascending" : "descending");
    const asNumbers = header.classList.contains("n");
    const keyed = [...table.tBodies[0].rows].map((row) => {
      const cell = row.cells[column];
      return [row, asNumbers ? (cell.dataset.sort === undefined ? null : Number(cell.dataset.sort)) : cell.textContent || null];
    });
    const sign = upward ? 1 : -1;
    // What is undefined comes last, whichever way.
    keyed.sort(([, a], [, b]) => {
      if (a === null || b === null) return (a === null) - (b === null);
      return sign * (asNumbers ? a - b : a.localeCompare(b, undefined, { numeric: true }));
    });
    table.tBodies[0].append(...keyed.map(([row]) => row));
  }

  function prepareTable(listing) {
    const table = listing.querySelector("table");
    [...table.tHead.rows[0].cells].forEach((header, column) => {
      const button = element("button", header.textContent);
      button.type = "button";
      button.addEventListener("click", () => sortBy(table, column, header));
      header.replaceChildren(button);
    });
    const filter = listing.querySelector(".filter");
    if (!filter) return;
    filter.hidden = false;
    const output = filter.querySelector("output");
    const rows = [...table.tBodies[0].rows].map((row) => [row, [...row.cells].map((cell) => cell.textContent).join("\n").toLowerCase()]);
    filter.querySelector("input").addEventListener("input", (event) => {
      const words = event.target.value.toLowerCase().split(/\s+/).filter(Boolean);
      let count = 0;
      for (const [row, text] of rows) {
        row.hidden = !words.every((word) => text.includes(word));
        count += row.hidden ? 0 : 1;
      }
      output.textContent = words.length ? `${count} of ${rows.length} rows` : "";
    });
  }

  function preparePictures() {
    const dialog = document.getElementById("large");
    for (const button of document.querySelectorAll(".picture button")) {
      button.addEventListener("click", () => {
        const small = button.querySelector("img");
        const large = dialog.querySelector("img");
        large.src = small.src;
        large.alt = small.alt;
        dialog.querySelector("p").textContent = small.alt;
        dialog.showModal();
      });
    }
  }

  // Figures of one table share its CSV, which lies in the page once.
  function prepareLinks() {
    for (const link of document.querySelectorAll("a[data-from]")) {
      const first = document.getElementById(link.dataset.from);
      link.href = first.href;
      link.download = first.download;
    }
  }

  prepareTheme();
  preparePaper();
  document.querySelectorAll(".listing").forEach(prepareTable);
  preparePictures();
  prepareLinks();
  preparePlots();
})();
