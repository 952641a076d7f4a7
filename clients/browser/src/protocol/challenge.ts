/** `WWW-Authenticate` (RFC 9110 §11.6.1, RFC 6750 §3, RFC 9449 §7.1, RFC 9470 §3). */

export interface Challenge {
  /** Lower case. */
  readonly scheme: string;
  /** Names in lower case, values unquoted. */
  readonly parameters: Readonly<Record<string, string>>;
}

const TOKEN = "[!#$%&'*+.^_`|~\\w-]+";
const PARAMETER = new RegExp(`(${TOKEN})[ \\t]*=[ \\t]*(?:"((?:[^"\\\\]|\\\\.)*)"|(${TOKEN}))`, "y");
const SCHEME = new RegExp(`(${TOKEN})(?:[ \\t]+|(?=,)|$)`, "y");
const TOKEN68 = /[\w.~+/-]+=*[ \t]*(?=,|$)/y;
const COMMAS = /[ \t,]*/y;

/** All challenges, in order. What cannot be parsed ends the list: half a challenge decides nothing. */
export function parseChallenges(header: string | null): Challenge[] {
  const value = header ?? "";
  const challenges: { scheme: string; parameters: Record<string, string> }[] = [];
  let position = 0;
  const take = (pattern: RegExp) => {
    pattern.lastIndex = position;
    const match = pattern.exec(value);
    if (match) position = pattern.lastIndex;
    return match;
  };
  for (take(COMMAS); position < value.length; take(COMMAS)) {
    const current = challenges.at(-1);
    const parameter = current && take(PARAMETER);
    if (parameter) {
      current.parameters[parameter[1]!.toLowerCase()] = parameter[3] ?? parameter[2]!.replace(/\\(.)/g, "$1");
      continue;
    }
    const scheme = take(SCHEME);
    if (!scheme) break;
    challenges.push({ scheme: scheme[1]!.toLowerCase(), parameters: {} });
    // A token68 only when it is no parameter: `Negotiate abc==`.
    PARAMETER.lastIndex = position;
    if (!PARAMETER.test(value)) take(TOKEN68);
  }
  return challenges;
}

/** The challenge that speaks of our kind of token: Bearer or DPoP, the one with an `error` first. */
export function tokenChallenge(header: string | null): Challenge | undefined {
  const ours = parseChallenges(header).filter(({ scheme }) => scheme === "bearer" || scheme === "dpop");
  return ours.find(({ parameters }) => parameters["error"]) ?? ours[0];
}
