/**
 * Which versions of which packages the peers are, and how they get here: never through the imports
 * of deno.json, so that nobody who uses Sparrow downloads them.
 *
 * @module
 */

import { UsageError } from "../../cli/command.ts";
import { PEERS_FOLDER } from "./peer.ts";

/** Exact versions. */
export const VERSIONS: Readonly<Record<string, string>> = {
  "node-llama-cpp": "3.22.1",
  "onnxruntime-node": "1.30.0",
  "onnxruntime-web": "1.30.0",
  "@tensorflow/tfjs-core": "4.22.0",
  "@tensorflow/tfjs-backend-cpu": "4.22.0",
  "@tensorflow/tfjs-backend-wasm": "4.22.0",
  "@wllama/wllama": "3.8.1",
};

/**
 * Installs the peers with npm, about 1.3 GB. Their install scripts do not run: the packages hold
 * all that is needed here.
 *
 * @throws UsageError when npm is not here or fails
 */
export async function installPeers(): Promise<void> {
  await Deno.mkdir(PEERS_FOLDER, { recursive: true });
  const manifest = { private: true, type: "module", dependencies: VERSIONS };
  await Deno.writeTextFile(new URL("package.json", PEERS_FOLDER), JSON.stringify(manifest));
  const command = new Deno.Command(Deno.build.os === "windows" ? "npm.cmd" : "npm", {
    args: ["install", "--ignore-scripts", "--no-audit", "--no-fund"],
    cwd: PEERS_FOLDER,
    stdout: "inherit",
    stderr: "inherit",
  });
  let success = false;
  try {
    ({ success } = await command.spawn().status);
  } catch (cause) {
    throw new UsageError("Cannot install the peers: found no npm, expected that of Node", {
      cause,
    });
  }
  if (!success) throw new UsageError("Cannot install the peers: npm failed, see above");
}
