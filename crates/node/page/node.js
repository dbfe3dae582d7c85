// What the page asks of the node: routes that every reader has.

/** The node says that this browser is not signed in any more. */
export class SignedOut extends Error {}

async function ask(path) {
  const answer = await fetch(path, { cache: path.startsWith("/log/tile/") ? "default" : "no-store" });
  if (answer.status === 403) throw new SignedOut("this browser is not signed in any more");
  if (answer.status === 404) return undefined;
  if (!answer.ok) throw new Error(`the node answered ${path} with ${answer.status}`);
  return answer;
}

async function need(path) {
  const answer = await ask(path);
  if (!answer) throw new Error(`the node has no ${path}`);
  return answer;
}

export const names = async () => (await need("/log/names")).json();

/** The published checkpoint's note; undefined while nothing is published. */
export const checkpoint = async () => (await ask("/log/checkpoint"))?.text();

export const tile = async (path) => new Uint8Array(await (await need(`/log/${path}`)).arrayBuffer());

export const jwks = async () => (await (await need("/jwks")).json()).keys;

export const signedKeys = async () => (await need("/keys")).text();

/** Whether it is alive, and whether it is ready: it issues tokens and its log takes events. */
export async function health() {
  const isOk = (path) => fetch(path, { cache: "no-store" }).then((answer) => answer.ok, () => false);
  const [alive, ready] = await Promise.all([isOk("/health/live"), isOk("/health/ready")]);
  return { alive, ready };
}

export const signOut = () => fetch("/sign-out", { method: "POST" });
