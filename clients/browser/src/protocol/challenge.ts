/** `WWW-Authenticate` (RFC 9110 §11.6.1, RFC 6750 §3, RFC 9449 §7.1, RFC 9470 §3). */

export interface Challenge {
  /** Lower case. */
  readonly scheme: string;
  /** Names in lower case, values unquoted. */
  readonly parameters: Readonly<Record<string, string>>;
}

/** A name, and its value if it has one: a parameter. Without a value it is a scheme. */
const PART = /[ \t,]*([\w!#$%&'*+.^`|~/-]+)(?:[ \t]*=[ \t]*(?:"((?:[^"\\]|\\.)*)"|([^\s,"]+)))?/y;

/**
 * All challenges, in order. Reading stops at the first thing that is none: linear, whatever comes.
 *
 * Does not check: a token68 (`Negotiate abc==`) is read as a parameter or a scheme nobody asks for.
 */
export function parseChallenges(header: string | null): Challenge[] {
  const challenges: { scheme: string; parameters: Record<string, string> }[] = [];
  PART.lastIndex = 0;
  for (let match; (match = PART.exec(header ?? "")); ) {
    const name = match[1]!.toLowerCase();
    const value = match[3] ?? match[2]?.replace(/\\(.)/g, "$1");
    if (value === undefined) challenges.push({ scheme: name, parameters: {} });
    else if (challenges.length) challenges.at(-1)!.parameters[name] = value;
  }
  return challenges;
}

/** The challenge that speaks of our kind of token: Bearer or DPoP, the one with an `error` first. */
export function tokenChallenge(header: string | null): Challenge | undefined {
  const ours = parseChallenges(header).filter(({ scheme }) => /^(bearer|dpop)$/.test(scheme));
  return ours.find(({ parameters }) => parameters["error"]) ?? ours[0];
}
