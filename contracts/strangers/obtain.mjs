// npm's `openid-client` and `jose` obtain tokens from a running node: discovery (RFC 8414), private_key_jwt, token exchange (RFC 8693); the gateway
// begins a transaction and the planner replaces its token.
//
//     npm ci && node obtain.mjs      prints what failed and `N passed, N failed`; the program is $NUNCIO, or target/debug/nuncio

import { execFileSync, spawn } from "node:child_process";
import { createHash, randomUUID } from "node:crypto";
import { once } from "node:events";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";

import * as jose from "jose";
import * as oauth from "openid-client";

const DOMAIN = "acme.example";
const LOGIN = "https://login.example";
const API = "https://api.acme.example";
const TYPE = "urn:ietf:params:oauth:token-type:";
const EXCHANGE = "urn:ietf:params:oauth:grant-type:token-exchange";
const SCOPE = "travel.book travel.pay";
const program = process.env.NUNCIO ?? new URL("../../target/debug/nuncio", import.meta.url).pathname;

const counts = { passed: 0, failed: 0 };

function check(what, right, got) {
  counts[right ? "passed" : "failed"] += 1;
  if (!right) console.log(`FAILED: ${what}: ${JSON.stringify(got)}`);
}

async function refused(what, asked, error, status) {
  const got = await asked.then(() => ({ error: "it was taken" }), (failure) => failure);
  // With a challenge in the head of a 401 openid-client leaves the body to whoever wants it.
  const code = got.error ?? (await got.response?.json().catch(() => undefined))?.error ?? String(got);
  check(what, code === error && got.status === status, code);
}

// --- keys ---

const ALPHABET = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz";

function did(jwk) {
  const hex = Buffer.concat([Buffer.from([0xed, 0x01]), jose.base64url.decode(jwk.x)]).toString("hex");
  let text = "";
  for (let number = BigInt(`0x${hex}`); number > 0n; number /= 58n) text = ALPHABET[Number(number % 58n)] + text;
  return `did:key:z${text}`;
}

async function pair(alg) {
  const { privateKey, publicKey } = await jose.generateKeyPair(alg, { extractable: true });
  return { alg, privateKey, jwk: await jose.exportJWK(publicKey) };
}

const gateway = await pair("Ed25519");
const planner = await pair("Ed25519");
const login = await pair("Ed25519");
const web = await pair("ES256");
const proof = await pair("ES256");

// --- the node ---

async function freePort() {
  const probe = createServer().listen(0, "127.0.0.1");
  await once(probe, "listening");
  const { port } = probe.address();
  probe.close();
  await once(probe, "close");
  return port;
}

function policy(issuer) {
  const grant = (types, receivers) =>
    `[[client.grant]]\nsubject_types = ${JSON.stringify(types)}\nsubjects = ["user:*"]\nscope = "${SCOPE}"\nreceivers = ${JSON.stringify(receivers)}\n` +
    `details = { trip = "copy" }\ncontext = { req_ip = "copy" }\n`;
  const { kty, crv, x, y } = web.jwk;
  return [
    `schema = "nuncio/policy/1"\noperators = ["gateway"]\n`,
    `[service]\ntrust_domain = "${DOMAIN}"\nissuer = "${issuer}"\ntransaction_life_s = 3600\n`,
    `[[issuer]]\nissuer = "${LOGIN}"\njwks_file = "login.json"\naudience = ["${API}"]\ntypes = ["access_token"]\nsubject_prefix = "user:"\n`,
    `[[client]]\nname = "gateway"\ndid = "${did(gateway.jwk)}"\n`,
    grant(["access_token", "txn_token"], ["planner"]),
    `[[client]]\nname = "planner"\ndid = "${did(planner.jwk)}"\n`,
    grant(["txn_token"], ["*"]),
    `[[client]]\nname = "web"\njwks = { keys = [{ kty = "${kty}", crv = "${crv}", x = "${x}", y = "${y}" }] }\n`,
    grant(["access_token"], ["planner"]),
  ].join("\n");
}

