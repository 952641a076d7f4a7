/** Entry point `@portero/browser/storage`: tokens that outlive the page. Each name says what it risks. */
import { claimAttempt, settleAttempt } from "./session/attempts.ts";
import { withLock } from "./session/lock.ts";
import { memory, type Storage, type Store } from "./session/store.ts";

/**
 * sessionStorage: survives a reload, not the tab. A duplicated tab starts with a copy. Any script that runs in the page
 * can read the refresh token.
 */
export function tabStorage(): Storage {
  return { kind: "sessionStorage", open: (name, blocked) => new WebStore(() => sessionStorage, false, name, blocked) };
}

/**
 * localStorage: one session for all tabs, and it survives the browser. Any script of this origin, now or next month,
 * can carry the refresh token away.
 */
export function insecureLocalStorage(): Storage {
  return { kind: "localStorage", open: (name, blocked) => new WebStore(() => localStorage, true, name, blocked) };
}

/** Times 10 ms: how long a write of another process may take to be seen here. */
const SIGHT_TRIES = 100;

class WebStore implements Store {
  readonly shared: boolean;
  readonly #name: string;
  readonly #key: string;
  readonly #blocked: () => void;
  readonly #memory = memory.open("", () => {});
  #area: globalThis.Storage | undefined;
  #claimed: { readonly key: string; readonly attempt: string; readonly before: string | null } | undefined;

  constructor(area: () => globalThis.Storage, shared: boolean, name: string, blocked: () => void) {
    this.shared = shared;
    this.#name = name;
    this.#key = `${name}tokens`;
    this.#blocked = blocked;
    this.#try(() => (this.#area = area()));
  }

  read(): string | null {
    return this.#area && this.#try((area) => this.#memory.write(area!.getItem(this.#key))), this.#memory.read();
  }

  write(value: string | null): void {
    this.#memory.write(value);
    const remove = (area?: globalThis.Storage) => area?.removeItem(this.#key);
    const area = this.#area;
    if (value === null) return this.#try(remove);
    this.#try((open) => open?.setItem(this.#key, value));
    // It is full: then at least no older token may stay behind for the next page.
    if (area && !this.#area) this.#try(() => remove(area));
  }

  async attempt(key: string): Promise<string> {
    const own = await this.#memory.attempt(key);
    const before = this.read();
    this.#claimed = { key, attempt: own, before };
    try {
      const { attempt, answered } = await claimAttempt(this.#attempts, key, own);
      this.#claimed = { key, attempt, before };
      // Another tab has stored the answer, and this process does not see it yet: localStorage travels between
      // processes in its own time, IndexedDB does not.
      for (let tries = 0; answered && this.read() === before && tries < SIGHT_TRIES; tries++) await new Promise((resolve) => setTimeout(resolve, 10));
      return attempt;
    } catch {
      // IndexedDB blocked: this page still sends one and the same attempt for this token.
      return own;
    }
  }

  exclusively<T>(name: string, waitMs: number, body: () => Promise<T>): Promise<T> {
    return withLock(this.#name + name, waitMs, async () => {
      const result = await body();
      const claimed = this.#claimed;
      this.#claimed = undefined;
      // Before the lock goes to the next one, who may not see our write yet.
      if (claimed && this.shared && this.read() !== claimed.before) await settleAttempt(this.#attempts, claimed.key, claimed.attempt).catch(() => {});
      return result;
    });
  }

  get #attempts(): string {
    return `${this.#name}attempts`;
  }

  #try(action: (area: globalThis.Storage | undefined) => void): void {
    try {
      action(this.#area);
    } catch {
      this.#area = undefined;
      this.#blocked();
    }
  }
}
