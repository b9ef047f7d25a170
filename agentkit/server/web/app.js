/* The page: one conversation with one agent. Where the server keeps conversations, it holds the history, and the page
   sends only what is new; elsewhere the page sends all of it with each question. */

import * as api from "./api.js";
import {at, make} from "./dom.js";
import {attached, clearImages} from "./images.js";
import {showPolicy} from "./policy.js";
import {AgentTurn, following, replay, say, userTurn} from "./turns.js";

const [model, text, log, form] = ["model", "text", "log", "form"].map(at);
const wide = matchMedia("(min-width: 60rem)"), touch = matchMedia("(pointer: coarse)").matches;
let wanted = fromAddress();
let chat = empty(), running = null, keeps = false, listed = "";

/* `asked` is how many questions the server keeps, so that none is asked twice; null where that is not known. */
function empty() {
  const random = crypto.getRandomValues(new Uint8Array(12));
  return {id: [...random].map((byte) => byte.toString(16).padStart(2, "0")).join(""), messages: [], asked: 0};
}

/* The agent and the conversation in the page's address, which are opened first. */
function fromAddress() {
  try {
    const [agent, id] = location.hash.slice(1).split("/").map(decodeURIComponent);
    return /^[\w-]{1,64}$/.test(id) ? {agent, id} : {agent};
  } catch {
    return {};
  }
}

function fault(error) {
  following(() => log.append(make("div", {className: "fault", role: "alert"}, error.message)));
  if (error instanceof api.Unauthorized) askForKey();
}

function askForKey() {
  at("key-field").hidden = false;
  at("key").focus();
}

async function connect() {
  at("key").value = api.key.value;
  try {
    const models = await api.models(), chosen = model.value || wanted.agent;
    for (const old of log.querySelectorAll(":scope > .fault")) old.remove();
    keeps = models.some((each) => each.conversations);
    at("list").hidden = !keeps;
    model.replaceChildren(...models.map((each) => new Option(each.id)));
    if (models.some((each) => each.id === chosen)) model.value = chosen;
    at("chats").hidden = !keeps || !wide.matches;
    await list();
    const {agent, id} = wanted;
    wanted = {};
    if (keeps && id && agent === model.value && !running) await open(id);
  } catch (error) {
    fault(error);
  }
}

/* The conversations that the server keeps. */
async function list() {
  if (!keeps) return;
  const agent = model.value, kept = await api.conversations(agent);
  const shown = JSON.stringify([agent, chat.id, kept]);
  if (agent !== model.value || shown === listed) return;
  listed = shown;
  at("chats").firstElementChild.replaceChildren(...kept.map(({id, title}) => {
    const name = title || "Untitled";
    const remove = make("button", {type: "button", className: "delete", "aria-label": `Delete ${name}`}, "×");
    remove.onblur = () => { remove.textContent = "×"; };
    remove.onclick = async () => {
      if (remove.textContent === "×") { remove.textContent = "Delete?"; return; }
      await api.remove(agent, id).catch(fault);
      if (id === chat.id) fresh();
      await list().catch(fault);
    };
    const title_ = make("button", {type: "button", className: "title", dir: "auto", onclick: () => open(id).catch(fault)}, name);
    if (id === chat.id) title_.setAttribute("aria-current", "true");
    return make("li", {}, title_, remove);
  }));
}

async function open(id) {
  const agent = model.value, before = running;
  const kept = await api.conversation(agent, id), asked = api.questionsIn(kept);
  if (running !== before) return;  // something was asked meanwhile
  fresh();
  log.replaceChildren();
  chat = {id, messages: [], asked};
  history.replaceState(null, "", `#${encodeURIComponent(agent)}/${id}`);
  const turn = replay(kept.messages);
  if (!kept.complete) (turn ?? new AgentTurn()).offer("Continue", (event) => { event.target.remove(); ask([]); });
  showChats(wide.matches);
  await list();
}

function fresh() {
  running?.abort();
  chat = empty();
  listed = "";
  history.replaceState(null, "", location.pathname + location.search);
  log.replaceChildren(make("p", {className: "hint"}, "Ask the agent something."));
  for (const current of at("chats").querySelectorAll("[aria-current]")) current.removeAttribute("aria-current");
  if (!touch) text.focus();
}

