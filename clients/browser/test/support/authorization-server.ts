/**
 * A strict authorization server for the tests: codes and refresh tokens work once, a second use of a rotated token
 * without its own attempt ends the session, and every fault of a network can be ordered.
 */
import { createHash, randomBytes } from "node:crypto";
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";

export interface Family {
  readonly id: string;
  readonly sub: string;
  readonly sid: string;
  ended: string | null;
}

interface RefreshToken {
  readonly family: Family;
  state: "head" | "rotated" | "superseded";
  parent: RefreshToken | null;
  attempt: string | null;
  successor: string | null;
  firstUsed: number;
}

/** What the next POST to the token endpoint meets. `lose`: committed, then the connection dies. */
export type Fault =
  | { readonly kind: "lose" | "drop" }
  | { readonly kind: "hang"; readonly until: Promise<unknown>; readonly commit: boolean }
  | { readonly kind: "answer"; readonly status: number; readonly headers?: Record<string, string>; readonly body: string };

export interface TokenPost {
  readonly grant: string;
  readonly attempt: string | null;
  readonly refreshToken: string | null;
  readonly dpop: string | undefined;
  outcome: string;
}

const hash = (text: string) => createHash("sha256").update(text).digest("base64url");
const fresh = () => randomBytes(24).toString("base64url");

export class AuthorizationServer {
  readonly #server: Server;
  readonly #codes = new Map<string, { challenge: string; nonce: string | null; sub: string; sid: string; used: boolean; redirectUri: string }>();
  readonly refreshTokens = new Map<string, RefreshToken>();
  readonly accessTokens = new Map<string, { family: Family; exp: number; sub: string }>();
  readonly families: Family[] = [];
  readonly posts: TokenPost[] = [];
  readonly revocations: string[] = [];
  readonly authorizations: URLSearchParams[] = [];
  readonly faults: Fault[] = [];
  issuer = "";
  /** Who signs in at the next visit of the authorization endpoint; null: an error goes back. */
  user: string | null = "bob";
  accessLife = 300;
  refreshAfter: number | undefined;
  rotation = true;
  keepAlive = false;
  revokeFails = false;
  /** Seconds in which an unproven second use is answered softly. Zero is the strictest server. */
  softWindow = 0;
  wrongIss = false;
  expiresInWire: number | undefined;
  dpopNonce: string | null = null;
  proofs: Record<string, unknown>[] = [];
  #offset = 0;

  constructor() {
    this.#server = createServer((request, response) => void this.#handle(request, response).catch(() => response.destroy()));
  }

  async start(): Promise<void> {
    await new Promise<void>((resolve) => this.#server.listen(0, "127.0.0.1", resolve));
    this.issuer = `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}`;
  }

  stop(): void {
    this.#server.closeAllConnections();
    this.#server.close();
  }

  now(): number {
    return Date.now() / 1000 + this.#offset;
  }

  advance(seconds: number): void {
    this.#offset += seconds;
  }

  refreshes(): TokenPost[] {
    return this.posts.filter((post) => post.grant === "refresh_token");
  }

  end(sid: string, reason: string): void {
    for (const family of this.families) if (family.sid === sid) family.ended ??= reason;
  }

  async #handle(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const url = new URL(request.url!, this.issuer);
    // Chromium sends a POST again by itself when a connection that was used before dies without an answer.
    if (!this.keepAlive) response.setHeader("Connection", "close");
    response.setHeader("Access-Control-Allow-Origin", request.headers.origin ?? "*");
    response.setHeader("Access-Control-Allow-Headers", "DPoP");
    response.setHeader("Access-Control-Expose-Headers", "WWW-Authenticate, Retry-After, Date, DPoP-Nonce");
    response.setHeader("Date", new Date(this.now() * 1000).toUTCString());
    if (request.method === "OPTIONS") return void response.end();
    switch (url.pathname) {
      case "/.well-known/openid-configuration":
        return json(response, 200, {
          issuer: this.issuer,
          authorization_endpoint: `${this.issuer}/authorize`,
          token_endpoint: `${this.issuer}/token`,
          revocation_endpoint: `${this.issuer}/revoke`,
          end_session_endpoint: `${this.issuer}/end_session`,
          authorization_response_iss_parameter_supported: true,
        });
      case "/authorize":
        return this.#authorize(url.searchParams, response);
      case "/token":
        return this.#token(new URLSearchParams(await read(request)), request, response);
      case "/revoke": {
        const token = new URLSearchParams(await read(request)).get("token") ?? "";
        if (this.revokeFails) return json(response, 503, {});
        this.revocations.push(token);
        const family = this.refreshTokens.get(token)?.family;
        if (family) this.end(family.sid, "revoked");
        return void response.end();
      }
      case "/end_session":
        response.writeHead(302, { Location: url.searchParams.get("post_logout_redirect_uri")! });
        return void response.end();
      default:
        return json(response, 404, {});
    }
  }

