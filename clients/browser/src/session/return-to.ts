/** Where to go after sign-in: only an address of this origin, else the fallback (open redirects, `javascript:`). */
export function safeReturnTo(target: string | undefined, base: string, fallback = "/"): string {
  // Control characters and backslashes are what browsers "repair" differently from each other.
  if (target !== undefined && !/[\u0000-\u001f\u007f\\]/.test(target) && URL.canParse(target, base)) {
    const url = new URL(target, base);
    if (/^https?:$/.test(url.protocol) && url.origin === new URL(base).origin && !url.username) {
      // `/a/..//evil` resolves to `//evil` as a path: give back the whole address, never the bare path.
      return url.href;
    }
  }
  return new URL(fallback, base).href;
}
