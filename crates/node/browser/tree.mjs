// RFC 6962's tree in the plainest words, to hold the page's own against.

import { createHash } from "node:crypto";

export const hash = (...parts) => createHash("sha256").update(Buffer.concat(parts.map((part) => Buffer.from(part)))).digest();

/** The root over the hashes of leaves. */
export function treeHash(leaves) {
  if (leaves.length === 1) return leaves[0];
  let half = 1;
  while (half * 2 < leaves.length) half *= 2;
  return hash([1], treeHash(leaves.slice(0, half)), treeHash(leaves.slice(half)));
}

/** A tile of hashes, by its path in C2SP's tlog-tiles; throws for one that the tree does not have. */
export function tileOf(leaves, path) {
  const [, level, number, width = "256"] = /^tile\/(\d)\/((?:x\d{3}\/)*\d{3})(?:\.p\/(\d+))?$/.exec(path);
  const first = Number(number.replaceAll(/[x/]/g, "")) * 256;
  const count = 256 ** Number(level);
  return Buffer.concat(Array.from({ length: Number(width) }, (_, place) => {
    const under = leaves.slice((first + place) * count, (first + place + 1) * count);
    if (under.length < count) throw new Error(`there is no tile ${path}`);
    return treeHash(under);
  }));
}
