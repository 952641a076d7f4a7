/** Print the size of each entry point, and fail when the core is over its limit of 6 kB gzip. */
import { readFileSync } from "node:fs";
import { gzipSync } from "node:zlib";
import { entries } from "./entries.mjs";

const LIMIT = { portero: 6 * 1024 };
for (const name of Object.keys(entries)) {
  const bytes = readFileSync(new URL(`../dist/${name}.js`, import.meta.url));
  const gzip = gzipSync(bytes, { level: 9 }).length;
  const limit = LIMIT[name];
  console.log(`${name}.js  ${bytes.length} bytes, ${gzip} gzip${limit ? ` (limit ${limit})` : ""}`);
  if (limit && gzip > limit) process.exitCode = 1;
}
