/** What a session needs of the page it lives in. A worker brings its own. */
import type { Logins } from "./logins.ts";

export interface Environment {
  /** The address of the page. */
  href(): string;
  navigate(url: string): void;
  /** Take `code` and `state` out of the address bar and the history. */
  replaceUrl(url: string): void;
  visible(): boolean;
  online(): boolean;
  /** Where sign-in attempts wait for their answer. Default: the storage of the page. */
  readonly logins?: Logins;
  /** Milliseconds of the last automatic redirects of this tab, with `at` as the newest. Default: sessionStorage. */
  redirects?(key: string, at: number): Promise<readonly number[]>;
  /** Hear of an event of the window or the document; returns how to stop. */
  on(type: string, handler: (event: Event) => void): () => void;
}

export const page: Environment = {
  href: () => location.href,
  navigate: (url) => location.assign(url),
  replaceUrl: (url) => history.replaceState(history.state, "", url),
  visible: () => !document.hidden,
  online: () => navigator.onLine,
  on(type, handler) {
    const target = type === "visibilitychange" ? document : window;
    target.addEventListener(type, handler);
    return () => target.removeEventListener(type, handler);
  },
};
