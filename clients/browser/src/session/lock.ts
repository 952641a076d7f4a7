/**
 * A lock that saves requests and that nothing depends on.
 *
 * A frozen or cached page may keep a Web Lock for ever, and some places have none. So the wait is bounded, and whoever
 * waited long enough goes on without: racing refreshes send the same attempt and get the same successor.
 */
export async function withLock<T>(name: string, waitMs: number, body: () => Promise<T>): Promise<T> {
  let started: Promise<T> | undefined;
  const run = () => (started ??= body());
  try {
    await navigator.locks.request(name, { signal: AbortSignal.timeout(waitMs) }, run);
  } catch {
    // Absent, denied or not granted in time; or the body failed, and then the line below says so.
  }
  return run();
}
