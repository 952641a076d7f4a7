/** The other tabs of this session: a channel for what happened, and a mark that even a frozen page finds later. */
import type { Core, TabMessage } from "./core.ts";

export class Tabs {
  readonly #core: Core;
  readonly #heard: (message: TabMessage) => void;
  #channel: BroadcastChannel | undefined;
  #mark: string | null;

  constructor(core: Core, heard: (message: TabMessage) => void) {
    this.#core = core;
    this.#heard = heard;
    this.#mark = this.#read();
    this.open();
    core.tell = (message) => {
      if (message.kind === "signed_out") this.#leaveMark();
      this.#channel?.postMessage(message);
    };
  }

  open(): void {
    try {
      this.#channel ??= new BroadcastChannel(this.#core.prefix);
      this.#channel.onmessage = ({ data }: MessageEvent<TabMessage>) => this.#heard(data);
    } catch {
      // No channel here: the store and the mark still tell.
    }
  }

  /** Also before the page is cached: an open channel keeps it out of the back-forward cache. */
  close(): void {
    this.#channel?.close();
    this.#channel = undefined;
  }

  /** Somebody signed out since we last looked; messages do not reach a cached page. */
  missedSignOut(): boolean {
    const mark = this.#read();
    const missed = mark !== this.#mark;
    this.#mark = mark;
    return missed;
  }

  #leaveMark(): void {
    try {
      localStorage.setItem(`${this.#core.prefix}signed out`, (this.#mark = `${this.#core.clock.wall()}`));
    } catch {
      // Blocked: live tabs hear it on the channel.
    }
  }

  #read(): string | null {
    try {
      return localStorage.getItem(`${this.#core.prefix}signed out`);
    } catch {
      return null;
    }
  }
}
