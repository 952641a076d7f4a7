/** A test with a world of its own, in one browser per file. */
import { after, before, test } from "node:test";
import type { Browser } from "playwright-core";
import { launch, World } from "./world.ts";

let browser: Browser | undefined;

export function inBrowser(which: { whole?: boolean } = {}): void {
  before(async () => void (browser = await launch(which)));
  after(() => browser?.close());
}

export function scenario(title: string, body: (world: World) => Promise<void>): void {
  test(title, { timeout: 180_000 }, async () => {
    const world = await World.start(browser!);
    try {
      await body(world);
      await world.checkLaws();
    } finally {
      await world.stop();
    }
  });
}
