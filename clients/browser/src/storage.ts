/** Entry point `@portero/browser/storage`: tokens that outlive the page. Each name says what it risks. */
import { claimAttempt } from "./session/attempts.ts";
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

class WebStore implements Store {
  readonly shared: boolean;
  readonly #name: string;
  readonly #key: string;
  readonly #blocked: () => void;
  readonly #memory = memory.open("", () => {});
  #area: globalThis.Storage | undefined;

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

  async attempt(digest: string): Promise<string> {
    const own = await this.#memory.attempt(digest);
    // IndexedDB blocked: this page still sends one and the same attempt for this token.
    return claimAttempt(`${this.#name}attempts`, digest, own).catch(() => own);
  }

  exclusively<T>(name: string, waitMs: number, body: () => Promise<T>): Promise<T> {
    return withLock(this.#name + name, waitMs, body);
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
