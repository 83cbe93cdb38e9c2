// Draws the charts of the page, fills the tables behind them, and keeps colours in step with the theme.
"use strict";
(() => {
  const util = vegaModules.require("vega-util");
  const {transforms} = vegaModules.require("vega-dataflow");
  for (const name of ["transforms", "view-transforms", "encode", "label"]) util.extend(transforms, vegaModules.require("vega-" + name));
  const {View} = vegaModules.require("vega-view"), {parse} = vegaModules.require("vega-parser");
  const {expressionInterpreter} = vegaModules.require("vega-interpreter");

  const report = JSON.parse(document.getElementById("report").textContent);
  const root = document.documentElement;

  // Colours of both themes. Categories are those of Okabe and Ito, darkened where white needs it; beyond eight, shapes tell
  // categories of one colour apart.
  const themes = {
    light: {
      paper: "#ffffff", ink: "#1b1f24", muted: "#57606a", line: "#8c959f", grid: "#e3e6ea", baseline: "#9aa1a9", model: "#5b8fc7", best: "#0a8a62",
      control: "#b3261e", low: "#0072b2", middle: "#b8860b", high: "#c0392b", up: "#c0392b", down: "#0072b2", faint: "#b9c0c8",
      categories: ["#0072b2", "#d55e00", "#009e73", "#a6468a", "#d99a00", "#3fa3dc", "#5e4fa2", "#3d3d3d"],
      heat: ["#ffffff", "#d3e2f2", "#86b1dc", "#3a78b9", "#0b3d78"],
    },
    dark: {
      paper: "#15181c", ink: "#e6e9ec", muted: "#a3abb4", line: "#6b7480", grid: "#2b3036", baseline: "#7d858e", model: "#5f97d3", best: "#2fbf8f",
      control: "#ff8a80", low: "#56b4e9", middle: "#e6b93a", high: "#ff7f6e", up: "#ff7f6e", down: "#56b4e9", faint: "#59616a",
      categories: ["#4aa8e8", "#f0803c", "#2fbf8f", "#d989bd", "#f0c04a", "#9bd4f5", "#a596ea", "#d6d6d6"],
      heat: ["#15181c", "#1d3552", "#2b5f96", "#5b9bdb", "#cfe4fa"],
    },
  };
  const font = "system-ui, -apple-system, 'Segoe UI', Roboto, 'Helvetica Neue', 'DejaVu Sans', Arial, sans-serif";
  const config = (theme) => ({
    background: null,
    axis: {
      labelFont: font, titleFont: font, labelFontSize: 12, titleFontSize: 12, titleFontWeight: 500, labelColor: theme.ink, titleColor: theme.ink,
      domainColor: theme.line, tickColor: theme.line, gridColor: theme.grid, titlePadding: 8, labelLimit: 220, tickSize: 4,
    },
    legend: {labelFont: font, titleFont: font, labelFontSize: 12, titleFontSize: 12, titleFontWeight: 500, labelColor: theme.ink, titleColor: theme.ink, labelLimit: 220},
    title: {font, fontSize: 13, fontWeight: 600, color: theme.ink, subtitleFont: font, subtitleFontSize: 12, subtitleColor: theme.muted, anchor: "start"},
    text: {font, fontSize: 12, fill: theme.ink},
  });

  // Tables: columns of values, or of levels and codes.
  const columnOf = (table, name) => report.tables[table].find((c) => c.name === name);
  const cell = (column, row) => (column.codes ? (column.codes[row] < 0 ? null : column.levels[column.codes[row]]) : column.values[row]);
  const rowsOf = (table) => {
    const first = report.tables[table][0];
    return first ? (first.codes || first.values).length : 0;
  };
  const shown = (column, row) => {
    const v = cell(column, row);
    if (v === null) return "–";
    return typeof v === "number" ? (column.digits >= 0 ? v.toFixed(column.digits) : String(v)).replace("-", "−") : String(v);
  };
  const records = (data) => {
    const fields = Object.entries(data.fields).map(([field, name]) => [field, columnOf(data.table, name)]);
    const out = [];
    for (let r = 0; r < rowsOf(data.table); ++r) {
      const record = {};
      for (const [field, column] of fields) record[field] = cell(column, r);
      if (data.needs.every((field) => record[field] !== null)) out.push(record);
    }
    return out;
  };
  const tsv = (table) => {
    const plain = (x) => (x === null ? "NA" : String(x).replace(/[\t\r\n\u00a0]/g, " "));
    const columns = report.tables[table], lines = [columns.map((c) => plain(c.name)).join("\t")];
    for (let r = 0; r < rowsOf(table); ++r) lines.push(columns.map((c) => plain(cell(c, r))).join("\t"));
    return lines.join("\n") + "\n";
  };
  const tsvOfElement = (table) =>
    [...table.rows].map((row) => [...row.cells].map((c) => c.textContent.replace(/[\t\r\n\u00a0]/g, " ")).join("\t")).join("\n") + "\n";

  const element = (name, text, attributes = {}) => {
    const e = document.createElement(name);
    if (text !== undefined) e.textContent = text;
    for (const [key, value] of Object.entries(attributes)) e.setAttribute(key, value);
    return e;
  };
  const fillTable = (place, table, limit) => {
    const columns = report.tables[table], n = rowsOf(table), t = element("table"), head = element("tr"), body = element("tbody");
    const numeric = columns.map((c) => !c.codes && c.values.every((v) => v === null || typeof v === "number"));
    columns.forEach((c, i) => head.append(element("th", c.name, numeric[i] ? {scope: "col", class: "number"} : {scope: "col"})));
    for (let r = 0; r < Math.min(n, limit); ++r) {
      const row = element("tr");
      columns.forEach((c, i) => row.append(element("td", shown(c, r), numeric[i] ? {class: "number"} : {})));
      body.append(row);
    }
    const thead = element("thead");
    thead.append(head);
    t.append(thead, body);
    place.replaceChildren(t);
    if (n > limit) {
      const more = element("button", `Show all ${n} rows`, {type: "button"});
      more.addEventListener("click", () => fillTable(place, table, n));
      place.append(more);
    }
  };
  for (const details of document.querySelectorAll("details[data-table]"))
    details.addEventListener("toggle", () => {
      if (details.open && !details.dataset.filled) fillTable(details.querySelector(".scroll"), details.dataset.table, 100);
      details.dataset.filled = "yes";
    });

  const say = (button, text) => {
    const before = button.dataset.label || (button.dataset.label = button.textContent);
    button.textContent = text;
    setTimeout(() => (button.textContent = before), 1500);
  };
  // The clipboard is not there for every page from a file; the older way is.
  const copy = async (text) => {
    try {
      await navigator.clipboard.writeText(text);
      return true;
    } catch {
      const area = element("textarea", text, {class: "copying"});
      document.body.append(area);
      area.select();
      const done = document.execCommand("copy");
      area.remove();
      return done;
    }
  };
  for (const button of document.querySelectorAll("[data-copy]"))
    button.addEventListener("click", async () => {
      const id = button.dataset.copy;
      say(button, (await copy(id in report.tables ? tsv(id) : tsvOfElement(document.getElementById(id)))) ? "Copied" : "Not copied");
    });

  // What the pointer is on. Only text is put in, never markup.
  const tooltip = document.getElementById("tooltip");
  const showTooltip = (handler, event, item, value) => {
    tooltip.hidden = value === null || value === undefined || value === "";
    if (tooltip.hidden) return;
    tooltip.replaceChildren(
      ...(util.isObject(value) ? Object.entries(value) : [["", value]]).map(([key, v]) => {
        const line = element("div");
        if (key) line.append(element("span", key), " ");
        line.append(String(v));
        return line;
      }),
    );
    const x = Math.min(event.clientX + 14, innerWidth - tooltip.offsetWidth - 8);
    const below = event.clientY + 16, y = below + tooltip.offsetHeight > innerHeight ? event.clientY - tooltip.offsetHeight - 10 : below;
    tooltip.style.transform = `translate(${Math.max(4, x)}px, ${Math.max(4, y)}px)`;
  };

  const manyMarks = 1500;  // beyond, a screen gets a canvas; paper always gets SVG
  const views = new Map();
  const themeName = () => root.dataset.theme || (matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light");

  // Marks of the picture that are not groups, axes and legends included.
  const count = (scene) => scene.items.reduce((n, item) => n + (item.items ? item.items.reduce((m, inner) => m + count(inner), 0) : 1), 0);

  function draw(chart, theme, printing) {
    const place = document.querySelector(`[data-chart="${chart.id}"]`);
    const spec = structuredClone(chart.spec);
    const set = (name, value) => {
      const signal = spec.signals.find((s) => s.name === name);
      if (signal) signal.value = value;
    };
    // Paper is read from nearer than a screen: letters may be smaller.
    const available = Math.max(240, Math.floor(place.clientWidth * (printing ? 1.3 : 1)));
    set("theme", themes[theme]);
    set("available", available);
    let marks = 0;
    const data = chart.data.map((d) => {
      const rows = records(d);
      marks += rows.length;
      return [d.name, rows];
    });
    if (views.has(chart.id)) views.get(chart.id).view.finalize();
    const view = new View(parse(spec, config(themes[theme]), {ast: true}), {
      expr: expressionInterpreter, renderer: printing || marks <= manyMarks ? "svg" : "canvas", container: place, hover: true, tooltip: showTooltip,
    });
    for (const [name, rows] of data) view.data(name, rows);
    view.run();
    if (chart.link && spec.signals.some((s) => s.name === "highlight"))
      view.addSignalListener("highlight", (name, value) => {
        for (const other of views.values())
          if (other.link === chart.link && other.view !== view && other.view.signal(name) !== value) other.view.signal(name, value).runAsync();
      });
    views.set(chart.id, {view, link: chart.link, available});
    place.dataset.state = "drawn";
    place.dataset.items = count(view.scenegraph().root);
    place.dataset.renderer = view.renderer();
    place.dataset.theme = theme;
  }
  const drawAll = (theme, printing) => report.charts.forEach((chart) => draw(chart, theme, printing));

  for (const button of document.querySelectorAll("[data-save]"))
    button.addEventListener("click", async () => {
      const id = button.dataset.save, svg = await views.get(id).view.toSVG();
      const link = element("a", undefined, {href: URL.createObjectURL(new Blob([svg], {type: "image/svg+xml"})), download: id + ".svg"});
      link.click();
      setTimeout(() => URL.revokeObjectURL(link.href), 10000);
    });

  // The theme: as the system has it, or chosen. A page from a file may not be allowed to remember.
  const themeButton = document.getElementById("theme");
  const choose = (name) => {
    if (name === "auto") delete root.dataset.theme;
    else root.dataset.theme = name;
    themeButton.textContent = {auto: "◐ auto", light: "○ light", dark: "● dark"}[name];
    themeButton.setAttribute("aria-label", {auto: "Colours: as the system has them", light: "Colours: light", dark: "Colours: dark"}[name]);
    try {
      localStorage.setItem("panvae-theme", name);
    } catch {}
  };
  let chosen = "auto";
  try {
    chosen = localStorage.getItem("panvae-theme") || "auto";
  } catch {}
  if (["light", "dark"].includes(location.hash.slice(1))) chosen = location.hash.slice(1);
  choose(["light", "dark"].includes(chosen) ? chosen : "auto");
  const redraw = () => {
    if (root.dataset.printing) return;
    drawAll(themeName(), false);
  };
  themeButton.addEventListener("click", () => {
    choose({auto: "light", light: "dark", dark: "auto"}[root.dataset.theme || "auto"]);
    redraw();
  });
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", redraw);

  let resizing;
  addEventListener("resize", () => {
    clearTimeout(resizing);
    resizing = setTimeout(() => {
      if (root.dataset.printing) return;
      for (const chart of report.charts) {
        const place = document.querySelector(`[data-chart="${chart.id}"]`);
        if (Math.max(240, Math.floor(place.clientWidth)) !== views.get(chart.id).available) draw(chart, themeName(), false);
      }
    }, 150);
  });
  // Paper is white, wide as paper, and sharp.
  addEventListener("beforeprint", () => {
    root.dataset.printing = "yes";
    for (const more of document.querySelectorAll("#summary details")) more.open = true;
    drawAll("light", true);
  });
  addEventListener("afterprint", () => {
    delete root.dataset.printing;
    redraw();
  });

  drawAll(themeName(), false);
  root.dataset.state = "done";
})();
