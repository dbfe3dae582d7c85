// A real Chromium watches the node's page while five agents hand a transaction on and four attacks on it fail.
//
//     npm ci && node watch.mjs      prints what failed and `N passed, N failed`; the program is $NUNCIO, or target/debug/nuncio;
//                                   with $SCREENSHOTS pictures of the page go to that folder

import { mkdirSync } from "node:fs";
import { join } from "node:path";

import { chromium } from "playwright-core";

import { Demo } from "./demo.mjs";
import { hash, tileOf, treeHash } from "./tree.mjs";

const BROWSER = process.env.CHROMIUM ?? "/usr/bin/chromium";
const FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync"];
const VIEWS = ["Transactions", "Agents", "Denials", "Log", "Keys", "Health"];
const AGENTS = ["gateway", "planner", "booking", "payment", "notification"];
const PATIENCE_MS = 60_000;

const counts = { passed: 0, failed: 0 };
const hosts = new Set();
const violations = [];

function check(what, right, got) {
  counts[right ? "passed" : "failed"] += 1;
  if (!right) console.log(`FAILED: ${what}: ${JSON.stringify(got)}`);
}

/** Holds once it comes true; what was there instead is said. */
async function comes(what, look, right) {
  const until = Date.now() + PATIENCE_MS;
  let got;
  do {
    got = await look().catch((error) => String(error));
    if (right(got)) return check(what, true);
    await new Promise((resolve) => setTimeout(resolve, 100));
  } while (Date.now() < until);
  check(what, false, got);
}

const text = (page, selector = "body") => page.locator(selector).innerText();
const has = (...words) => (got) => typeof got === "string" && words.every((word) => got.includes(word));

/** A browser of its own, with everything that it asks for and complains of written down. */
async function visitor(browser, options = {}) {
  const context = await browser.newContext({ viewport: { width: 1200, height: 900 }, ...options });
  context.setDefaultTimeout(PATIENCE_MS);
  await context.addInitScript(() => addEventListener("securitypolicyviolation", (event) => console.error(`policy: ${event.violatedDirective} ${event.blockedURI}`)));
  const page = await context.newPage();
  page.complaints = [];
  context.on("request", (request) => hosts.add(new URL(request.url()).origin));
  context.on("console", (message) => {
    if (message.type() === "error" || message.type() === "warning") page.complaints.push(message.text());
    if (/policy/i.test(message.text())) violations.push(message.text());
  });
  context.on("weberror", (error) => page.complaints.push(String(error.error())));
  return page;
}

async function picture(page, name) {
  if (!process.env.SCREENSHOTS) return;
  mkdirSync(process.env.SCREENSHOTS, { recursive: true });
  for (const colorScheme of ["light", "dark"]) {
    await page.emulateMedia({ colorScheme, reducedMotion: "reduce" });
    await page.screenshot({ path: join(process.env.SCREENSHOTS, `${name}-${colorScheme}.png`), fullPage: true });
  }
  await page.emulateMedia({ colorScheme: "light" });
}

/** Opens a view by its link, with the keyboard: Enter on what has the focus. */
async function open(page, view) {
  await page.getByRole("navigation").getByRole("link", { name: view }).focus();
  await page.keyboard.press("Enter");
  await page.getByRole("heading", { level: 1, name: view }).waitFor();
}

// --- what is looked at ---

async function withoutSignIn(browser, demo) {
  const page = await visitor(browser);
  const answer = await page.goto(`${demo.base}/`);
  check("without a session / is 403", answer.status() === 403, answer.status());
  await comes("it says how to sign in", () => text(page), has("nuncio node page", "not signed in"));
  const shown = await text(page);
  check("and nothing of the log", !/did:key|gateway|travel|entries/i.test(shown), shown);
  const asked = await page.evaluate(() => Promise.all(["/log/names", "/log/checkpoint", "/log/stream?from=0"].map((path) => fetch(path).then((answer) => answer.status))));
  check("nor do the log's routes tell such a browser", asked.every((status) => status === 403), asked);
  await picture(page, "door");
  await page.context().close();
}

