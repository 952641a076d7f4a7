/** What runs in the test pages: the built library, and a few handles for the tests. */
import { createPortero, type PorteroConfig, type Session, type SessionEvent, type SignInOptions } from "@portero/browser";
import { createPortero as createBff } from "@portero/browser/bff";
import { password } from "@portero/browser/direct";
import { dpop } from "@portero/browser/dpop";
import { insecureLocalStorage, tabStorage } from "@portero/browser/storage";
import { createPortero as createInWorker } from "@portero/browser/worker";

/** What a test can order from outside: `storage`, `mode` and `dpop` by name. */
type Ordered = Omit<PorteroConfig, "storage"> & { storage?: "tab" | "local"; mode?: "browser" | "worker" | "bff"; dpop?: boolean };

declare global {
  interface Window {
    make(config: Ordered): void;
    session: Session;
    events: SessionEvent[];
    /** Seconds by which the clocks of the page are moved. */
    shift: { wall: number; steady: number };
    /** Where the clocks stand, in milliseconds, when they do. */
    frozen?: { wall: number; steady: number };
    realNow: { wall(): number; steady(): number };
    /** Sign in without leaving; "navigates" where the page is left, "signed_in", or the error. */
    signInBy(username: string, secret: string, options?: SignInOptions): Promise<string>;
    call(path: string, init?: RequestInit): Promise<number | string>;
  }
}

window.events = [];
window.shift = { wall: 0, steady: 0 };
const { now } = Date;
const steady = performance.now.bind(performance);
window.realNow = { wall: now, steady };
window.make = ({ storage, mode, dpop: bound, ...config }) => {
  // The clocks of the page, as a person or a sleeping machine may move them.
  Date.now = () => (window.frozen?.wall ?? now()) + window.shift.wall * 1000;
  performance.now = () => (window.frozen?.steady ?? steady()) + window.shift.steady * 1000;
  if (mode === "worker") {
    const worker = new Worker("/dist/worker-main.js", { type: "module" });
    window.session = createInWorker({ ...config, ...(bound === undefined ? {} : { dpop: bound }) }, worker);
  } else if (mode === "bff") {
    window.session = createBff({ ...(config.autoSignIn === undefined ? {} : { autoSignIn: config.autoSignIn }) });
  } else {
    window.session = createPortero({
      ...config,
      ...(storage ? { storage: storage === "tab" ? tabStorage() : insecureLocalStorage() } : {}),
      ...(bound ? { transport: dpop(config) } : {}),
    } as PorteroConfig);
  }
  window.session.onEvent((event) => window.events.push(event));
};
window.signInBy = (username, secret, options) =>
  window.session.signIn({ ...options, by: password(username, secret, { uiLocales: "es" }) }).then(
    () => (window.session.state === "signing_in" ? "navigates" : window.session.state),
    (error: { code: string; reason: string; problems?: string[] }) => [error.code, error.reason, ...(error.problems ?? [])].join(": "),
  );
/** The status of a call, or the code of its error. */
window.call = (url, init) =>
  window.session.fetch(url, init).then(
    (response) => response.status,
    (error: { code?: string; name?: string; message?: string }) => (typeof error.code === "string" ? error.code : `${error.name}: ${error.message}`),
  );
