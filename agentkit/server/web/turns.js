/* The turns of a conversation: what the user asked, and the agent's answer with its reasoning and its tool calls. */

import {decide} from "./api.js";
import {at, make, pretty, visible} from "./dom.js";
import {image, show} from "./markdown.js";

const STATES = {waiting: "needs your approval", approved: "approved", denied: "denied", running: "running…", ok: "done",
  error: "failed", refused: "not run", cancelled: "stopped"};
const scroller = at("scroller"), log = at("log");

export const say = (text) => { at("status").textContent = text; };

/* Follow what comes, unless the reader has scrolled up. */
export function following(change) {
  const low = scroller.scrollHeight - scroller.scrollTop - scroller.clientHeight < 80;
  change();
  if (low) scroller.scrollTop = scroller.scrollHeight;
}

export function userTurn(content) {
  const blocks = typeof content === "string" ? [{type: "text", text: content}] : content;
  const turn = make("div", {className: "turn user", dir: "auto"}, make("span", {className: "unseen"}, "You: "));
  for (const block of blocks) {
    if (block.type === "image_url") turn.append(image(block.image_url.url, "Your image"));
    else turn.append(make("div", {dir: "auto"}, block.text ?? `(${block.type})`));
  }
  log.append(turn);
  scroller.scrollTop = scroller.scrollHeight;
  return turn;
}

/* An answer as it comes. Each piece goes to the last part of its kind; a tool call begins a new part. */
export class AgentTurn {
  constructor() {
    this.element = make("div", {className: "turn agent"}, make("span", {className: "unseen"}, "Agent: "));
    this.waiting = make("span", {className: "waiting", "aria-hidden": "true"});
    this.cards = new Map();
    this.text = "";
    this.part = null;
    log.append(this.element);
    this.element.append(this.waiting);
  }

  busy(busy) {
    this.element.setAttribute("aria-busy", String(busy));
    this.waiting.hidden = !busy;
    if (!busy) for (const card of this.cards.values()) card.stop();
    if (!busy) this.draw();
  }

  add(element) {
    following(() => this.waiting.before(element));
    return element;
  }

  event(event) {
    if (event.event === "reasoning") { this.reasoning(event.text); return; }
    const id = event.nested ? event.approval : event.id;  // a sub-agent's call may have the id of another one
    const known = this.cards.get(id), card = known?.open && known.name === visible(event.name) ? known : this.card({...event, id});
    if (event.event === "tool_finished") card.finish(event);
    else if (event.event === "approval_needed") card.ask(event.approval);
    else card.run();
  }

  card(event) {
    const card = new Card(event);
    this.draw();
    this.part = null;
    this.cards.set(event.id, card);
    this.add(card.element);
    return card;
  }

  reasoning(text) {
    if (this.part?.kind !== "reasoning") {
      this.draw();
      const body = make("div", {className: "inside plain", dir: "auto"});
      this.add(make("details", {className: "reasoning"}, make("summary", {}, "Reasoning"), body));
      this.part = {kind: "reasoning", body, source: ""};
    }
    following(() => this.part.body.append(text));
  }

  write(text) {
    this.text += text;
    if (this.part?.kind !== "text") {
      text = text.replace(/^\n+/, "");
      if (!text) return;
      this.part = {kind: "text", body: this.add(make("div", {className: "text"})), source: "", drawn: 0};
    }
    this.part.source += text;
    this.drawSoon();
  }

  /* Draw at most once in a frame, and rarely where drawing is slow. */
  drawSoon() {
    if (this.planned) return;
    this.planned = setTimeout(() => requestAnimationFrame(() => this.draw()), this.cost * 4 || 0);
  }

  draw() {
    clearTimeout(this.planned);
    this.planned = 0;
    const part = this.part, begin = performance.now();
    if (part?.kind === "text" && part.drawn !== part.source.length) {
      following(() => show(part.body, part.source));
      part.drawn = part.source.length;
      this.cost = performance.now() - begin;
    }
  }

  note(text, ...children) {
    this.add(make("div", {className: "note"}, text, ...children));
  }

