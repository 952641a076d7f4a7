/**
 * Entry point `@portero/browser/direct`: a name and a password that your own page asks for, without leaving it
 * (draft-ietf-oauth-first-party-apps-04). For applications of the house: the server has to know yours as one.
 *
 * What a page sees, every script in it sees: the sign-in page is the safer place, and needs none of this.
 */
import { formPost } from "./protocol/token.ts";
import { retryAfterSeconds } from "./protocol/retry-after.ts";
import type { By, Fail } from "./session/sign-in.ts";
import type { ErrorCode, ErrorDetails } from "./errors.ts";

export interface PasswordOptions {
  /** Languages of `problems`, in order of preference. Default: the page's. */
  readonly uiLocales?: string;
}

interface Answer {
  readonly authorization_code?: string;
  readonly error?: string;
  readonly problems?: readonly { readonly text: string }[];
}

/** For `signIn({ by: password(name, secret) })`. Throws `credentials_refused` where the person has to be asked again. */
export function password(username: string, secret: string, { uiLocales = document.documentElement.lang }: PasswordOptions = {}): By {
  return async (core, fail, request) => {
    const { authorization_challenge_endpoint: url } = await core.metadata();
    if (!url) return undefined;
    core.step("challenge.sent", "password", url);
    const typed = [...request, ["username", username], ["password", secret], ["ui_locales", uiLocales]];
    const signal = AbortSignal.timeout(core.config.limits?.refresh ?? 10_000);
    const response = await core.transport.send(new Request(formPost(url, typed), { signal }), null).catch((error: unknown) => {
      throw fail("token_endpoint_unavailable", (error as Error).name === "TimeoutError" ? "timeout" : "network");
    });
    if (response.status === 429) {
      throw because(fail, "credentials_refused", "too_many_attempts", { retryAfter: retryAfterSeconds(response.headers, Date.now()) });
    }
    const { authorization_code: code, error, problems } = ((await response.json().catch(() => null)) ?? {}) as Answer;
    if (response.ok && typeof code === "string") return code;
    if (error === "redirect_to_web") return undefined;
    if (error === "insufficient_authorization") throw because(fail, "credentials_refused", "wrong", { problems: problems?.map(({ text }) => text) });
    if (response.status < 500 && typeof error === "string") throw fail("authorization_refused", error.slice(0, 60));
    throw fail("token_endpoint_unavailable", `HTTP ${response.status}`);
  };
}

function because(fail: Fail, code: ErrorCode, reason: string, details: ErrorDetails): Error {
  return Object.assign(fail(code, reason), details);
}
