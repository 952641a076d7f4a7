/** Where the tokens lie. Every access may throw (blocked, full): then memory takes over, and one warning tells. */

/**
 * `memory`: gone with the page; the safest here. `sessionStorage`: survives a reload, readable by any script of the
 * page. `insecureLocalStorage`: shared by all tabs, survives the browser, and any script of the origin, now or next
 * month, can carry the refresh token away.
 */
export type StorageChoice = "memory" | "sessionStorage" | "insecureLocalStorage";

export class Store {
  readonly #area: Storage | undefined;
  readonly #key: string;
  readonly #blocked: () => void;
  #memory: string | null = null;
  #fallen = false;
  /** Other tabs see the same. */
  readonly shared: boolean;

  constructor(choice: StorageChoice, key: string, blocked: () => void) {
    this.#key = key;
    this.#blocked = blocked;
    this.shared = choice === "insecureLocalStorage";
    if (choice !== "memory") {
      try {
        this.#area = this.shared ? localStorage : sessionStorage;
      } catch {
        this.#fall();
      }
    }
  }

  get persistent(): boolean {
    return this.#area !== undefined && !this.#fallen;
  }

  read(): string | null {
    if (!this.persistent) return this.#memory;
    try {
      return this.#area!.getItem(this.#key);
    } catch {
      return this.#fall();
    }
  }

  write(value: string | null): void {
    this.#memory = value;
    try {
      // A write that fails must not leave an older token behind for the next page.
      if (!this.#fallen || value === null) this.#area?.removeItem(this.#key);
      if (this.persistent && value !== null) this.#area!.setItem(this.#key, value);
    } catch {
      this.#fall();
    }
  }

  #fall(): string | null {
    if (!this.#fallen) this.#blocked();
    this.#fallen = true;
    return this.#memory;
  }
}

/** The first of the places that survive a redirect which lets us in: localStorage (a mail link opens a new tab), then sessionStorage. */
export function durable(): Storage | undefined {
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
