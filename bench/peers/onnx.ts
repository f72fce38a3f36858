/**
 * ONNX Runtime, native (`onnxruntime-node`) and as WebAssembly (`onnxruntime-web`), on a model of one
 * product: `MatMul`, or `MatMulNBits` with blocks of 32 and activations rounded to int8; or on an
 * encoder.
 *
 * @module
 */

import { drawSentences, meanRow } from "../synthetic_encoder.ts";
import { describeEncoder } from "./onnx_encoder.ts";
import { describeModel } from "./onnx_model.ts";
import { Absent, type Job, loadPackage, numbers, type Peer, timed, type Work } from "./peer.ts";

/** ONNX Runtime, native. */
export const onnxNode: Peer = {
  name: "onnxruntime-node",
  what: "native, MatMulNBits with accuracy_level 4, or MatMul; an encoder in its fused operators",
  async open(work, threads) {
    const ort = await loadPackage("onnxruntime-node", "dist/index.js");
    return await openWork(ort.default ?? ort, work, {
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
  what:
    "WebAssembly in Deno, MatMulNBits with accuracy_level 4, or MatMul; an encoder as the native",
  async open(work, threads) {
    // The build for Node starts its threads in Deno, too; that for pages does not.
    const found = await loadPackage("onnxruntime-web", "dist/ort.node.min.mjs");
    const ort = found.env ? found : found.default;
    ort.env.wasm.numThreads = threads;
    return await openWork(ort, work, { executionProviders: ["wasm"] });
  },
};

// deno-lint-ignore no-explicit-any -- the two packages have one interface, and no types here
async function openWork(ort: any, work: Work, options: object): Promise<Job> {
  if (work.kind === "embed") return await openEncoder(ort, work, options);
  if (work.kind !== "matmul") throw new Absent("ONNX Runtime does not read GGUF files");
  const { tokens, columns } = work;
  const session = await ort.InferenceSession.create(describeModel(work), options);
  const x = new ort.Tensor("float32", numbers(tokens * columns), [tokens, columns]);
  return { run: () => timed(() => session.run({ x })) };
}

/** Texts in one run; which number is best, some of the texts decide. */
const BATCHES = [4, 8, 16, 32, 64], TRIED_TEXTS = 64;

/** Texts are sorted by length, so that hardly any token is padding. */
async function openEncoder(
  // deno-lint-ignore no-explicit-any -- as above
  ort: any,
  { size, texts, weights }: Work & { kind: "embed" },
  options: object,
): Promise<Job> {
  if (weights !== "f32" && weights !== "int8") {
    throw new Absent(`the encoder is compared in f32 and int8, not ${weights}`);
  }
  const session = await ort.InferenceSession.create(describeEncoder(size, weights), options);
  const all = drawSentences(texts, size.vocab);
  const runBatch = async (batch: readonly number[][]): Promise<Float32Array[]> => {
    const tokens = Math.max(...batch.map(({ length }) => length));
    const ids = new BigInt64Array(batch.length * tokens), positions = ids.slice();
    batch.forEach((text, i) => text.forEach((id, k) => ids[i * tokens + k] = BigInt(id)));
    for (let i = 0; i < positions.length; i++) positions[i] = BigInt(i % tokens);
    const shape = [batch.length, tokens];
    const lengths = Int32Array.from(batch, ({ length }) => length);
    const { hidden } = await session.run({
      ids: new ort.Tensor("int64", ids, shape),
      positions: new ort.Tensor("int64", positions, shape),
      lengths: new ort.Tensor("int32", lengths, [batch.length]),
    });
    const found = await hidden.getData();
    return batch.map((text, i) => meanRow(found, size.hidden, i * tokens, text.length));
  };
  const embed = async (some: readonly number[][], count: number): Promise<Float32Array[]> => {
    const order = Array.from(some.keys()).sort((a, b) => some[a]!.length - some[b]!.length);
    const vectors: Float32Array[] = [];
    for (let at = 0; at < order.length; at += count) {
      const places = order.slice(at, at + count);
      const found = await runBatch(places.map((place) => some[place]!));
      places.forEach((place, i) => vectors[place] = found[i]!);
    }
    return vectors;
  };
  const tried = all.slice(0, TRIED_TEXTS);
  let best = { ms: Infinity, count: 1 };
  await embed(tried, 16); // warms up
  for (const count of BATCHES) {
    const ms = await timed(() => embed(tried, count));
    if (ms < best.ms) best = { ms, count };
  }
  let vectors: Float32Array[] = [];
  return {
    run: () => timed(async () => vectors = await embed(all, best.count)),
    sample: () => Array.from(vectors[0]!),
  };
}
