/** `Retry-After` (RFC 9110 §10.2.3): seconds, or a date that is read against the server's own `Date`. */

/** At most one hour: a typing error on a server must not silence a page for a year. */
const LONGEST = 3600;

export function retryAfterSeconds(headers: Headers, nowMs: number): number | undefined {
  const value = headers.get("retry-after") ?? "";
  // The server's `Date` is the reference, not our clock, which may be hours off.
  const reference = Date.parse(headers.get("date") ?? "") || nowMs;
  const delay = /^\d+$/.test(value) ? Number(value) : /^\w{3}, /.test(value) ? (Date.parse(value) - reference) / 1000 : NaN;
  return Number.isNaN(delay) ? undefined : Math.min(Math.max(delay, 0), LONGEST);
}
