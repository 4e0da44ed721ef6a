"use strict";
const data = JSON.parse(document.getElementById("data").textContent);
const layers = data.layers;
const total = layers.tensor ? layers.tensor.length : 0;
const NONFINITE = { inf: Infinity, "-inf": -Infinity, nan: NaN };
const number = (value) => (typeof value === "string" ? NONFINITE[value] : value);
for (const name of ["sqnr", "relative", "max", "cosine", "floor", "margin", "sqnrAll", "own", "ownSqnr", "worstSqnr", "meanSqnr"])
  layers[name] = (layers[name] || []).map(number);

const show = {
  db: (value) => (value == null ? "–" : value === Infinity ? "exact" : Number.isNaN(value) ? "NaN" : value.toFixed(1) + " dB"),
  figure: (value) => (value == null ? "–" : Number.isFinite(value) ? Number(value.toPrecision(3)).toString() : String(value)),
};

// ---- table of all layers: only the rows in sight exist in the page ----
const ROW = 32;
const PHONE = matchMedia("(max-width: 640px)").matches;
const COLUMNS = [
  { key: "depth", title: "#", width: "64px", right: true },
  { key: "tensor", title: "Tensor", width: PHONE ? "160px" : "230px" },
  { key: "op", title: "Operator", width: "140px" },
  { key: "result", title: "In", width: "64px" },
  { key: "sqnr", title: "SQNR", width: "100px", right: true, text: show.db },
  { key: "floor", title: "Floor", width: "100px", right: true, text: show.db },
  { key: "margin", title: "Margin", width: "90px", right: true, text: (value) => (value === Infinity ? "–" : show.db(value)) },
  { key: "ownSqnr", title: "Injected", width: "100px", right: true, text: show.db },
  { key: "worstSqnr", title: "Worst sample", width: "150px", right: true, text: (_, i) => layers.worstSample[i] || "–" },
  { key: "max", title: "Largest difference", width: "150px", right: true, text: show.figure },
  { key: "module", title: "Module", width: "270px" },
  { key: "reason", title: "Reason", width: "420px" },
  { key: "why", title: "What happened", width: "520px" },
];
// What is in sight on a phone: which tensor, and how well it stands.
if (PHONE) COLUMNS.splice(2, 0, ...COLUMNS.splice(COLUMNS.findIndex((column) => column.key === "sqnr"), 1));
const state = { sort: "depth", down: false, rows: [], selected: -1 };
const table = document.getElementById("table");
const search = document.getElementById("search");
const kind = document.getElementById("show");
const haystack = Array.from({ length: total }, (_, i) =>
  [layers.tensor[i], layers.node[i], layers.op[i], layers.module[i], layers.reason[i], layers.why[i], layers.rule[i]].join(" ").toLowerCase());
const KINDS = {
  all: () => true,
  bad: (i) => layers.bad[i],
  skipped: (i) => layers.sqnr[i] == null,
  low: (i) => layers.result[i] === data.low,
  wide: (i) => layers.result[i] !== data.low,
};

function element(tag, className, text) {
  const made = document.createElement(tag);
  if (className) made.className = className;
  if (text !== undefined) made.textContent = text;
  return made;
}

const head = element("div", "head");
head.setAttribute("role", "row");
const body = element("div", "body");
body.setAttribute("role", "rowgroup");
table.style.setProperty("--columns", COLUMNS.map((column) => column.width).join(" "));
table.setAttribute("aria-rowcount", total);
for (const column of COLUMNS) {
  const button = element("button", column.right ? "n" : "", column.title);
  button.type = "button";
  button.dataset.key = column.key;
  button.setAttribute("role", "columnheader");
  button.addEventListener("click", () => {
    state.down = state.sort === column.key ? !state.down : false;
    state.sort = column.key;
    arrange();
  });
  head.append(button);
}
table.append(head, body);

// Missing values come last either way; NaN is the worst figure there is, so it comes before every number.
function compare(a, b) {
  const column = layers[state.sort];
  const x = column[a], y = column[b];
  if (x == null || y == null) return x == null && y == null ? a - b : x == null ? 1 : -1;
  const nan = Number(Number.isNaN(y)) - Number(Number.isNaN(x));
  const order = nan || (typeof x === "string" ? x.localeCompare(y, "en", { numeric: true }) : x < y ? -1 : x > y ? 1 : 0);
  return (state.down ? -order : order) || a - b;
}

