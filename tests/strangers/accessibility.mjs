// Every page in Chromium with axe-core: both languages, light and dark, wide and narrow; and a picture of each, on request.
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { signIn, withChromium } from "./chromium.mjs";
import { given, report } from "./talk.mjs";

const axe = await readFile(new URL("./node_modules/axe-core/axe.min.js", import.meta.url), "utf8");
const LOOKS = [
  { name: "wide-light", colorScheme: "light", width: 1280, height: 900 },
  { name: "narrow-dark", colorScheme: "dark", width: 360, height: 740 },
];

/** What a person sees on the way; each step leaves a page to look at. */
const PAGES = {
  "front, nobody": async (page) => page.goto(`${given.issuer}/`),
  "sign-in": async (page) => page.goto(given.authorize),
  "sign-in, wrong": async (page) => {
    await page.goto(given.authorize);
    await signIn(page, { username: "nobody", password: "wrong password" });
    await page.locator("#problem").waitFor();
  },
  consent: async (page) => {
    await page.goto(given.authorize);
    await signIn(page, given);
    await page.locator('button[value="allow"]').waitFor();
  },
  devices: async (page) => {
    await page.locator('button[value="allow"]').click();
    await page.waitForURL(/signed-out/);
    await page.goto(`${given.issuer}/account`);
  },
  applications: async (page) => page.goto(`${given.issuer}/account/applications`),
  password: async (page) => page.goto(`${given.issuer}/account/password`),
  people: async (page) => page.goto(`${given.issuer}/operator`),
  person: async (page) => page.goto(`${given.issuer}/operator/person?subject=${given.subject}`),
  clients: async (page) => page.goto(`${given.issuer}/operator/clients`),
  keys: async (page) => page.goto(`${given.issuer}/operator/keys`),
  audit: async (page) => page.goto(`${given.issuer}/operator/audit`),
  front: async (page) => page.goto(`${given.issuer}/`),
  "sign-out": async (page) => page.goto(`${given.issuer}/end_session`),
  "signed out": async (page) => {
    await page.locator('button[value="sign_out"]').click();
    await page.waitForLoadState();
  },
  error: async (page) => page.goto(`${given.issuer}/authorize?client_id=nobody`),
  "not found": async (page) => page.goto(`${given.issuer}/nowhere`),
};

await withChromium(async (context) => {
  for (const [at, language] of given.languages.entries()) {
    // Each language in one look is enough to find a fault; pictures are taken in all of them.
    for (const look of given.pictures ? LOOKS : [LOOKS[at % LOOKS.length]]) {
      await context.clearCookies();
      const page = await context.newPage();
      await page.setExtraHTTPHeaders({ "accept-language": language });
      await page.emulateMedia({ colorScheme: look.colorScheme });
      await page.setViewportSize({ width: look.width, height: look.height });
      // The pages allow no script; the checker is let in beside them.
      const session = await context.newCDPSession(page);
      await session.send("Page.setBypassCSP", { enabled: true });
      for (const [name, go] of Object.entries(PAGES)) {
        await go(page);
        await page.evaluate(axe);
        const { violations } = await page.evaluate(() =>
          window.axe.run(document, { runOnly: ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"] }),
        );
        const found = violations.map(({ id, nodes }) => `${id}: ${nodes.map(({ target }) => target).join(" ")}`);
        const overflow = await page.evaluate(() => document.documentElement.scrollWidth > innerWidth);
        if (overflow) found.push("the page is wider than the window");
        if ((await page.locator("html").getAttribute("lang")) !== language) found.push("another language");
        report({ page: `${name} (${language}, ${look.name})`, found });
        if (given.pictures) {
          await page.screenshot({ path: join(given.pictures, `${language}-${look.name}-${name.replaceAll(/\W+/g, "-")}.png`), fullPage: true });
        }
      }
      await page.close();
    }
  }
});
report({ done: true });
process.exit(0);
