/** `node sizes.mjs FOLDER PEER…`: bundle each library the same way, for the same job; print bytes and gzip as JSON. */
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { join } from "node:path";
import { gzipSync } from "node:zlib";
import { fileURLToPath } from "node:url";

const library = fileURLToPath(new URL("../../../clients/browser/", import.meta.url));
const { build } = createRequire(`${library}package.json`)("esbuild");
const [folder, ...peers] = process.argv.slice(2);

/** What a page needs of each to sign people in, keep them signed in, and call an API. */
const NEEDS = {
  "oidc-client-ts": "UserManager, WebStorageStateStore",
  "@auth0/auth0-spa-js": "createAuth0Client",
  "keycloak-js": "default as Keycloak",
  "supertokens-website": "default as SuperTokens",
  oauth4webapi: `discoveryRequest, processDiscoveryResponse, generateRandomState, generateRandomNonce, generateRandomCodeVerifier,
    calculatePKCECodeChallenge, validateAuthResponse, authorizationCodeGrantRequest, processAuthorizationCodeResponse, None,
    refreshTokenGrantRequest, processRefreshTokenResponse, revocationRequest, processRevocationResponse, protectedResourceRequest`,
};

const weighed = (bytes) => ({ bytes: bytes.length, gzip: gzipSync(bytes, { level: 9 }).length });

async function bundled(contents, resolveDir) {
  const { outputFiles } = await build({
    stdin: { contents, resolveDir },
    bundle: true,
    minify: true,
    format: "esm",
    target: "es2022",
    platform: "browser",
    write: false,
    logLevel: "error",
  });
  return weighed(outputFiles[0].contents);
}

const using = (names, from) =>
  `import { ${names} } from ${JSON.stringify(from)};\nglobalThis.used = [${names.replace(/default as /g, "")}];`;

const sizes = {
  "portero (core)": weighed(readFileSync(join(library, "dist/portero.js"))),
  portero: await bundled(using("createPortero", "./dist/portero.js"), library),
  "portero (cookie)": await bundled(using("createPortero", "./dist/bff.js"), library),
};
for (const name of ["sign-in", "storage", "dpop", "direct", "worker", "worker-main", "fetch", "axios", "react"]) {
  sizes[`portero/${name}.js`] = weighed(readFileSync(join(library, `dist/${name}.js`)));
}
for (const peer of peers) sizes[peer] = await bundled(using(NEEDS[peer], peer), join(folder, peer.replace("/", "-")));
console.log(JSON.stringify(sizes));
