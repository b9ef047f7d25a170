/* The policy of an agent: as code, drawn, and its states as text. */

import * as api from "./api.js";
import {at, make} from "./dom.js";

export async function showPolicy(agent) {
  const [policy, drawing] = await Promise.all([api.policy(agent), api.drawing(agent)]);
  const source = URL.createObjectURL(drawing);
  const image = make("img", {alt: "The policy as a state machine; the text below says the same.", src: source});
  image.addEventListener("load", () => URL.revokeObjectURL(source));
  at("rules-name").textContent = "Policy of " + policy.id;
  at("code").textContent = policy.policy;
  at("states").textContent = policy.report + "\n\n" + policy.graph;
  at("drawing").replaceChildren(image);
  at("rules").showModal();
}

at("close").addEventListener("click", () => at("rules").close());
