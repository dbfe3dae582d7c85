// The view of the audit log: its signed head, its entries, and the check of a chosen one.

import { el, keep, link, list, table } from "./dom.js";
import { hex } from "./bytes.js";
import { nameOf, who } from "./names.js";
import { check } from "./proof.js";
import { eventName, moment, plural, reason, short } from "./words.js";

export const title = "Log";

/** Rows that are shown at first, and more with each wish. */
const SHOWN = 100;

let shown = SHOWN;

export function render(at, world, index) {
  if (index === undefined) renderAll(at, world);
  else renderOne(at, world, Number(index));
}

function renderAll(at, world) {
  if (!at.hasChildNodes()) {
    const { element, body } = table("Entries, the newest first", ["Entry", "Time", "Agent", "Event", "With", "About", "Transaction"], "entries");
    const more = el("button", { type: "button", click: () => { shown += SHOWN; world.changed(); } }, `Show ${SHOWN} older`);
    at.head = el("div", { class: "head" });
    at.append(at.head, el("p", { class: "empty" }, "The log has no entry yet."), element, more);
    [at.rows, at.more] = [body, more];
  }
  const all = world.entries.all;
  renderHead(at.head, world.head);
  at.querySelector(".empty").hidden = all.length > 0;
  at.querySelector(".wide").hidden = all.length === 0;
  at.more.hidden = all.length <= shown;
  keep(at.rows, all.slice(-shown).reverse().map((entry) => ({ key: String(entry.index), stamp: `${nameOf(entry.agent)} ${nameOf(entry.peer)}`, make: () => row(entry) })));
}

/** The published checkpoint, and who has signed it. */
function renderHead(at, head) {
  const stamp = head ? `${head.size} ${hex(head.root)} ${head.signed} ${head.witnesses.map((witness) => witness.at)}` : "none";
  if (at.dataset.stamp === stamp) return;
  at.dataset.stamp = stamp;
  if (!head) {
    at.replaceChildren(el("p", { class: "quiet" }, "No checkpoint is published yet."));
    return;
  }
  const signed = { true: ["good", "the node's identity key"], false: ["bad", "nobody whom this page trusts"], undefined: ["", "not checked: this browser cannot"] }[String(head.signed)];
  const witness = ({ name, at: when }) => el("li", {}, el("code", {}, name), when ? [", ", moment(when)] : "");
  at.replaceChildren(el("h3", {}, "Checkpoint"), list([
    ["Origin", el("code", {}, head.origin)],
    ["Size", plural(head.size, "entry", "entries")],
    ["Root", el("code", { class: "hash" }, hex(head.root))],
    ["Signed by", el("span", { class: signed[0] }, signed[1])],
    ["Witnesses", head.witnesses.length > 0
      ? [el("ul", { class: "plain" }, head.witnesses.map(witness)), el("span", { class: "quiet" }, "Their keys are not known here: nuncio audit --witness checks them.")]
      : el("span", { class: "quiet" }, "none has cosigned it")],
  ]));
}

function row(entry) {
  const about = entry.outcome ?? entry.kind ?? "";
  return el("tr", { class: entry.outcome || entry.what === "token_denied" || entry.what === "token_revoked" ? "bad" : undefined },
    el("th", { scope: "row" }, link("log", String(entry.index), String(entry.index))),
    el("td", {}, moment(entry.at_ms)),
    el("td", {}, who(entry.agent)),
    el("td", {}, eventName(entry.what)),
    el("td", {}, entry.peer === undefined ? "" : who(entry.peer)),
    el("td", { class: "about" }, about),
    el("td", {}, entry.transaction === undefined ? "" : link("transactions", entry.transaction, el("code", {}, short(entry.transaction, 13)))));
}

function renderOne(at, world, index) {
  const entry = world.entries.at(index);
  const stamp = `${entry?.index} ${nameOf(entry?.agent)} ${nameOf(entry?.peer)}`;
  if (at.dataset.stamp === stamp) return;
  at.dataset.stamp = stamp;
  const back = el("p", {}, el("a", { href: "#log" }, "← All entries"));
  if (!entry) {
    at.replaceChildren(back, el("p", { class: "empty" }, `Entry ${index} is not among those that this page keeps: nuncio audit show ${index} reads it.`));
    return;
  }
  const verdict = el("div", { class: "verdict", role: "status" });
  const button = el("button", { type: "button", click: () => judge(entry, button, verdict) }, "Check that the log holds it");
  at.replaceChildren(back, el("h3", {}, `Entry ${index}: ${eventName(entry.what)}`), el("p", {}, button), verdict, fields(entry));
}

function fields(entry) {
  const text = (value) => (value === undefined ? undefined : el("code", { class: "hash" }, String(value)));
  return list([
    ["Agent", [who(entry.agent), " ", text(entry.agent)]],
    ["Number", [text(entry.seq), " of the count that began at ", moment(entry.epoch)]],
    ["Agent's clock", [moment(entry.at_ms), " ", text(entry.at_ms)]],
    ["Event", [eventName(entry.what), " ", text(entry.what)]],
    ["Refused because", entry.outcome && [reason(entry.outcome), " ", text(entry.outcome)]],
    ["With", entry.peer && [who(entry.peer), " ", text(entry.peer)]],
    ["Transaction", entry.transaction && link("transactions", entry.transaction, text(entry.transaction))],
    ["About", text(entry.kind)],
    ["Token's hash", text(entry.token)],
    ["Letter's commitment", text(entry.commitment)],
    ["Payload", entry.size === undefined ? undefined : entry.size === 0 ? "empty" : `${2 ** (entry.size - 1)} to ${2 ** entry.size - 1} bytes`],
    ["Peer's newest event", entry.head && [text(`${entry.head.epoch}/${entry.head.seq}`), " ", text(entry.head.hash)]],
    ["Hash", text(entry.hash)],
  ]);
}

const SIGNS = { true: ["good", "✓"], false: ["bad", "✗"], undefined: ["", "–"] };

async function judge(entry, button, verdict) {
  button.disabled = true;
  verdict.replaceChildren(el("p", {}, "Checking …"));
  const { good, text, steps } = await check(entry);
  const step = ({ what, good: held }) => {
    const [mark, sign] = SIGNS[String(held)];
    return el("li", { class: mark }, el("span", { class: "sign", "aria-hidden": "true" }, sign), ` ${what}`, held === undefined && " (this browser cannot tell)", held === false && " (it does not hold)");
  };
  verdict.replaceChildren(el("p", { class: SIGNS[String(good)][0] }, el("strong", {}, text)), el("ul", { class: "plain" }, steps.map(step)));
  button.disabled = false;
  button.focus();
}
