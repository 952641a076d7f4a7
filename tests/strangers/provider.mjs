// oidc-provider, unmodified, as the provider that vouches: its own pages are two plain forms. Everybody may sign in.
import { createServer } from "node:http";
import { generateKeyPairSync } from "node:crypto";
import { Provider } from "oidc-provider";
import { given, heard, report } from "./talk.mjs";

const key = (kty, options) => generateKeyPairSync(kty, options).privateKey.export({ format: "jwk" });
const server = createServer();
await new Promise((listening) => server.listen(0, "127.0.0.1", listening));
const issuer = `http://localhost:${server.address().port}`;
report({ issuer });

/** What it says of somebody, by the name they typed; `given.people` may say more. */
function claimsOf(name) {
  return { sub: name, name: `${name} of Acme`, email: `${name}@acme.example`, email_verified: true, ...given.people?.[name] };
}

const provider = new Provider(issuer, {
  clients: await heard(), // registered once their addresses are known
  jwks: { keys: [{ ...key("ec", { namedCurve: "P-256" }), use: "sig" }, { ...key("rsa", { modulusLength: 2048 }), use: "sig" }] },
  cookies: { keys: ["not a secret"] },
  claims: { openid: ["sub", "acr", "amr", "auth_time", ...given.claims], profile: ["name"], email: ["email", "email_verified"] },
  findAccount: (_, id) => ({ accountId: id, claims: () => claimsOf(id) }),
  // Asks for no consent.
  loadExistingGrant: async ({ oidc }) => {
    const grant = new provider.Grant({ clientId: oidc.client.clientId, accountId: oidc.session.accountId });
    grant.addOIDCScope("openid profile email");
    await grant.save();
    return grant;
  },
  // Its protection against requests to machines of one's own network would keep it from us.
  fetch: (url, { dispatcher, ...options }) => fetch(url, options),
  interactions: { url: (_, { uid }) => `/interaction/${uid}` },
  features: {
    devInteractions: { enabled: false },
    backchannelLogout: { enabled: true },
    rpInitiatedLogout: {
      logoutSource: (ctx, form) => {
        ctx.body = form.replace("</form>", '<input type="hidden" name="logout" value="yes"><button>Sign out</button></form>');
      },
    },
  },
});
provider.on("backchannel.error", (_, error) => report({ failed: String(error) }));

const answer = provider.callback();
server.on("request", async (request, response) => {
  if (!request.url.startsWith("/interaction/")) return answer(request, response);
  if (request.method === "GET") {
    response.setHeader("content-type", "text/html; charset=utf-8");
    return response.end('<!doctype html><title>Acme</title><form method="post"><input name="username"><input name="password" type="password"><button type="submit">Sign in</button></form>');
  }
  let body = "";
  for await (const chunk of request) body += chunk;
  const accountId = new URLSearchParams(body).get("username");
  return provider.interactionFinished(request, response, { login: { accountId, amr: ["hwk"], acr: claimsOf(accountId).acr } });
});
report({ ready: true });
