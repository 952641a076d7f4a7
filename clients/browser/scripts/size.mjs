/** Print the size of each file of the package, and fail when the core is over its limit. */
import { readFileSync } from "node:fs";
import { gzipSync } from "node:zlib";
import { entries } from "./entries.mjs";

/** Bytes, gzip. */
const LIMITS = { portero: 6000 };
const NOTES = { "sign-in": "loaded by portero.js on the way to the sign-in page and back" };

for (const name of Object.keys(entries)) {
  const bytes = readFileSync(new URL(`../dist/${name}.js`, import.meta.url));
  const gzip = gzipSync(bytes, { level: 9 }).length;
  const limit = LIMITS[name];
  const note = limit ? `limit ${limit}` : (NOTES[name] ?? "");
  console.log(`${`${name}.js`.padEnd(16)} ${String(bytes.length).padStart(6)} bytes ${String(gzip).padStart(6)} gzip  ${note}`);
  if (limit && gzip > limit) process.exitCode = 1;
}
