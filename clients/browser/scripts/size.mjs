/**
 * Print what each entry point costs: the file with everything it imports at once, each file compressed on its own, as
 * a server would send them. What is loaded later, on the way to the sign-in page, is a line of its own.
 */
import { readdirSync, readFileSync } from "node:fs";
import { gzipSync } from "node:zlib";
import { entries } from "./entries.mjs";

/** Bytes, gzip. */
const LIMITS = { "portero.js": 6000 };
const dist = new URL("../dist/", import.meta.url);
const source = (file) => readFileSync(new URL(file, dist), "utf8");
const closure = (file, seen = new Set()) => {
  if (!seen.has(file)) {
    seen.add(file);
    for (const [, name] of source(file).matchAll(/(?:from|import)\s*"\.\/([^"]+)"/g)) closure(name, seen);
  }
  return seen;
};
const late = readdirSync(dist).filter((file) => file.startsWith("sign-in") && file.endsWith(".js"));
for (const file of [...Object.keys(entries).map((name) => `${name}.js`), ...late]) {
  const core = late.includes(file) ? closure("portero.js") : new Set();
  const files = [...closure(file)].filter((name) => !core.has(name));
  const gzip = files.reduce((sum, name) => sum + gzipSync(source(name), { level: 9 }).length, 0);
  const bytes = files.reduce((sum, name) => sum + Buffer.byteLength(source(name)), 0);
  const limit = LIMITS[file];
  console.log(`${file.replace(/-[A-Z0-9]{8}/, " (loaded late)").padEnd(28)} ${String(bytes).padStart(6)} bytes ${String(gzip).padStart(6)} gzip${limit ? `  (limit ${limit})` : ""}`);
  if (limit && gzip > limit) process.exitCode = 1;
}
