// Bytes and their text forms, and the one hash.

export const utf8 = (text) => new TextEncoder().encode(text);

export const hex = (bytes) => Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");

export const base64 = (text) => Uint8Array.from(atob(text), (char) => char.charCodeAt(0));

export const base64url = (text) => base64(text.replaceAll("-", "+").replaceAll("_", "/"));

export const isEqual = (one, other) => one.length === other.length && one.every((byte, at) => byte === other[at]);

export function join(...parts) {
  const joined = new Uint8Array(parts.reduce((length, part) => length + part.length, 0));
  parts.reduce((at, part) => (joined.set(part, at), at + part.length), 0);
  return joined;
}

/** Browsers have it on pages that came over TLS or from their own machine. */
export const hasCrypto = () => Boolean(globalThis.crypto?.subtle);

export async function sha256(...parts) {
  return new Uint8Array(await crypto.subtle.digest("SHA-256", join(...parts)));
}

const BASE58 = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz";

/** The key that a did:key of an Ed25519 key names. */
export function keyOfDid(did) {
  const text = /^did:key:z([1-9A-HJ-NP-Za-km-z]+)$/.exec(did)?.[1];
  if (!text) return undefined;
  const number = [...text].reduce((sum, char) => sum * 58n + BigInt(BASE58.indexOf(char)), 0n);
  const digits = number.toString(16);
  const bytes = Uint8Array.from(digits.padStart(68, "0").match(/../g), (pair) => parseInt(pair, 16));
  return bytes.length === 34 && bytes[0] === 0xed && bytes[1] === 0x01 ? bytes.slice(2) : undefined;
}
