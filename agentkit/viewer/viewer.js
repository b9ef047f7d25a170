"use strict";
// Draws the data of the page. Whatever comes from a run becomes text, never markup. Only the rows that are visible are
// made, so that a run of 10,000 steps opens at once.
(() => {
const ROW = 34;
const byId = id => document.getElementById(id);
const list = byId("list"), holder = byId("rows"), detail = byId("detail"), lanes = byId("lanes");
const search = byId("search"), filter = byId("filter"), fold = byId("fold"), dialog = byId("graph");
let data = JSON.parse(byId("data").textContent);
let rows = [], shown = [], spans = [], selected = null, totals = new Map(), root, version = 0;

// Text

// What moves other text, or that nobody sees, is shown as an escape. Joiners and emoji forms stay.
const ODD = /(?![\n\t\u200c\u200d\ufe0e\ufe0f])[\p{Cc}\p{Cf}\p{Zl}\p{Zp}\p{Co}\p{Cn}\p{Cs}\u034f\u115f\u1160\u17b4\u17b5\u2800\u3164\uffa0]/gu;
const escaped = char => char.codePointAt(0) > 0xffff ? `\\u{${char.codePointAt(0).toString(16)}}`
  : `\\u${char.charCodeAt(0).toString(16).padStart(4, "0")}`;
const clean = text => String(text).replace(/\r\n/g, "\n").replace(ODD, escaped);
const line = (text, most = 300) => {
  const cut = String(text ?? "").slice(0, most * 2).replace(/\s+/g, " ").trim();
  return cut.length > most ? `${cut.slice(0, most)}…` : cut;
};

function el(tag, options = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(options)) {
    if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
    else if (value !== undefined && value !== false) node.setAttribute(name, value === true ? "" : value);
  }
  for (const child of children.flat()) {
    if (child !== null && child !== undefined && child !== false && child !== "") node.append(child instanceof Node ? child : said(child));
  }
  return node;
}

// Return a text, with what is sought marked.
function said(text) {
  const whole = clean(text), sought = search.value.trim().toLowerCase();
  if (sought.length < 2) return document.createTextNode(whole);
  const parts = document.createDocumentFragment(), low = whole.toLowerCase();
  let at = 0;
  for (let found = low.indexOf(sought), many = 0; found >= 0 && low.length === whole.length && many < 500; many++) {
    const mark = document.createElement("mark");
    mark.textContent = whole.slice(found, found + sought.length);
    parts.append(whole.slice(at, found), mark);
    at = found + sought.length;
    found = low.indexOf(sought, at);
  }
  parts.append(whole.slice(at));
  return parts;
}

const number = value => value.toLocaleString("en-US", { maximumFractionDigits: 6 });
const seconds = value => value === undefined ? "" : value >= 100 ? `${Math.round(value)} s`
  : value >= 1 ? `${value.toFixed(1)} s` : `${Math.round(value * 1000)} ms`;
const tokens = usage => usage && (usage.prompt_tokens ?? usage.completion_tokens) !== undefined
  ? (usage.prompt_tokens ?? 0) + (usage.completion_tokens ?? 0) : undefined;

// Rows

const outcomeOf = call => call.outcome ?? (call.began === undefined ? "waiting" : "running");
const isOdd = (kind, item) => kind === "step" ? Boolean(item.violation || item.error || item.refusal || item.retried)
  : kind === "call" ? !["ok", "running"].includes(outcomeOf(item)) : Boolean(item.error);

function textOf(item) {
  if (item.kind === "message") {
    return line(item.parts.map(part => part.text ?? (part.image ? "[image]" : part.audio ? "[recording]" : `[file ${part.file}]`)).join(" "));
  }
  if (item.kind === "outcome") return line(`${item.key}: ${item.error ?? item.output ?? ""}`);
  if (item.kind === "note") return line(item.text);
  if (item.kind === "run") {
    const asked = item.items.filter(each => each.kind === "message" && each.role === "user").at(-1);
    return [item.agent ?? "agent", item.model].filter(Boolean).join(", ") + (asked ? `: ${textOf(asked)}` : "");
  }
  const called = (item.calls ?? []).map(call => call.name).join(", ");
  return [item.violation && `rejected: ${line(item.violation)}`, item.error && line(item.error), item.refusal && `refused: ${line(item.refusal)}`,
    item.text && line(item.text), called && `→ ${called}`, item.reasoning && !item.text && !called && "(reasoning)",
    item.open && !item.text && "(the model works on it)"].filter(Boolean).join("  ") || "(empty)";
}

function add(item, depth, other, mark) {
  const either = item ?? other, kind = either.kind, calls = item?.calls ?? [], others = other?.calls ?? [];
  const inside = mark === undefined ? undefined : "";
  const push = row => rows.push({ mark, depth, root, place: rows.length - (root?.index ?? 0), index: rows.length, ...row });
  push({ kind, item, other, odd: isOdd(kind, either) });
  for (const inner of kind === "run" ? either.items : []) add(inner, depth + 1, undefined, inside);
  for (let at = 0; at < Math.max(calls.length, others.length); at++) {
    const call = calls[at] ?? others[at];
    push({ kind: "call", item: calls[at], other: others[at], step: either, odd: isOdd("call", call) });
    for (const run of call.runs ?? []) add({ ...run, kind: "run" }, depth + 1, undefined, inside);
  }
}

// Add an item of the page's run. Those of a server are runs themselves, each with times of its own.
function addTop(item) {
  root = item.kind === "run" ? { id: item.id, index: rows.length } : undefined;
  add(item, 0);
}

function read() {
  rows = [];
  const [run, other] = data.runs;
  if (data.differences) {
    for (const [one, two, same] of data.differences) {
      const mark = one === null ? "added" : two === null ? "removed" : same ? "" : "changed";
      add(one === null ? undefined : run.items[one], 0, two === null ? undefined : other.items[two], mark);
    }
  } else {
    run.items.forEach(addTop);
    if (run.error) addTop({ kind: "note", text: run.error, error: run.error });
  }
  spans = rows.filter(row => (row.item ?? row.other)?.began !== undefined);
  totals = new Map([[undefined, Math.max(...data.runs.map(each => each.seconds ?? 0))]]);
  for (const row of spans) totals.set(row.root, Math.max(totals.get(row.root) ?? 0, end(row.item ?? row.other)));
  fold.hidden = !rows.some(row => row.depth);
  fold.textContent = rows.some(row => row.root) ? "Fold runs" : "Fold sub-agents";
}

const end = item => item.began + (item.seconds ?? 0);

function soughtIn(row, sought) {
  row.sought ??= JSON.stringify([row.item, row.other], (name, value) => (name === "runs" || (name === "calls" && row.kind === "step")
    || (name === "items" && row.kind === "run") || name === "image" || name === "audio" ? undefined : value)).toLowerCase();
  return row.sought.includes(sought);
}

function select(row, scroll = true, changed = true) {
  const other = row?.root !== selected?.root;
  selected = row;
  if (row && scroll) {
    const at = shown.indexOf(row), top = at * ROW, view = list.clientHeight;
    if (top < list.scrollTop) list.scrollTop = top;
    else if (top + ROW > list.scrollTop + view) list.scrollTop = top + ROW - view;
  }
  draw();
  if (other) drawLanes();
  else markLanes();
  if (changed) showDetail();
}

function sift(scroll = true, changed = true) {
  const sought = JSON.stringify(search.value.trim().toLowerCase()).slice(1, -1), wanted = filter.value;
  const folded = fold.getAttribute("aria-pressed") === "true";
  shown = rows.filter(row => (!folded || !row.depth) && (!wanted || (wanted === "odd" ? row.odd || row.mark : row.kind === wanted))
    && (!sought || soughtIn(row, sought)));
  holder.style.height = `${shown.length * ROW}px`;
  byId("count").textContent = shown.length === rows.length ? `${number(rows.length)} rows` : `${number(shown.length)} of ${number(rows.length)} rows`;
  if (!shown.includes(selected)) selected = shown[0] ?? null;
  select(selected, scroll, changed);
}

function draw() {
  const first = Math.max(0, Math.floor(list.scrollTop / ROW) - 8);
  const last = Math.min(shown.length, Math.ceil((list.scrollTop + list.clientHeight) / ROW) + 8);
  const made = [];
  for (let at = first; at < last; at++) made.push(rowOf(shown[at], at));
  holder.replaceChildren(...made);
  const place = shown.indexOf(selected);
  if (place >= first && place < last) list.setAttribute("aria-activedescendant", `row${selected.index}`);
  else list.removeAttribute("aria-activedescendant");
}

function argumentsOf(call) {
  const value = parsed(call.arguments);
  if (!value || Array.isArray(value)) return line(call.arguments, 120);
  return line(Object.entries(value).map(([name, held]) => `${name}=${held instanceof Written ? held.text : JSON.stringify(held)}`).join(", "), 120);
}

const KINDS = { system: "System", developer: "System", user: "User", tool: "Result" };

function labelOf(row) {
  const item = row.item ?? row.other;
  switch (row.kind) {
    case "message": return item.note ? "Note" : KINDS[item.role] ?? item.role;
    case "step": return item.number ? `Step ${item.number}` : "Reply";
    case "call": return outcomeOf(item) === "waiting" ? "waits" : outcomeOf(item);
    case "run": return row.depth ? "Agent" : item.error ? "failed" : item.stop ?? "running";
    case "outcome": return item.error ? "failed" : item.stop ?? "begun";
    case "note": return item.error ? "Error" : "Note";
    default: return "";
  }
}

function rowOf(row, at) {
  const item = row.item ?? row.other, spent = row.kind === "step" || row.kind === "outcome" ? tokens(item.usage) : undefined;
  const label = labelOf(row), marks = { added: "+", removed: "−", changed: "≠" };
  const text = row.kind === "call" ? `${item.name}(${argumentsOf(item)}) ${line(item.result, 160)}`
    : textOf(item);
  const node = el("div", {
    role: "option", id: `row${row.index}`, "aria-selected": String(row === selected), "aria-posinset": at + 1, "aria-setsize": shown.length,
    class: ["row", row.kind, row.kind === "call" ? outcomeOf(item) : "", row.odd ? "odd" : "", row.mark ?? "", item.before ? "before" : ""].join(" "),
    onclick: () => { select(row, false); list.focus({ preventScroll: true }); },
  },
  row.mark !== undefined && el("span", { class: "mark", "aria-label": row.mark || "same" }, marks[row.mark] ?? ""),
  el("span", { class: "label" }, label),
  el("span", { class: "text" }, text),
  el("span", { class: "spent" }, spent === undefined ? "" : `${number(spent)} tok`),
  el("span", { class: "spent" }, seconds(item.seconds)),
  totals.get(row.root) > 0 && el("span", { class: item.began === undefined ? "bar none" : "bar", "aria-hidden": "true" }, barOf(row, item)));
  node.style.top = `${at * ROW}px`;
  node.style.setProperty("--depth", row.depth + (row.kind === "call" ? 1 : 0));
  return node;
}

function barOf(row, item) {
  if (item.began === undefined) return null;
  const bar = el("i", { class: row.kind }), total = totals.get(row.root);
  bar.style.left = `${100 * item.began / total}%`;
  bar.style.width = `${100 * (item.seconds ?? 0) / total}%`;
  return bar;
}

// The time line: requests in the upper lanes, calls below them, each in the first lane that is free.

const LANE = 13;
let drawn = new Map(), picture = null;

// Return the lane of each row, and how many lanes there are.
function placed() {
  const lane = new Map();
  let base = 0;
  for (const kind of ["step", "call"]) {
    const free = [];
    const group = spans.filter(row => row.kind === kind && row.root === selected?.root).map(row => [row, row.item ?? row.other]);
    for (const [row, item] of group.sort((a, b) => a[1].began - b[1].began)) {
      let at = free.findIndex(ends => ends <= item.began + 1e-9);
      if (at < 0) at = Math.min(free.length, 7);
      free[at] = end(item);
      lane.set(row, base + at);
    }
    base += free.length;
  }
  return [lane, base];
}

function drawLanes() {
  const total = totals.get(selected?.root), [lane, many] = placed();
  lanes.hidden = !lane.size || !total;
  if (lanes.hidden) return;
  const width = lanes.parentElement.clientWidth, height = many * LANE + 20, ratio = window.devicePixelRatio || 1;
  lanes.style.height = `${height}px`;
  picture = document.createElement("canvas");
  picture.width = lanes.width = width * ratio;
  picture.height = lanes.height = height * ratio;
  const pen = picture.getContext("2d"), style = getComputedStyle(document.documentElement);
  const [soft, rule, warn, bad, accent, call, sheet] = ["soft", "line", "warn", "bad", "accent", "call", "sheet"].map(name => style.getPropertyValue(`--${name}`).trim());
  pen.scale(ratio, ratio);
  const x = at => 8 + (width - 16) * at / total;
  pen.font = "11px system-ui, sans-serif";
  pen.fillStyle = soft;
  for (let tick = 0; tick <= 4; tick++) {
    pen.textAlign = tick === 0 ? "left" : tick === 4 ? "right" : "center";
    pen.fillText(seconds(total * tick / 4) || "0", x(total * tick / 4), height - 5);
    pen.fillRect(x(total * tick / 4), 0, .5, height - 17);
  }
  drawn = new Map();
  for (const [row, at] of lane) {
    const item = row.item ?? row.other, left = x(item.began), wide = Math.max(2, x(end(item)) - left), top = at * LANE + 2;
    if (item.waited) {
      pen.fillStyle = rule;
      pen.fillRect(x(item.began - item.waited), top + 4, left - x(item.began - item.waited), 3);
    }
    pen.globalAlpha = row.depth ? .6 : 1;
    pen.fillStyle = row.odd ? (item.outcome === "refused" ? warn : bad) : row.kind === "step" ? accent : call;
    pen.fillRect(left, top, wide, LANE - 3);
    pen.globalAlpha = 1;
    pen.fillStyle = sheet;
    for (const retry of (item.retried ?? []).filter(each => each.delay)) pen.fillRect(x(item.began + retry.after), top + 3, Math.max(2, x(retry.delay) - x(0)), LANE - 9);
    drawn.set(row, [left, top, wide]);
  }
  const requests = [...lane.keys()].filter(row => row.kind === "step").length, calls = lane.size - requests;
  lanes.setAttribute("aria-label", `Time line: ${requests} requests and ${calls} tool calls in ${seconds(total)}. The list has each of them with its seconds.`);
  markLanes();
}

function markLanes() {
  if (lanes.hidden) return;
  const pen = lanes.getContext("2d"), ratio = window.devicePixelRatio || 1, place = drawn.get(selected);
  pen.setTransform(1, 0, 0, 1, 0, 0);
  pen.clearRect(0, 0, lanes.width, lanes.height);
  pen.drawImage(picture, 0, 0);
  if (!place) return;
  pen.scale(ratio, ratio);
  pen.strokeStyle = getComputedStyle(document.documentElement).getPropertyValue("--ink").trim();
  pen.lineWidth = 2;
  pen.strokeRect(place[0] - 1, place[1] - 1, place[2] + 2, LANE - 1);
}

lanes.addEventListener("click", event => {
  const box = lanes.getBoundingClientRect(), x = event.clientX - box.left, y = event.clientY - box.top;
  const hit = [...drawn].find(([, [left, top, wide]]) => x >= left - 2 && x <= left + wide + 2 && y >= top - 1 && y <= top + 12);
  if (hit && shown.includes(hit[0])) select(hit[0]);
});

// Details

const section = (title, open, ...content) => el("details", { open }, el("summary", {}, title), ...content);
const block = text => el("pre", {}, text);
const facts = pairs => el("dl", { class: "facts" }, pairs.filter(([, value]) => value !== undefined && value !== "" && value !== null)
  .map(([name, value]) => el("div", {}, el("dt", {}, name), el("dd", {}, value))));

class Written { constructor(text) { this.text = text; } }

// Parse JSON; a number that JavaScript would change stays as it is written.
function parsed(text) {
  if (!/^\s*[[{]/.test(text ?? "")) return undefined;
  try {
    return JSON.parse(text, (_, value, context) => typeof value === "number" && context && String(value) !== context.source
      ? new Written(context.source) : value);
  } catch { return undefined; }
}

function tree(value, name, depth = 0) {
  const label = name === undefined ? null : el("span", { class: "name" }, `${name}: `);
  if (value instanceof Written) return el("div", { class: "leaf" }, label, el("span", { class: "number" }, value.text));
  if (value === null || typeof value !== "object") {
    const kind = value === null ? "null" : typeof value;
    return el("div", { class: "leaf" }, label, el("span", { class: kind }, String(value)));
  }
  const keys = Object.keys(value), many = Array.isArray(value) ? `[${keys.length}]` : `{${keys.length}}`;
  if (!keys.length) return el("div", { class: "leaf" }, label, many.replace("0", ""));
  const node = el("details", { class: "tree", open: depth < 4 && keys.length <= 20 || !depth }, el("summary", {}, label, many));
  let next = 0;
  const more = () => {
    for (const last = Math.min(next + 100, keys.length); next < last; next++) node.append(tree(value[keys[next]], keys[next], depth + 1));
    if (next < keys.length) {
      const button = el("button", { type: "button", onclick: () => { button.remove(); more(); } }, `${number(keys.length - next)} more`);
      node.append(button);
    }
  };
  const make = () => { if (node.open && !next) more(); };
  node.addEventListener("toggle", make);
  make();
  return node;
}

function content(text, title, open = true) {
  const value = parsed(text);
  if (value === undefined) return text ? section(title, open, block(text)) : null;
  return section(title, open, tree(value), section("As text", false, block(text)));
}

function media(part) {
  if (part.text !== undefined) return block(part.text);
  if (part.audio) return el("audio", { controls: true, src: part.audio });
  if (part.image?.startsWith("data:image/")) return el("img", { src: part.image, alt: "An image of this message" });
  return block(part.image ? `Image at ${part.image} (not loaded)` : `File ${part.file}`);
}

function callCard(call) {
  const outcome = outcomeOf(call);
  return el("article", { class: `card ${outcome}` },
    el("h3", {}, el("code", {}, call.name), " ", el("span", { class: `badge ${outcome}` }, outcome === "waiting" ? "no result" : outcome)),
    facts([[outcome === "refused" ? "Denied by" : "Asked by", call.by], ["Time", seconds(call.seconds)], ["Waited", seconds(call.waited)],
      ["Repaired", (call.repairs ?? []).join("; ")], ["Id", call.id]]),
    content(call.arguments, "Arguments"),
    content(call.result, outcome === "refused" ? "Why" : "Result"),
    call.whole !== undefined && content(call.whole, "Whole result, of which the model read the above", false),
    (call.images ?? []).map(media),
    (call.runs ?? []).map(run => el("p", {}, `Ran ${run.agent ?? "an agent"}; its steps follow in the list.`)));
}

const usageFacts = usage => usage ? [["Prompt tokens", usage.prompt_tokens], ["Cached", usage.cached_tokens], ["Completion tokens", usage.completion_tokens], ["Cost", usage.cost]]
  .map(([name, value]) => [name, value === undefined ? undefined : number(value)]) : [];

function describe(row, item) {
  if (!item) return el("p", { class: "soft" }, "Nothing here in this run.");
  switch (row.kind) {
    case "message": return el("div", {}, item.name && facts([["Name", item.name]]), item.parts.map(media));
    case "call": return callCard(item);
    case "run": return el("div", {}, facts([["Agent", item.agent], ["Model", item.model], ["Began", item.at], ["Ended with", item.stop], ["Error", item.error], ["Time", seconds(item.seconds)], ...usageFacts(item.usage)]));
    case "outcome": return el("div", {}, facts([["Key", item.key], ["Ended with", item.stop], ...usageFacts(item.usage)]),
      item.error && section("Error", true, block(item.error)), content(item.output, "Output"));
    case "note": return block(item.text);
    default: return el("div", {},
      facts([["Tool choice", item.choice], ["Decided by", item.by], ["Of the policy", item.policy], ["Rejected", item.violation], ["Error", item.error],
        ["Finish reason", item.finish], ["Time", seconds(item.seconds)], ...usageFacts(item.usage), ["Asked", item.known ? "no: the policy knew the call" : undefined]]),
      (item.retried ?? []).length > 0 && section(`${item.retried.length} failed before it`, true, el("ol", {}, item.retried.map(retry =>
        el("li", {}, retry.after === undefined ? retry.error : `after ${seconds(retry.after)}: ${retry.error}; waited ${seconds(retry.delay)}`)))),
      item.reasoning && section("Reasoning", false, block(item.reasoning)),
      item.text && section("Text", true, block(item.text)),
      item.refusal && section("Refusal", true, block(item.refusal)),
      (item.calls ?? []).map(callCard));
  }
}

// Mark the facts and sections whose texts differ in two runs.
function markDifferences() {
  const sides = [...detail.querySelectorAll(".two > div")].map(side => {
    const named = new Map();
    for (const part of side.querySelectorAll(".facts > div, details:not(.tree):not(details details)")) {
      const name = part.firstChild.textContent, times = [...named.keys()].filter(key => key.startsWith(`${name}#`)).length;
      named.set(`${name}#${times}`, part);
    }
    return named;
  });
  for (const [side, other] of [sides, [...sides].reverse()]) {
    for (const [name, part] of side) if (other.get(name)?.textContent !== part.textContent) part.classList.add("differs");
  }
}

function showDetail() {
  if (!selected) { detail.replaceChildren(el("p", { class: "soft" }, "Nothing is found.")); return; }
  const item = selected.item ?? selected.other, title = selected.kind === "call" ? `Call of ${item.name}` : labelOf(selected);
  const titles = data.runs.map(run => run.title);
  detail.replaceChildren(el("h2", {}, title), data.differences
    ? el("div", { class: "two" }, el("div", {}, el("h3", {}, titles[0]), describe(selected, selected.item)), el("div", {}, el("h3", {}, titles[1]), describe(selected, selected.other)))
    : describe(selected, item));
  if (selected.mark === "changed") markDifferences();
  detail.scrollTop = 0;
}

// The header

function showFacts() {
  byId("title").replaceChildren(said(data.title));
  const sum = name => data.runs.map(run => run.usage?.[name]).map(value => value === undefined ? undefined : number(value));
  const each = name => data.runs.map(run => run[name]);
  const both = values => values.every(value => value === undefined) ? undefined : [...new Set(values.map(value => value ?? "?"))].join(" → ");
  const runs = data.runs[0].items.filter(item => item.kind === "run").length;
  const pairs = [["Runs", runs ? number(runs) : undefined], ["Agent", both(each("agent"))], ["Model", both(each("model"))], ["Ended with", both(data.runs.map(run => run.error ?? run.stop))],
    ["Requests", both(sum("requests"))], ["Prompt tokens", both(sum("prompt_tokens"))], ["Cached", both(sum("cached_tokens"))],
    ["Completion tokens", both(sum("completion_tokens"))], ["Cost", both(sum("cost"))],
    ["Time", both(data.runs.map(run => run.seconds === undefined ? undefined : seconds(run.seconds)))], ["Live", data.live ? "waiting for news" : undefined]];
  byId("facts").replaceChildren(...facts(pairs).childNodes);
  byId("policy").hidden = !data.graph;
}

// The policy's graph, state by state from the top

const SVG = "http://www.w3.org/2000/svg";
function svg(tag, attributes, text) {
  const node = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
  if (text !== undefined) node.textContent = clean(text);
  return node;
}

function layout(nodes, edges) {
  const depth = nodes.map(() => -1), queue = [0];
  depth[0] = 0;
  for (const node of queue) {
    for (const [from, to] of edges) if (from === node && depth[to] < 0) { depth[to] = depth[node] + 1; queue.push(to); }
  }
  const layers = [], places = [];
  nodes.forEach((node, at) => { (layers[Math.max(0, depth[at])] ??= []).push(at); });
  const widths = nodes.map(node => Math.min(260, 32 + 7.6 * line(node.label, 32).length));
  const spread = layer => layer.reduce((sum, at) => sum + widths[at] + 110, -110);
  const width = Math.max(240, ...layers.map(spread)) + 160;
  layers.forEach((layer, level) => {
    let x = (width - spread(layer)) / 2;
    for (const at of layer) { places[at] = { x, y: 20 + level * 110, width: widths[at], level }; x += widths[at] + 110; }
  });
  return { places, width, height: layers.length * 110 - 20 };
}

function drawGraph() {
  const { nodes, edges, path, trail, policy, complete, assumed } = data.graph;
  const { places, width, height } = layout(nodes, edges), visits = nodes.map(() => 0), taken = new Set();
  for (const at of path) if (at !== null) visits[at]++;
  trail.forEach((at, index) => { if (index && trail[index - 1] !== at) taken.add(`${trail[index - 1]} ${at}`); });
  const known = new Set(edges.map(([from, to]) => `${from} ${to}`));
  const all = [...edges, ...[...taken].filter(key => !known.has(key)).map(key => [...key.split(" ").map(Number), "…"])];
  const root = svg("svg", { viewBox: `0 0 ${width} ${height}`, width, height, role: "img", "aria-label": "The states of the policy; those that the run was in are filled." });
  const defs = svg("defs", {});
  for (const name of ["off", "on"]) {
    const marker = svg("marker", { id: `arrow-${name}`, viewBox: "0 0 8 8", refX: 7, refY: 4, markerWidth: 9, markerHeight: 9, markerUnits: "userSpaceOnUse", orient: "auto", class: name });
    marker.append(svg("path", { d: "M0 0 8 4 0 8z" }));
    defs.append(marker);
  }
  root.append(defs);
  all.sort((one, other) => taken.has(`${one[0]} ${one[1]}`) - taken.has(`${other[0]} ${other[1]}`));
  const passed = new Set(trail);
  all.forEach(([from, to, label], index) => {
    const a = places[from], b = places[to], on = taken.has(`${from} ${to}`) ? "on" : "off";
    const down = b.level > a.level, x1 = a.x + a.width * (down ? .5 : .85), x2 = b.x + b.width * (down ? .5 : .85);
    const y1 = down ? a.y + 44 : a.y + (b.level === a.level ? 0 : 4), y2 = down ? b.y : b.y + (b.level === a.level ? 0 : 44);
    const side = down ? (x1 + x2) / 2 : Math.max(x1, x2) + 60 + 12 * (index % 4), middle = (y1 + y2) / 2;
    const d = down ? `M${x1} ${y1}C${x1} ${middle} ${x2} ${middle} ${x2} ${y2}` : `M${x1} ${y1}C${side} ${y1 - 20} ${side} ${y2 + 20} ${x2} ${y2}`;
    root.append(svg("path", { d, class: `edge ${on}`, "marker-end": `url(#arrow-${on})` }));
    // The label of an edge that slants is lower, where it is clear of those that go straight down.
    const slants = down && Math.abs(x2 - x1) > 1, low = y1 + (y2 - y1) * .8;
    root.append(svg("text", { x: slants ? x1 + (x2 - x1) * .6 : down ? x1 : side - 8, y: slants ? low : middle + 4, class: `move ${on}` }, line(label, 24)));
  });
  nodes.forEach((node, at) => {
    const { x, y, width: wide } = places[at], group = svg("g", { class: ["node", passed.has(at) ? "on" : "", node.wrong ? "wrong" : ""].join(" ") });
    group.append(svg("rect", { x, y, width: wide, height: 44, rx: node.answers ? 22 : 4 }));
    group.append(svg("text", { x: x + wide / 2, y: y + (visits[at] ? 20 : 27) }, line(node.label, 32)));
    if (visits[at]) group.append(svg("text", { x: x + wide / 2, y: y + 36, class: "visits" }, visits[at] === 1 ? "1 step" : `${visits[at]} steps`));
    group.append(svg("title", {}, `${node.label}${node.answers ? "; the model may answer" : ""}`));
    root.append(group);
  });
  byId("graph-text").replaceChildren(said(`${policy}. Round states may answer; filled ones are those of this run.${complete ? "" : " There are more states than are drawn."}${assumed.length ? ` Not analysed: ${assumed.join("; ")}.` : ""}`));
  byId("drawing").replaceChildren(root);
  byId("graph-path").replaceChildren(...path.slice(0, 200).map((at, step) => el("li", {}, at === null ? "a state that is not drawn" : nodes[at].label)));
}

byId("policy").addEventListener("click", () => { drawGraph(); dialog.showModal(); });
byId("close").addEventListener("click", () => dialog.close());

// Keyboard

function move(by) {
  if (!shown.length) return;
  const at = shown.indexOf(selected);
  select(shown[Math.min(shown.length - 1, Math.max(0, at + by))]);
}

list.addEventListener("keydown", event => {
  const page = Math.max(1, Math.floor(list.clientHeight / ROW) - 1);
  const steps = { ArrowDown: 1, ArrowUp: -1, PageDown: page, PageUp: -page, Home: -shown.length, End: shown.length };
  if (event.key in steps) { event.preventDefault(); move(steps[event.key]); }
  else if (event.key === "Enter") { event.preventDefault(); detail.focus(); }
});

document.addEventListener("keydown", event => {
  if (dialog.open || event.ctrlKey || event.metaKey || event.altKey) return;
  if (event.key === "Escape") { list.focus(); return; }
  if (["INPUT", "SELECT", "TEXTAREA"].includes(event.target.tagName)) return;
  if (event.key === "/") { event.preventDefault(); search.focus(); }
  else if (event.key === "n" || event.key === "N") {
    const at = shown.indexOf(selected), order = event.key === "n" ? [...shown.slice(at + 1), ...shown.slice(0, at)] : [...shown.slice(0, at).reverse(), ...shown.slice(at + 1).reverse()];
    const next = order.find(row => row.odd || row.mark);
    if (next) select(next);
  }
});

search.addEventListener("keydown", event => { if (event.key === "Enter") { event.preventDefault(); list.focus(); } });
search.addEventListener("input", () => sift());
filter.addEventListener("change", () => sift());
fold.addEventListener("click", () => { fold.setAttribute("aria-pressed", String(fold.getAttribute("aria-pressed") !== "true")); sift(); });
list.addEventListener("scroll", () => requestAnimationFrame(draw), { passive: true });
window.addEventListener("resize", () => { draw(); drawLanes(); });
window.matchMedia("(prefers-color-scheme: dark)").addEventListener("change", drawLanes);

// News of a run that goes on

async function follow() {
  const pause = ms => new Promise(done => setTimeout(done, ms));
  for (;;) {
    let state = "following";
    try {
      const answer = await fetch(`data?after=${version}`);
      if (answer.status === 200) {
        const news = await answer.json(), atEnd = list.scrollTop + list.clientHeight >= list.scrollHeight - ROW, before = selected;
        const wasLast = selected === (shown[shown.length - 1] ?? null);
        version = news.version;
        data = { ...data, ...news };
        read();
        showFacts();
        selected = (wasLast && atEnd ? rows.at(-1) : rows.find(row => row.root?.id === before?.root?.id && row.place === before?.place)) ?? rows[0] ?? null;
        sift(wasLast && atEnd, JSON.stringify([selected?.item]) !== JSON.stringify([before?.item]));  // what is unfolded stays so
        drawLanes();
      } else if (answer.status !== 204) state = "the server refuses";
    } catch { state = "the server is gone"; }
    const live = [...byId("facts").children].find(pair => pair.firstChild.textContent === "Live");
    if (live) live.lastChild.textContent = state;
    await pause(state === "following" ? 500 : 3000);
  }
}

read();
showFacts();
sift();
drawLanes();
list.focus({ preventScroll: true });
if (data.live) follow();
})();
