/** Entry points: name of the built file → source. What they share, and what is loaded late, become chunks. */
export const entries = { portero: "src/index.ts", storage: "src/storage.ts", protocol: "src/protocol.ts" };
