// One Chromium for a program, and what a person does on Portero's pages in it.
import { existsSync } from "node:fs";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { chromium } from "playwright-core";

// The same engine without windows, where it is installed: a fourth of the work for a page.
const SHELL = "/usr/bin/chromium-headless-shell";
const OPTIONS = {
  executablePath: process.env.PORTERO_CHROMIUM || (existsSync(SHELL) ? SHELL : "/usr/bin/chromium"),
  headless: true,
  args: ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync"],
};

export async function withChromium(work) {
  const folder = await mkdtemp(join(tmpdir(), "portero-chromium-"));
  const context = await chromium.launchPersistentContext(folder, OPTIONS);
  try {
    return await work(context);
  } finally {
    await context.close();
    await rm(folder, { recursive: true, force: true });
  }
}

/** One Chromium with a profile for each person and device: `work` is given what makes them. */
export async function withPeople(work) {
  const browser = await chromium.launch(OPTIONS);
  try {
    return await work(() => browser.newContext());
  } finally {
    await browser.close();
  }
}

export async function signIn(page, { username, password }) {
  await page.locator('input[name="username"]').fill(username);
  await page.locator('input[name="password"]').fill(password);
  await page.locator('button[type="submit"]').first().click();
}
