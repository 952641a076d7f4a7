/**
 * The peer of `bench refresh`: oidc-provider with an in-memory adapter and rotation on, on a loopback port.
 *
 * Prints one line of JSON: the port and the client's credentials; then, whenever something comes on standard input, one
 * line with COUNT new live refresh tokens.
 * Usage: node oidc-provider.mjs PACKAGE_FOLDER COUNT own|lean
 */
import { createRequire } from "node:module";
import { generateKeyPairSync } from "node:crypto";
import { createServer } from "node:http";

const [folder, count, adapter] = process.argv.slice(2);
const require = createRequire(`${folder}/package.json`);
const { default: Provider } = await import(require.resolve("oidc-provider"));
const version = JSON.parse((await import("node:fs")).readFileSync(`${folder}/node_modules/oidc-provider/package.json`, "utf8")).version;

/**
 * "lean": a map of plain objects, nothing copied, nothing expired, nothing scanned. The provider's own in-memory adapter
 * ("own") keeps a thousand entries and walks all members of a grant at each rotation, so it slows down as chains grow.
 */
const kept = new Map();
const byGrant = new Map();
class LeanAdapter {
  constructor(model) { this.model = model; }
  key(id) { return `${this.model}:${id}`; }
  async upsert(id, payload) {
    const key = this.key(id);
    if (payload.grantId && this.model !== "Grant") {
      const keys = byGrant.get(payload.grantId);
      if (keys) keys.push(key); else byGrant.set(payload.grantId, [key]);
    }
    kept.set(key, payload);
  }
  async find(id) { return kept.get(this.key(id)); }
  async findByUid() { return undefined; }
  async findByUserCode() { return undefined; }
  async consume(id) { kept.get(this.key(id)).consumed = Math.floor(Date.now() / 1000); }
  async destroy(id) { kept.delete(this.key(id)); }
  async revokeByGrantId(grantId) { for (const key of byGrant.get(grantId) ?? []) kept.delete(key); byGrant.delete(grantId); }
}

const { privateKey } = generateKeyPairSync("ec", { namedCurve: "P-256" });
const resource = "https://shop.example/orders";
const provider = new Provider("http://127.0.0.1:1", {
  ...(adapter === "lean" ? { adapter: LeanAdapter } : {}),
  clients: [{
    client_id: "bench", client_secret: "bench-secret", redirect_uris: ["https://client.example/cb"],
    grant_types: ["authorization_code", "refresh_token"], token_endpoint_auth_method: "client_secret_post",
    id_token_signed_response_alg: "ES256",
  }],
  jwks: { keys: [{ ...privateKey.export({ format: "jwk" }), alg: "ES256", use: "sig" }] },
  rotateRefreshToken: true,
  findAccount: (ctx, id) => ({ accountId: id, claims: () => ({ sub: id }) }),
  ttl: { AccessToken: 300, RefreshToken: 86400, Grant: 86400, Session: 86400 },
  features: {
    devInteractions: { enabled: false },
    resourceIndicators: {
      enabled: true,
      defaultResource: () => resource,
      useGrantedResource: () => true,
      getResourceServerInfo: () => ({ scope: "orders:read", audience: resource, accessTokenFormat: "jwt", jwt: { sign: { alg: "ES256" } } }),
    },
  },
});
const client = await provider.Client.find("bench");
/** Mint a grant and a refresh token for each connection. */
async function mint() {
  const tokens = [];
  for (let i = 0; i < Number(count); i += 1) {
    const grant = new provider.Grant({ accountId: `user-${i}`, clientId: "bench" });
    grant.addOIDCScope("offline_access"); // no `openid`: one signature a refresh, as on our side
    grant.addResourceScope(resource, "orders:read");
    const grantId = await grant.save();
    const token = new provider.RefreshToken({
      client, accountId: `user-${i}`, grantId, gty: "authorization_code", scope: "offline_access orders:read", resource,
      authTime: Math.floor(Date.now() / 1000), expiresWithSession: false, rotations: 0, iiat: Math.floor(Date.now() / 1000),
    });
    tokens.push(await token.save());
  }
  return tokens;
}
const server = createServer(provider.callback());
server.listen(0, "127.0.0.1", () => {
  console.log(JSON.stringify({ port: server.address().port, version, client_id: "bench", client_secret: "bench-secret" }));
});
process.stdin.on("data", async () => console.log(JSON.stringify(await mint())));
