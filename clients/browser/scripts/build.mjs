/** `npm run build`: the entry points as ES modules, the types, and the sizes. `bundle()` alone is what the tests need. */
import { execFileSync } from "node:child_process";
import { rmSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { build } from "esbuild";
import { entries } from "./entries.mjs";

const root = fileURLToPath(new URL("..", import.meta.url));

export async function bundle() {
  rmSync(`${root}dist`, { recursive: true, force: true });
  await build({
    absWorkingDir: root,
    entryPoints: entries,
    outdir: "dist",
    bundle: true,
    splitting: true,
    chunkNames: "[name]-[hash]",
    format: "esm",
    target: "es2022",
    minify: true,
    external: ["react", "axios"],
    logLevel: "warning",
  });
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  await bundle();
  execFileSync(process.execPath, [`${root}node_modules/typescript/bin/tsc`, "-p", root, "--emitDeclarationOnly"], { stdio: "inherit" });
  await import("./size.mjs");
}
