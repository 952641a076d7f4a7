/** What runs in the test pages: the built library, and a few handles for the tests. */
import { createPortero, type PorteroConfig, type Session, type SessionEvent } from "@portero/browser";
import { insecureLocalStorage, tabStorage } from "@portero/browser/storage";

/** What a test can order from outside: `storage` by name. */
type Ordered = Omit<PorteroConfig, "storage"> & { storage?: "tab" | "local" };

declare global {
  interface Window {
    make(config: Ordered): void;
    session: Session;
    events: SessionEvent[];
    /** Seconds by which the clocks of the page are moved. */
    shift: { wall: number; steady: number };
    call(path: string, init?: RequestInit): Promise<number | string>;
  }
}

window.events = [];
window.shift = { wall: 0, steady: 0 };
const { now } = Date;
const steady = performance.now.bind(performance);
window.make = ({ storage, ...config }) => {
  // The clocks of the page, as a person or a sleeping machine may move them.
  Date.now = () => now() + window.shift.wall * 1000;
  performance.now = () => steady() + window.shift.steady * 1000;
  window.session = createPortero({
    ...config,
    ...(storage ? { storage: storage === "tab" ? tabStorage() : insecureLocalStorage() } : {}),
  } as PorteroConfig);
  window.session.onEvent((event) => window.events.push(event));
};
/** The status of a call, or the code of its error. */
window.call = (url, init) =>
  window.session.fetch(url, init).then(
    (response) => response.status,
    (error: { code?: string; name?: string; message?: string }) => (typeof error.code === "string" ? error.code : `${error.name}: ${error.message}`),
  );
