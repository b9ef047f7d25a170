/* What the page asks of the server. Addresses are relative, because the server may be mounted anywhere. */

const KEPT = "agentkit key " + location.pathname;

export const key = {
  get value() { return sessionStorage.getItem(KEPT) ?? ""; },
  set value(value) { sessionStorage.setItem(KEPT, value); },
};

export class Unauthorized extends Error {}

async function request(path, options = {}) {
  const headers = {"content-type": "application/json"};
  if (key.value) headers.authorization = "Bearer " + key.value;
  let response;
  try {
    response = await fetch(path, {...options, headers});
  } catch (error) {
    throw error.name === "AbortError" ? error : new Error("The server cannot be reached.");
  }
  if (response.ok) return response;
  if (response.status === 401) throw new Unauthorized(key.value ? "The server does not accept this key." : "This server needs a key.");
  const said = await response.json().catch(() => null);
  throw Object.assign(new Error(said?.error?.message ?? "The server returned HTTP status " + response.status), {status: response.status});
}

const of = (agent) => "v1/models/" + encodeURIComponent(agent);
const json = async (path, options) => (await request(path, options)).json();

export const models = async () => (await json("v1/models")).data;
export const policy = (agent) => json(of(agent) + "/policy");
export const drawing = async (agent) => (await request(of(agent) + "/policy.svg")).blob();
export const conversations = async (agent) => (await json(of(agent) + "/conversations")).data;
const path = (agent, id) => `${of(agent)}/conversations/${encodeURIComponent(id)}`;
export const conversation = (agent, id) => json(path(agent, id));
export const questionsIn = (kept) => kept.messages.filter((message) => message.role === "user").length;
export const questions = (agent, id) => conversation(agent, id).then(questionsIn, (error) => {
  if (error.status === 404) return 0;
  throw error;
});
export const remove = (agent, id) => json(path(agent, id), {method: "DELETE"});
export const decide = (approval, approved, reason) =>
  json("v1/approvals/" + approval, {method: "POST", body: JSON.stringify({approved, reason})});

/* The chunks of an answer, as they come. */
export async function* answer(fields, signal) {
  const body = JSON.stringify({...fields, stream: true, stream_options: {include_events: true}});
  const response = await request("v1/chat/completions", {method: "POST", body, signal});
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  for (;;) {
    const {done, value} = await reader.read().catch((error) => {
      throw error.name === "AbortError" ? error : new Error("The connection closed before the answer was complete.");
    });
    if (done) throw new Error("The connection closed before the answer was complete.");
    const events = (rest + value).split("\n\n");
    rest = events.pop();
    for (const event of events) {
      if (event === "data: [DONE]") return;
      if (!event.startsWith("data: ")) continue;
      const chunk = JSON.parse(event.slice(6));
      if (chunk.error) throw new Error(chunk.error.message);
      yield chunk;
    }
  }
}
