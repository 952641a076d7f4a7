/** A request that can be sent again, or knows that it cannot. */

/** Called once for each attempt, for bodies that can be made again but not copied. */
export type BodyFactory = () => BodyInit;

export interface FetchInit extends Omit<RequestInit, "body"> {
  readonly body?: BodyInit | BodyFactory | null;
}

export interface Replay {
  readonly request: Request;
  /** The body exists once. */
  readonly oneShot: boolean;
  /** The request to send; only a body that can be copied is. */
  attempt(): Request;
}

export function replayable(input: RequestInfo | URL, init: FetchInit = {}): Replay {
  const { body } = init;
  if (typeof body === "function") {
    const request = new Request(input, { ...init, body: null });
    return { request, oneShot: false, attempt: () => new Request(request, { body: body(), duplex: "half" } as RequestInit) };
  }
  // The body is serialized here, once: a second serialization of FormData would choose another boundary.
  const request = new Request(input, init as RequestInit);
  const oneShot = body instanceof ReadableStream || (!body && streams(request));
  return { request, oneShot, attempt: () => (oneShot || !request.body ? request : request.clone()) };
}

/**
 * Whether the body of a Request came from a stream. Fetch §5.4 refuses mode `no-cors` for a body without a source; that is
 * the only way to ask.
 */
export function streams(request: Request): boolean {
  if (!request.body) return false;
  try {
    new Request(request.clone(), { method: "POST", mode: "no-cors" });
    return false;
  } catch {
    return true;
  }
}
