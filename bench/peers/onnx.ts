/**
 * ONNX Runtime, native (`onnxruntime-node`) and as WebAssembly (`onnxruntime-web`), on a model of one
 * product: `MatMul`, or `MatMulNBits` with blocks of 32 and activations rounded to int8.
 *
 * @module
 */

import { describeModel } from "./onnx_model.ts";
import { Absent, type Job, loadPackage, numbers, type Peer, timed, type Work } from "./peer.ts";

/** ONNX Runtime, native. */
export const onnxNode: Peer = {
  name: "onnxruntime-node",
  what: "native, MatMulNBits with accuracy_level 4, or MatMul",
  async open(work, threads) {
    const ort = await loadPackage("onnxruntime-node", "dist/index.js");
    return await openMatmul(ort.default ?? ort, work, {
      executionProviders: ["cpu"],
      intraOpNumThreads: threads,
      interOpNumThreads: 1,
      // Threads that spin between runs would take the others' time.
      extra: { session: { intra_op: { allow_spinning: "0" } } },
    });
  },
};

/** ONNX Runtime, WebAssembly. */
export const onnxWeb: Peer = {
  name: "onnxruntime-web",
  what: "WebAssembly in Deno, MatMulNBits with accuracy_level 4, or MatMul",
  async open(work, threads) {
    if (threads > 1) throw new Absent("onnxruntime-web cannot start its threads in Deno");
    const ort = await loadPackage("onnxruntime-web", "dist/ort.wasm.bundle.min.mjs");
    ort.env.wasm.numThreads = 1;
    return await openMatmul(ort, work, { executionProviders: ["wasm"] });
  },
};

// deno-lint-ignore no-explicit-any -- the two packages have one interface, and no types here
async function openMatmul(ort: any, work: Work, options: object): Promise<Job> {
  if (work.kind !== "matmul") throw new Absent("ONNX Runtime does not read GGUF files");
  const { tokens, columns } = work;
  const session = await ort.InferenceSession.create(describeModel(work), options);
  const x = new ort.Tensor("float32", numbers(tokens * columns), [tokens, columns]);
  return { run: () => timed(() => session.run({ x })) };
}