function arrange() {
  const words = search.value.toLowerCase().split(/\s+/).filter(Boolean);
  const wanted = KINDS[kind.value];
  state.rows = [];
  for (let i = 0; i < total; i++)
    if (wanted(i) && words.every((word) => haystack[i].includes(word))) state.rows.push(i);
  state.rows.sort(compare);
  for (const button of head.children) {
    const mine = button.dataset.key === state.sort;
    const title = COLUMNS.find((column) => column.key === button.dataset.key).title;
    button.setAttribute("aria-sort", mine ? (state.down ? "descending" : "ascending") : "none");
    button.textContent = title + (mine ? (state.down ? " ↓" : " ↑") : "");
  }
  document.getElementById("count").textContent = `${state.rows.length} of ${total}`;
  body.style.height = `${Math.max(state.rows.length, 3) * ROW}px`;
  draw();
}

function draw() {
  const first = Math.max(0, Math.floor(table.scrollTop / ROW) - 8);
  const last = Math.min(state.rows.length, first + Math.ceil(table.clientHeight / ROW) + 16);
  const rows = [];
  for (let at = first; at < last; at++) rows.push(row(at));
  body.replaceChildren(...(rows.length ? rows : [element("div", "empty", "No layer matches.")]));
}

function row(at) {
  const i = state.rows[at];
  const made = element("div", "row" + (layers.bad[i] ? " isbad" : "") + (i === state.selected ? " selected" : ""));
  made.style.top = `${at * ROW}px`;
  made.dataset.index = i;
  made.setAttribute("role", "row");
  for (const column of COLUMNS) {
    const value = layers[column.key][i];
    const text = column.text ? column.text(value, i) : value == null ? "" : String(value);
    const cell = element("span", column.right ? "n" : "", text);
    cell.setAttribute("role", "cell");
    if (column.key === "result") cell.className = `format ${value}`;
    if (column.key === "reason" && layers.bad[i]) cell.className = "bad";
    if (!column.right) cell.title = text;
    made.append(cell);
  }
  return made;
}

let waiting = false;
table.addEventListener("scroll", () => {
  if (waiting) return;
  waiting = true;
  requestAnimationFrame(() => { waiting = false; draw(); });
});
addEventListener("resize", draw);
search.addEventListener("input", () => { table.scrollTop = 0; arrange(); });
kind.addEventListener("change", () => { table.scrollTop = 0; arrange(); });
body.addEventListener("click", (event) => {
  const line = event.target.closest(".row");
  if (line) detail(Number(line.dataset.index));
});
table.addEventListener("keydown", (event) => {
  const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
  if (event.target !== table || (!step && event.key !== "Enter")) return;
  event.preventDefault();
  if (!step) { if (state.selected >= 0) detail(state.selected); return; }
  const at = Math.min(state.rows.length - 1, Math.max(0, state.rows.indexOf(state.selected) + step));
  select(state.rows[at]);
});

function select(i) {
  state.selected = i;
  if (!state.rows.includes(i)) { search.value = ""; kind.value = "all"; arrange(); }
  const top = state.rows.indexOf(i) * ROW;
  if (top < table.scrollTop || top + 3 * ROW > table.scrollTop + table.clientHeight) table.scrollTop = Math.max(0, top - table.clientHeight / 3);
  draw();
}

