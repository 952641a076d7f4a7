/** How a request goes out with a token. Bearer is built in; DPoP (RFC 9449) is an entry point of its own. */

export interface Transport {
  /** `null` for requests to the authorization server, which carry no access token but may need a proof. */
  send(request: Request, accessToken: string | null): Promise<Response>;
  /** The thumbprint of the key that tokens are bound to (RFC 7638), made if there is none. */
  thumbprint?(): Promise<string>;
  /** The key is gone or another: the tokens of the session are worth nothing any more. */
  lost?(): Promise<boolean>;
  /** At sign-out. */
  forget?(): Promise<void>;
}

export const bearer: Transport = {
  send(request, accessToken) {
    // RFC 6750 §2.1: in the header, never in the address or the body.
    if (accessToken !== null) request.headers.set("Authorization", `Bearer ${accessToken}`);
    return fetch(request);
  },
};
