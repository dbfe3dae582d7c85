// The view of agents: what each has said of itself, and its sessions.

import { el, keep, link, list, table } from "./dom.js";
import { isNode, nameOf, who } from "./names.js";
import { eventName, moment } from "./words.js";

export const title = "Agents";

/** Events that the view of one agent shows. */
const SHOWN = 50;

/** By DID: what is counted, and who the peers are. The node's own chain is the first. */
export function agentsOf(entries) {
  const found = new Map();
  for (const entry of entries) {
    if (!found.has(entry.agent)) found.set(entry.agent, { did: entry.agent, sent: 0, received: 0, refused: 0, events: 0, peers: new Map() });
    const agent = found.get(entry.agent);
    agent.events += 1;
    agent.last = entry;
    count(agent, entry);
    if (entry.peer !== undefined && !isNode(entry.agent)) count(peerOf(agent, entry), entry);
  }
  return Array.from(found.values()).sort((one, other) => isNode(other.did) - isNode(one.did));
}

function peerOf(agent, entry) {
  if (!agent.peers.has(entry.peer)) agent.peers.set(entry.peer, { did: entry.peer, sent: 0, received: 0, refused: 0, session: undefined });
  const peer = agent.peers.get(entry.peer);
  if (entry.what.startsWith("session_")) peer.session = entry;
  peer.last = entry;
  return peer;
}

function count(sum, entry) {
  if (entry.what === "letter_sent") sum.sent += 1;
  if (entry.what === "letter_received") sum.received += 1;
  if (entry.what === "letter_refused") sum.refused += 1;
}

export function render(at, world, did) {
  const all = agentsOf(world.entries.all);
  if (did === undefined) renderAll(at, all);
  else renderOne(at, all.find((agent) => agent.did === did), did, world);
}

const HEADS = ["Agent", "Peers", "Sent", "Received", "Refused", "Last event", "When", "Number"];

function renderAll(at, all) {
  if (!at.hasChildNodes()) {
    const { element, body } = table("Agents that have told the log something", HEADS, "agents");
    at.append(el("p", { class: "empty" }, "No agent has told the log anything yet. Agents do when their nuncio.toml has sessions = \"offered\" or \"required\" under [audit]."), element);
    at.rows = body;
  }
  at.querySelector(".empty").hidden = all.length > 0;
  at.querySelector(".wide").hidden = all.length === 0;
  keep(at.rows, all.map((agent) => ({ key: agent.did, stamp: `${agent.last.index} ${nameOf(agent.did)}`, make: () => row(agent) })));
}

const number = (count) => el("td", { class: "number" }, String(count));

function row(agent) {
  return el("tr", {},
    el("th", { scope: "row" }, link("agents", agent.did, who(agent.did))),
    number(isNode(agent.did) ? "–" : agent.peers.size), number(agent.sent), number(agent.received), number(agent.refused),
    el("td", {}, eventName(agent.last.what)), el("td", {}, moment(agent.last.at_ms)),
    el("td", { class: "number", title: `number ${agent.last.seq} of the count that began at ${agent.last.epoch}` }, String(agent.last.seq)));
}

function renderOne(at, agent, did, world) {
  const stamp = `${agent?.last.index} ${nameOf(did)}`;
  if (at.dataset.stamp === stamp) return;
  at.dataset.stamp = stamp;
  const back = el("p", {}, el("a", { href: "#agents" }, "← All agents"));
  if (!agent) {
    at.replaceChildren(back, el("p", { class: "empty" }, `Nothing that ${did} said is among the entries that this page keeps.`));
    return;
  }
  const about = list([
    ["Agent", who(did)],
    ["DID", el("code", {}, did)],
    ["Epoch", [el("code", {}, String(agent.last.epoch)), " (", moment(agent.last.epoch), ")"]],
    ["Newest event", [eventName(agent.last.what), ", number ", String(agent.last.seq), ", ", moment(agent.last.at_ms)]],
  ]);
  at.replaceChildren(back, about, isNode(did) ? "" : peers(agent), recent(world.entries.all.filter((entry) => entry.agent === did)));
}

function peers(agent) {
  const { element, body } = table("Its sessions", ["With", "Session", "Since", "Sent", "Received", "Refused"], "peers");
  const session = (peer) => (peer.session === undefined ? "before what this page keeps" : peer.session.what === "session_reset" ? "reset" : "established");
  body.append(...Array.from(agent.peers.values(), (peer) => el("tr", {},
    el("th", { scope: "row" }, who(peer.did)),
    el("td", {}, session(peer)), el("td", {}, peer.session ? moment(peer.session.at_ms) : "–"),
    number(peer.sent), number(peer.received), number(peer.refused))));
  return element;
}

function recent(entries) {
  const { element, body } = table(`Its newest events, at most ${SHOWN}`, ["Entry", "Time", "Event", "With"], "recent");
  body.append(...entries.slice(-SHOWN).reverse().map((entry) => el("tr", {},
    el("th", { scope: "row" }, link("log", String(entry.index), String(entry.index))),
    el("td", {}, moment(entry.at_ms)), el("td", {}, eventName(entry.what)), el("td", {}, entry.peer === undefined ? "–" : who(entry.peer)))));
  return element;
}