function detail(i) {
  select(i);
  const box = document.getElementById("detail");
  const facts = [
    ["Verdict", layers.bad[i] ? "bad" : layers.sqnr[i] == null ? "not compared" : "good"],
    ["Reason", layers.reason[i]],
    ["What happened", layers.why[i]],
    ["Node", `${layers.node[i]} (${layers.op[i]}), position ${layers.depth[i]}`],
    ["Module", layers.module[i]],
    ["Origin", layers.origin[i]],
    ["SQNR", `${show.db(layers.sqnr[i])}, floor ${show.db(layers.floor[i])}, margin ${show.db(layers.margin[i])}`],
    ["SQNR, masked positions too", layers.sqnrAll[i] == null ? null : show.db(layers.sqnrAll[i])],
    ["Injected by its node", layers.own[i] == null ? null :
      (layers.ownSqnr[i] === Infinity ? "no error" : `SQNR ${show.db(layers.ownSqnr[i])}`) + (layers.ownNonfinite[i] ? `; ${layers.ownNonfinite[i]} values become NaN or infinite here` : "")],
    ["Error relative to it (L2)", show.figure(layers.relative[i])],
    ["Over samples", layers.worstSqnr[i] == null ? null :
      `mean error ${show.db(layers.meanSqnr[i])}, worst sample ${layers.worstSample[i]} (counted from 0)`],
    ["Largest difference", show.figure(layers.max[i])],
    ["Cosine", layers.cosine[i] == null ? null : layers.cosine[i].toFixed(8)],
    ["Elements", layers.elements[i] == null ? null : layers.elements[i].toLocaleString("en")],
    ["NaN, infinities", layers.nan[i] == null ? null :
      `${layers.nan[i]} and ${layers.inf[i]}; reference ${layers.nanReference[i]} and ${layers.infReference[i]}; ${layers.mismatched[i]} mismatched`],
    ["Precision", layers.rule[i] == null ? null : `operands ${layers.operands[i] || "–"}, accumulator ${layers.accumulator[i] || "as operands"}, result ${layers.result[i]}`],
    ["Decided by", layers.rule[i] == null ? null : `${layers.rule[i]}: ${layers.decided[i]}`],
    ["Rests on", layers.grounds[i]],
    ["Kernel", layers.kernel[i]],
  ];
  const list = element("dl");
  for (const [name, value] of facts)
    if (value != null && value !== "") list.append(element("dt", "", name), element("dd", name === "Verdict" ? (layers.bad[i] ? "bad" : "") : "", String(value)));
  const close = element("button", "", "Close");
  close.addEventListener("click", () => box.close());
  box.replaceChildren(element("h3", "name", layers.tensor[i]), close, list);
  box.showModal();
}
document.getElementById("detail").addEventListener("click", (event) => { if (event.target.id === "detail") event.target.close(); });
arrange();

// ---- tree of modules: a module's children are made when it is opened ----
const made = data.made;
const childrenOf = new Map();
made.id.forEach((_, at) => {
  if (made.parent[at] === null) return;
  if (!childrenOf.has(made.parent[at])) childrenOf.set(made.parent[at], []);
  childrenOf.get(made.parent[at]).push(at);
});
for (const list of childrenOf.values()) list.sort((a, b) => made.share[b] - made.share[a]);

function percent(share) {
  return `${(100 * share).toFixed(1)}%`;
}

function branch(at, depth) {
  const children = childrenOf.get(made.id[at]) || [];
  const node = element(children.length ? "details" : "div", "branch");
  const line = element(children.length ? "summary" : "p");
  const bar = element("span", "bar");
  bar.style.setProperty("--share", made.share[at]);
  line.style.setProperty("--depth", depth);
  const final = made.final[at] == null ? "–" : made.breaks[at] ? "breaks the outputs alone" : percent(made.final[at]);
  line.append(element("span", "name", made.label[at]), bar, element("span", "n", percent(made.share[at])),
    element("span", (made.breaks[at] ? "bad " : "") + "n final", final),
    element("span", made.bad[at] ? "bad" : "dim", `${made.bad[at]} of ${made.layers[at]} bad` + (made.nonfinite[at] ? `, ${made.nonfinite[at].toLocaleString("en")} values become NaN or infinite` : "")));
  node.append(line);
  if (children.length)
    node.addEventListener("toggle", () => {
      if (!node.open || node.children.length > 1) return;
      node.append(...children.map((child) => branch(child, depth + 1)));
      // A child that holds nearly all of it says nothing new: open it too.
      if (made.share[children[0]] > 0.9 * made.share[at]) node.children[1].open = true;
    });
  return node;
}
if (made.id.length) {
  const root = branch(0, 0);
  const titles = element("p", "titles");
  titles.append(...["Module", "Share of injected error", "", "Share of final error", "Layers"].map((title, at) => element("span", at === 3 ? "n" : "", title)));
  document.getElementById("module-tree").replaceChildren(titles, root);
  root.open = true;
}
for (const button of document.querySelectorAll("button[data-tensor]"))
  button.addEventListener("click", () => {
    const i = layers.tensor.indexOf(button.dataset.tensor);
    if (i >= 0) detail(i);
  });

