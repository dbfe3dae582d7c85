// Ed25519 by the browser's own cryptography, and the statements that a node signs with its identity key.

import { base64url, hasCrypto, keyOfDid, utf8 } from "./bytes.js";

/** true, false, or undefined in a browser that cannot tell. */
export async function isSigned(key, signature, bytes) {
  if (!hasCrypto()) return undefined;
  try {
    const imported = await crypto.subtle.importKey("raw", key, "Ed25519", false, ["verify"]);
    return await crypto.subtle.verify("Ed25519", imported, signature, bytes);
  } catch (error) {
    if (error.name === "NotSupportedError") return undefined;
    return false;
  }
}

/** What a compact JWS says, and whether the agent that it names as `iss` has signed it (contracts/txts.md section 8). */
export async function readStatement(jws) {
  const [header, payload, signature] = jws.split(".");
  const said = JSON.parse(new TextDecoder().decode(base64url(payload)));
  const key = keyOfDid(said.iss);
  const signed = key ? await isSigned(key, base64url(signature), utf8(`${header}.${payload}`)) : false;
  return { said, signed, key };
}