  fault(text) {
    this.add(make("div", {className: "fault", role: "alert", dir: "auto"}, text));
  }

  offer(label, action) {
    this.add(make("button", {type: "button", className: "small offer", onclick: action}, label));
  }
}

/* A tool call: its name, its state and time, its arguments and its result, and what decides on it while it waits. */
class Card {
  constructor({name, arguments: sent = "", id}) {
    this.name = visible(name);
    this.began = performance.now();
    this.state = make("span", {className: "state", "aria-live": "off"});
    this.inside = make("div", {className: "inside"});
    const brief = make("span", {className: "brief", dir: "ltr"}, visible(sent.slice(0, 200)));
    this.details = make("details", {}, make("summary", {}, make("code", {}, this.name), brief, this.state), this.inside);
    this.element = make("div", {className: "card"}, this.details);
    this.element.dataset.call = id;
    if (sent) this.section("Arguments", pretty(sent), "ltr");
    this.set("running");
  }

  get open() { return ["running", "waiting", "approved", "denied"].includes(this.kind); }

  set(kind, more = "") {
    this.kind = this.element.dataset.state = kind;
    this.state.textContent = STATES[kind] + more;
    clearInterval(this.ticking);
  }

  run() {
    this.set("running");
    say(`${this.name} is running.`);
    this.began = performance.now();
    this.ticking = setInterval(() => {
      this.state.textContent = `running… ${Math.round((performance.now() - this.began) / 1000)} s`;
    }, 1000);
  }

  ask(approval) {
    this.set("waiting");
    this.details.open = true;
    const reason = make("input", {type: "text", placeholder: "Reason, if you deny", "aria-label": "Reason, if you deny"});
    const answer = (label, approved, kind) => make("button", {type: "button", className: `small ${kind}`, onclick: async () => {
      const disable = (off) => this.question.querySelectorAll("button, input").forEach((control) => { control.disabled = off; });
      disable(true);
      try {
        await decide(approval, approved, reason.value);
      } catch (error) {
        this.question.append(make("div", {className: "fault", role: "alert"}, error.message));
        disable(false);
        return;
      }
      at("text").focus();
      this.question.remove();
      if (this.kind === "waiting") this.set(approved ? "approved" : "denied");
    }}, label);
    this.question = make("div", {className: "question", role: "group", "aria-label": `Approval of ${this.name}`},
      answer("Approve", true, "main"), answer("Deny", false, "deny"), reason);
    following(() => this.element.append(this.question));
    say(`${this.name} needs your approval.`);
  }

  finish({outcome, content, seconds, images = []}) {
    this.question?.remove();
    this.set(outcome, seconds ? `, ${seconds < 1 ? Math.ceil(seconds * 1000) + " ms" : seconds.toFixed(1) + " s"}` : "");
    following(() => {
      this.section(outcome === "refused" ? "Why" : "Result", pretty(content), "auto");
      for (const address of images) this.element.append(image(address, `Image of ${this.name}`));
    });
    say(`${this.name}: ${STATES[outcome]}.`);
  }

  stop() {
    this.question?.remove();
    if (this.kind === "running" || this.kind === "waiting") this.set("cancelled");
  }

  section(label, text, dir) {
    const body = make("pre", {tabIndex: 0, dir, role: "region", "aria-label": `${label} of ${this.name}`}, text);
    this.inside.append(make("div", {className: "label", "aria-hidden": "true"}, label), body);
  }
}

/* A kept conversation; returns the last answer, which may be incomplete. */
export function replay(messages) {
  let turn = null;
  for (const message of messages) {
    if (message.role === "user") {
      turn?.busy(false);
      userTurn(message.content);
      turn = null;
      continue;
    }
    turn ??= new AgentTurn();
    if (message.role === "tool") {
      turn.event({event: "tool_finished", id: message.tool_call_id, name: "tool", ...message});
      continue;
    }
    if (message.reasoning) turn.reasoning(message.reasoning);
    turn.write("\n\n" + (message.content ?? message.refusal ?? ""));
    for (const call of message.tool_calls ?? []) turn.card({id: call.id, ...call.function});
  }
  turn?.busy(false);
  say("");
  return turn;
}
