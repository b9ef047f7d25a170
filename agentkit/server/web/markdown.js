/* Markdown as elements: headings, lists, tables, code, quotes, links, emphasis. HTML in it stays text.

   What a model writes may be hostile. So links go to http, https and mailto only, images are shown only from data: URLs
   (another address would tell its server that, and what, somebody reads), nesting is bounded, and so is each pattern. */

import {make, visible} from "./dom.js";

const LINKS = ["http:", "https:", "mailto:"];
const IMAGE = /^data:image\/(?:png|jpeg|gif|webp);base64,[A-Za-z0-9+/]+=*$/;
const TURNS = /[\u202a-\u202e\u2066-\u2069]/g;  // they would show a text in another order
const DEEPEST = 6, LONGEST = 20000;
const FENCE = /^ {0,3}(`{3,}|~{3,})\s*([^\s`]*)/, HEADING = /^ {0,3}(#{1,6})\s+(.*?)\s*#*\s*$/;
const RULE = /^ {0,3}(?:(?:\*\s*){3,}|(?:-\s*){3,}|(?:_\s*){3,})$/, QUOTE = /^ {0,3}>\s?/;
const ITEM = /^( {0,3})([-*+]|\d{1,9}[.)])(\s+|$)/, DIVIDER = /^\s*\|?\s*:?-+:?\s*(?:\|\s*:?-+:?\s*)*\|?\s*$/;
const INLINE = new RegExp([
  /\\([!-/:-@[-`{-~])/,
  /(`{1,3})(?!`)([^\n]{1,2000}?)(?<!`)\2(?!`)/,
  /(!?)\[([^\]\n]{0,500})\]\(\s*<?([^\s<>]{1,2000}(?:\([^\s()]*\))?[^\s<>()]{0,2000})>?(?:\s+"[^"\n]{0,200}")?\s*\)/,
  /(!)\[([^\]\n]{0,200})\]\((data:[^\s()]+)\)/,
  /<?(https?:\/\/[^\s<>"]{1,2000}[^\s<>".,;:!?)\]}'*_])>?/,
  /\*\*(?=\S)([^]{0,2000}?\S)\*\*/, /(?<!\w)__(?=\S)([^]{0,2000}?\S)__(?!\w)/, /~~(?=\S)([^]{0,2000}?\S)~~/,
  /\*(?=[^\s*])([^*]{0,2000}[^\s*])\*(?!\*)/, /(?<!\w)_(?=[^\s_])([^_]{0,2000}[^\s_])_(?!\w)/,
].map((part) => part.source).join("|"), "g");

/* Show a text that may still grow: what is the same as before stays as it is. */
export function show(parent, text) {
  const blocks = split(text.replace(/\r\n?/g, "\n").replace(TURNS, visible).split("\n"));
  blocks.forEach((block, at) => {
    const source = block.lines.join("\n"), old = parent.children[at];
    if (old?.source === source && old.kind === block.kind) return;
    const made = Object.assign(draw(block, 0), {source, kind: block.kind});
    if (old) old.replaceWith(made); else parent.append(made);
  });
  while (parent.children.length > blocks.length) parent.lastChild.remove();
}

export function image(address, text) {
  if (!IMAGE.test(address)) return link(address, text || "image");
  return make("img", {src: address, alt: text || "Image"});
}

function split(lines) {
  const blocks = [];
  let open = null;
  for (let at = 0; at < lines.length; at++) {
    const line = lines[at], fence = FENCE.exec(line);
    if (fence) {
      const start = at, closed = new RegExp(`^ {0,3}\\${fence[1][0]}{${fence[1].length},}\\s*$`);
      while (++at < lines.length && !closed.test(lines[at]));
      blocks.push({kind: "code", lines: lines.slice(start, at + 1), language: fence[2]});
      open = null;
    } else if (open?.kind === "list" && goesOn(open.lines, line)) {
      open.lines.push(line);
    } else if (!line.trim()) {
      open = null;
    } else if (HEADING.test(line) || RULE.test(line)) {
      blocks.push({kind: RULE.test(line) ? "rule" : "heading", lines: [line]});
      open = null;
    } else {
      const kind = QUOTE.test(line) ? "quote" : ITEM.test(line) ? "list"
        : line.includes("|") && DIVIDER.test(lines[at + 1] ?? "") && lines[at + 1].includes("-") ? "table" : "text";
      if (open?.kind === "table" && line.includes("|")) open.lines.push(line);
      else if (open && open.kind !== "table" && open.kind !== "list" && (open.kind === kind || kind === "text")) open.lines.push(line);
      else blocks.push(open = {kind, lines: kind === "table" ? [line, lines[++at]] : [line]});
    }
  }
  return blocks;
}

/* Whether a line belongs to a list: an item of its kind, what is indented, and what follows at once. */
function goesOn(lines, line) {
  const item = ITEM.exec(line);
  if (item && !item[1]) return /\d/.test(item[2]) === /\d/.test(ITEM.exec(lines[0])[2]);
  return !!item || !line.trim() || /^\s{2}/.test(line) || (!!lines.at(-1).trim() && !HEADING.test(line) && !RULE.test(line));
}

function draw({kind, lines, language}, depth) {
  if (kind === "rule") return make("hr");
  if (kind === "code") return code(lines, language);
  if (kind === "table") return table(lines);
  if (kind === "heading") {
    const [, signs, text] = HEADING.exec(lines[0]);
    return make(`h${Math.min(6, signs.length + 1)}`, {dir: "auto"}, ...inline(text));
  }
  if (kind === "text" || depth >= DEEPEST) return make("p", {dir: "auto"}, ...inline(lines.join("\n")));
  if (kind === "quote") return make("blockquote", {dir: "auto"}, ...within(lines.map((line) => line.replace(QUOTE, "")), depth));
  return list(lines, depth);
}

const within = (lines, depth) => split(lines).map((block) => draw(block, depth + 1));

function code(lines, language) {
  const closed = lines.length > 1 && FENCE.exec(lines[0])[1][0] === lines.at(-1).trim()[0] && /^[\s`~]+$/.test(lines.at(-1));
  const text = lines.slice(1, closed ? -1 : undefined).join("\n");
  return make("pre", {tabIndex: 0, dir: "ltr", role: "region", "aria-label": language ? `Code, ${language}` : "Code"}, make("code", {}, text));
}

function list(lines, depth) {
  const [, , mark] = ITEM.exec(lines[0]), items = [];
  for (const line of lines) {
    const found = ITEM.exec(line);
    if (found && found[1].length < (items.at(-1)?.indent ?? 4)) items.push({indent: found[0].length, lines: [line.slice(found[0].length)]});
    else items.at(-1).lines.push(line.slice(Math.min(items.at(-1).indent, line.search(/\S|$/))));
  }
  const made = make(/\d/.test(mark) ? "ol" : "ul");
  if (/\d/.test(mark)) made.start = parseInt(mark);
  for (const {lines: own} of items) {
    const parts = within(own, depth);
    // An item of one paragraph is only its text.
    made.append(make("li", {dir: "auto"}, ...(parts[0]?.tagName === "P" ? [...parts[0].childNodes, ...parts.slice(1)] : parts)));
  }
  return made;
}

function table(lines) {
  const cells = (line) => line.trim().replace(/^\||\|$/g, "").split(/(?<!\\)\|/).map((cell) => cell.trim().replaceAll("\\|", "|"));
  const [head, sides, ...rows] = lines.map(cells);
  const row = (tag, values) => make("tr", {}, ...head.map((_, at) => make(tag, {
    dir: "auto", className: /^-+:$/.test(sides[at] ?? "") ? "right" : "", scope: tag === "th" ? "col" : undefined,
  }, ...inline(values[at] ?? ""))));
  const made = make("table", {}, make("thead", {}, row("th", head)), make("tbody", {}, ...rows.map((values) => row("td", values))));
  return make("div", {className: "wide", tabIndex: 0, role: "region", "aria-label": "Table"}, made);
}

function inline(text, depth = 0) {
  if (text.length > LONGEST && !text.includes("](data:") || depth > DEEPEST) return [text];
  const made = [];
  let end = 0;
  for (const match of text.matchAll(INLINE)) {
    made.push(text.slice(end, match.index), styled(match, depth + 1));
    end = match.index + match[0].length;
  }
  return [...made, text.slice(end)].filter((part) => part !== "");
}

function styled(match, depth) {
  const [whole, escaped, , span, picture, label, target, , alt, data, bare, bold, bold2, struck, em, em2] = match;
  if (escaped) return escaped;
  if (span) return make("code", {}, span.trim() || span);
  if (data) return image(data, alt);
  if (target) return picture ? image(target, label) : link(target, ...inline(label || target, depth));
  if (bare) return link(bare, bare);
  if (bold ?? bold2) return make("strong", {}, ...inline(bold ?? bold2, depth));
  if (struck) return make("del", {}, ...inline(struck, depth));
  return em ?? em2 ? make("em", {}, ...inline(em ?? em2, depth)) : whole;
}

/* A link, or only its text where the address is no plain address of the web. Its title shows where it leads. */
function link(address, ...children) {
  let url = null;
  try { url = new URL(address); } catch { /* not absolute */ }
  if (!url || !LINKS.includes(url.protocol)) return make("span", {title: address.slice(0, 200)}, ...children);
  return make("a", {href: url.href, title: url.href, target: "_blank", rel: "noopener noreferrer nofollow"}, ...children);
}
