/**
 * The peers of `bench verify` on Node: `jose` and `fast-jwt`; see bench/verify_peers.py for what is said and answered.
 *
 * Usage: node verify.mjs PACKAGE_FOLDER
 */
import { createPublicKey } from "node:crypto";
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { createInterface } from "node:readline";

const [folder] = process.argv.slice(2);
const require = createRequire(`${folder}/package.json`);
const jose = await import(require.resolve("jose"));
const { createVerifier } = await import(require.resolve("fast-jwt"));
const version = (name) => JSON.parse(readFileSync(`${folder}/node_modules/${name}/package.json`, "utf8")).version;
const required = ["exp", "iss", "aud", "sub", "iat", "jti"];

async function joseVerifier({ alg, token, jwk, issuer, audience }) {
  const key = jwk.kty === "oct" ? Buffer.from(jwk.k, "base64url") : await jose.importJWK(jwk, alg);
  const options = { algorithms: [alg], issuer, audience, typ: "at+jwt", requiredClaims: required };
  return async (count) => { for (let i = 0; i < count; i++) await jose.jwtVerify(token, key, options); };
}

function fastJwtVerifier({ alg, legacy_token: token, jwk, issuer, audience }) {
  const key = jwk.kty === "oct"
    ? Buffer.from(jwk.k, "base64url")
    : createPublicKey({ key: jwk, format: "jwk" }).export({ type: "spki", format: "pem" });
  const verify = createVerifier({
    key, algorithms: [alg === "Ed25519" ? "EdDSA" : alg], allowedIss: issuer, allowedAud: audience,
    requiredClaims: required, cache: false,
  });
  return async (count) => { for (let i = 0; i < count; i++) verify(token); };
}

const lines = createInterface({ input: process.stdin })[Symbol.asyncIterator]();
const work = JSON.parse((await lines.next()).value);
const verifiers = { jose: {}, "fast-jwt": {} };
for (const one of work) {
  for (const [name, make] of [["jose", joseVerifier], ["fast-jwt", fastJwtVerifier]]) {
    try {
      const run = await make(one);
      await run(2000); // what the compiler makes of it later is what counts
      verifiers[name][one.alg] = run;
    } catch (error) {
      process.stderr.write(`${name} does not verify ${one.alg}: ${error.message}\n`);
    }
  }
}
const told = Object.entries(verifiers).map(([name, runs]) => [name, { version: version(name), algorithms: Object.keys(runs) }]);
process.stdout.write(`${JSON.stringify(Object.fromEntries(told))}\n`);
for await (const line of lines) {
  const [name, alg, count] = line.split(" ");
  const before = process.cpuUsage();
  await verifiers[name][alg](Number(count));
  const { user, system } = process.cpuUsage(before);
  process.stdout.write(`${(user + system) * 1000}\n`);
}
