/** `npm run build`: each entry point as one ES module, the types, and the sizes. `bundle()` alone is what the tests need. */
import { execFileSync } from "node:child_process";
import { rmSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { build } from "esbuild";
import { entries } from "./entries.mjs";

const root = fileURLToPath(new URL("..", import.meta.url));

/** Members of our own interfaces that no application ever sees: they are shortened, alike in every file. */
const INTERNAL = "transition storageKind listeners changed tell era stored hold keep drop ask usable tick missedSignOut oneShot".split(" ");
const mangleCache = Object.fromEntries(INTERNAL.map((name, index) => [name, "abcdefghijklmnopqrstuvwxyz"[index]]));

/** The way to the sign-in page is a file of its own, loaded when it is needed. */
const signInApart = {
  name: "sign-in apart",
  setup({ onResolve }) {
    onResolve({ filter: /\/sign-in\.ts$/ }, ({ kind }) => (kind === "dynamic-import" ? { path: "./sign-in.js", external: true } : undefined));
  },
};

export async function bundle() {
  await build({
    absWorkingDir: root,
    entryPoints: entries,
    outdir: "dist",
    bundle: true,
    format: "esm",
    target: "es2022",
    minify: true,
    mangleProps: new RegExp(`^(${INTERNAL.join("|")})$`),
    mangleCache,
    external: ["react", "axios", "@portero/browser"],
    plugins: [signInApart],
    logLevel: "warning",
  });
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  rmSync(`${root}dist`, { recursive: true, force: true });
  await bundle();
  execFileSync(process.execPath, [`${root}node_modules/typescript/bin/tsc`, "-p", root, "--emitDeclarationOnly"], { stdio: "inherit" });
  await import("./size.mjs");
}
