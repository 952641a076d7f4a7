/** Files of the package: name of the built file → source. */
export const entries = {
  portero: "src/index.ts",
  "sign-in": "src/session/sign-in.ts",
  storage: "src/storage.ts",
  protocol: "src/protocol.ts",
};
