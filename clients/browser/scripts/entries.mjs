/** Entry points: name of the built file → source. */
export const entries = { portero: "src/index.ts" };