function showChats(shown) {
  at("chats").hidden = !shown || !keeps;
  at("list").setAttribute("aria-expanded", String(!at("chats").hidden));
}

/* Ask, and show the answer as it comes. `messages` are what is new; none continues what was not completed. After a turn
   that failed, only what the server did not keep of it is sent again: the rest goes on from there. */
async function ask(messages, failed = null) {
  const turn = new AgentTurn(), asked = chat, earlier = asked.messages, controller = new AbortController();
  let ended = "", before = null, sent = messages;
  running = controller;
  show(true);
  turn.busy(true);
  try {
    if (keeps && (failed || asked.asked === null)) asked.asked = await api.questions(model.value, asked.id);
    before = asked.asked;
    if (keeps && failed?.before != null && before > failed.before) sent = [];
    asked.asked = null;
    const body = keeps ? {conversation: asked.id, messages: sent} : {messages: [...earlier, ...sent]};
    for await (const chunk of api.answer({model: model.value, ...body}, controller.signal)) {
      if (chunk.agentkit) turn.event(chunk.agentkit);
      for (const choice of chunk.choices ?? []) {
        const piece = choice.delta.content || choice.delta.refusal;
        if (piece) turn.write(piece);
        ended = choice.finish_reason || ended;
      }
    }
    if (ended === "length") turn.note("The answer reached the length limit and is truncated.");
    if (ended === "content_filter") turn.note("A content filter stopped the answer.");
    asked.asked = before + sent.length;
    say("The answer is complete.");
  } catch (error) {
    if (error.name === "AbortError") turn.note("Stopped.");
    else turn.fault(error.message);
    if (error instanceof api.Unauthorized) askForKey();
  }
  turn.busy(false);
  if (turn.text) asked.messages = [...earlier, ...messages, {role: "assistant", content: turn.text}];
  if (running === controller) running = null;
  if (running) return;
  show(false);
  if (asked !== chat) return;
  if (messages.length || !ended) offerAgain(turn, messages, earlier, ended ? null : {before});
  if (document.activeElement === document.body && !touch) text.focus();
  if (keeps) {
    history.replaceState(null, "", `#${encodeURIComponent(model.value)}/${asked.id}`);
    await list().catch(fault);
  }
}

function offerAgain(turn, messages, earlier, failed) {
  turn.offer(failed ? "Try again" : "Ask again", () => {
    if (running) return;
    clearOffers();
    chat.messages = earlier;
    if (!failed && keeps) userTurn(messages[0].content);  // what the server keeps stays
    else turn.element.remove();
    ask(messages, failed);
  });
}

function clearOffers() {
  for (const offer of log.querySelectorAll(".offer")) offer.remove();
}

function show(busy) {
  at("send").hidden = busy;
  at("stop").hidden = !busy;
  if (busy) say("The agent is working.");
}

async function start(event) {
  event.preventDefault();
  const written = text.value.trim(), images = attached();
  if (!(written || images.length) || running) return;
  log.querySelector(".hint")?.remove();
  clearOffers();
  const blocks = images.map((url) => ({type: "image_url", image_url: {url}}));
  const content = images.length ? [...(written ? [{type: "text", text: written}] : []), ...blocks] : written;
  text.value = "";
  clearImages();
  userTurn(content);
  await ask([{role: "user", content}]);
}

at("key").addEventListener("change", () => { api.key.value = at("key").value; connect(); });
model.addEventListener("change", () => { if (keeps) { fresh(); list().catch(fault); } });
form.addEventListener("submit", start);
at("stop").addEventListener("click", () => running?.abort());
at("fresh").addEventListener("click", fresh);
at("policy").addEventListener("click", () => showPolicy(model.value).catch(fault));
at("list").addEventListener("click", () => showChats(at("chats").hidden));
wide.addEventListener("change", () => showChats(wide.matches));
text.addEventListener("keydown", (event) => {
  if (event.key === "Enter" && !event.shiftKey && !event.isComposing) start(event);
});
document.addEventListener("keydown", (event) => {
  if (event.key !== "Escape" || at("rules").open) return;
  if (running) running.abort();
  else if (!wide.matches) showChats(false);
});
fresh();
connect();
