// Who is who: the policy's names for the agents' DIDs.

import { el } from "./dom.js";
import { short } from "./words.js";

const NONE = { domain: "", node: "", agents: {} };
let known = NONE;

export const learn = (names) => { known = names; };

export const domain = () => known.domain;
export const node = () => known.node;

export const isNode = (did) => did === known.node && known.node !== "";

/** The name as text; of one who has none the beginning and the end of its DID. */
export function nameOf(did) {
  if (did === undefined) return "nobody known";
  if (isNode(did)) return "node";
  return Object.hasOwn(known.agents, did) ? known.agents[did] : short(did.replace("did:key:", ""));
}

export const hasName = (did) => isNode(did) || Object.hasOwn(known.agents, did);

/** The name as an element that shows the whole DID too. */
export function who(did) {
  if (did === undefined) return el("span", { class: "nobody" }, "nobody known");
  return el("span", { class: hasName(did) ? "who" : "who nameless", title: did }, nameOf(did));
}
