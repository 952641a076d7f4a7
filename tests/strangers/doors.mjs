// People at every door, in one Chromium: each signs in, links, unlinks, and goes astray. What they see is looked at.
import { signIn, withPeople } from "./chromium.mjs";
import { lookAt, LOOKS, pageIn } from "./looking.mjs";
import { given, report } from "./talk.mjs";

const ACCOUNT = `${given.issuer}/account`;
const WAYS = `${ACCOUNT}/sign-in`;
const DOOR = { acme: 'a[href*="/sign-in/openid/acme/start"]', afip: 'a[href*="/sign-in/clave_fiscal/start"]' };
const RETURN = /\/sign-in\/clave_fiscal\/return$/;
// The answer comes by a redirect, which cannot be caught; the page it ends at goes on by itself, which can.
const FINISH = /\/sign-in\/openid\/acme\/finish/;

const submit = (page) => page.locator('button[type="submit"]').first().click();

/** At Acme, as whoever one likes. */
async function atAcme(page, username) {
  await page.waitForURL(`${given.acme}/**`);
  await page.locator('input[name="username"]').fill(username);
  await submit(page);
}

/** At AFIP, as one of its people. */
async function atAfip(page, cuit) {
  await page.waitForURL(`${given.afip}/**`);
  await page.locator("#cuit").selectOption(cuit);
  await submit(page);
}

/** Say that it is oneself, and for whom one acts: the option with this number. */
async function acting(page, number) {
  await page.waitForURL(/clave_fiscal\/choose/);
  if (number !== undefined) await page.locator(`#acting-${number}`).check();
  await submit(page);
}

/** Where a request would go, without letting it go there. */
async function caught(page, pattern, go) {
  const seen = new Promise((resolve) =>
    page.route(pattern, async (route) => {
      await route.fulfill({ contentType: "text/html", body: "<!doctype html><title>caught</title>" });
      resolve(route.request());
    }),
  );
  await go();
  const request = await seen;
  await page.waitForFunction(() => document.title === "caught");
  await page.unroute(pattern);
  return request;
}

async function unlink(page, name) {
  await page.locator("li.device", { hasText: name }).locator("button.danger").click();
  await page.waitForURL(/done=unlinked/);
}

await withPeople(async (newProfile) => {
  for (const [at, language] of ["es", "en"].entries()) {
    for (const look of given.pictures ? LOOKS : [LOOKS[at % LOOKS.length]]) {
      const how = { language, look };
      const seen = (page, name) => lookAt(page, name, how);
      const somebody = async () => pageIn(await newProfile(), how);
      const round = `${language}-${look.name}`;

      // The password, and the page with every door.
      const ana = await somebody();
      await ana.goto(ACCOUNT);
      await seen(ana, "doors");
      await signIn(ana, given);
      await ana.waitForURL(ACCOUNT);
      report({ law: "password", url: ana.url() });

      // Acme: who was never here has an account now.
      const grace = await somebody();
      await grace.goto(ACCOUNT);
      await grace.locator(DOOR.acme).click();
      await atAcme(grace, `grace-${round}`);
      await grace.waitForURL(ACCOUNT);
      report({ law: "openid", url: grace.url() });
      await grace.goto(WAYS);
      await seen(grace, "ways, the only one");

      // Clave Fiscal, for a company.
      const carla = await somebody();
      await carla.goto(ACCOUNT);
      await carla.locator(DOOR.afip).click();
      await carla.waitForURL(`${given.afip}/**`);
      if (language === "es") {
        await carla.locator("summary").click();
        await seen(carla, "emulator, sign-in");
      }
      await atAfip(carla, given.carla);
      await carla.waitForURL(/clave_fiscal\/choose/);
      await seen(carla, "choose");
      await acting(carla, 1);
      await carla.waitForURL(ACCOUNT);
      report({ law: "clave_fiscal", url: carla.url() });

      // Clave Fiscal is linked, opens the account in another browser, and is unlinked.
      await ana.goto(WAYS);
      await seen(ana, "ways");
      await ana.getByRole("button", { name: /Clave Fiscal/ }).click();
      await atAfip(ana, given.bruno);
      await acting(ana);
      await ana.waitForURL(/\/account\/sign-in\/confirm/);
      await seen(ana, "link, confirm");
      await submit(ana);
      await ana.waitForURL(/done=linked/);
      await seen(ana, "ways, linked");
      const other = await somebody();
      await other.goto(ACCOUNT);
      await other.locator(DOOR.afip).click();
      await atAfip(other, given.bruno);
      await acting(other);
      await other.waitForURL(ACCOUNT);
      report({ law: "linked", name: await other.locator(".lead").innerText() });
      await unlink(ana, "Clave Fiscal");
      await other.goto(ACCOUNT);
      report({ law: "unlinked", signedOut: other.url() !== ACCOUNT });

      // Acme is linked and unlinked.
      await ana.getByRole("button", { name: /Acme/ }).click();
      await atAcme(ana, "ana-at-acme");
      await ana.waitForURL(/\/account\/sign-in\/confirm/);
      await submit(ana);
      await ana.waitForURL(/done=linked/);
      await unlink(ana, "Acme");
      await seen(ana, "ways, unlinked");

      // Begun in one browser, finished in another: nothing there, and here it goes on.
      const here = await somebody();
      const there = await somebody();
      await here.goto(ACCOUNT);
      await here.locator(DOOR.acme).click();
      const answer = (await caught(here, FINISH, () => atAcme(here, `here-${round}`))).url();
      await there.goto(answer);
      await seen(there, "elsewhere");
      await there.goto(ACCOUNT);
      report({ law: "elsewhere", url: there.url() });
      await here.goto(answer);
      await here.waitForURL(ACCOUNT);
      report({ law: "here", url: here.url() });

      // AFIP's form in a browser that did not leave for AFIP.
      const stranger = await somebody();
      const victim = await somebody();
      await stranger.goto(ACCOUNT);
      await stranger.locator(DOOR.afip).click();
      const form = new URLSearchParams((await caught(stranger, RETURN, () => atAfip(stranger, given.bruno))).postData());
      await victim.goto(`${given.afip}/`);
      await victim.setContent(
        `<form method="post" action="${given.issuer}/sign-in/clave_fiscal/return"><input name="token" value="${form.get("token")}"><input name="sign" value="${form.get("sign")}"><button type="submit">x</button></form>`,
      );
      await submit(victim);
      await victim.waitForURL(RETURN);
      await victim.goto(ACCOUNT);
      report({ law: "forged", url: victim.url() });

      // What came back is not good, and the doors are there again.
      const hedy = await somebody();
      await hedy.goto(ACCOUNT);
      await hedy.locator(DOOR.acme).click();
      const bad = (await caught(hedy, FINISH, () => atAcme(hedy, "hedy"))).url().replace(/code=[^&]*/, "code=x");
      await hedy.goto(bad);
      await hedy.locator("#problem").waitFor();
      await seen(hedy, "refused");
      await hedy.locator(DOOR.afip).click();
      await hedy.waitForURL(`${given.afip}/**`);
      await hedy.locator("summary").click();
      await hedy.locator("#falla").selectOption("expired");
      await submit(hedy);
      await hedy.locator("#problem").waitFor();
      await seen(hedy, "refused by AFIP's word");

      if (language === "es") {
        await hedy.goto(`${given.afip}/`);
        await seen(hedy, "emulator");
      }
      for (const page of [ana, grace, carla, other, here, there, stranger, victim, hedy]) await page.context().close();
    }
  }
});
report({ done: true });
process.exit(0);