async function start(folder) {
  const port = await freePort();
  const issuer = `http://127.0.0.1:${port}`;
  const home = ["--home", join(folder, "home")];
  writeFileSync(join(folder, "login.json"), JSON.stringify({ keys: [login.jwk] }));
  writeFileSync(join(folder, "policy.toml"), policy(issuer));
  execFileSync(program, [...home, "node", "init", "--domain", DOMAIN, "--issuer", issuer], { stdio: "ignore" });
  const words = ["--json", "node", "run", "--listen", `127.0.0.1:${port}`, "--policy", join(folder, "policy.toml"), "--stop-with-stdin"];
  const node = spawn(program, [...home, ...words], { stdio: ["pipe", "pipe", "inherit"] });
  const ready = await Promise.race([once(createInterface({ input: node.stdout }), "line"), once(node, "exit")]);
  if (node.exitCode !== null) throw new Error(`the node does not start: ${ready}`);
  return { node, issuer };
}

// --- what clients ask ---

const accessToken = (claims = {}) =>
  new jose.SignJWT({ scope: `${SCOPE} travel.cancel`, ...claims })
    .setProtectedHeader({ alg: login.alg, typ: "at+jwt" })
    .setIssuer(LOGIN)
    .setSubject("anna")
    .setAudience(API)
    .setExpirationTime("5m")
    .sign(login.privateKey);

const client = (issuer, name, key) =>
  oauth.discovery(new URL(issuer), name, undefined, oauth.PrivateKeyJwt(key.privateKey), {
    algorithm: "oauth2",
    execute: [oauth.allowInsecureRequests], // loopback
  });

const exchange = (config, kind, token, more = {}, options = undefined) =>
  oauth.genericGrantRequest(
    config,
    EXCHANGE,
    {
      requested_token_type: `${TYPE}txn_token`,
      audience: DOMAIN,
      scope: SCOPE,
      subject_token_type: TYPE + kind,
      subject_token: token,
      ...more,
    },
    options,
  );