async function signIn(browser, demo) {
  const page = await visitor(browser);
  await page.goto(demo.link);
  await page.waitForURL(`${demo.base}/`);
  await comes("the stream is live", () => text(page, "#state"), has("live"));
  await comes("the empty state of transactions", () => text(page), has("No transaction yet", "travel.example"));
  await open(page, "Denials");
  await comes("the empty state of denials", () => text(page), has("Nothing was denied"));
  await open(page, "Transactions");
  await picture(page, "empty");
  const second = await visitor(browser);
  await second.goto(demo.link);
  await comes("a link serves once", () => text(second), has("used already"));
  check("its secret leaves the address", !second.url().includes("#"), second.url());
  await picture(second, "used-link");
  await second.context().close();
  return page;
}

async function transactions(page) {
  const route = AGENTS.join(" → ");
  await comes("the path of agents, live", () => text(page, ".transactions"), has(route));
  const links = page.locator(".transactions a");
  await comes("two transactions, one of them revoked", () => text(page, ".transactions"), (got) => has("revoked")(got) && got.split(AGENTS[0]).length === 3);
  await picture(page, "transactions");
  await links.last().focus();
  await page.keyboard.press("Enter");
  await comes("its state", () => text(page, "#view dl"), has(route, "denied"));
  const steps = () => page.locator(".path li").evaluateAll((items) => items.map((item) => ({
    what: item.querySelector("h3").textContent,
    may: Array.from(item.querySelectorAll("span.scope"), (scope) => scope.textContent),
    no: Array.from(item.querySelectorAll("del.scope"), (scope) => scope.lastChild.textContent),
    meta: item.querySelector(".meta").textContent,
    bad: item.className === "bad",
  })));
  const wanted = [
    ["gateway begins it", ["travel.book", "travel.notify", "travel.pay", "travel.plan"], []],
    ["gateway → planner", ["travel.book", "travel.notify", "travel.pay", "travel.plan"], []],
    ["planner → booking", ["travel.book", "travel.notify", "travel.pay"], ["travel.plan"]],
    ["booking → payment", ["travel.notify", "travel.pay"], ["travel.book"]],
    ["payment → notification", ["travel.notify"], ["travel.pay"]],
  ];
  const plain = (all) => all.filter((step) => !step.bad).map((step) => [step.what, step.may.toSorted(), step.no]);
  await comes("each hop, and how it narrows", steps, (all) => JSON.stringify(plain(all)) === JSON.stringify(wanted));
  await comes("every letter of the path was delivered", steps, (all) => all.filter((step) => !step.bad).slice(1).every((step) => step.meta.includes("letter delivered")));
  await comes("attacks stand beside the path", steps, (all) => all.some((step) => step.bad && step.what.includes("mallory")));
  await picture(page, "transaction");
}

async function denialsAndAgents(page) {
  await open(page, "Denials");
  const reasons = ["invalid_grant", "invalid_target", "invalid_scope", "token_sender", "token_receiver", "token_signature", "token_payload", "token_revoked"];
  await comes("every attack's refusal", () => text(page, ".denials"), has(...reasons, "transaction revoked", "mallory", "payment"));
  await picture(page, "denials");
  await open(page, "Agents");
  await comes("every agent", () => text(page, ".agents"), has(...AGENTS, "mallory", "node"));
  await picture(page, "agents");
  await page.locator(".agents").getByRole("link", { name: "payment" }).focus();
  await page.keyboard.press("Enter");
  await comes("an agent's sessions and counts", () => text(page, "#view"), has("did:key:", "established", "booking", "notification", "Epoch"));
  const row = page.locator(".peers tr", { hasText: "booking" });
  await comes("letters received, and refused", () => row.innerText(), (got) => /established\s+\S+\s+\d+\s+[1-9]\d*\s+[1-9]\d*/.test(got));
  await picture(page, "agent");
}