// ---- charts: plotly.js, unpacked from this file ----
const css = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
const axis = () => ({ gridcolor: css("--line"), linecolor: css("--line"), zeroline: false, color: css("--dim") });
const layout = (more) => ({
  paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)", font: { family: css("--sans"), size: 12, color: css("--ink") },
  margin: { l: 62, r: 14, t: 34, b: 44 }, modebar: { bgcolor: "rgba(0,0,0,0)", color: css("--dim"), activecolor: css("--ink") },
  hoverlabel: { bgcolor: css("--panel"), bordercolor: css("--line"), font: { family: css("--sans"), color: css("--ink") }, align: "left" }, ...more,
});
const CONFIG = { responsive: true, displaylogo: false, modeBarButtonsToRemove: ["select2d", "lasso2d", "autoScale2d"] };
const escapeText = (text) => String(text).replace(/&/g, "&amp;").replace(/</g, "&lt;").replace(/>/g, "&gt;");

function depthTraces(limits) {
  const groups = new Map();
  for (let i = 0; i < total; i++) {
    if (layers.relative[i] == null) continue;
    const name = layers.bad[i] ? "bad" : layers.relative[i] === 0 ? "no error" : layers.result[i];
    if (!groups.has(name)) groups.set(name, []);
    groups.get(name).push(i);
  }
  const colour = { bad: "--bad", "no error": "--other", fp32: "--wide", tf32: "--wide" };
  return [...groups].sort((a, b) => (a[0] === "bad") - (b[0] === "bad")).map(([name, rows]) => ({
    type: "scatter", mode: "markers", name: `${name === "bad" ? "bad" : name === "no error" ? name : `total, in ${name}`} (${rows.length})`, customdata: rows,
    x: rows.map((i) => layers.depth[i]),
    y: rows.map((i) => limits.clamp(layers.mismatched[i] > 0 ? Infinity : layers.relative[i])),
    text: rows.map((i) => `<b>${escapeText(layers.tensor[i])}</b><br>${escapeText(layers.op[i])} in ${layers.result[i]}<br>` +
      `SQNR ${show.db(layers.sqnr[i])}, floor ${show.db(layers.floor[i])}` + (layers.bad[i] ? `<br>${escapeText(String(layers.reason[i]).slice(0, 90))}` : "")),
    hovertemplate: "%{text}<extra></extra>",
    marker: { color: css(colour[name] || "--low"), size: name === "bad" ? 9 : 5, symbol: name === "bad" ? "x" : "circle", opacity: name === "no error" ? 0.5 : 0.85 },
  }));
}

function depthLimits() {
  const seen = [];
  for (let i = 0; i < total; i++) {
    if (layers.own[i] > 0 && Number.isFinite(layers.own[i])) seen.push(layers.own[i]);
    if (layers.relative[i] > 0 && Number.isFinite(layers.relative[i])) seen.push(layers.relative[i]);
    if (Number.isFinite(layers.floor[i]) && layers.floor[i] != null) seen.push(10 ** (-layers.floor[i] / 20));
  }
  // Scores behind a mask of -3.4e38 differ by 1e-41 of it; what lies under fp32's own roundings is drawn at the bottom.
  const low = Math.max(seen.reduce((a, b) => Math.min(a, b), 1e-4) / 4, 1e-9), high = seen.reduce((a, b) => Math.max(a, b), 1e-2) * 4;
  return { low, high, clamp: (value) => (Number.isNaN(value) || value > high ? high : Math.max(value, low)) };
}

