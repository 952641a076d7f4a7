/**
 * The refresh attempt of each refresh token: 128 random bits, stored before they are sent, first writer wins.
 *
 * Tabs that race with one refresh token must send one attempt; the server then gives all of them one successor, and a
 * page that lost the answer gets it again. localStorage has no atomic step; an IndexedDB `add` has. The key is a digest
 * of the token, so the database holds nothing that opens anything.
 */
import { randomText } from "../protocol/base64url.ts";

const STORE = "attempts";
/** Long after any tab could still hold the token in its hands. */
const KEEP_MS = 7 * 24 * 3600 * 1000;

interface Row {
  readonly key: string;
  readonly attempt: string;
  readonly at: number;
}

export interface Attempts {
  /** The one attempt of this refresh token. */
  claim(digest: string): Promise<string>;
}

/** For tokens that live in this page only: the attempt may die with them. */
export class MemoryAttempts implements Attempts {
  readonly #rows = new Map<string, string>();

  async claim(digest: string): Promise<string> {
    const attempt = this.#rows.get(digest) ?? randomText(16);
    this.#rows.clear();
    this.#rows.set(digest, attempt);
    return attempt;
  }
}

export class SharedAttempts implements Attempts {
  readonly #name: string;
  readonly #fallback = new MemoryAttempts();

  constructor(name: string) {
    this.#name = name;
  }

  async claim(digest: string): Promise<string> {
    const own = await this.#fallback.claim(digest);
    try {
      const database = await opened(this.#name);
      try {
        return await claimRow(database, { key: digest, attempt: own, at: Date.now() });
      } finally {
        database.close();
      }
    } catch {
      // IndexedDB is blocked: this page still sends one and the same attempt for this token.
      return own;
    }
  }
}

function opened(name: string): Promise<IDBDatabase> {
  return new Promise((resolve, reject) => {
    const request = indexedDB.open(name, 1);
    request.onupgradeneeded = () => request.result.createObjectStore(STORE, { keyPath: "key" });
    request.onsuccess = () => resolve(request.result);
    request.onerror = request.onblocked = () => reject(request.error);
  });
}

function claimRow(database: IDBDatabase, row: Row): Promise<string> {
  return new Promise((resolve, reject) => {
    // `strict`: on the disk before we go on, for the crash right after the send.
    const transaction = database.transaction(STORE, "readwrite", { durability: "strict" });
    const rows = transaction.objectStore(STORE);
    let attempt = row.attempt;
    rows.add(row).onerror = (event) => {
      // Another tab was first. Without these two the failed `add` would abort the transaction.
      event.preventDefault();
      event.stopPropagation();
      const found = rows.get(row.key) as IDBRequest<Row>;
      found.onsuccess = () => (attempt = found.result.attempt);
    };
    const old = rows.openCursor();
    old.onsuccess = () => {
      const cursor = old.result;
      if (!cursor) return;
      if (Math.abs(row.at - (cursor.value as Row).at) > KEEP_MS) cursor.delete();
      cursor.continue();
    };
    transaction.oncomplete = () => resolve(attempt);
    transaction.onabort = transaction.onerror = () => reject(transaction.error);
  });
}
