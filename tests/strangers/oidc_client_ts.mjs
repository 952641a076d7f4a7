// oidc-client-ts: a page that keeps its tokens itself, in Chromium.
import { signIn, withChromium } from "./chromium.mjs";
import { given, heard, report } from "./talk.mjs";

await withChromium(async (context) => {
  const page = await context.newPage();
  const says = () => page.waitForFunction(() => document.body.dataset.says).then((found) => found.jsonValue());
  const ask = (what, ...more) => page.evaluate(([name, rest]) => window[name](...rest), [what, more]);

  await page.goto(given.tamper ? `${given.site}/?tamper` : given.site);
  await page.click("#sign-in");
  await signIn(page, given);
  report({ says: JSON.parse(await says()) });
  if (given.law !== "refuses") {
    report({ api: await ask("callApi", given.api) });
    report({ refreshed: await ask("refresh") });
    report({ api: await ask("callApi", given.api) });
    if (given.law === "leaves") {
      await page.click("#sign-out");
      await page.waitForURL(`${given.site}/`);
      await page.click("#sign-in");
      await page.locator('input[name="password"]').waitFor();
      report({ left: true });
    } else {
      report({ waiting: true });
      await heard();
      report({ refused: await ask("refresh") });
      report({ api: await ask("callApi", given.api) });
    }
  }
});
process.exit(0);
