/**
 * Entry point `@portero/browser/protocol`: the messages as pure functions, a request and the reading of its answer.
 * No state, no clock, no network: for a session of your own.
 */
export { authorizationUrl, processAuthorizationResponse } from "./protocol/authorization.ts";
export type { AuthorizationOutcome, AuthorizationParameters } from "./protocol/authorization.ts";
export { parseChallenges, tokenChallenge } from "./protocol/challenge.ts";
export type { Challenge } from "./protocol/challenge.ts";
export { codeRequest } from "./protocol/code.ts";
export { discoveryRequest, processDiscoveryResponse } from "./protocol/metadata.ts";
export type { ServerMetadata } from "./protocol/metadata.ts";
export { retryAfterSeconds } from "./protocol/retry-after.ts";
export { processTokenResponse, refreshRequest, revocationRequest } from "./protocol/token.ts";
export type { Grant, RefusalReason, TokenOutcome, UnavailableReason } from "./protocol/token.ts";
