/**
 * Entry point `@portero/browser/axios`: requests of an axios instance go through the session.
 *
 * The interceptor does not refresh by itself (that is how others end up with two refreshes and empty bodies); it lets
 * axios send with the session's `fetch`. Needs axios 1.12 or later, whose fetch adapter accepts one.
 */
import type { AxiosInstance } from "axios";
import type { Session } from "./session/session.ts";

/** Returns how to undo it. */
export function usePorteroWithAxios(axios: AxiosInstance, session: Session): () => void {
  const { request } = axios.interceptors;
  const id = request.use((config) => {
    config.adapter = "fetch";
    config.env = { ...config.env, fetch: session.fetch as typeof fetch };
    return config;
  });
  return () => request.eject(id);
}
