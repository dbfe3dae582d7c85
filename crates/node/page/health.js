// The view of the node's health, asked every few seconds while it is open.

import { el, list } from "./dom.js";
import * as node from "./node.js";
import { moment, plural } from "./words.js";

export const title = "Health";

const EVERY_MS = 3_000;

let seen;

async function refresh(at, world) {
  seen = { ...(await node.health()), at: Date.now() };
  if (!at.isConnected || at.dataset.view !== "health") return;
  world.changed();
  setTimeout(() => refresh(at, world), EVERY_MS);
}

export function render(at, world) {
  if (!at.asked) {
    at.asked = true;
    refresh(at, world);
  }
  const { entries, head } = world;
  const stamp = JSON.stringify([seen, entries.total, head?.size, world.state, world.rolledBack]);
  if (at.dataset.stamp === stamp) return;
  at.dataset.stamp = stamp;
  if (!seen) {
    at.replaceChildren(el("p", { class: "empty" }, "Asking the node …"));
    return;
  }
  const last = entries.all.at(-1);
  const waits = Math.max(0, entries.total - (head?.size ?? 0));
  at.replaceChildren(list([
    ["Node", seen.alive ? good("it answers") : bad("it does not answer: it may have stopped")],
    ["Ready", !seen.alive ? bad("not known") : seen.ready ? good("it issues tokens, and its log takes events") : bad("no: it stops, cannot write, or its log takes nothing more; what it printed says why")],
    ["Stream", world.state === "live" ? good("live") : bad("not live: tried again and again")],
    ["Log", [plural(entries.total, "entry", "entries"), ", ", waits === 0 ? good("all published") : `${waits} not published yet`]],
    ["Past", world.rolledBack ? bad(world.rolledBack) : good("every checkpoint that this page saw grew from the one before in size")],
    ["Newest entry", last ? moment(last.at_ms) : "none"],
    ["Asked", moment(seen.at)],
  ]));
}

const good = (text) => el("span", { class: "good" }, text);
const bad = (text) => el("span", { class: "bad" }, text);
