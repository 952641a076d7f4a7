/**
 * Entry point `@portero/browser/dpop`: tokens that are worth nothing without a key of this browser (RFC 9449).
 *
 * The key is made here, cannot be exported, and lies in IndexedDB: one for each issuer, client and account. A script in
 * the page can use it while it runs there; it cannot carry it away.
 */
import { encodeBase64url, randomText, sha256Text } from "./protocol/base64url.ts";
import { tokenChallenge } from "./protocol/challenge.ts";
import { streams } from "./session/replay.ts";
import type { Transport } from "./session/transport.ts";

export interface DpopOptions {
  readonly issuer: string;
  readonly clientId: string;
  readonly account?: string;
}

interface Key {
  readonly pair: CryptoKeyPair;
  readonly jwk: JsonWebKey;
}

const STORE = "keys";
/** Seconds of difference to the server's clock that are worth a second try. */
const SKEW = 30;

/** Give this to `createPortero({ transport })`. */
export function dpop({ issuer, clientId, account = "" }: DpopOptions): Transport {
  const name = `portero|${issuer}|${clientId}|${account}|dpop`;
  const nonces = new Map<string, string>();
  /** Seconds that the clock of an origin is ahead of ours. */
  const skews = new Map<string, number>();
  let held: Promise<Key | undefined> | undefined;

  const existing = () => (held ??= keyOf(name, undefined));

  async function key(): Promise<Key> {
    const found = await existing();
    if (found) return found;
    const pair = await crypto.subtle.generateKey({ name: "ECDSA", namedCurve: "P-256" }, false, ["sign", "verify"]);
    held = keyOf(name, pair);
    return (await held)!;
  }

  /** A new proof for each attempt: a server that has seen the `jti` refuses it (§11.1). */
  async function proof(request: Request, accessToken: string | null): Promise<string> {
    const { pair, jwk } = await key();
    const { origin, pathname } = new URL(request.url);
    const part = (value: unknown) => encodeBase64url(new TextEncoder().encode(JSON.stringify(value)));
    const { kty, crv, x, y } = jwk;
    const signed = `${part({ typ: "dpop+jwt", alg: "ES256", jwk: { kty, crv, x, y } })}.${part({
      jti: randomText(16),
      htm: request.method,
      htu: origin + pathname,
      iat: Math.floor(Date.now() / 1000 + (skews.get(origin) ?? 0)),
      nonce: nonces.get(origin),
      ath: accessToken === null ? undefined : await sha256Text(accessToken),
    })}`;
    const signature = await crypto.subtle.sign({ name: "ECDSA", hash: "SHA-256" }, pair.privateKey, new TextEncoder().encode(signed));
    return `${signed}.${encodeBase64url(new Uint8Array(signature))}`;
  }

  /** Remember nonce and clock of this answer; say whether they are new. */
  function learn(response: Response, origin: string): boolean {
    const nonce = response.headers.get("dpop-nonce");
    const date = Date.parse(response.headers.get("date") ?? "");
    const news = nonce !== null && nonce !== nonces.get(origin);
    if (nonce !== null) nonces.set(origin, nonce);
    const skew = Number.isNaN(date) ? 0 : (date - Date.now()) / 1000;
    const drifted = Math.abs(skew - (skews.get(origin) ?? 0)) > SKEW;
    if (drifted) skews.set(origin, skew);
    return news || drifted;
  }

  return {
    async send(request, accessToken) {
      const { origin } = new URL(request.url);
      // §8, §9: once more with the nonce, and with the body. A stream exists once, so it is not kept for a second try.
      const spare = streams(request) ? undefined : request.clone();
      const sign = async (attempt: Request) => {
        if (accessToken !== null) attempt.headers.set("Authorization", `DPoP ${accessToken}`);
        attempt.headers.set("DPoP", await proof(attempt, accessToken));
        return fetch(attempt);
      };
      const response = await sign(request);
      const learned = learn(response, origin);
      if (!learned || !spare || !/^40[01]$/.test(`${response.status}`)) return response;
      const error = accessToken === null ? await errorOf(response) : tokenChallenge(response.headers.get("www-authenticate"))?.parameters["error"];
      if (error !== "use_dpop_nonce" && error !== "invalid_dpop_proof") return response;
      const second = await sign(spare);
      learn(second, origin);
      return second;
    },

    async thumbprint() {
      const { kty, crv, x, y } = (await key()).jwk;
      // RFC 7638 §3.2: these members, in this order.
      return sha256Text(JSON.stringify({ crv, kty, x, y }));
    },

    async lost() {
      return (await existing()) === undefined;
    },

    async forget() {
      held = Promise.resolve(undefined);
      await transaction(name, "readwrite", (keys) => keys.delete(0)).catch(() => undefined);
    },
  };
}

async function errorOf(response: Response): Promise<unknown> {
  const body = (await response
    .clone()
    .json()
    .catch(() => null)) as { error?: unknown } | null;
  return body?.error;
}

/** The stored key; `made` is stored first where there is none. First writer wins: two tabs end up with one key. */
async function keyOf(name: string, made: CryptoKeyPair | undefined): Promise<Key | undefined> {
  // Blocked storage: the key lives as long as the page.
  if (made) await transaction(name, "readwrite", (keys) => keys.add(made, 0)).catch(() => undefined);
  const pair = (await transaction<CryptoKeyPair>(name, "readonly", (keys) => keys.get(0)).catch(() => undefined)) ?? made;
  return pair && { pair, jwk: await crypto.subtle.exportKey("jwk", pair.publicKey) };
}

function transaction<T>(name: string, mode: IDBTransactionMode, action: (keys: IDBObjectStore) => IDBRequest): Promise<T | undefined> {
  return new Promise((resolve, reject) => {
    const open = indexedDB.open(name, 1);
    open.onupgradeneeded = () => open.result.createObjectStore(STORE);
    open.onerror = open.onblocked = () => reject(open.error);
    open.onsuccess = () => {
      const request = action(open.result.transaction(STORE, mode).objectStore(STORE));
      request.onsuccess = () => resolve(request.result as T | undefined);
      request.onerror = () => reject(request.error);
      request.transaction!.oncomplete = request.transaction!.onabort = () => open.result.close();
    };
  });
}
