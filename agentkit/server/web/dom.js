/* Makes elements. Texts become text nodes: nothing in these files lets the browser read a text as markup. */

export const at = (id) => document.getElementById(id);

/* make("a", {className: "x", "aria-label": "y"}, "text", node): what an element has is set, the rest are attributes. */
export function make(tag, options = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(options)) {
    if (value === undefined) continue;
    if (name in made) made[name] = value;
    else made.setAttribute(name, value);
  }
  made.append(...children);
  return made;
}

/* Characters that hide, or turn the direction of others, as their codes: who approves a call must see what it is. */
export function visible(text) {
  return text.replace(/[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u00ad\u061c\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff]/g,
    (sign) => "\\u" + sign.charCodeAt(0).toString(16).padStart(4, "0"));
}

/* JSON in lines, token by token: a number or a key that is there twice stays as it was written. */
export function pretty(source) {
  try { JSON.parse(source); } catch { return visible(source); }
  let depth = 0;
  const line = () => "\n" + "  ".repeat(Math.min(depth, 40));
  return visible(source.replace(/"(?:[^"\\]|\\.)*"|\{\s*\}|\[\s*\]|[[\]{},:]|\s+/g, (token) => {
    if (/^\s/.test(token)) return "";
    if (token === "{" || token === "[") { depth++; return token + line(); }
    if (token === "}" || token === "]") { depth--; return line() + token; }
    return token === "," ? "," + line() : token === ":" ? ": " : token;
  }));
}
