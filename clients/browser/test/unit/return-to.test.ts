/** Behaviour 6: where a person may land after sign-in. */
import { test } from "node:test";
import { safeReturnTo } from "../../src/session/return-to.ts";
import { assert } from "../support/assert.ts";

const BASE = "https://shop.example/app/page?x=1#y";
const FALLBACK = "https://shop.example/";

for (const target of ["/orders?page=2#row", "https://shop.example/a", "?q=1", "#z", "sub/page", "", "/a/..//evil.example"]) {
  test(`[6] ${JSON.stringify(target)} stays on this origin`, () => {
    const result = new URL(safeReturnTo(target, BASE));

    assert.equal("https://shop.example", result.origin);
    assert.equal(new URL(target, BASE).href, result.href);
  });
}

for (const target of [
  "//evil.example",
  "https://evil.example",
  "https://shop.example.evil.example/",
  "https://shop.example@evil.example/",
  "https://user@shop.example/",
  "http://shop.example/",
  "https://shop.example:444/",
  "/\\evil.example",
  "\\\\evil.example",
  "javascript:alert(1)",
  "java\nscript:alert(1)",
  "data:text/html,x",
  "blob:https://shop.example/x",
  "/\u0000",
  "/a\r\nSet-Cookie: x",
  "http://[",
]) {
  test(`[6] ${JSON.stringify(target)} becomes the fallback`, () => {
    assert.equal(FALLBACK, safeReturnTo(target, BASE));
  });
}
