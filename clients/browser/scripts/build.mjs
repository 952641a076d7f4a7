/** `npm run build`: one ESM bundle per entry point, and the types. */
import { execFileSync } from "node:child_process";
import { rmSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { build } from "esbuild";
import { entries } from "./entries.mjs";

const root = fileURLToPath(new URL("..", import.meta.url));
rmSync(`${root}dist`, { recursive: true, force: true });
await build({
  absWorkingDir: root,
  entryPoints: entries,
  outdir: "dist",
  bundle: true,
  format: "esm",
  target: "es2022",
  minify: true,
  sourcemap: true,
  sourcesContent: false,
  external: ["react", "axios"],
  logLevel: "warning",
});
execFileSync(process.execPath, [`${root}node_modules/typescript/bin/tsc`, "-p", root, "--emitDeclarationOnly"], { stdio: "inherit" });
await import("./size.mjs");
