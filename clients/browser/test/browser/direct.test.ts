/** A name and a password that the page asks for, at Portero's own authorization server (Python) on another origin. */
import { execFileSync, spawn, type ChildProcess } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { createServer, type AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { after, before } from "node:test";
import { assert } from "../support/assert.ts";
import { inBrowser, scenario } from "../support/scenario.ts";

const REPOSITORY = join(process.env["PORTERO_ROOT"]!, "../..");
const PYTHON = process.env["PYTHON"] ?? join(REPOSITORY, ".venv/bin/python");
const OTHERS = '[sign_in.password]\n[sign_in.openid.acme]\nissuer = "https://acme.example"\nclient_id = "x"\nlabel = "Acme"\nacr_values = ["gold"]\n';
const folder = mkdtempSync(join(tmpdir(), "portero-direct-"));
let server: ChildProcess | undefined;
let issuer = "";

inBrowser();
before(async () => {
  const port = await freePort();
  issuer = `http://localhost:${port}`;
  writeFileSync(join(folder, "portero-server.toml"), `[authorization_server]\nissuer = "${issuer}"\nport = ${port}\n${OTHERS}`);
  server = spawn(PYTHON, ["-m", "portero", "serve"], { cwd: folder, stdio: ["ignore", "ignore", "pipe"] });
  for await (const line of createInterface({ input: server.stderr! })) if (line.includes("is served at")) break;
  server.stderr!.resume();
  portero(["user", "add", "ana", "--password-stdin"], "correct horse\n");
});
after(() => {
  server?.kill();
  rmSync(folder, { recursive: true, force: true });
});

scenario("signing in by a password of the page's own form: wrong, right, anew, and where only the sign-in page will do", async (world) => {
  const places = ["--redirect-uri", `${world.origin}/callback`, "--origin", world.origin];
  portero(["client", "add", "shop", "--public", "--first-party", "--direct-sign-in", "--scope", "openid", ...places]);
  const page = await world.tab("/here");
  await world.session(page, { issuer, scope: "openid", dpop: true });
  const signIn = (secret: string, options = {}) => page.evaluate(([typed, given]) => window.signInBy("ana", typed, given), [secret, options] as const);
  const devices = () => (JSON.parse(portero(["sessions", "list", "--json"])) as { sid: string }[]).map(({ sid }) => sid);

  assert.equal("credentials_refused: wrong: El usuario o la contraseña no son correctos.", await signIn("guess"));
  assert.equal("signed_out", await world.state(page));
  assert.equal("signed_in", await signIn("correct horse"));
  assert.equal(`${world.origin}/here`, page.url());
  const claims = await page.evaluate(() => window.session.getTokenInfo()!.unverifiedClaims!);
  assert.ok("jkt" in (claims["cnf"] as object));
  assert.deepEqual([claims["sid"]], devices());

  const revoked = page.waitForResponse((response) => response.url().endsWith("/revoke"));
  assert.equal("signed_in", await signIn("correct horse", { maxAge: 0 }));
  assert.equal(200, (await revoked).status());
  assert.equal(1, devices().length);
  assert.ok(devices()[0] !== claims["sid"]);
  assert.deepEqual(
    ["sign_in", "sign_in_failed", "sign_in", "code_exchanged", "sign_in", "code_exchanged"],
    (await world.history(page)).filter((event) => !event.includes(".")),
  );

  assert.equal("navigates", await signIn("correct horse", { acrValues: "urn:portero:openid:acme:gold" }));
  await page.waitForURL(`${issuer}/sign-in**`);
  for (const said of [...world.console, ...world.addresses]) assert.ok(!said.includes("horse"));
});

function portero(command: string[], input = ""): string {
  return execFileSync(PYTHON, ["-m", "portero", ...command], { cwd: folder, input, encoding: "utf8" });
}

function freePort(): Promise<number> {
  return new Promise((resolve) => {
    const probe = createServer().listen(0, "localhost", () => {
      const { port } = probe.address() as AddressInfo;
      probe.close(() => resolve(port));
    });
  });
}
