/** `npm test [unit|browser] [name]`: build (not with BUILT=1), bundle the tests (they are TypeScript), run them with node's test runner. */
import { execFileSync, spawn } from "node:child_process";
import { readdirSync, rmSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { build } from "esbuild";
import { bundle } from "./build.mjs";

const root = fileURLToPath(new URL("..", import.meta.url));
const [kind, ...names] = process.argv.slice(2);
const out = `${root}test/.build`;
const files = (kind ? [kind] : ["unit", "browser"]).flatMap((folder) =>
  readdirSync(`${root}test/${folder}`)
    .filter((file) => file.endsWith(".test.ts"))
    .map((file) => `test/${folder}/${file}`),
);
rmSync(out, { recursive: true, force: true });
/** The pages of the tests load what we ship, not what it was made of. */
const ALIAS = {
  "@portero/browser": "/dist/portero.js",
  ...Object.fromEntries(["storage", "dpop", "direct", "worker", "bff", "fetch", "axios", "react"].map((name) => [`@portero/browser/${name}`, `/dist/${name}.js`])),
};
const BUNDLED = Object.fromEntries(["fetch", "axios", "react"].map((name) => [`@portero/browser/${name}`, `${root}dist/${name}.js`]));
const DEVELOPMENT = { "process.env.NODE_ENV": '"development"' };
const shared = { absWorkingDir: root, bundle: true, format: "esm", target: "es2022", logLevel: "warning", sourcemap: "inline" };
// What was just built is not written again while other programs read it.
if (!process.env.BUILT) await bundle();
if (!kind) {
  // What a run of all says first: the sizes, and whether a behaviour has lost its test.
  await import("./size.mjs");
  execFileSync(process.execPath, [`${root}scripts/behaviours.mjs`, "--check"], { stdio: "inherit" });
}
await Promise.all([
  build({ ...shared, entryPoints: files, outdir: out, outbase: "test", platform: "node", packages: "external" }),
  build({ ...shared, entryPoints: { harness: "test/support/harness.ts" }, outdir: out, platform: "browser", external: ["/dist/*"], alias: ALIAS }),
  // React and axios come with this one, as an application's bundler would have it.
  build({ ...shared, entryPoints: { bindings: "test/support/bindings.ts" }, outdir: out, platform: "browser", alias: BUNDLED, define: DEVELOPMENT }),
]);
const pattern = names.length ? [`--test-name-pattern=${names.join(" ")}`] : [];
const built = files.map((file) => file.replace("test/", "test/.build/").replace(/\.ts$/, ".js"));
// Two files at a time: each has a browser of its own.
const run = spawn(process.execPath, ["--enable-source-maps", "--test", "--test-concurrency=2", "--test-reporter=spec", ...pattern, ...built], {
  cwd: root,
  stdio: "inherit",
  env: { ...process.env, PORTERO_ROOT: root },
});
run.on("exit", (code) => (process.exitCode ||= code ?? 1));