async function inclusion(page) {
  await open(page, "Log");
  await comes("the checkpoint, and whose it is", () => text(page, ".head"), has("travel.example/log", "entries", "the node's identity key", "none has cosigned it"));
  await comes("entries", () => text(page, ".entries"), has("letter received", "token handed on", "session established"));
  await picture(page, "log");
  const numbers = (await page.locator(".entries th a").allInnerTexts()).map(Number);
  for (const number of [0, numbers.at(-1), numbers[0], numbers[Math.floor(numbers.length / 2)]]) await judge(page, number, /^Entry \d+ is in the tree of \d+ entries\.$/);
  await comes("each step of the check held", () => page.locator(".verdict li.good").count(), (count) => count === 5);
  await picture(page, "entry");
  // A log that lies about one hash, one entry, one signature.
  const bent = (bend) => async (route) => {
    const answer = await route.fetch();
    const body = await answer.body();
    bend(body);
    await route.fulfill({ response: answer, body });
  };
  const inSignature = (body) => { body[body.length - 10] = body[body.length - 10] === 65 ? 66 : 65; };
  for (const [what, path, bend, said] of [
    ["another hash in the tree", "**/log/tile/0/**", (body) => { body[32 + 3] ^= 1; }, /lead to the root/],
    ["another entry", "**/log/tile/entries/**", (body) => { body[40] ^= 1; }, /hash that the log told/],
    ["another signature under the head", "**/log/checkpoint", inSignature, /identity key has signed/],
  ]) {
    await page.context().route(path, bent(bend));
    await judge(page, 0, said, what);
    await page.context().unroute(path);
  }
  await page.locator(".verdict .bad").first().waitFor();
  await picture(page, "entry-wrong");
}

async function judge(page, number, said, what = `entry ${number} is in the tree`) {
  await page.evaluate((hash) => { location.hash = hash; }, "#log");
  await page.locator(".entries").waitFor();
  await page.evaluate((hash) => { location.hash = hash; }, `#log/${number}`);
  const button = page.getByRole("button", { name: "Check that the log holds it" });
  await button.focus();
  await page.keyboard.press("Enter");
  await comes(what, () => page.locator(".verdict strong").innerText(), (got) => said.test(got));
}

/** A row that says anything else than the entry's bytes is found out, whatever it is that it says. */
async function rows(page) {
  const passed = await page.evaluate(async () => {
    const [{ read, tellsOf }, { entry }, node, { parse }] = await Promise.all(["entry", "tree", "node", "checkpoint"].map((name) => import(`/page/${name}.js`)));
    const { size } = parse(await node.checkpoint());
    const told = await new Promise((resolve) => {
      const [source, got] = [new EventSource("/log/stream?from=0"), []];
      source.addEventListener("entry", (event) => {
        if (got.push(JSON.parse(event.data)) === size) resolve(got);
      });
    });
    const passed = { honest: 0, lies: [], tried: 0 };
    const lie = (event, row, what) => {
      passed.tried += 1;
      if (tellsOf(event, row)) passed.lies.push(`${row.index} ${what}`);
    };
    for (const row of told) {
      const event = read(await entry(row.index, size, node.tile));
      passed.honest += tellsOf(event, row) ? 1 : 0;
      for (const name of ["agent", "epoch", "seq", "at_ms", "what", "outcome", "peer", "transaction", "token", "commitment", "kind", "size", "head"]) {
        if (row[name] === undefined) {
          lie(event, { ...row, [name]: name === "size" ? 0 : name === "head" ? { epoch: 0, seq: 0, hash: "" } : "00" }, `${name} added`);
          continue;
        }
        const { [name]: value, ...without } = row;
        lie(event, without, `${name} left out`);
        if (name === "outcome") continue;
        const others = name === "head" ? [{ ...value, seq: value.seq + 1 }, { ...value, epoch: value.epoch + 1 }, { ...value, hash: "00" }]
          : name === "what" ? ["heartbeat", "letter_received", "letter_sent"].filter((what) => what !== value) : [typeof value === "number" ? value + 1 : `${value}0`];
        others.forEach((other) => lie(event, { ...row, [name]: other }, name));
      }
    }
    return { ...passed, size };
  });
  check("every row says what its entry says", passed.honest === passed.size, passed);
  check("no row that says something else passes", passed.lies.length === 0 && passed.tried > 13 * passed.size, passed);
}

