/** Entry point `@portero/browser/react`: a provider and a hook. Make the session outside of React; there is one for the page. */
import { createContext, createElement, useContext, useEffect, useRef, useSyncExternalStore, type ReactNode } from "react";
import type { Session } from "./session/session.ts";

const Context = createContext<Session | null>(null);

export interface PorteroProviderProps {
  readonly session: Session;
  /** Called once after a sign-in, with where the person wanted to be: hand it to your router. */
  readonly onSignedIn?: (returnTo: string) => void;
  /** Called when the way back from the sign-in page ended in an error. */
  readonly onError?: (error: unknown) => void;
  readonly children?: ReactNode;
}

/** Finishes a sign-in when the page is the redirect URI; StrictMode may run it twice. */
export function PorteroProvider({ session, onSignedIn, onError, children }: PorteroProviderProps): ReactNode {
  const handlers = useRef({ onSignedIn, onError });
  handlers.current = { onSignedIn, onError };
  const handled = useRef<Session>(null);
  useEffect(() => {
    if (handled.current === session) return;
    handled.current = session;
    session.handleCallback().then(
      (result) => result && handlers.current.onSignedIn?.(result.returnTo),
      (error: unknown) => handlers.current.onError?.(error),
    );
  }, [session]);
  return createElement(Context.Provider, { value: session }, children);
}

export interface UsePortero {
  readonly session: Session;
  /** On a server: `signed_out`. */
  readonly state: Session["state"];
  /** There are tokens; they may be about to be refreshed. */
  readonly signedIn: boolean;
  readonly fetch: Session["fetch"];
  readonly signIn: Session["signIn"];
  readonly signOut: Session["signOut"];
}

/** The session of the nearest provider; renders again whenever its state changes. */
export function usePortero(): UsePortero {
  const session = useContext(Context);
  if (!session) throw new Error("usePortero needs a <PorteroProvider> above it");
  const state = useSyncExternalStore(
    (changed) => session.onChange(changed),
    () => session.state,
    () => "signed_out" as const,
  );
  const { fetch, signIn, signOut } = session;
  return { session, state, signedIn: state === "signed_in" || state === "refreshing" || state === "waiting", fetch, signIn, signOut };
}
