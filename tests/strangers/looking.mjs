// A page as somebody looks at it: axe-core finds nothing, it is no wider than its window, it speaks the language asked for.
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { given, report } from "./talk.mjs";

const axe = await readFile(new URL("./node_modules/axe-core/axe.min.js", import.meta.url), "utf8");
export const LOOKS = [
  { name: "wide-light", colorScheme: "light", width: 1280, height: 900 },
  { name: "narrow-dark", colorScheme: "dark", width: 360, height: 740 },
];

/** A page of a context, in a language and a look. */
export async function pageIn(context, { language, look }) {
  const page = await context.newPage();
  await page.setExtraHTTPHeaders({ "accept-language": language });
  await page.emulateMedia({ colorScheme: look.colorScheme });
  await page.setViewportSize({ width: look.width, height: look.height });
  // The pages allow no script; the checker is let in beside them.
  const session = await context.newCDPSession(page);
  await session.send("Page.setBypassCSP", { enabled: true });
  return page;
}

/** Report what there is to find on a page; `given.pictures` keeps a picture of it. */
export async function lookAt(page, name, { language, look }) {
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
    const path = join(given.pictures, `${language}-${look.name}-${name.replaceAll(/\W+/g, "-")}.png`);
    await page.screenshot({ path, fullPage: true });
  }
}
