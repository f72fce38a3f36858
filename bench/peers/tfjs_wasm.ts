/**
 * TensorFlow.js on its WebAssembly backend.
 *
 * @module
 */

import { Absent, type Job, loadPackage, numbers, type Peer, PEERS_FOLDER, timed } from "./peer.ts";

/** TensorFlow.js, WebAssembly. */
export const tfjsWasm: Peer = {
  name: "tfjs-wasm",
  what: "WebAssembly with SIMD in Deno, matMul of f32",
  async open(work, threads): Promise<Job> {
    if (work.kind !== "matmul" || work.layout !== "f32") {
      throw new Absent("TensorFlow.js has no such product");
    }
    if (threads > 1) throw new Absent("TensorFlow.js cannot start its threads in Deno");
    const tf = await loadPackage("@tensorflow/tfjs-core", "dist/tf-core.node.js");
    const wasm = await loadPackage(
      "@tensorflow/tfjs-backend-wasm",
      "dist/tf-backend-wasm.node.js",
    );
    const folder = new URL("node_modules/@tensorflow/tfjs-backend-wasm/wasm-out/", PEERS_FOLDER);
    (wasm.default ?? wasm).setWasmPaths(folder.pathname);
    const core = tf.default ?? tf;
    await core.setBackend("wasm");
    const { tokens, rows, columns } = work;
    const x = core.tensor2d(numbers(tokens * columns), [tokens, columns]);
    const w = core.tensor2d(numbers(columns * rows), [columns, rows]);
    return {
      run: () =>
        timed(async () => {
          const y = core.matMul(x, w);
          await y.data();
          y.dispose();
        }),
    };
  },
};
