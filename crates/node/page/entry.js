// An entry of the log: a COSE_Sign1 of an event (contracts/audit.md sections 1 and 2). It is read here from its bytes, not from what the node tells of it.

import { hex, isEqual, join, keyOfDid, utf8 } from "./bytes.js";
import { isSigned } from "./signed.js";
import { EVENTS } from "./words.js";

const [UINT, BYTES, TEXT, ARRAY, MAP, TAG, SIMPLE] = [0, 2, 3, 4, 5, 6, 7];
const NULL = 22;
const KEY_LEN = 32;

/** Reads one item of CBOR: those kinds alone that events have. */
function item(bytes, at) {
  if (at >= bytes.length) throw new Error("the entry is cut short");
  const kind = bytes[at] >> 5;
  const [number, next] = head(bytes, at);
  const end = next + (kind === BYTES || kind === TEXT ? number : 0);
  if (!(end <= bytes.length)) throw new Error("the entry is cut short");
  if (kind === UINT) return [number, next];
  if (kind === BYTES) return [bytes.slice(next, end), end];
  if (kind === TEXT) return [new TextDecoder("utf-8", { fatal: true }).decode(bytes.slice(next, end)), end];
  if (kind === TAG) return item(bytes, next);
  if (kind === SIMPLE && number === NULL) return [null, next];
  if (kind === MAP && number === 0) return [{}, next];
  if (kind === ARRAY) return array(bytes, next, number);
  throw new Error("the entry is no event");
}

function array(bytes, at, count) {
  const items = [];
  for (let place = 0; place < count; place += 1) {
    const [value, next] = item(bytes, at);
    items.push(value);
    at = next;
  }
  return [items, at];
}

/** An item's number, and where what it is about begins. */
function head(bytes, at) {
  const low = bytes[at] & 31;
  if (low < 24) return [low, at + 1];
  const length = 2 ** (low - 24);
  const end = at + 1 + length;
  if (!(length <= 8 && end <= bytes.length)) throw new Error("the entry is cut short");
  return [bytes.slice(at + 1, end).reduce((number, byte) => number * 256 + byte, 0), end];
}

/** A byte string, as CBOR writes it. */
function written(bytes) {
  const length = bytes.length < 24 ? [0x40 + bytes.length] : bytes.length < 256 ? [0x58, bytes.length] : [0x59, bytes.length >> 8, bytes.length & 255];
  return join(Uint8Array.from(length), bytes);
}

/** The event, and what its agent has signed. */
export function read(bytes) {
  const [[header, , payload, signature], end] = item(bytes, 0);
  if (end !== bytes.length) throw new Error("something stands behind the entry");
  const [[, agent, epoch, seq, , at, what, outcome, peer, transaction, token, commitment, kind, size, newest]] = item(payload, 0);
  const toBeSigned = join(Uint8Array.of(0x84, 0x6a), utf8("Signature1"), written(header), written(new Uint8Array()), written(payload));
  return { agent, epoch, seq, at, what, outcome, peer, transaction, token, commitment, kind, size, newest, signature, toBeSigned };
}

/** Whether the agent that it names has signed it: true, false, or undefined in a browser that cannot tell. */
export const isOfItsAgent = (event) => isSigned(event.agent, event.signature, event.toBeSigned);

/** Whether the row that the node told says what the entry's bytes say; of a refusal, that there is one, not which. */
export function tellsOf(event, row) {
  const plain = (value) => (value instanceof Uint8Array ? hex(value) : value ?? undefined);
  const isAgent = (key, did) => isEqual(key, keyOfDid(did) ?? new Uint8Array());
  const peer = event.peer?.length === KEY_LEN ? isAgent(event.peer, row.peer) : plain(event.peer) === row.peer;
  const newest = event.newest === null ? row.head === undefined
    : ["epoch", "seq", "hash"].every((name, at) => plain(event.newest[at]) === row.head?.[name]);
  const same = ["epoch", "seq", "transaction", "token", "commitment", "kind", "size"].every((name) => plain(event[name]) === row[name]);
  return isAgent(event.agent, row.agent) && event.at === row.at_ms && Object.keys(EVENTS)[event.what - 1] === row.what
    && (event.outcome === null) === (row.outcome === undefined) && peer && newest && same;
}
