/** Files of the package: name of the built file → source. */
export const entries = {
  portero: "src/index.ts",
  "sign-in": "src/session/sign-in.ts",
  storage: "src/storage.ts",
  dpop: "src/dpop.ts",
  direct: "src/direct.ts",
  worker: "src/worker.ts",
  "worker-main": "src/worker-main.ts",
  bff: "src/bff.ts",
  fetch: "src/fetch.ts",
  axios: "src/axios.ts",
  react: "src/react.ts",
  protocol: "src/protocol.ts",
};
