/** Behaviours 57 and 58: what the package is, seen from outside. */
import { execFileSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { assert } from "../support/assert.ts";

const ROOT = process.env["PORTERO_ROOT"]!;
const manifest = JSON.parse(readFileSync(`${ROOT}package.json`, "utf8")) as {
  type: string;
  sideEffects: boolean;
  dependencies?: unknown;
  exports: Record<string, { default: string } | string>;
};
const entries = Object.values(manifest.exports).flatMap((entry) => (typeof entry === "string" ? [] : [entry.default]));

for (const entry of entries) {
  test(`[57] on a server, importing ${entry} does nothing: no error, no timer, no handle, no global`, () => {
    const script = `
      const before = Object.getOwnPropertyNames(globalThis).length;
      const timers = [];
      for (const name of ["setTimeout", "setInterval", "fetch"]) globalThis[name] = () => { throw new Error(name); };
      await import(${JSON.stringify(`${ROOT}${entry}`)});
      console.log(JSON.stringify([process.getActiveResourcesInfo().filter((kind) => /Timeout|Socket|MessagePort/.test(kind)), Object.getOwnPropertyNames(globalThis).length - before]));`;
    const said = execFileSync(process.execPath, ["--input-type=module", "--eval", script], { encoding: "utf8", cwd: ROOT });

    assert.equal("[[],0]", said.trim());
  });
}

test("[58] no dependencies, ES modules, no side effects", () => {
  assert.deepEqual([undefined, "module", false], [manifest.dependencies, manifest.type, manifest.sideEffects]);
});

test("[58] nothing in the package evaluates text as code or writes HTML (CSP, Trusted Types)", () => {
  for (const entry of entries) {
    const text = readFileSync(`${ROOT}${entry}`, "utf8");
    assert.ok(!/\beval\(|new Function|innerHTML|document\.write|insertAdjacentHTML/.test(text), entry);
  }
});
