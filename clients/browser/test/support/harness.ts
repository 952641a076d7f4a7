/** What runs in the test pages: the built library, and a few handles for the tests. */
import { createPortero, type PorteroConfig, type Session, type SessionEvent } from "@portero/browser";
import { insecureLocalStorage, tabStorage } from "@portero/browser/storage";

/** What a test can order from outside: `storage` by name. */
type Ordered = Omit<PorteroConfig, "storage"> & { storage?: "tab" | "local" };

declare global {
  interface Window {
    make(config: Ordered, special: "none" | "clock" | "dpop"): void;
    session: Session;
    events: SessionEvent[];
    /** Seconds by which the clocks of the session are moved. */
    shift: { wall: number; steady: number };
    call(path: string, init?: RequestInit): Promise<number | string>;
  }
}

window.events = [];
window.shift = { wall: 0, steady: 0 };
window.make = ({ storage, ...config }, special) => {
  const clock = { wall: () => Date.now() + window.shift.wall * 1000, steady: () => performance.now() + window.shift.steady * 1000 };
  window.session = createPortero({
    ...config,
    ...(storage ? { storage: storage === "tab" ? tabStorage() : insecureLocalStorage() } : {}),
    ...(special === "clock" ? { clock } : {}),
  } as PorteroConfig);
  window.session.onEvent((event) => window.events.push(event));
};
/** The status of a call, or the code of its error. */
window.call = (url, init) =>
  window.session.fetch(url, init).then(
    (response) => response.status,
    (error: { code?: string; name?: string; message?: string }) => (typeof error.code === "string" ? error.code : `${error.name}: ${error.message}`),
  );
