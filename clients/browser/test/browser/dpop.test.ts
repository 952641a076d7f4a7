/** Behaviours 51 to 53: tokens bound to a key that cannot leave. */
import { createPublicKey, verify } from "node:crypto";
import { assert } from "../support/assert.ts";
import { inBrowser, scenario } from "../support/scenario.ts";
import { ready } from "../support/world.ts";

inBrowser();

const DPOP = { dpop: true };

scenario("[51] the key lies in IndexedDB and cannot be exported; each account has its own, and sign-out deletes it", async (world) => {
  const first = await world.signedIn({ ...DPOP, account: "first", autoSignIn: false });
  await world.signedIn({ ...DPOP, account: "second" });

  const keys = () =>
    first.evaluate(async () => {
      const found: [string, boolean, string][] = [];
      for (const { name } of (await indexedDB.databases()).filter((database) => database.name!.endsWith("|dpop"))) {
        const pair = await new Promise<CryptoKeyPair | undefined>((resolve) => {
          const open = indexedDB.open(name!);
          open.onsuccess = () => {
            const request = open.result.transaction("keys").objectStore("keys").get(0) as IDBRequest<CryptoKeyPair | undefined>;
            request.onsuccess = () => resolve(request.result);
          };
        });
        if (!pair) continue;
        const exported = await crypto.subtle.exportKey("pkcs8", pair.privateKey).then(
          () => "exported",
          (error: Error) => error.name,
        );
        found.push([name!.split("|")[3]!, pair.privateKey.extractable, exported]);
      }
      return found.sort();
    });
  assert.deepEqual([["first", false, "InvalidAccessError"], ["second", false, "InvalidAccessError"]], await keys());
  const [one, two] = world.server.authorizations.map((query) => query.get("dpop_jkt"));
  assert.ok(one && two && one !== two);

  await first.evaluate(() => window.session.signOut());
  await first.waitForFunction(() => window.session.state === "signed_out");
  assert.deepEqual(["second"], (await keys()).map(([name]) => name));
});

scenario("[52] every attempt has a proof of its own: signed, for this address, for this token, with a fresh jti", async (world) => {
  const page = await world.signedIn(DPOP);
  world.server.advance(301);
  assert.equal(200, await world.call(page, "/orders?page=2"));

  const proofs = world.api.calls.map((call) => call.headers["dpop"] as string).concat(world.server.posts.map((post) => post.dpop!));
  const jtis = proofs.map((proof) => {
    const [header, payload, signature] = proof.split(".");
    const { typ, alg, jwk } = JSON.parse(Buffer.from(header!, "base64url").toString()) as { typ: string; alg: string; jwk: JsonWebKey };
    assert.deepEqual(["dpop+jwt", "ES256", undefined], [typ, alg, jwk.d]);
    const key = { key: createPublicKey({ key: jwk as never, format: "jwk" }), dsaEncoding: "ieee-p1363" as const };
    assert.ok(verify("sha256", Buffer.from(`${header}.${payload}`), key, Buffer.from(signature!, "base64url")));
    return JSON.parse(Buffer.from(payload!, "base64url").toString()) as Record<string, unknown>;
  });
  assert.equal(proofs.length, new Set(jtis.map(({ jti }) => jti)).size);
  assert.equal(`${world.api.origin}/orders`, jtis[0]!["htu"]);
  assert.ok(jtis[0]!["ath"] !== jtis[1]!["ath"]);
  assert.deepEqual(["DPoP", "DPoP"], world.api.calls.map((call) => call.authorization!.split(" ")[0]));
});

scenario("[52] a nonce that a server asks for is sent once more, with the body, and remembered", async (world) => {
  world.server.dpopNonce = "as-1";
  const page = await world.signedIn(DPOP);
  assert.deepEqual(["use_dpop_nonce", "granted"], world.server.posts.map((post) => post.outcome));
  world.api.dpopNonce = "api-1";

  assert.equal(200, await world.call(page, "/orders", { method: "POST", body: "the body" }));
  assert.equal(200, await world.call(page, "/orders", { method: "POST", body: "the body" }));

  assert.deepEqual([401, 200, 200], world.api.calls.map((call) => call.status));
  assert.deepEqual([8, 8, 8], world.api.calls.map((call) => call.bytes));
  assert.equal(0, world.server.refreshes().length);
});

scenario("[52] a client whose clock is two hours off proves by the server's clock", async (world) => {
  const page = await world.signedIn(DPOP);
  await world.shift(page, { wall: 7200 });

  assert.equal(200, await world.call(page, "/orders"));
  assert.deepEqual(["granted", "invalid_dpop_proof", "granted"], world.server.posts.map((post) => post.outcome));
});

scenario("[53] a key that was evicted is one clean sign-in, not a loop", async (world) => {
  const page = await world.signedIn({ ...DPOP, storage: "tab" });
  const before = await page.evaluate(async () => {
    for (const { name } of await indexedDB.databases()) {
      if (name!.endsWith("|dpop")) await new Promise((resolve) => (indexedDB.deleteDatabase(name!).onsuccess = resolve));
    }
    return window.session.state;
  });
  assert.equal("signed_in", before);
  await world.visit(page);
  await world.session(page, { ...DPOP, storage: "tab" });

  await Promise.all([page.waitForURL(/callback/), page.evaluate((url) => void window.call(url), world.api.origin + "/orders")]);
  await ready(page);
  await world.session(page, { ...DPOP, storage: "tab" });
  await page.evaluate(() => window.session.handleCallback());

  assert.equal(200, await world.call(page, "/orders"));
  assert.equal(2, world.server.authorizations.length);
  assert.equal(0, world.server.refreshes().length);
  const [one, two] = world.server.authorizations.map((query) => query.get("dpop_jkt"));
  assert.notEqual(one, two);
});
