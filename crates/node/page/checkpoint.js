// A log's signed head: C2SP tlog-checkpoint as signed-note (contracts/log.md sections 3 and 4).

import { base64, hasCrypto, hex, isEqual, join, sha256, utf8 } from "./bytes.js";
import { isSigned } from "./signed.js";

const ED25519 = 1;

/** Origin, size, root and signature lines; throws for what is no checkpoint. */
export function parse(note) {
  const end = note.lastIndexOf("\n\n");
  if (end < 0) throw new Error("the checkpoint is no signed note");
  const text = note.slice(0, end + 1);
  const [origin, size, root] = text.split("\n");
  if (!/^(0|[1-9][0-9]*)$/.test(size) || !Number.isSafeInteger(Number(size))) throw new Error("the checkpoint has no size");
  const lines = note.slice(end + 2).split("\n").filter(Boolean).map((line) => {
    const [, name, value] = /^— ([^ ]+) ([^ ]+)$/.exec(line) ?? [];
    if (!name) throw new Error("the checkpoint has a line that is no signature");
    const bytes = base64(value);
    return { name, id: bytes.slice(0, 4), signature: bytes.slice(4) };
  });
  return { origin, size: Number(size), root: base64(root), text, lines };
}

/** Whether the log's key has signed it (contracts/log.md G8, G9): true, false, or undefined in a browser that cannot tell. */
export async function isOfLog(checkpoint, key) {
  if (!hasCrypto()) return undefined;
  const id = (await sha256(utf8(`${checkpoint.origin}\n`), Uint8Array.of(ED25519), key)).slice(0, 4);
  const lines = checkpoint.lines.filter((line) => line.name === checkpoint.origin && isEqual(line.id, id));
  const verdicts = await Promise.all(lines.map((line) => isSigned(key, line.signature, utf8(checkpoint.text))));
  if (verdicts.includes(undefined)) return undefined;
  return verdicts.length > 0 && verdicts.every(Boolean);
}

/** Those who have cosigned it, by the names of their lines. Their keys are not known to this page. */
export function witnesses(checkpoint) {
  return checkpoint.lines
    .filter((line) => line.name !== checkpoint.origin)
    .map((line) => ({ name: line.name, id: hex(line.id), at: cosignedAt(line.signature) }));
}

/** A cosignature begins with its time, in seconds (contracts/log.md G12). */
function cosignedAt(signature) {
  if (signature.length < 8 + 64) return undefined;
  return Number(join(signature.slice(0, 8)).reduce((sum, byte) => sum * 256n + BigInt(byte), 0n)) * 1_000;
}
