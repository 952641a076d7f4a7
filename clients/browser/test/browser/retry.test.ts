/** Behaviours 39 to 42: what is sent a second time, and what never is. */
import { createHash } from "node:crypto";
import { Api } from "../support/api.ts";
import { assert } from "../support/assert.ts";
import { inBrowser, scenario } from "../support/scenario.ts";

inBrowser();

scenario("[39] one retry, and the answer that comes back is the second one", async (world) => {
  const page = await world.signedIn();
  world.server.advance(301);

  const answer = await page.evaluate(async (url) => (await window.session.fetch(url)).json() as Promise<{ sub: string }>, world.api.origin + "/orders");

  assert.equal("bob", answer.sub);
});

scenario("[39] a second 401 comes back as it is: the second answer, after exactly one retry", async (world) => {
  const page = await world.signedIn();
  world.api.always401.add("/broken");

  const answer = await page.evaluate(async (url) => (await window.session.fetch(url)).json() as Promise<{ call: number }>, world.api.origin + "/broken");

  assert.equal(2, answer.call);
  assert.equal(2, world.api.calls.length);
});

/** Every kind of body that can be sent twice, made in the page. */
const bodies: Record<string, () => RequestInit["body"] | (() => BodyInit)> = {
  string: () => "größe " + "x".repeat(100_000),
  Blob: () => new Blob(["a".repeat(70_000), new Uint8Array([0, 1, 255])], { type: "image/png" }),
  FormData: () => {
    const form = new FormData();
    form.append("name", "Bob & Alice");
    form.append("file", new File([new Uint8Array([1, 2, 3])], "photo.png"));
    return form;
  },
  URLSearchParams: () => new URLSearchParams({ a: "1", b: "ü" }),
  ArrayBuffer: () => new Uint8Array([9, 8, 7, 0]).buffer,
  "typed array": () => new Uint8Array([9, 8, 7, 0]).subarray(1),
  "body factory": () => () => "made again",
  "FormData factory": () => () => "x=1",
};

for (const [name, body] of Object.entries(bodies)) {
  for (const asRequest of name.includes("factory") ? [false] : [false, true]) {
    scenario(`[40] ${asRequest ? "a Request with a" : "a"} ${name} body is byte-identical the second time`, async (world) => {
      const page = await world.signedIn();
      world.server.advance(301);

      const status = await page.evaluate(
        ([url, make, wrap]) => {
          const init = { method: "POST", headers: { "X-Extra": "kept" }, body: (0, eval)(`(${make})`)() as never };
          const call = wrap ? window.session.fetch(new Request(url, init)) : window.session.fetch(url, init);
          return call.then((response) => response.status);
        },
        [world.api.origin + "/orders", body.toString(), asRequest] as const,
      );

      assert.equal(200, status);
      const [first, second] = world.api.calls;
      assert.deepEqual([401, 200], [first!.status, second!.status]);
      assert.ok(first!.bytes > 0);
      assert.equal(first!.digest, second!.digest);
      assert.equal(first!.headers["content-type"], second!.headers["content-type"]);
      assert.equal(first!.headers["content-length"], second!.headers["content-length"]);
      assert.equal("kept", second!.headers["x-extra"]);
    });
  }
}

scenario("[40] bytes that the caller changes while the first answer is on its way are sent as they were", async (world) => {
  const page = await world.signedIn();
  world.server.advance(301);

  await page.evaluate((url) => {
    const bytes = new Uint8Array([1, 2, 3]);
    const answer = window.call(url, { method: "POST", body: bytes });
    bytes.fill(9);
    return answer;
  }, world.api.origin + "/orders");

  const expected = createHash("sha256").update(new Uint8Array([1, 2, 3])).digest("hex");
  assert.deepEqual([expected, expected], world.api.calls.map((call) => call.digest));
});

for (const asRequest of [false, true]) {
  scenario(`[41] a stream (${asRequest ? "in a Request" : "as the body"}) is never sent again: NotReplayableError, no empty body`, async (world) => {
    const api = new Api(world.server, true);
    await api.start();
    try {
      const page = await world.signedIn({ allowedOrigins: [api.origin] });
      world.server.advance(301);

      const result = await page.evaluate(
        async ([url, wrap]) => {
          const body = new Blob(["streamed"]).stream();
          const init = { method: "POST", body, duplex: "half" } as RequestInit;
          const call = wrap ? window.session.fetch(new Request(url, init)) : window.session.fetch(url, init);
          return call.catch((error: { code: string; response: Response }) => [error.code, error.response.status]);
        },
        [api.origin + "/upload", asRequest] as const,
      );

      assert.deepEqual(["not_replayable", 401], result);
      assert.deepEqual([8], api.calls.map((call) => call.bytes));
      // The token has been refreshed on the way: the caller may build the stream again at once.
      const again = await page.evaluate((url) => window.call(url, { method: "POST", body: new Blob(["streamed"]).stream(), duplex: "half" } as RequestInit), api.origin + "/upload");
      assert.equal(200, again);
      assert.deepEqual([8, 8], api.calls.map((call) => call.bytes));
    } finally {
      api.stop();
    }
  });
}

scenario("[41] before a stream is sent the token is checked: a stale one is refreshed first", async (world) => {
  const api = new Api(world.server, true);
  await api.start();
  try {
    const page = await world.signedIn({ allowedOrigins: [api.origin] });
    world.server.advance(301);
    await world.shift(page, { steady: 301 });

    const status = await page.evaluate((url) => window.call(url, { method: "POST", body: new Blob(["streamed"]).stream(), duplex: "half" } as RequestInit), api.origin + "/upload");

    assert.equal(200, status);
    assert.deepEqual([200], api.calls.map((call) => call.status));
  } finally {
    api.stop();
  }
});

for (const method of ["POST", "PUT", "PATCH", "DELETE"]) {
  scenario(`[42] ${method}: repeated after a challenge, not after a 401 that shows none, unless that was asked for`, async (world) => {
    const page = await world.signedIn();
    world.server.advance(301);
    assert.equal(200, await world.call(page, "/orders", { method, body: "x" }));

    world.server.advance(301);
    world.api.challenges.set("/bare", null);
    assert.equal(401, await world.call(page, "/bare", { method, body: "x" }));
    assert.equal(1, world.api.on("/bare").length);

    await world.visit(page);
    await world.signIn(page, { replayUnsafe: true });
    world.server.advance(301);
    assert.equal(200, await world.call(page, "/bare", { method, body: "x" }));
  });
}

scenario("[42] GET is repeated even when the 401 shows no challenge", async (world) => {
  const page = await world.signedIn();
  world.server.advance(301);
  world.api.challenges.set("/bare", null);

  assert.equal(200, await world.call(page, "/bare"));
});

scenario("[42] an Idempotency-Key is the same the second time", async (world) => {
  const page = await world.signedIn();
  world.server.advance(301);

  await world.call(page, "/orders", { method: "POST", body: "x", headers: { "Idempotency-Key": "order-17" } });

  assert.deepEqual(["order-17", "order-17"], world.api.calls.map((call) => call.headers["idempotency-key"]));
});