async function talk(issuer) {
  const asGateway = await client(issuer, "gateway", gateway);
  const asPlanner = await client(issuer, "planner", planner);
  const metadata = asGateway.serverMetadata();
  check("discovery: the issuer is who was asked", metadata.issuer === issuer, metadata.issuer);
  check("discovery: token exchange", metadata.grant_types_supported.includes(EXCHANGE), metadata.grant_types_supported);
  check("discovery: private_key_jwt", metadata.token_endpoint_auth_methods_supported.includes("private_key_jwt"), metadata);

  const jwks = jose.createRemoteJWKSet(new URL(metadata.jwks_uri));
  const verify = (token) => jose.jwtVerify(token, jwks, { typ: "txntoken+jwt", issuer, audience: DOMAIN, algorithms: ["EdDSA", "Ed25519"] });

  // The gateway begins.
  const first = await exchange(asGateway, "access_token", await accessToken(), {
    resource: did(planner.jwk),
    request_details: JSON.stringify({ trip: "4711" }),
    request_context: JSON.stringify({ req_ip: "192.0.2.7" }),
  });
  check("first: token_type", first.token_type.toUpperCase() === "N_A", first.token_type);
  check("first: issued_token_type", first.issued_token_type === `${TYPE}txn_token`, first.issued_token_type);
  check("first: no refresh token", first.refresh_token === undefined, first);
  check("first: expires_in", first.expires_in > 0 && first.expires_in <= 300, first.expires_in);
  const { payload: begun } = await verify(first.access_token);
  check("first: principal", begun.sub === "user:anna", begun.sub);
  check("first: details", begun.tctx.trip === "4711" && begun.rctx.req_ip === "192.0.2.7", begun);
  check("first: holder", begun.cnf.jkt === (await jose.calculateJwkThumbprint(gateway.jwk)), begun.cnf);
  check("first: receiver", begun.hop.to === did(planner.jwk) && begun.hop.n === 0, begun.hop);

  // The planner replaces it, narrower.
  const next = await pair("Ed25519");
  const second = await exchange(asPlanner, "txn_token", first.access_token, { resource: did(next.jwk), scope: "travel.book" });
  const { payload: replaced } = await verify(second.access_token);
  for (const name of ["txn", "sub", "aud"]) check(`second: ${name} stays`, replaced[name] === begun[name], replaced[name]);
  check("second: chain", replaced.req_wl === "gateway,planner", replaced.req_wl);
  check("second: scope", replaced.scope === "travel.book", replaced.scope);
  check("second: hop", replaced.hop.n === 1 && replaced.hop.to === did(next.jwk), replaced.hop);
  const hash = createHash("sha256").update(first.access_token).digest("base64url");
  check("second: prev is the first's hash", replaced.hop.prev === hash, replaced.hop);
  check("second: holder", replaced.cnf.jkt === (await jose.calculateJwkThumbprint(planner.jwk)), replaced.cnf);

  // The gateway renews its own.
  const again = await exchange(asGateway, "txn_token", first.access_token);
  const { payload: renewed } = await verify(again.access_token);
  check("renewed: the same hop, another jti", renewed.hop.n === 0 && renewed.jti !== begun.jti, renewed);

  await refused("wider than the subject's scope", exchange(asGateway, "access_token", await accessToken({ scope: "travel.book" })), "invalid_scope", 400);
  await refused("wider than the token", exchange(asPlanner, "txn_token", second.access_token, { resource: did(next.jwk) }), "invalid_scope", 400);
  const narrow = { resource: did(next.jwk), scope: "travel.book" };
  await refused("a hop that is another's", exchange(asPlanner, "txn_token", second.access_token, { ...narrow, resource: did(gateway.jwk) }), "invalid_grant", 400);
  await refused("another trust domain", exchange(asGateway, "access_token", await accessToken(), { audience: "other.example" }), "invalid_target", 400);
  await refused("a refresh token", exchange(asGateway, "refresh_token", await accessToken()), "invalid_request", 400);
  await refused("no token exchange", oauth.clientCredentialsGrant(asGateway, { scope: SCOPE }), "unsupported_grant_type", 400);
  const asStranger = await client(issuer, "gateway", login);
  await refused("another's key", exchange(asStranger, "access_token", await accessToken()), "invalid_client", 401);
  const [header, , signature] = first.access_token.split(".");
  const wider = jose.base64url.encode(JSON.stringify({ ...begun, scope: "everything" }));
  const tampered = `${header}.${wider}.${signature}`;
  await refused("a token that was altered", exchange(asPlanner, "txn_token", tampered, narrow), "invalid_request", 400);
  const verified = await verify(tampered).then(() => true, () => false);
  check("jose refuses it too", !verified);

  // A client without an agent proves a key (RFC 9449).
  const asWeb = await client(issuer, "web", web);
  const DPoP = oauth.getDPoPHandle(asWeb, await dpopPair());
  const bound = await exchange(asWeb, "access_token", await accessToken(), { resource: did(planner.jwk) }, { DPoP });
  const { payload: web1 } = await verify(bound.access_token);
  check("DPoP: bound to the key of the proof", web1.cnf.jkt === (await jose.calculateJwkThumbprint(proof.jwk)), web1.cnf);
  await refused("no proof", exchange(asWeb, "access_token", await accessToken(), { resource: did(planner.jwk) }), "invalid_request", 400);

  // An operator ends the transaction (RFC 7009).
  await oauth.tokenRevocation(asGateway, first.access_token);
  await refused("revoked", exchange(asPlanner, "txn_token", first.access_token, narrow), "invalid_grant", 400);
  await refused("who revokes is no operator", oauth.tokenRevocation(asPlanner, first.access_token), "unauthorized_client", 400);
  const after = await exchange(asGateway, "access_token", await accessToken(), { request_details: JSON.stringify({ trip: randomUUID() }) });
  check("the service still issues", after.access_token.split(".").length === 3, after);
}

async function dpopPair() {
  const publicKey = await crypto.subtle.importKey("jwk", proof.jwk, { name: "ECDSA", namedCurve: "P-256" }, true, ["verify"]);
  return { privateKey: proof.privateKey, publicKey };
}

const folder = mkdtempSync(join(tmpdir(), "nuncio-strangers-"));
const { node, issuer } = await start(folder);
try {
  await talk(issuer);
} catch (error) {
  check("the talk comes to its end", false, String(error?.cause?.stack ?? error?.stack ?? error));
} finally {
  node.stdin.end();
  await once(node, "exit");
  rmSync(folder, { recursive: true });
}
console.log(`${counts.passed} passed, ${counts.failed} failed`);
process.exitCode = counts.failed > 0 ? 1 : 0;
