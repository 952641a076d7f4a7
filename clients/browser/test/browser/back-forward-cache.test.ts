/** Behaviour 48, in the browser people have: the engine alone keeps no page for the way back. */
import { assert } from "../support/assert.ts";
import { inBrowser, scenario } from "../support/scenario.ts";
import { ready } from "../support/world.ts";

inBrowser({ whole: true });

for (const storage of [undefined, "local"]) {
  scenario(`[48] a page that comes back from the back-forward cache after a sign-out shows nothing (${storage ?? "memory"})`, async (world) => {
    const config = { autoSignIn: false, storage };
    const page = await world.signedIn(config);
    await page.evaluate(() => {
      document.body.textContent = "Bob's orders";
      window.session.onChange((state) => {
        if (state === "signed_out") document.body.textContent = "";
      });
      (window as { alive?: boolean }).alive = true;
    });
    await page.evaluate(() => location.assign("/elsewhere"));
    await page.waitForURL(/elsewhere/);
    await ready(page);
    const other = await world.tab();
    if (storage) await world.session(other, config);
    else await world.signIn(other, config);
    await other.evaluate(() => window.session.signOut());

    await page.evaluate(() => history.back());
    await page.waitForURL(/callback/, { waitUntil: "commit" });

    assert.equal(true, await page.evaluate(() => (window as { alive?: boolean }).alive === true), "the page came out of the cache");
    await page.waitForFunction(() => document.body.textContent === "");
    assert.equal("signed_out", await world.state(page));
  });
}
