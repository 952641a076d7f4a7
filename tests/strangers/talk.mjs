// What the Node strangers share: they speak one JSON object a line, and wait for a line.
import { createInterface } from "node:readline";

const lines = createInterface({ input: process.stdin })[Symbol.asyncIterator]();

export const given = JSON.parse(process.argv[2]);

export function report(said) {
  process.stdout.write(`${JSON.stringify(said)}\n`);
}

export async function heard() {
  return JSON.parse((await lines.next()).value);
}

/** Have a person visit a page; resolves to where that led. */
export async function visited(url) {
  report({ visit: String(url) });
  return new URL(await heard());
}

export async function call(api, token) {
  return (await fetch(api, { headers: { authorization: `Bearer ${token}` } })).status;
}

/** The stable name of a refusal: its registered error, else its code. */
export async function refusal(work) {
  try {
    await work();
  } catch (error) {
    return error.error ?? error.cause?.error ?? error.code ?? error.message;
  }
  return null;
}
