/** Where the tokens lie, and what keeps two pages with the same tokens from harming each other. */
import { randomText } from "../protocol/base64url.ts";

export interface Store {
  /** Other tabs read and write the same. */
  readonly shared: boolean;
  read(): string | null;
  write(value: string | null): void;
  /** The one refresh attempt of this key, a refresh token's digest: stored before it is returned, the first writer wins. */
  attempt(key: string): Promise<string>;
  /** Run `body`, if possible without another page in it at the same time; wait no longer than `waitMs` for that. */
  exclusively<T>(name: string, waitMs: number, body: () => Promise<T>): Promise<T>;
}

export interface Storage {
  readonly kind: string;
  /** `blocked` is called once when the browser does not let us in; the store then lives in memory. */
  open(name: string, blocked: () => void): Store;
}

/** Gone with the page. Nobody else has these tokens, so there is nothing to lock. */
export const memory: Storage = {
  kind: "memory",
  open() {
    let held: string | null = null;
    let claim = ["", ""];
    return {
      shared: false,
      read: () => held,
      write: (value) => void (held = value),
      async attempt(digest) {
        if (claim[0] !== digest) claim = [digest, randomText(16)];
        return claim[1]!;
      },
      exclusively: (_name, _waitMs, body) => body(),
    };
  },
};