function drawDepth() {
  const limits = depthLimits();
  const withFloor = Array.from({ length: total }, (_, i) => i).filter((i) => layers.floor[i] != null && Number.isFinite(layers.floor[i]));
  const floor = {
    type: "scatter", mode: "lines", name: "limit", hoverinfo: "skip", line: { color: css("--dim"), width: 1.5, dash: "dash" },
    x: withFloor.map((i) => layers.depth[i]), y: withFloor.map((i) => 10 ** (-layers.floor[i] / 20)),
  };
  const own = Array.from({ length: total }, (_, i) => i).filter((i) => layers.own[i] > 0 || layers.ownNonfinite[i] > 0);
  const injected = {
    type: "scatter", mode: "markers", name: `injected (${own.length})`, customdata: own, marker: { color: css("--good"), size: 5, symbol: "diamond", opacity: 0.8 },
    x: own.map((i) => layers.depth[i]), y: own.map((i) => limits.clamp(layers.ownNonfinite[i] > 0 ? Infinity : layers.own[i])),
    text: own.map((i) => `<b>${escapeText(layers.tensor[i])}</b><br>injected by its node alone: ` +
      (layers.ownNonfinite[i] > 0 ? `${layers.ownNonfinite[i]} values NaN or infinite` : `SQNR ${show.db(layers.ownSqnr[i])}`)),
    hovertemplate: "%{text}<extra></extra>",
  };
  const place = document.getElementById("depth-chart");
  const narrow = place.clientWidth < 500;
  return Plotly.react(place, [floor, injected, ...depthTraces(limits)], layout({
    hovermode: "closest", showlegend: true, legend: { orientation: "h", y: 1.02, yanchor: "bottom", x: 0 },
    xaxis: { ...axis(), title: { text: "position in the graph" } },
    yaxis: { ...axis(), type: "log", range: [Math.log10(limits.low) - 0.1, Math.log10(limits.high) * 1.02 + 0.15], ...decades(limits), automargin: true,
      title: { text: narrow ? "" : "error relative to the tensor", standoff: 12 } },
  }), { ...CONFIG, displayModeBar: !narrow });
}

// Ticks at powers of ten, each with the signal to error that it stands for.
function decades(limits) {
  const vals = [];
  for (let power = Math.ceil(Math.log10(limits.low)); power <= Math.log10(limits.high); power++) vals.push(power);
  const step = Math.ceil(vals.length / 8);
  const shown = vals.filter((power) => power % step === 0);
  return { tickvals: shown.map((power) => 10 ** power), ticktext: shown.map((power) => `${-20 * power} dB  10<sup>${power}</sup>`) };
}

function drawPrecision() {
  const tree = data.modules;
  const share = tree.nodes.map((nodes, at) => tree.wide[at] / nodes);
  const place = document.getElementById("precision-chart");
  if (!tree.id.length) { place.textContent = "No node has a float result."; return null; }
  return Plotly.react(place, [{
    type: "treemap", ids: tree.id, labels: tree.label.map(escapeText), parents: tree.parent, values: tree.nodes, branchvalues: "total", maxdepth: 6, sort: false,
    marker: { colors: share, cmin: 0, cmax: 1, colorscale: [[0, css("--low")], [0.5, css("--mid")], [1, css("--wide")]], line: { width: 1, color: css("--panel") }, pad: { t: 20, l: 3, r: 3, b: 3 } },
    textfont: { color: "#fff" }, pathbar: { textfont: { color: css("--ink") }, thickness: 22 },
    text: tree.nodes.map((nodes, at) => `${tree.wide[at]} of ${nodes} nodes not in ${data.low}` + (tree.why[at].length ? "<br>" + tree.why[at].map(escapeText).join("<br>") : "")),
    textinfo: "label", hovertemplate: "<b>%{id}</b><br>%{text}<extra></extra>",
  }], layout({ uniformtext: { minsize: 10, mode: "hide" }, margin: { l: 0, r: 0, t: 6, b: 0 } }), { ...CONFIG, displayModeBar: false });
}

// Plans of a search. What breaks the outputs stands at the top; points that have a name are drawn over the rest.
const MARKS = [
  ["chosen", "star", "--good", 15], ["cheapest", "triangle-left", "--low", 11], ["default policy", "diamond", "--wide", 11], ["knee", "square-open", "--ink", 13], ["overfitted", "x", "--bad", 10],
];
// Plans differ by a thousandth and by two thirds of the cost, so what is drawn is the cost above the cheapest, on a log scale.
function searchPoints(found, top, pick, more) {
  const cheapest = found.cost.reduce((a, b) => Math.min(a, b));
  const least = found.cost.map((cost) => cost - cheapest).filter((cost) => cost > 1e-3).reduce((a, b) => Math.min(a, b), 1) / 2;
  const rows = found.cost.map((_, at) => at).filter(pick);
  const broken = (at) => !(number(found.noise[at]) < top);
  return {
    type: "scatter", x: rows.map((at) => Math.max(found.cost[at] - cheapest, least)), y: rows.map((at) => (broken(at) ? top : Math.max(number(found.noise[at]), 1e-12))),
    text: rows.map((at) => `<b>${escapeText(found.label[at])}</b>${found.names[at] ? ` (${found.names[at]})` : ""}<br>` +
      `cost ${found.cost[at].toFixed(2)}% of the default plan's${found.latency[at] === null ? "" : `, ${found.latency[at].toFixed(3)} ms`}<br>${found.wide[at]} fp32 nodes, ${found.casts[at]} casts, ${show.db(number(found.sqnr[at]))}<br>` +
      `${found.meets[at] ? "meets the budget" : escapeText(found.reason[at].slice(0, 90))}` +
      found.changes[at].map((change) => `<br>${escapeText(change.slice(0, 80))}`).join("") +
      (found.heldOut[at] ? `<br>held out: ${escapeText(found.heldOut[at].slice(0, 90))}` : "")),
    hovertemplate: "%{text}<extra></extra>", ...more(rows),
  };
}

