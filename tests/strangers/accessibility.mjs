// Every page in Chromium with axe-core: both languages, light and dark, wide and narrow; and a picture of each, on request.
import { signIn, withChromium } from "./chromium.mjs";
import { lookAt, LOOKS, pageIn } from "./looking.mjs";
import { given, report } from "./talk.mjs";

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
      const page = await pageIn(context, { language, look });
      for (const [name, go] of Object.entries(PAGES)) {
        await go(page);
        await lookAt(page, name, { language, look });
      }
      await page.close();
    }
  }
});
report({ done: true });
process.exit(0);
