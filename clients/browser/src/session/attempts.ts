/**
 * The refresh attempt of each refresh token: 128 random bits, stored before they are sent, first writer wins.
 *
 * Tabs that race with one refresh token must send one attempt; the server then gives all of them one successor, and a
 * page that lost the answer gets it again. localStorage has no atomic step; an IndexedDB `add` has. The key is a digest
 * of the token, so the database holds nothing that opens anything.
 */

const STORE = "attempts";
/** Long after any tab could still hold the token in its hands. */
const KEEP_MS = 7 * 24 * 3600 * 1000;

interface Row {
  readonly key: string;
  readonly attempt: string;
  readonly at: number;
  /** Somebody has the answer, and has stored it. */
  readonly answered: boolean;
}

/** The row of the first who came with this key: ours, or another page's. */
export function claimAttempt(name: string, key: string, attempt: string): Promise<Row> {
  return within(name, (database) => claim(database, { key, attempt, at: Date.now(), answered: false }));
}

/** Tell those who come with this key later that the answer is stored. */
export function settleAttempt(name: string, key: string, attempt: string): Promise<void> {
  return within(
    name,
    (database) =>
      new Promise((resolve, reject) => {
        const transaction = database.transaction(STORE, "readwrite");
        transaction.objectStore(STORE).put({ key, attempt, at: Date.now(), answered: true } satisfies Row);
        transaction.oncomplete = () => resolve();
        transaction.onabort = transaction.onerror = () => reject(transaction.error);
      }),
  );
}

async function within<T>(name: string, action: (database: IDBDatabase) => Promise<T>): Promise<T> {
  const database = await opened(name);
  try {
    return await action(database);
  } finally {
    database.close();
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

function claim(database: IDBDatabase, row: Row): Promise<Row> {
  return new Promise((resolve, reject) => {
    // `strict`: on the disk before we go on, for the crash right after the send.
    const transaction = database.transaction(STORE, "readwrite", { durability: "strict" });
    const rows = transaction.objectStore(STORE);
    let claimed = row;
    rows.add(row).onerror = (event) => {
      // Another tab was first. Without these two the failed `add` would abort the transaction.
      event.preventDefault();
      event.stopPropagation();
      const found = rows.get(row.key) as IDBRequest<Row>;
      found.onsuccess = () => (claimed = found.result);
    };
    const old = rows.openCursor();
    old.onsuccess = () => {
      const cursor = old.result;
      if (!cursor) return;
      if (Math.abs(row.at - (cursor.value as Row).at) > KEEP_MS) cursor.delete();
      cursor.continue();
    };
    transaction.oncomplete = () => resolve(claimed);
    transaction.onabort = transaction.onerror = () => reject(transaction.error);
  });
}