/** Whom a half of a letter names by a pseudonym is who alone tells of the other half. */
async function pseudonyms(page) {
  const peers = await page.evaluate(async () => {
    const { withPeers } = await import("/page/path.js");
    const [one, two] = ["1", "2"].map((digit) => digit.repeat(32));
    const letter = (what, agent, peer, commitment) => ({ what, agent, peer, commitment });
    const told = [
      letter("letter_sent", "did:a", one, "c1"), letter("letter_received", "did:b", two, "c1"), letter("letter_sent", "did:a", one, "c2"),
      letter("letter_sent", "did:a", one, "c3"), letter("letter_refused", "did:b", "did:a", "c3"), letter("letter_received", "did:thief", two, "c3"),
      letter("letter_sent", "did:a", one, "c4"), letter("letter_received", "did:thief", "did:c", "c4"),
      { what: "session_established", agent: "did:a", peer: one },
    ];
    return withPeers(told).map(({ peer }) => peer);
  });
  const [one, two] = ["1", "2"].map((digit) => digit.repeat(32));
  check("a pseudonym is resolved by a letter's other half, if one agent alone tells of it", JSON.stringify(peers) === JSON.stringify(["did:b", "did:a", one, one, "did:a", "did:a", one, "did:c", one]), [peers, two]);
}

/** The page's own tree against one that is made here, at sizes around full tiles. */
async function trees(page) {
  const leaves = Array.from({ length: 66_000 }, (_, index) => hash([0], String(index)));
  for (const size of [1, 2, 3, 7, 255, 256, 257, 600, 65_535, 65_536, 65_537]) {
    const root = treeHash(leaves.slice(0, size)).toString("hex");
    const wanted = Array.from(new Set([0, 1, Math.floor(size / 2), size - 2, size - 1].filter((index) => index >= 0 && index < size)), (index) => [index, leaves[index].toString("hex")]);
    await page.exposeFunction(`tile${size}`, (path) => tileOf(leaves.slice(0, size), path).toString("hex"));
    const roots = await page.evaluate(async ([all, length]) => {
      const { rootWith } = await import("/page/tree.js");
      const { hex } = await import("/page/bytes.js");
      const unhex = (text) => Uint8Array.from(text.match(/../g), (pair) => parseInt(pair, 16));
      return Promise.all(all.map(async ([index, leaf]) => hex(await rootWith(index, unhex(leaf), length, async (path) => unhex(await window[`tile${length}`](path))))));
    }, [wanted, size]);
    check(`the root of ${size} entries, from each of some`, roots.every((one) => one === root), roots);
  }
}

async function keysAndHealth(page, demo) {
  await open(page, "Keys");
  await comes("the keys", () => text(page, "#view .keys"), has("signs now", "next: published"));
  const before = await page.locator(".keys th code").allInnerTexts();
  demo.asOwner("keys", "rotate", "--force");
  await comes("a rotation, live", () => page.locator(".keys th code").allInnerTexts(), (kids) => kids.length === 3 && kids[0] === before[1] && kids[2] === before[0]);
  await comes("and in words", () => text(page, "#view"), has("signed before", "signed by the node's identity key", "Rotations"));
  await picture(page, "keys");
  await open(page, "Health");
  await comes("health", () => text(page, "#view"), has("it answers", "it issues tokens", "live", "all published"));
  await picture(page, "health");
}

async function keyboard(page) {
  await page.evaluate(() => { location.hash = "#transactions"; });
  await page.reload();
  await comes("live again", () => text(page, "#state"), has("live"));
  // Behind the views there is something to reach.
  await page.locator("main a").first().waitFor();
  const reached = [];
  for (let tab = 0; tab < 3 + VIEWS.length; tab += 1) {
    await page.keyboard.press("Tab");
    reached.push(await page.evaluate(() => {
      const { outlineStyle } = getComputedStyle(document.activeElement);
      return { name: document.activeElement.textContent.trim().replace(/\d+$/, ""), seen: outlineStyle !== "none" };
    }));
  }
  const names = reached.map((one) => one.name);
  check("Tab reaches the skip link, sign-out and every view", JSON.stringify(names.slice(0, 2 + VIEWS.length)) === JSON.stringify(["Skip to the content", "Sign out", ...VIEWS]), names);
  check("and what has the focus shows it", reached.every((one) => one.seen), reached);
  for (const view of VIEWS) {
    await open(page, view);
    const focused = await page.evaluate(() => document.activeElement.textContent);
    check(`Enter opens ${view}, and its heading has the focus`, focused === view, focused);
    const current = await page.locator("nav a[aria-current=page]").innerText();
    check(`${view} is marked as the one that is shown`, current.startsWith(view), current);
  }
  const landmarks = await page.evaluate(() => ["header", "nav", "main", "footer"].filter((name) => document.querySelectorAll(name).length === 1));
  check("landmarks", landmarks.length === 4, landmarks);
}

