/**
 * A real model: `stories260K`, whose greedy text is known, on 1 to 3 threads, and what
 * each way of storing its weights loses.
 */

import { assert, assertEquals } from "@std/assert";
import { loadModel, type LoadOptions } from "../mod.ts";
import { FIXTURES } from "./fixtures.ts";

const FOLDER = new URL("models/stories260K/", FIXTURES);

async function expected(): Promise<
  { promptText: string; promptIds: number[]; greedyIds: number[]; greedyText: string }
> {
  return JSON.parse(await Deno.readTextFile(new URL("expected.json", FOLDER)));
}

const load = (options: LoadOptions) => loadModel(new URL("stories260K.gguf", FOLDER), options);

for (const threads of [1, 2, 3]) {
  Deno.test({
    name: `stories260K continues as llama.cpp does, on ${threads} threads`,
    async fn(): Promise<void> {
      const { promptText, promptIds, greedyIds } = await expected();
      await using model = await load({ backend: "wasm", threads });
      assertEquals(model.tokenizer.encode(promptText), promptIds);
      const ids: number[] = [];
      let text = "";
      const options = { temperature: 0, maxTokens: 150, stopIds: [] };
      for await (const token of model.session().generate(promptText, options)) {
        ids.push(token.id);
        text += token.text;
      }
      assertEquals(ids, greedyIds.slice(0, 150));
      const whole = model.tokenizer.decode([...promptIds, ...ids]);
      assertEquals(model.tokenizer.decode(promptIds) + text, whole);
    },
  });
}

/** Rows of logits over the known text. */
async function logits(options: LoadOptions): Promise<Float32Array[]> {
  const { promptIds, greedyIds } = await expected();
  await using model = await load(options);
  const all = await model.logits({ ids: [...promptIds, ...greedyIds].slice(0, 160) });
  const { vocabSize } = model.config;
  return Array.from(
    { length: all.length / vocabSize },
    (_, i) => all.subarray(i * vocabSize, (i + 1) * vocabSize),
  );
}

Deno.test({
  name: "stories260K: wasm logits are within 1e-3 of the float64 reference",
  async fn(): Promise<void> {
    const reference = await logits({ backend: "reference", weights: "f32" });
    for (const threads of [1, 2]) {
      const rows = await logits({ backend: "wasm", weights: "f32", threads });
      let most = 0;
      rows.forEach((row, i) =>
        row.forEach((value, j) => {
          const off = Math.abs(value - reference[i]![j]!);
          most = off <= most ? most : off; // NaN counts as the largest
        })
      );
      assert(most <= 1e-3, `logits differ by ${most}`);
    }
  },
});

/** Mean over the text of the Kullback–Leibler divergence from `p` to `q`, in nats. */
function divergence(p: readonly Float32Array[], q: readonly Float32Array[]): number {
  const logSoftmax = (row: Float32Array): number[] => {
    const max = row.reduce((a, b) => Math.max(a, b));
    const sum = row.reduce((total, it) => total + Math.exp(it - max), 0);
    return Array.from(row, (it) => it - max - Math.log(sum));
  };
  const each = p.map((row, i) => {
    const a = logSoftmax(row), b = logSoftmax(q[i]!);
    return a.reduce((sum, it, j) => sum + Math.exp(it) * (it - b[j]!), 0);
  });
  return each.reduce((a, b) => a + b) / each.length;
}

/** What each choice of storage may lose. 4 bits are coarse for a model of 260 thousand weights. */
const STORAGE: { name: string; options: LoadOptions; most: number }[] = [
  { name: "f32 on two threads", options: { weights: "f32", threads: 2 }, most: 1e-9 },
  { name: "caches of f16", options: { weights: "f32", cacheType: "f16" }, most: 1e-6 },
  { name: "caches of int8", options: { weights: "f32", cacheType: "int8" }, most: 1e-3 },
  { name: "int8", options: { weights: "int8" }, most: 1e-3 },
  { name: "int4", options: { weights: "int4" }, most: 0.15 },
];

Deno.test({
  name: "stories260K: divergence of stored weights from f32",
  async fn(): Promise<void> {
    const exact = await logits({ backend: "wasm", weights: "f32", threads: 1 });
    for (const { name, options, most } of STORAGE) {
      const found = divergence(exact, await logits({ backend: "wasm", threads: 1, ...options }));
      console.log(`KL divergence from f32, ${name}: ${found.toExponential(2)} nats per token`);
      assert(found <= most, `${name}: ${found}, at most ${most} expected`);
    }
  },
});
