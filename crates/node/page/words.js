// What the page says of the names in contracts/registry.toml, and how it writes times and hashes.

import { el } from "./dom.js";

/** In the order of their numbers, from 1. */
export const EVENTS = {
  session_established: "session established",
  session_reset: "session reset",
  letter_sent: "letter sent",
  letter_received: "letter received",
  letter_refused: "letter refused",
  token_issued: "transaction begun",
  token_replaced: "token handed on",
  token_denied: "token denied",
  token_revoked: "transaction revoked",
  channel_changed: "channel changed",
  tool_invoked: "tool invoked",
  tool_answered: "tool answered",
  tool_unknown: "tool in doubt",
  heartbeat: "heartbeat",
  spool_gap: "events lost",
  key_rotated: "keys rotated",
  policy_changed: "policy in force",
};

const REASONS = {
  token_missing: "the letter needs a token and has none",
  token_malformed: "the token is malformed",
  token_algorithm: "the token's algorithm is not allowed",
  token_type: "it is no transaction token",
  token_key: "nobody knows the token's key",
  token_signature: "the token's signature does not verify",
  token_audience: "the token is of another trust domain",
  token_expired: "the token has expired",
  token_early: "the token is from the future",
  token_life: "the token claims too long a life",
  token_sender: "the token belongs to another sender",
  token_receiver: "the token is for another receiver",
  token_hops: "the token was handed on too often",
  token_revoked: "the transaction was revoked",
  token_scope: "the token's scope does not allow this letter",
  token_payload: "the token is bound to another letter",
  token_proof: "the hop proof is missing or another letter's",
  stranger: "the sender is a stranger",
  retired: "the identity was retired",
  expired: "the letter came too late",
  malformed: "the letter is malformed",
  future: "the letter is from the future",
  refused: "the application would not take it",
  too_large: "the payload is too large",
  commitment: "the letter's commitment is missing or wrong",
  invalid_request: "the request is not as it must be",
  invalid_client: "the client is not known",
  invalid_grant: "the token cannot be used: another's, expired, revoked, or at its end",
  invalid_scope: "more was asked for than is allowed",
  invalid_target: "this receiver is not allowed",
  unauthorized_client: "the policy does not allow it",
  access_denied: "it is not allowed",
  temporarily_unavailable: "something that is needed could not be had",
};

/** A reason in words; a name that is not known stands for itself. */
export const reason = (name) => REASONS[name] ?? name;

export const eventName = (what) => EVENTS[what] ?? what;

const CLOCK = new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit", second: "2-digit", hourCycle: "h23" });
const DAY = new Intl.DateTimeFormat(undefined, { day: "numeric", month: "short" });

/** A moment: the time of today, the day of other days. */
export function moment(ms) {
  const at = new Date(ms);
  if (Number.isNaN(at.getTime())) return "?";
  const isToday = at.toDateString() === new Date().toDateString();
  return el("time", { datetime: at.toISOString(), title: at.toISOString() }, isToday ? CLOCK.format(at) : `${DAY.format(at)} ${CLOCK.format(at)}`);
}

/** Beginning and end of what is too long to read. */
export const short = (text, head = 8, tail = 4) => (text.length > head + tail + 1 ? `${text.slice(0, head)}…${text.slice(-tail)}` : text);

export const plural = (count, one, many = `${one}s`) => `${count} ${count === 1 ? one : many}`;
