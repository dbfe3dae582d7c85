// The view of the keys that sign tokens, and of their rotation.

import { el, keep, link, list, table } from "./dom.js";
import * as node from "./node.js";
import { who } from "./names.js";
import { readStatement } from "./signed.js";
import { moment } from "./words.js";

export const title = "Keys";

let seen;
let failure;
let asked;

/** Asks again when the log says that the keys have turned, and when the view is opened. */
export async function refresh(world) {
  const turn = (asked = {});
  try {
    const [keys, statement] = await Promise.all([node.jwks(), node.signedKeys().then(readStatement)]);
    if (turn === asked) [seen, failure] = [{ keys, statement }, undefined];
  } catch (error) {
    if (turn === asked) failure = error.message;
  }
  world.changed();
}

/** The set's order says which is which (contracts/txts.md N28). */
const STATES = [["good", "signs now"], ["", "next: published already, so that every agent knows it"]];
const OVER = ["quiet", "signed before: known until its last token has expired"];

export function render(at, world) {
  if (!at.hasChildNodes()) {
    const keys = table("Keys that tokens are verified with", ["Key", "Algorithm", "State"], "keys");
    const turns = table("Rotations among the entries that this page keeps", ["Time", "Signs from then on"], "rotations");
    at.about = el("div", {});
    at.append(at.about, el("p", { class: "empty" }, "Asking the node for its keys …"), keys.element, turns.element);
    [at.rows, at.turns, at.turned] = [keys.body, turns.body, turns.element];
    refresh(world);
  }
  at.querySelector(".empty").hidden = Boolean(seen);
  if (failure) at.querySelector(".empty").textContent = `The keys could not be had: ${failure}.`;
  at.querySelector(".wide").hidden = !seen;
  if (seen) {
    renderStatement(at.about, seen.statement);
    keep(at.rows, seen.keys.map((key, place) => ({ key: key.kid, stamp: String(Math.min(place, 2)), make: () => keyRow(key, STATES[place] ?? OVER) })));
  }
  const rotations = world.entries.all.filter((entry) => entry.what === "key_rotated").reverse();
  at.turned.hidden = rotations.length === 0;
  keep(at.turns, rotations.map((entry) => ({ key: String(entry.index), stamp: "", make: () => rotationRow(entry) })));
}

function keyRow(key, [mark, state]) {
  return el("tr", {}, el("th", { scope: "row" }, el("code", { class: "hash" }, key.kid)), el("td", {}, key.alg ?? key.crv ?? key.kty), el("td", { class: mark }, state));
}

function rotationRow(entry) {
  return el("tr", {}, el("td", {}, link("log", String(entry.index), moment(entry.at_ms))), el("th", { scope: "row" }, el("code", { class: "hash" }, entry.kind ?? "?")));
}

function renderStatement(at, { said, signed }) {
  const stamp = `${said.iat} ${signed}`;
  if (at.dataset.stamp === stamp) return;
  at.dataset.stamp = stamp;
  const verdict = { true: ["good", "signed by the node's identity key"], false: ["bad", "NOT signed by the node's identity key"], undefined: ["", "this browser cannot check its signature"] }[String(signed)];
  at.replaceChildren(list([
    ["Node", [who(said.iss), " ", el("code", { class: "hash" }, said.iss)]],
    ["Key statement", [el("span", { class: verdict[0] }, verdict[1]), ", ", moment(said.iat * 1_000), " to ", moment(said.exp * 1_000)]],
  ]));
}
