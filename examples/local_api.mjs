// Writes a letter through the local API and waits for its answer in the stream of events. Node's own modules only.
//
//     node local_api.mjs HOME/api.sock PEER TEXT

import http from "node:http";

const [socketPath, peer, text] = process.argv.slice(2);
if (text === undefined) {
  console.error("node local_api.mjs HOME/api.sock PEER TEXT");
  process.exit(2);
}

/** One request to the local API (contracts/openapi/local.yaml); resolves to its response, not yet read. */
function open(method, path, body) {
  return new Promise((resolve, reject) => {
    const headers = { "content-type": "application/json" };
    const request = http.request({ socketPath, method, path, headers }, resolve).on("error", reject);
    request.end(body === undefined ? undefined : JSON.stringify(body));
  });
}

async function ask(method, path, body) {
  const response = await open(method, path, body);
  let content = "";
  for await (const piece of response.setEncoding("utf8")) content += piece;
  if (response.statusCode >= 300) throw new Error(problem(response.statusCode, content));
  return content ? JSON.parse(content) : null;
}

/** Why the agent said no, in one line. */
function problem(status, content) {
  try {
    const { code, message } = JSON.parse(content);
    if (code) return `${code}: ${message}`;
  } catch {}
  return `the agent answers with status ${status}`;
}

/** Letters as they come, from server-sent events: the inbox first. */
async function* letters() {
  const response = await open("GET", "/v1/inbox/events");
  let waiting = "";
  for await (const piece of response.setEncoding("utf8")) {
    const events = (waiting + piece).split("\n\n");
    waiting = events.pop();
    for (const event of events) {
      const data = event.split("\n").find((line) => line.startsWith("data:"));
      if (data) yield JSON.parse(data.slice(5));
    }
  }
}

async function main() {
  const sent = await ask("POST", "/v1/letters", { to: peer, text, expires_ms: 60_000 });
  const { state, reason } = await ask("GET", `/v1/letters/${sent.to}/${sent.id}?wait_ms=60000`);
  if (state !== "delivered") throw new Error(`${state}: ${reason ?? "the peer does not have it yet"}`);
  console.log(`delivered: ${text}`);

  for await (const letter of letters()) {
    if (letter.reply_to !== sent.id) continue; // for somebody else; it stays
    console.log(`${letter.from_name ?? letter.from} answers: ${letter.text}`);
    return ask("POST", `/v1/inbox/${letter.no}/done`);
  }
  throw new Error("the agent stopped before an answer came");
}

main().catch((error) => {
  const absent = ["ENOENT", "ECONNREFUSED"].includes(error.code);
  console.error(absent ? `no agent answers at ${socketPath} (${error.code}): start it with \`nuncio agent\`` : error.message);
  process.exitCode = 1;
});