/** What a log could be made to say is shown as it is, and a long log is cut with a word about it. */
async function hostile(browser, demo) {
  const page = await visitor(browser);
  await page.goto(demo.asOwner("page").trim());
  await page.waitForURL(`${demo.base}/`);
  const evil = `<img src=x onerror="document.title='taken'"><script>document.title='taken'</script>`;
  const entry = (index) => ({ index, hash: evil, agent: `did:key:z6Mk${evil}`, epoch: 1, seq: index, at_ms: 1_800_000_000_000, what: "token_denied", outcome: evil, peer: evil, transaction: evil, kind: evil });
  const body = Array.from({ length: 5_600 }, (_, index) => `event: entry\nid: ${index}\ndata: ${JSON.stringify(entry(index))}\n\n`).join("");
  await page.context().route("**/log/stream*", (route) => route.fulfill({ contentType: "text/event-stream", body }));
  await page.context().route("**/log/checkpoint", (route) => route.fulfill({ status: 404 }));
  for (const view of VIEWS) {
    await page.goto(`${demo.base}/#${view.toLowerCase()}`);
    await page.reload();
    await comes(`${view} of a long log`, () => text(page, "#kept"), has("keeps the newest 5000 of 5600"));
    const made = await page.locator("main img, main script").count();
    check(`${view} makes no element of what the log says`, made === 0 && (await page.title()) !== "taken", made);
  }
  await open(page, "Log");
  await comes("it is shown as text", () => text(page, ".entries"), has("<img src=x"));
  await page.context().close();
}

async function signOut(browser, demo) {
  const page = await visitor(browser);
  await page.goto(demo.asOwner("page").trim());
  await page.waitForURL(`${demo.base}/`);
  const other = await page.context().newPage();
  await other.goto(`${demo.base}/`);
  await comes("a second tab is live", () => text(other, "#state"), has("live"));
  await page.getByRole("button", { name: "Sign out" }).click();
  await comes("signed out", () => text(page), has("nuncio node page", "How to sign in"));
  await comes("the other tab says so too", () => text(other, "#trouble"), has("not signed in any more"));
  await picture(other, "signed-out");
  await page.context().close();
}

async function nodeStops(page, demo) {
  const complaints = page.complaints.splice(0);
  check("nothing on the console", complaints.length === 0, complaints);
  demo.enter();
  await comes("the node has stopped, and the page says so", () => text(page, "#trouble"), has("does not answer"));
  await comes("health says so too", async () => { await open(page, "Health"); return text(page, "#view"); }, has("it does not answer"));
  await picture(page, "stopped");
  await open(page, "Transactions");
  check("what was told is there still", (await text(page, ".transactions")).includes("notification"));
}

const demo = await Demo.start();
const browser = await chromium.launch({ executablePath: BROWSER, headless: true, args: FLAGS });
try {
  await withoutSignIn(browser, demo);
  const page = await signIn(browser, demo);
  demo.enter();
  await transactions(page);
  await demo.says(/^That was all/);
  await denialsAndAgents(page);
  await inclusion(page);
  await rows(page);
  await pseudonyms(page);
  await trees(page);
  await keysAndHealth(page, demo);
  await keyboard(page);
  await hostile(browser, demo);
  await signOut(browser, demo);
  await nodeStops(page, demo);
  check("no request went to another host", [...hosts].every((host) => host === demo.base), [...hosts]);
  check("the page's policy was not met once", violations.length === 0, violations);
} catch (error) {
  check("the visit comes to its end", false, String(error?.stack ?? error));
} finally {
  await browser.close();
  const code = await demo.stop();
  check("the demo ends well", code === 0, code);
}
console.log(`${counts.passed} passed, ${counts.failed} failed`);
process.exitCode = counts.failed > 0 ? 1 : 0;
