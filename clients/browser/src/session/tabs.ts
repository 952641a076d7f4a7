/** The other tabs of this session: a channel for what happened, and a mark that even a frozen page finds later. */
import type { Core, TabMessage } from "./core.ts";
import { wall } from "./tokens.ts";

export interface Tabs {
  open(): void;
  /** Also before the page is cached: an open channel would keep it out of the back-forward cache. */
  close(): void;
  /** Somebody signed out since we last looked; messages do not reach a cached page. */
  missedSignOut(): boolean;
}

export function tabsOf(core: Core, heard: (message: TabMessage) => void): Tabs {
  const key = `${core.prefix}signed out`;
  const read = (): string | null => {
    try {
      return localStorage.getItem(key);
    } catch {
      // Blocked: live tabs still hear it on the channel.
      return null;
    }
  };
  let mark = read();
  let channel: BroadcastChannel | undefined;
  const open = () => {
    try {
      channel ??= new BroadcastChannel(core.prefix);
      channel.onmessage = ({ data }: MessageEvent<TabMessage>) => heard(data);
    } catch {
      // No channel here: the store and the mark still tell.
    }
  };
  open();
  core.tell = (message) => {
    if (message.kind === "signed_out") {
      mark = `${wall()}`;
      try {
        localStorage.setItem(key, mark);
      } catch {
        mark = null;
      }
    }
    channel?.postMessage(message);
  };
  return {
    open,
    close() {
      channel?.close();
      channel = undefined;
    },
    missedSignOut: () => mark !== (mark = read()),
  };
}
