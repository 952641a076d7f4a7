/**
 * Sign-in attempts under way, each under its own `state`, so that two tabs that sign in at once both succeed.
 *
 * An attempt is taken, not read: a callback that runs twice (a reload, React's StrictMode) finds nothing the second
 * time. The verifier in localStorage is worth nothing without the code, and survives a mail link that opens a new tab.
 */
import { durable } from "./store.ts";

export interface Login {
  readonly state: string;
  readonly codeVerifier: string;
  readonly nonce: string;
  readonly returnTo: string;
  readonly redirectUri: string;
  readonly at: number;
}

const KEEP_MS = 3600 * 1000;

export class Logins {
  readonly #prefix: string;
  readonly #area = durable();

  constructor(prefix: string) {
    this.#prefix = `${prefix}login|`;
  }

  put(login: Login): void {
    this.#prune(login.at);
    const value = JSON.stringify(login);
    // The very last resort where everything is blocked: the name of the window, which most browsers keep.
    if (this.#area) this.#area.setItem(this.#prefix + login.state, value);
    else window.name = this.#prefix + value;
  }

  take(state: string): Login | null {
    let value: string | null = null;
    if (this.#area) {
      value = this.#area.getItem(this.#prefix + state);
      this.#area.removeItem(this.#prefix + state);
    } else if (window.name.startsWith(this.#prefix)) {
      value = window.name.slice(this.#prefix.length);
      window.name = "";
    }
    const login = value && (JSON.parse(value) as Login);
    return login && login.state === state ? login : null;
  }

  #prune(now: number): void {
    for (const key of Object.keys(this.#area ?? {})) {
      if (!key.startsWith(this.#prefix)) continue;
      const { at } = JSON.parse(this.#area!.getItem(key)!) as Login;
      // Either direction: a clock that was wrong must not leave rows for ever.
      if (Math.abs(now - at) > KEEP_MS) this.#area!.removeItem(key);
    }
  }
}
