// Is an entry in the log, and is it what its agent said? Asked of tiles and signatures, step by step.

import { hasCrypto, hex, isEqual, sha256 } from "./bytes.js";
import { isOfLog, parse } from "./checkpoint.js";
import { isOfItsAgent, read, tellsOf } from "./entry.js";
import * as node from "./node.js";
import { readStatement } from "./signed.js";
import { entry, leafHash, rootWith } from "./tree.js";

/**
 * The verdict on a row that the log told: `{ good, text, steps }`, `good` undefined where it cannot be said; each step is `{ what, good }`, `good` undefined
 * where the browser cannot tell.
 */
export async function check(row) {
  const steps = [];
  if (!hasCrypto()) return { good: undefined, text: "This browser gives no cryptography to this page, so nothing can be checked here.", steps };
  try {
    return await judge(row, steps);
  } catch (error) {
    return { good: undefined, text: `It could not be checked: ${error.message}.`, steps };
  }
}

async function judge(row, steps) {
  const note = await node.checkpoint();
  const head = note === undefined ? { size: 0 } : parse(note);
  if (row.index >= head.size) {
    return { good: undefined, text: `The published tree has ${head.size} entries and not this one yet: check again in a second.`, steps };
  }
  const step = (what, good) => steps.push({ what, good });
  const bytes = await entry(row.index, head.size, node.tile);
  step("The entry's bytes have the hash that the log told", hex(await sha256(bytes)) === row.hash);
  const root = await rootWith(row.index, await leafHash(bytes), head.size, node.tile);
  const isInTree = isEqual(root, head.root);
  step(`They lead to the root of the tree of ${head.size} entries`, isInTree);
  const { signed, key } = await readStatement(await node.signedKeys());
  step("The node's identity key has signed that root", signed === false ? false : await isOfLog(head, key));
  const event = read(bytes);
  step("The row says what the entry's bytes say", tellsOf(event, row));
  step("The agent that the entry names has signed it", await isOfItsAgent(event));
  return verdict(row, head, steps);
}

function verdict(row, head, steps) {
  const wrong = steps.find((step) => step.good === false);
  if (wrong) return { good: false, text: `Entry ${row.index} is wrong. This does not hold: ${wrong.what}.`, steps };
  const unknown = steps.some((step) => step.good === undefined);
  const rest = unknown ? " This browser cannot check every signature." : "";
  return { good: true, text: `Entry ${row.index} is in the tree of ${head.size} entries.${rest}`, steps };
}
