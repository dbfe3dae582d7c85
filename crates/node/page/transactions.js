// The view of transactions: each a path of agents, its tokens narrower from one to the next.

import { el, keep, link, list, table } from "./dom.js";
import { nameOf, who } from "./names.js";
import { transactionsOf } from "./path.js";
import { eventName, moment, plural, reason, short } from "./words.js";

export const title = "Transactions";

/** All of them, or the one that the address names. */
export function render(at, world, id) {
  const all = transactionsOf(world.entries.all);
  if (id === undefined) renderAll(at, all);
  else renderOne(at, all.find((transaction) => transaction.id === id), id);
}

function renderAll(at, all) {
  if (!at.hasChildNodes()) {
    const { element, body } = table("Transactions, the newest first", ["Began", "Transaction", "Path", "State"], "transactions");
    at.append(el("p", { class: "empty" }, "No transaction yet. One begins when an agent asks this node for a token, and shows here at once."), element);
    at.rows = body;
  }
  at.querySelector(".empty").hidden = all.length > 0;
  at.querySelector(".wide").hidden = all.length === 0;
  keep(at.rows, all.map((transaction) => ({ key: transaction.id, stamp: `${transaction.last.index} ${nameStamp(transaction)}`, make: () => row(transaction) })));
}

const nameStamp = (transaction) => transaction.agents.map(nameOf).join(" ");

function row(transaction) {
  return el("tr", {},
    el("td", {}, moment(transaction.began.at_ms)),
    el("th", { scope: "row" }, link("transactions", transaction.id, el("code", {}, short(transaction.id, 13)))),
    el("td", {}, route(transaction.agents)),
    el("td", {}, state(transaction)));
}

function route(agents) {
  if (agents.length === 0) return el("span", { class: "quiet" }, "no token was issued");
  return el("span", { class: "route" }, agents.flatMap((agent, at) => (at ? [el("span", { class: "arrow" }, " → "), who(agent)] : [who(agent)])));
}

function state(transaction) {
  const tokens = transaction.steps.filter((step) => step.scope).length;
  return el("span", { class: "marks" },
    el("span", { class: "mark" }, plural(tokens, "token")),
    transaction.denied > 0 && el("span", { class: "mark bad" }, `${transaction.denied} denied`),
    transaction.revoked && el("span", { class: "mark bad" }, "revoked"));
}

function renderOne(at, transaction, id) {
  const stamp = transaction ? `${transaction.last.index} ${transaction.steps.length} ${nameStamp(transaction)}` : "none";
  if (at.dataset.stamp === stamp) return;
  at.dataset.stamp = stamp;
  if (!transaction) {
    at.replaceChildren(back(), el("p", { class: "empty" }, `Nothing of transaction ${id} is among the entries that this page keeps.`));
    return;
  }
  if (!at.rows?.isConnected) {
    at.rows = el("ol", { class: "path" });
    at.about = el("div", {});
    at.replaceChildren(back(), at.about, at.rows);
  }
  at.about.replaceChildren(list([
    ["Transaction", el("code", {}, transaction.id)],
    ["Path", route(transaction.agents)],
    ["Began", moment(transaction.began.at_ms)],
    ["State", state(transaction)],
  ]));
  keep(at.rows, transaction.steps.map((step) => ({ key: String(step.entry.index), stamp: stepStamp(step), make: () => stepRow(step) })));
}

const back = () => el("p", {}, el("a", { href: "#transactions" }, "← All transactions"));

const stepStamp = (step) => JSON.stringify([nameOf(step.entry.peer), nameOf(step.receiver), step.letters?.map((letter) => letter.index)]);

function stepRow(step) {
  const meta = el("p", { class: "meta" }, moment(step.entry.at_ms), " · ", link("log", String(step.entry.index), `entry ${step.entry.index}`));
  if (!step.scope) return el("li", { class: "bad" }, el("h3", {}, heading(step)), meta);
  if (step.letters.length > 0) meta.append(` · ${fate(step.letters)}`);
  return el("li", {}, el("h3", {}, heading(step)), scopes(step), meta);
}

/** What became of a token's letter. */
function fate(letters) {
  const has = (what) => letters.some((letter) => letter.what === what);
  if (has("letter_received")) return "letter delivered";
  return has("letter_refused") ? "letter refused" : "letter on its way";
}

function heading(step) {
  const { entry } = step;
  switch (step.what) {
    case "token_issued": return [who(step.holder), " begins it", step.receiver && step.receiver !== step.holder ? [" → ", who(step.receiver)] : ""];
    case "token_replaced": return [who(step.holder), el("span", { class: "arrow" }, " → "), step.receiver ? who(step.receiver) : "the next",
      step.claimed ? " (under a pseudonym: it tells of the letter's other half)" : ""];
    case "token_denied": return ["The node denies ", who(entry.peer), ` a token: ${reason(entry.kind)}`];
    case "letter_refused": return [who(entry.agent), " refuses a letter of ", who(entry.peer), `: ${reason(entry.outcome)}`];
    case "token_revoked": return ["The transaction is revoked: no token of it is issued any more"];
    default: return [eventName(step.what)];
  }
}

function scopes(step) {
  return el("p", { class: "scopes" }, el("span", { class: "quiet" }, "may "),
    step.scope.map((word) => [el("span", { class: "scope" }, word), " "]),
    step.dropped.map((word) => [el("del", { class: "scope", title: "the token before allowed this too" }, el("span", { class: "unseen" }, "no longer "), word), " "]));
}
