/**
 * Sign-in attempts under way, each under its own `state`, so that two tabs that sign in at once both succeed.
 *
 * An attempt is taken, not read: a callback that runs twice (a reload, React's StrictMode) finds nothing the second
 * time. The verifier in localStorage is worth nothing without the code, and survives a mail link that opens a new tab.
 */

export interface Login {
  readonly state: string;
  readonly codeVerifier: string;
  readonly nonce: string;
  readonly returnTo: string;
  readonly redirectUri: string;
  readonly at: number;
  readonly request?: KeptRequest | undefined;
}

/** A request on paper. */
export interface KeptRequest {
  readonly url: string;
  readonly method: string;
  readonly headers: readonly (readonly [string, string])[];
  /** Base64url; null for none. */
  readonly body: string | null;
}

const KEEP_MS = 3600 * 1000;

/** `prefix` keeps the attempts of one issuer, client and account apart from others. */
export interface Logins {
  put(prefix: string, login: Login): void | Promise<void>;
  take(prefix: string, state: string): Login | null | Promise<Login | null>;
}

export const pageLogins: Logins = {
  put(prefix, login) {
    const area = durable();
    const key = `${prefix}login|`;
    const value = JSON.stringify(login);
    // The very last resort where everything is blocked: the name of the window, which most browsers keep.
    if (!area) return void (window.name = key + value);
    for (const name of Object.keys(area).filter((name) => name.startsWith(key))) {
      const { at } = JSON.parse(area.getItem(name)!) as Login;
      // Either direction: a clock that was wrong must not leave rows for ever.
      if (Math.abs(login.at - at) > KEEP_MS) area.removeItem(name);
    }
    area.setItem(key + login.state, value);
  },

  take(prefix, state) {
    const area = durable();
    const key = `${prefix}login|`;
    let value: string | null = null;
    if (area) {
      value = area.getItem(key + state);
      area.removeItem(key + state);
    } else if (window.name.startsWith(key)) {
      value = window.name.slice(key.length);
      window.name = "";
    }
    const login = value && (JSON.parse(value) as Login);
    return login && login.state === state ? login : null;
  },
};

/** Count an automatic redirect of this tab, and return those of the last while. */
export async function pageRedirects(key: string, at: number): Promise<readonly number[]> {
  try {
    const times = [...(JSON.parse(sessionStorage.getItem(key) ?? "[]") as number[]).slice(-9), at];
    sessionStorage.setItem(key, JSON.stringify(times));
    return times;
  } catch {
    // Nothing to count in.
    return [at];
  }
}

/** The first place that survives a redirect and lets us in. */
function durable(): globalThis.Storage | undefined {
  for (const name of ["localStorage", "sessionStorage"] as const) {
    try {
      const area = globalThis[name];
      area.setItem("portero", "");
      area.removeItem("portero");
      return area;
    } catch {
      // The next one, then.
    }
  }
  return undefined;
}
