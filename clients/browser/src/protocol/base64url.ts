/** Base64url without padding (RFC 4648 §5), and the random and hashed values made of it. */

/** Of no more than 64 kB. */
export function encodeBase64url(bytes: Uint8Array): string {
  return btoa(String.fromCharCode(...bytes)).replace(/\+/g, "-").replace(/\//g, "_").replace(/=+$/, "");
}

export function decodeBase64url(text: string): Uint8Array<ArrayBuffer> {
  return Uint8Array.from(atob(text.replace(/-/g, "+").replace(/_/g, "/")), (character) => character.charCodeAt(0));
}

/** `size` random bytes. 16 bytes (128 bits) give 22 characters, 32 bytes give 43. */
export function randomText(size: number): string {
  return encodeBase64url(crypto.getRandomValues(new Uint8Array(size)));
}

/** SHA-256 of the UTF-8 text: 43 characters. */
export async function sha256Text(text: string): Promise<string> {
  return encodeBase64url(new Uint8Array(await crypto.subtle.digest("SHA-256", new TextEncoder().encode(text))));
}
