// The view of what was denied: tokens by the node, letters by their receivers, transactions revoked.

import { el, keep, link, table } from "./dom.js";
import { nameOf, who } from "./names.js";
import { eventName, moment, reason, short } from "./words.js";

export const title = "Denials";

const KINDS = new Set(["token_denied", "letter_refused", "token_revoked"]);

/** Denials, with the transaction of a refused letter where its sender's own event tells it. */
export function denialsOf(entries) {
  const sent = new Map(entries.filter((entry) => entry.what === "letter_sent" && entry.commitment).map((entry) => [entry.commitment, entry.transaction]));
  return entries.filter((entry) => KINDS.has(entry.what)).map((entry) => ({ entry, transaction: entry.transaction ?? sent.get(entry.commitment) }));
}

export function render(at, world) {
  const all = denialsOf(world.entries.all).reverse();
  if (!at.hasChildNodes()) {
    const { element, body } = table("What was denied, the newest first", ["Time", "What", "By", "Of", "Why", "Transaction"], "denials");
    at.append(el("p", { class: "empty" }, "Nothing was denied: every token and every letter that this page knows of was in order."), element);
    at.rows = body;
  }
  at.querySelector(".empty").hidden = all.length > 0;
  at.querySelector(".wide").hidden = all.length === 0;
  keep(at.rows, all.map((denial) => ({ key: String(denial.entry.index), stamp: stamp(denial), make: () => row(denial) })));
}

const stamp = ({ entry, transaction }) => [transaction, nameOf(entry.agent), nameOf(entry.peer)].join(" ");

function row({ entry, transaction }) {
  const name = entry.outcome ?? (entry.what === "token_denied" ? entry.kind : undefined);
  return el("tr", {},
    el("td", {}, link("log", String(entry.index), moment(entry.at_ms))),
    el("th", { scope: "row" }, eventName(entry.what)),
    el("td", {}, who(entry.agent)),
    el("td", {}, entry.peer === undefined ? "–" : who(entry.peer)),
    el("td", {}, name === undefined ? "–" : [reason(name), " ", el("code", { class: "quiet" }, name)]),
    el("td", {}, transaction === undefined ? "–" : link("transactions", transaction, el("code", {}, short(transaction, 13)))));
}