  #authorize(query: URLSearchParams, response: ServerResponse): void {
    this.authorizations.push(query);
    const back = new URL(query.get("redirect_uri")!);
    back.searchParams.set("state", query.get("state")!);
    back.searchParams.set("iss", this.wrongIss ? "https://evil.example" : this.issuer);
    if (this.user === null) back.searchParams.set("error", "login_required");
    else {
      const code = fresh();
      this.#codes.set(code, {
        challenge: query.get("code_challenge")!,
        nonce: query.get("nonce"),
        sub: this.user,
        sid: `sid-${this.user}`,
        used: false,
        redirectUri: query.get("redirect_uri")!,
      });
      back.searchParams.set("code", code);
    }
    response.writeHead(302, { Location: back.href });
    response.end();
  }

  async #token(form: URLSearchParams, request: IncomingMessage, response: ServerResponse): Promise<void> {
    const post: TokenPost = {
      grant: form.get("grant_type")!,
      attempt: form.get("refresh_attempt"),
      refreshToken: form.get("refresh_token"),
      dpop: request.headers["dpop"] as string | undefined,
      outcome: "",
    };
    this.posts.push(post);
    if (post.dpop) {
      const proof = JSON.parse(Buffer.from(post.dpop.split(".")[1]!, "base64url").toString()) as Record<string, unknown>;
      this.proofs.push(proof);
      if (Math.abs((proof["iat"] as number) - this.now()) > 60) {
        post.outcome = "invalid_dpop_proof";
        return json(response, 400, { error: "invalid_dpop_proof" });
      }
      if (this.dpopNonce && proof["nonce"] !== this.dpopNonce) {
        post.outcome = "use_dpop_nonce";
        response.setHeader("DPoP-Nonce", this.dpopNonce);
        return json(response, 400, { error: "use_dpop_nonce" });
      }
    }
    const fault = post.grant === "refresh_token" ? this.faults.shift() : undefined;
    if (fault?.kind === "drop") {
      post.outcome = "dropped";
      return void response.destroy();
    }
    if (fault?.kind === "answer") {
      post.outcome = `fault ${fault.status} ${fault.body}`;
      response.writeHead(fault.status, fault.headers);
      return void response.end(fault.body);
    }
    if (fault?.kind === "hang" && !fault.commit) await fault.until;
    const [status, body] = post.grant === "refresh_token" ? this.#refresh(form) : this.#code(form);
    post.outcome = String(body["error_reason"] ?? body["error"] ?? "granted");
    if (fault?.kind === "hang" && fault.commit) await fault.until;
    if (fault?.kind === "lose") {
      post.outcome += ", lost";
      return void response.destroy();
    }
    json(response, status, body);
  }

  #code(form: URLSearchParams): [number, Record<string, unknown>] {
    const code = this.#codes.get(form.get("code") ?? "");
    if (!code || code.used || hash(form.get("code_verifier") ?? "") !== code.challenge || form.get("redirect_uri") !== code.redirectUri) {
      return [400, { error: "invalid_grant" }];
    }
    code.used = true;
    const family: Family = { id: fresh(), sub: code.sub, sid: code.sid, ended: null };
    this.families.push(family);
    return [200, this.#grant(family, this.#newRefreshToken(family, null), code.nonce)];
  }

  #newRefreshToken(family: Family, parent: RefreshToken | null): string {
    const token = `prt1.${fresh()}`;
    this.refreshTokens.set(token, { family, state: "head", parent, attempt: null, successor: null, firstUsed: 0 });
    return token;
  }

  #refresh(form: URLSearchParams): [number, Record<string, unknown>] {
    const refuse = (reason?: string): [number, Record<string, unknown>] => [400, { error: "invalid_grant", error_reason: reason }];
    const attempt = form.get("refresh_attempt");
    if (!attempt || !/^[\w-]{22}$/.test(attempt)) return [400, { error: "invalid_request" }];
    const token = this.refreshTokens.get(form.get("refresh_token") ?? "");
    if (!token) return refuse();
    const { family } = token;
    if (family.ended) return refuse(family.ended);
    if (token.state === "head") {
      if (!this.rotation) return [200, this.#grant(family, undefined, null)];
      token.state = "rotated";
      token.attempt = attempt;
      token.firstUsed = this.now();
      token.successor = this.#newRefreshToken(family, token);
      if (token.parent) token.parent.state = "superseded";
      return [200, this.#grant(family, token.successor, null)];
    }
    if (attempt === token.attempt) {
      return token.state === "rotated" ? [200, this.#grant(family, token.successor!, null)] : refuse("superseded");
    }
    if (this.now() < token.firstUsed + this.softWindow) return refuse("superseded");
    this.end(family.sid, "reused");
    return refuse("reused");
  }

  #grant(family: Family, refreshToken: string | undefined, nonce: string | null): Record<string, unknown> {
    const iat = Math.floor(this.now());
    const exp = this.now() + this.accessLife;
    const part = (value: unknown) => Buffer.from(JSON.stringify(value)).toString("base64url");
    const accessToken = `${part({ alg: "none", typ: "at+jwt" })}.${part({ sub: family.sub, sid: family.sid, iat, exp: Math.floor(exp), jti: fresh() })}.signature`;
    this.accessTokens.set(accessToken, { family, exp, sub: family.sub });
    return {
      access_token: accessToken,
      token_type: "Bearer",
      expires_in: this.expiresInWire ?? this.accessLife,
      refresh_token: refreshToken,
      refresh_after: this.refreshAfter,
      refresh_token_expires_in: 86_400,
      session_expires_in: 86_400 * 30,
      id_token: nonce ? `${part({ alg: "none" })}.${part({ iss: this.issuer, aud: "shop", sub: family.sub, nonce })}.signature` : undefined,
    };
  }
}

export function json(response: ServerResponse, status: number, body: unknown): void {
  response.statusCode = status;
  response.setHeader("Content-Type", "application/json");
  response.end(JSON.stringify(body));
}

export async function read(request: IncomingMessage): Promise<string> {
  return (await readBytes(request)).toString();
}

export async function readBytes(request: IncomingMessage): Promise<Buffer> {
  const chunks: Buffer[] = [];
  for await (const chunk of request) chunks.push(chunk as Buffer);
  return Buffer.concat(chunks);
}
