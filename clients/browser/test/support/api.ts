/** A resource server for the tests: checks tokens like the Guard does, and remembers every request it saw. */
import { execFileSync } from "node:child_process";
import { createHash } from "node:crypto";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import { createSecureServer, type Http2SecureServer } from "node:http2";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { json, readBytes, type AuthorizationServer } from "./authorization-server.ts";

export interface Call {
  readonly method: string;
  readonly path: string;
  readonly authorization: string | undefined;
  readonly headers: IncomingMessage["headers"];
  readonly bytes: number;
  readonly digest: string;
  status: number;
}

export class Api {
  readonly #server: Server | Http2SecureServer;
  readonly #scheme: string;
  readonly #authorizationServer: AuthorizationServer;
  readonly calls: Call[] = [];
  origin = "";
  /** Challenge instead of the right one, by path. `null`: no header at all. */
  readonly challenges = new Map<string, string | null>();
  readonly always401 = new Set<string>();
  /** Answers of these paths wait for the promise. */
  readonly holds = new Map<string, Promise<unknown>>();
  readonly redirects = new Map<string, string>();
  /** Paths that ask for a sign-in that asked for this `acr_values`; the authorization server says who had one. */
  readonly stepUps = new Map<string, string>();
  dpopNonce: string | null = null;

  /** `http2`: over TLS, which is what browsers ask for before they send a stream. */
  constructor(authorizationServer: AuthorizationServer, http2 = false) {
    this.#authorizationServer = authorizationServer;
    this.#scheme = http2 ? "https" : "http";
    const handle = (request: IncomingMessage, response: ServerResponse) => void this.#handle(request, response).catch(() => response.destroy());
    this.#server = http2 ? createSecureServer({ allowHTTP1: true, ...certificate() }, handle as never) : createServer(handle);
  }

  async start(): Promise<void> {
    await new Promise<void>((resolve) => this.#server.listen(0, "127.0.0.1", resolve));
    this.origin = `${this.#scheme}://127.0.0.1:${(this.#server.address() as AddressInfo).port}`;
  }

  stop(): void {
    if ("closeAllConnections" in this.#server) this.#server.closeAllConnections();
    this.#server.close();
  }

  on(path: string): Call[] {
    return this.calls.filter((call) => call.path === path);
  }

  async #handle(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const path = new URL(request.url!, this.origin).pathname;
    response.setHeader("Access-Control-Allow-Origin", request.headers.origin ?? "*");
    response.setHeader("Access-Control-Allow-Methods", "*");
    response.setHeader("Access-Control-Allow-Headers", "Authorization, Content-Type, Idempotency-Key, DPoP, X-Extra");
    response.setHeader("Access-Control-Expose-Headers", "WWW-Authenticate, Retry-After, Date, DPoP-Nonce");
    if (request.method === "OPTIONS") return void response.end();
    const bytes = await readBytes(request);
    const call: Call = {
      method: request.method!,
      path,
      authorization: request.headers.authorization,
      headers: request.headers,
      bytes: bytes.length,
      digest: createHash("sha256").update(bytes).digest("hex"),
      status: 200,
    };
    this.calls.push(call);
    const location = this.redirects.get(path);
    if (location) {
      response.writeHead(307, { Location: location });
      return void response.end();
    }
    const refusal = this.#refusal(call);
    await this.holds.get(path);
    if (refusal) {
      call.status = 401;
      const challenge = this.challenges.has(path) ? this.challenges.get(path)! : refusal;
      if (challenge !== null) response.setHeader("WWW-Authenticate", challenge);
      if (refusal.includes("use_dpop_nonce")) response.setHeader("DPoP-Nonce", this.dpopNonce!);
      return json(response, 401, { call: this.calls.length });
    }
    const token = call.authorization?.split(" ")[1] ?? "";
    json(response, 200, { sub: this.#authorizationServer.accessTokens.get(token)?.sub ?? null, bytes: call.bytes, digest: call.digest });
  }

  #refusal(call: Call): string | null {
    if (call.path.startsWith("/open")) return null;
    if (this.always401.has(call.path)) return 'Bearer error="invalid_token"';
    if (!call.authorization) return "Bearer";
    const [scheme, token] = call.authorization.split(" ");
    const record = this.#authorizationServer.accessTokens.get(token!);
    if (!record || record.family.ended || record.exp <= this.#authorizationServer.now()) {
      return 'Bearer error="invalid_token", error_description="expired"';
    }
    const wanted = this.stepUps.get(call.path);
    if (wanted && !this.#authorizationServer.authorizations.some((query) => query.get("acr_values") === wanted)) {
      return `Bearer error="insufficient_user_authentication", acr_values="${wanted}", max_age="300"`;
    }
    if (scheme === "DPoP") {
      const proof = call.headers["dpop"] as string | undefined;
      const claims = proof ? (JSON.parse(Buffer.from(proof.split(".")[1]!, "base64url").toString()) as Record<string, unknown>) : {};
      if (this.dpopNonce && claims["nonce"] !== this.dpopNonce) return 'DPoP error="use_dpop_nonce"';
    }
    return null;
  }
}

/** A certificate nobody trusts, for one run. */
function certificate(): { key: Buffer; cert: Buffer } {
  const folder = mkdtempSync(join(tmpdir(), "portero-tls-"));
  const [key, cert] = [join(folder, "key.pem"), join(folder, "cert.pem")];
  execFileSync(
    "openssl",
    ["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "1", "-subj", "/CN=127.0.0.1", "-keyout", key, "-out", cert],
    { stdio: "ignore" },
  );
  const pair = { key: readFileSync(key), cert: readFileSync(cert) };
  rmSync(folder, { recursive: true });
  return pair;
}
