/** Proof of possession, as the session sees it. The implementation is an entry point of its own. */
export interface Proofs {
  /** The thumbprint of the key, made if there is none (RFC 7638). */
  thumbprint(): Promise<string>;
  /** A new proof for one attempt of one request: a fresh `jti` every time. */
  proof(request: { readonly method: string; readonly url: string; readonly accessToken?: string | undefined }): Promise<string>;
  /** Remember the nonce and the clock of this answer. True: the server wants the request again, with the nonce. */
  learn(response: Response, url: string): boolean;
  forget(): Promise<void>;
}
