// The page: reads the log once, live, and shows it in the view that the address names.

import * as agents from "./agents.js";
import { isEqual } from "./bytes.js";
import { isOfLog, parse, witnesses } from "./checkpoint.js";
import * as denials from "./denials.js";
import { el } from "./dom.js";
import { Entries, KEPT } from "./entries.js";
import * as health from "./health.js";
import * as keys from "./keys.js";
import * as log from "./log.js";
import * as names from "./names.js";
import * as node from "./node.js";
import { readStatement } from "./signed.js";
import { follow } from "./stream.js";
import * as transactions from "./transactions.js";
import { eventName, plural, reason } from "./words.js";

const VIEWS = { transactions, agents, denials, log, keys, health };
/** Between two drawings: a flood of entries is drawn a few times a second. */
const DRAW_EVERY_MS = 150;
/** Behind an entry the checkpoint that has it is published within a second. */
const PUBLISHED_AFTER_MS = 800;
const NEWS_EVERY_MS = 2_000;
/** A log that was rolled back may have no new entry for long. */
const HEAD_EVERY_MS = 30_000;
/** How often a start asks for a head before it goes on without. */
const START_TRIES = 5;

const STATES = {
  connecting: { text: "connecting" },
  live: { text: "live" },
  lost: { text: "no connection", trouble: "The node does not answer: it may have stopped. What you see is as it was last told; it goes on by itself once the node answers." },
  "signed-out": { text: "signed out", trouble: "This browser is not signed in any more. What you see is as it was last told. For more run nuncio node page on the node's machine, and open the link that it prints." },
};

const by = (id) => document.getElementById(id);

const world = { entries: new Entries(), head: undefined, state: "connecting", rolledBack: undefined, from: 0, changed };

// --- drawing ---

let isDrawing = false;

function changed() {
  if (isDrawing) return;
  isDrawing = true;
  setTimeout(() => { isDrawing = false; draw(); }, DRAW_EVERY_MS);
}

/** The view, and what in it, by the address: `#transactions/ID`. */
function place() {
  const [view, ...rest] = location.hash.slice(1).split("/");
  return { view: Object.hasOwn(VIEWS, view) ? view : "transactions", argument: decoded(rest.join("/")) || undefined };
}

function decoded(text) {
  try {
    return decodeURI(text);
  } catch {
    return "";
  }
}

function draw() {
  const { view, argument } = place();
  VIEWS[view].render(by("view").lastElementChild, world, argument);
  drawFrame(view);
}

/** What is wrong, once: an alert is read aloud whenever it changes. */
function drawTrouble() {
  const troubles = [world.rolledBack && `Do not trust this log: ${world.rolledBack}.`, STATES[world.state].trouble].filter(Boolean);
  const stamp = troubles.join(" ");
  if (by("trouble").dataset.stamp === stamp) return;
  by("trouble").dataset.stamp = stamp;
  by("trouble").replaceChildren(...troubles.map((trouble) => el("p", {}, trouble)));
}

