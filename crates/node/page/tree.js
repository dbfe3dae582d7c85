// RFC 6962's tree out of tiles (contracts/log.md sections 1 and 2). Numbers may be beyond 32 bits, so nothing is shifted.

import { join, sha256 } from "./bytes.js";

const WIDTH = 256;
const HASH_LEN = 32;
/** Levels of the tree in one level of tiles. */
const TILE_HEIGHT = 8;

export const leafHash = (entry) => sha256(Uint8Array.of(0), entry);

const nodeHash = (left, right) => sha256(Uint8Array.of(1), left, right);

/** The path of a tile (`level` a number, or "entries") in a tree of `size` entries. */
export function tilePath(level, number, size) {
  const all = Math.floor(size / WIDTH ** (level === "entries" ? 0 : level));
  const width = Math.min(WIDTH, all - number * WIDTH);
  const digits = String(number);
  const groups = digits.padStart(Math.ceil(digits.length / 3) * 3, "0").match(/.../g);
  const path = groups.map((group, at) => (at < groups.length - 1 ? `x${group}` : group)).join("/");
  return { path: `tile/${level}/${path}${width < WIDTH ? `.p/${width}` : ""}`, width };
}

/** The entry's bytes. `read` gives a tile's bytes by its path. */
export async function entry(index, size, read) {
  const { path, width } = tilePath("entries", Math.floor(index / WIDTH), size);
  const bundle = await read(path);
  let at = 0;
  for (let place = 0; place < width; place += 1) {
    const end = at + 2 + bundle[at] * 256 + bundle[at + 1];
    if (!(end <= bundle.length)) throw new Error(`the bundle ${path} is cut short`);
    if (place === index % WIDTH) return bundle.slice(at + 2, end);
    at = end;
  }
  throw new Error(`the bundle ${path} has no entry ${index}`);
}

/** The root of the tree of `size` entries, with `leaf` in the place of entry `index`: every hash beside its path comes out of the tiles. */
export async function rootWith(index, leaf, size, read) {
  const tiles = new Map();
  const tile = (level, number) => {
    const { path } = tilePath(level, number, size);
    if (!tiles.has(path)) tiles.set(path, read(path));
    return tiles.get(path);
  };
  const range = async (from, to) => {
    const width = to - from;
    const has = from <= index && index < to;
    if (has && width === 1) return leaf;
    const half = below(width);
    if (!has && half * 2 === width) return subtree(Math.log2(width), from / width, tile);
    return nodeHash(await range(from, from + half), await range(from + half, to));
  };
  return range(0, size);
}

/** The largest power of two that is less than `width`; half a one of 1. */
const below = (width) => (width === 1 ? 0.5 : 2 ** (Math.ceil(Math.log2(width)) - 1));

/** The root of a whole subtree: number `number` of those that are `height` levels high. */
async function subtree(height, number, tile) {
  const level = Math.floor(height / TILE_HEIGHT);
  const count = 2 ** (height % TILE_HEIGHT);
  const first = number * count;
  const bytes = await tile(level, Math.floor(first / WIDTH));
  const at = (first % WIDTH) * HASH_LEN;
  if (bytes.length < at + count * HASH_LEN) throw new Error("a tile is cut short");
  let hashes = Array.from({ length: count }, (_, place) => bytes.slice(at + place * HASH_LEN, at + (place + 1) * HASH_LEN));
  while (hashes.length > 1) {
    const pairs = hashes.filter((_, place) => place % 2 === 0).map((left, place) => nodeHash(left, hashes[place * 2 + 1]));
    hashes = await Promise.all(pairs);
  }
  return join(hashes[0]);
}
