/**
 * Write BEHAVIOURS.md: which test proves which of the 66 behaviours a client of this kind must have. `--check` fails when
 * the file is not what the tests say, or when a behaviour that this library has to show has no test.
 */
import { readdirSync, readFileSync, writeFileSync } from "node:fs";

const root = new URL("../", import.meta.url);
/** Behaviours that are shown elsewhere, and where. */
const ELSEWHERE = {
  ...Object.fromEntries([61, 62, 63, 64, 65, 66].map((number) => [number, "the Python client"])),
};

const tests = new Map();
for (const folder of ["unit", "browser"]) {
  for (const file of readdirSync(new URL(`test/${folder}/`, root)).sort()) {
    if (!file.endsWith(".test.ts")) continue;
    const text = readFileSync(new URL(`test/${folder}/${file}`, root), "utf8");
    for (const [, , title] of text.matchAll(/\b(?:scenario|test)\(\s*(["`])((?:\\.|(?!\1)[^\\])*)\1/g)) {
      for (const [, number] of title.matchAll(/\[(\d+)\]/g)) {
        const key = Number(number);
        const law = title.replace(/^(\[\d+\] ?)+/, "").replace(/\$\{[^}]*\}/g, "…");
        tests.set(key, [...(tests.get(key) ?? []), `${law} (\`${folder}/${file}\`)`]);
      }
    }
  }
}

const lines = ["# Behaviours and their tests", "", "Made by `scripts/behaviours.mjs` from the titles of the tests. `…` stands for several cases.", ""];
const missing = [];
for (let number = 1; number <= 66; number++) {
  const found = tests.get(number);
  if (found) {
    lines.push(`**${number}**`, "", ...found.map((law) => `- ${law}`), "");
  } else {
    lines.push(`**${number}** is shown elsewhere: ${ELSEWHERE[number] ?? "nowhere yet"}.`, "");
    if (!ELSEWHERE[number]) missing.push(number);
  }
}
const text = lines.join("\n");
const file = new URL("BEHAVIOURS.md", root);
if (process.argv.includes("--check")) {
  const same = readFileSync(file, "utf8") === text;
  if (!same) console.error("BEHAVIOURS.md is not what the tests say; run npm run behaviours");
  if (!same || missing.length) process.exitCode = 1;
} else writeFileSync(file, text);
console.log(`${[...tests.keys()].length} of 66 behaviours have tests here; without: ${missing.join(", ") || "none that should"}`);