function drawFrame(view) {
  drawTrouble();
  by("domain").textContent = names.domain();
  const denied = denials.denialsOf(world.entries.all).length;
  by("views").querySelector("[data-view=denials] .badge").textContent = denied > 0 ? String(denied) : "";
  for (const link of by("views").querySelectorAll("a")) {
    if (link.dataset.view === view) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
  const { first, total } = world.entries;
  by("kept").textContent = first === 0
    ? `This page has all of the log: ${plural(total, "entry", "entries")}.`
    : `Entries ${first} to ${total - 1}: this page keeps the newest ${KEPT} of ${total}. nuncio audit reads the ones before.`;
}

/** Another view: drawn anew, its heading focused, so that a keyboard goes on from there. */
function enter(isFirst) {
  const { view } = place();
  const heading = el("h1", { tabindex: "-1" }, VIEWS[view].title);
  by("view").replaceChildren(heading, el("div", { "data-view": view }));
  document.title = `${VIEWS[view].title} · ${names.domain() || "Nuncio node"}`;
  draw();
  if (!isFirst) heading.focus();
}

// --- what happens ---

function onEntry(entry) {
  world.entries.add(entry);
  if (entry.what === "policy_changed") learnNamesSoon();
  if (entry.what === "key_rotated") refreshKeysSoon();
  if (entry.index >= world.from) announce(entry);
  readHeadSoon();
  changed();
}

function onState(state) {
  world.state = state;
  [by("state").textContent, by("state").dataset.state] = [STATES[state].text, state];
  by("sign-out").hidden = state === "signed-out";
  if (state === "live") readHeadSoon();
  changed();
}

/** Does something a moment later, once, however often it is asked for meanwhile. */
function soon(work) {
  let isAsked = false;
  return () => {
    if (isAsked) return;
    isAsked = true;
    setTimeout(() => { isAsked = false; work(); }, PUBLISHED_AFTER_MS);
  };
}

const readHeadSoon = soon(readHead);
const learnNamesSoon = soon(learnNames);
const refreshKeysSoon = soon(() => keys.refresh(world));

/** The published checkpoint. One that takes entries back, or has another root at the same size, is told loudly. */
async function readHead() {
  try {
    const note = await node.checkpoint();
    if (note === undefined) return;
    const head = parse(note);
    const { signed, key } = await readStatement(await node.signedKeys());
    const former = world.head;
    if (former && head.size < former.size) world.rolledBack = `the log had ${former.size} entries and now has ${head.size}: its disk was rolled back`;
    if (former && head.size === former.size && !isEqual(head.root, former.root)) world.rolledBack = `the log has two roots at ${head.size} entries: it was rewritten`;
    if (former && !isEqual(key, former.key)) world.rolledBack = "another key signs it than before";
    world.head = { ...head, key, signed: signed === false ? false : await isOfLog(head, key), witnesses: witnesses(head) };
    if (head.size < world.entries.total) readHeadSoon();
  } catch {
    // The stream says what is wrong with the connection.
  }
  changed();
}

async function learnNames() {
  try {
    names.learn(await node.names());
  } catch {
    // As above.
  }
  changed();
}

// --- news for who does not see the page change ---

let news = [];

function announce(entry) {
  const about = { token_issued: () => `New transaction by ${names.nameOf(entry.peer)}`, token_revoked: () => "A transaction was revoked",
    token_denied: () => `Token denied to ${names.nameOf(entry.peer)}: ${reason(entry.kind)}`,
    letter_refused: () => `${names.nameOf(entry.agent)} refused a letter: ${reason(entry.outcome)}`,
    session_reset: () => `${eventName(entry.what)}: ${names.nameOf(entry.agent)}` }[entry.what];
  if (!about) return;
  if (news.length === 0) setTimeout(() => { by("news").textContent = news.length > 3 ? `${news.length} new things; the last: ${news.at(-1)}` : news.join(". "); news = []; }, NEWS_EVERY_MS);
  news.push(about());
}

// --- the start ---

async function start() {
  by("views").append(...Object.entries(VIEWS).map(([name, view]) => el("li", {},
    el("a", { href: `#${name}`, "data-view": name }, view.title, name === "denials" && el("span", { class: "badge" })))));
  by("sign-out").addEventListener("click", async () => { await node.signOut(); location.replace("/"); });
  addEventListener("hashchange", () => enter(false));
  // Its target is no view.
  document.querySelector(".skip").addEventListener("click", (event) => { event.preventDefault(); by("main").focus(); });
  await learnNames();
  for (let tries = 0; world.head === undefined && tries < START_TRIES; tries += 1) {
    if (tries > 0) await new Promise((resolve) => { setTimeout(resolve, PUBLISHED_AFTER_MS); });
    await readHead();
  }
  enter(true);
  setInterval(readHeadSoon, HEAD_EVERY_MS);
  // What was there already is no news.
  world.from = world.head?.size ?? 0;
  follow(Math.max(0, world.from - KEPT), onEntry, onState);
}

start();