function drawSearch() {
  const found = data.search;
  if (!found) return null;
  const place = document.getElementById("search-chart");
  const narrow = place.clientWidth < 500;
  const finite = found.noise.map(number).filter((value) => value > 0 && Number.isFinite(value)).concat(found.floor);
  const top = finite.reduce((a, b) => Math.max(a, b)) * 3, low = finite.reduce((a, b) => Math.min(a, b)) / 2;
  const name = (text, rows) => `${text} (${rows.length})`;
  const traces = [
    searchPoints(found, top, (at) => !found.meets[at], (rows) => ({ mode: "markers", name: name("over budget", rows), marker: { color: css("--bad"), size: 6, opacity: 0.6 } })),
    searchPoints(found, top, (at) => found.meets[at], (rows) => ({ mode: "markers", name: name("in budget", rows), marker: { color: css("--low"), size: 6, opacity: 0.7 } })),
    searchPoints(found, top, (at) => found.frontier[at], () => ({ mode: "lines+markers", name: "frontier", line: { color: css("--ink"), width: 1.5, shape: "hv" }, marker: { color: css("--ink"), size: 5 } })),
    ...MARKS.map(([mark, symbol, colour, size]) => searchPoints(found, top, (at) => found.names[at].split(", ").includes(mark), () => (
      { mode: "markers", name: mark, marker: { symbol, color: css(colour), size, line: { width: 1.5, color: css(mark === "knee" ? "--ink" : "--panel") } } }))),
  ].filter((trace) => trace.x.length);
  return Plotly.react(place, traces, layout({
    hovermode: "closest", showlegend: true, legend: { orientation: "h", y: 1.02, yanchor: "bottom", x: 0 }, margin: { l: 62, r: 14, t: narrow ? 90 : 48, b: 44 },
    shapes: [{ type: "line", xref: "paper", x0: 0, x1: 1, y0: found.floor, y1: found.floor, line: { color: css("--dim"), width: 1.5, dash: "dash" } }],
    xaxis: { ...axis(), type: "log", dtick: 1, exponentformat: "power", ticksuffix: "%", title: { text: narrow ? "cost above the cheapest plan" : "cost above the cheapest plan, % of the default policy's plan" } },
    yaxis: { ...axis(), type: "log", range: [Math.log10(low), Math.log10(top) + 0.1], exponentformat: "power", dtick: 1, title: { text: narrow ? "" : "error of the worst output (noise to signal)" } },
  }), { ...CONFIG, displayModeBar: !narrow });
}

async function loadLibrary() {
  const packed = Uint8Array.from(atob(document.getElementById("library").textContent.trim()), (letter) => letter.charCodeAt(0));
  const text = await new Response(new Blob([packed]).stream().pipeThrough(new DecompressionStream("gzip"))).text();
  const script = element("script");
  script.textContent = text;
  document.head.append(script);
}

async function charts() {
  await loadLibrary();
  for (const wait of document.querySelectorAll(".chart .wait")) wait.remove();
  await Promise.all([drawDepth(), drawPrecision(), drawSearch()]);
  document.getElementById("depth-chart").on("plotly_click", (event) => {
    const i = event.points[0].customdata;
    if (i === undefined) return;
    select(i);
    document.getElementById("layers").scrollIntoView();
  });
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => { drawDepth(); drawPrecision(); drawSearch(); });
  document.documentElement.dataset.ready = "true";
}
charts().catch((error) => {
  for (const place of document.querySelectorAll(".chart")) place.textContent = `Charts need a newer browser (${error}).`;
  throw error;
});
