// From entries to transactions: who handed a token to whom, and what it allowed.

const isPseudonym = (peer) => /^[0-9a-f]{32}$/.test(peer ?? "");

/** A letter's halves have one commitment: whom one of them names by a pseudonym is, as far as the log says, who tells of the other; if one agent alone does, and names
 * this one or nobody by key. A commitment is there for everybody to copy: the peer is `claimed`. */
export function withPeers(entries) {
  const halves = { sent: new Map(), had: new Map() };
  const half = (entry) => entry.what === "letter_sent" ? "sent" : "had";
  for (const entry of entries.filter((entry) => entry.what.startsWith("letter_") && entry.commitment)) {
    const of = halves[half(entry)];
    of.set(entry.commitment, [...(of.get(entry.commitment) ?? []), entry]);
  }
  return entries.map((entry) => {
    if (!isPseudonym(entry.peer) || !entry.commitment) return entry;
    const others = halves[half(entry) === "sent" ? "had" : "sent"].get(entry.commitment) ?? [];
    const agents = new Set(others.map((other) => other.agent));
    const fits = agents.size === 1 && others.every((other) => isPseudonym(other.peer) || other.peer === entry.agent);
    return fits ? { ...entry, peer: others[0].agent, claimed: true } : entry;
  });
}

/** The newest begun first. Each: `id`, `began` (its first entry), `last`, `agents` in the order of the path, `steps`, `denied`, `revoked`. */
export function transactionsOf(logged) {
  const entries = withPeers(logged);
  const sent = new Map(entries.filter((entry) => entry.what === "letter_sent" && entry.commitment).map((entry) => [entry.commitment, entry]));
  const found = new Map();
  for (const entry of entries) {
    const half = entry.what === "letter_refused" ? sent.get(entry.commitment) : undefined;
    const id = entry.transaction ?? half?.transaction;
    if (id === undefined) continue;
    if (!found.has(id)) found.set(id, { id, began: entry, entries: [] });
    found.get(id).entries.push({ ...entry, token: entry.token ?? half?.token });
  }
  return Array.from(found.values(), finish).reverse();
}

function finish({ id, began, entries }) {
  const steps = [];
  for (const entry of entries) {
    if (entry.what.startsWith("letter_")) continue;
    steps.push(entry.what === "token_issued" || entry.what === "token_replaced" ? tokenStep(entry, entries, steps) : { what: entry.what, entry });
  }
  entries.filter((entry) => entry.what === "letter_refused").forEach((entry) => steps.push({ what: entry.what, entry }));
  steps.sort((one, other) => one.entry.index - other.entry.index);
  const denied = steps.filter((step) => step.what === "token_denied" || step.what === "letter_refused").length;
  const revoked = steps.some((step) => step.what === "token_revoked");
  return { id, began, last: entries.at(-1), agents: agentsOf(steps), steps, denied, revoked };
}

/** A token that was made: its holder may hand it to its receiver, with this scope; `dropped` is what the token before it allowed besides. */
function tokenStep(entry, entries, before) {
  const letters = entries.filter((other) => other.what.startsWith("letter_") && other.token === entry.token);
  const isBetween = (letter, from, to) => letter.what === "letter_sent" ? letter.agent === from && (to ?? letter.peer) === letter.peer
    : letter.peer === from && (to ?? letter.agent) === letter.agent;
  const sent = letters.filter((letter) => letter.what === "letter_sent" && letter.agent === entry.peer);
  // A token's hash is there for everybody to copy: who has had the letter is the one to whom its holder sent it.
  const isOurs = (letter) => letter.peer === entry.peer && sent.some((other) => other.commitment === letter.commitment && other.peer === letter.agent);
  const receiver = letters.find((letter) => letter.what === "letter_received" && isOurs(letter))?.agent ?? sent[0]?.peer;
  const scope = (entry.kind ?? "").split(" ").filter(Boolean);
  const tokens = before.filter((step) => step.scope);
  const parent = tokens.findLast((step) => step.receiver === entry.peer || step.entry.peer === entry.peer) ?? tokens.at(-1);
  const dropped = (parent?.scope ?? []).filter((word) => !scope.includes(word));
  const own = letters.filter((letter) => isBetween(letter, entry.peer, receiver));
  return { what: entry.what, entry, holder: entry.peer, receiver, claimed: own.some((letter) => letter.claimed), scope, dropped, letters: own };
}

/** Each agent once, in the order in which the transaction reached it. */
function agentsOf(steps) {
  const order = steps.filter((step) => step.scope).flatMap((step) => [step.holder, step.receiver]);
  return Array.from(new Set(order.filter((agent) => agent !== undefined)));
}
