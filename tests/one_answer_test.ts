/**
 * One answer: on the CPU a token's numbers are the same to the bit whether it runs alone, in a prompt of
 * any length or beside other sequences, on any number of threads.
 */

import { assertEquals } from "@std/assert";
import { compile, Graph } from "../graph.ts";
import type { OpAttributes } from "../kernels/ops.ts";
import { CACHE_TYPES } from "../kernels/op.ts";
import { loadModel, type Model } from "../mod.ts";
import { LAYOUT_NAMES } from "../quant/formats.ts";
import { FIXTURES, randomNumbers } from "./fixtures.ts";

const TOKENS = 64;

/** What runs: an op over rows of x, with weights. */
interface Case {
  readonly width: number;
  record(g: Graph, x: ReturnType<Graph["input"]>): ReturnType<Graph["op"]>;
  readonly weights: Readonly<Record<string, Float32Array>>;
}

function floats(count: number, seed: number): Float32Array {
  const random = randomNumbers(seed);
  return Float32Array.from({ length: count }, () => 2 * random() - 1);
}

/** Names the first token whose row is not, to the bit, what it is alone. */
async function assertSteady(
  { width, record, weights }: Case,
  options: { readonly threads: number; readonly reproducible: boolean },
): Promise<void> {
  const g = new Graph({ tokens: TOKENS });
  g.output("y", record(g, g.input("x", ["tokens", width])));
  await using program = await compile(g, { backend: "wasm", ...options, weights });
  const x = floats(TOKENS * width, 3), alone: Float32Array[] = [];
  for (let t = 0; t < 13; t++) {
    alone.push((await program.run({ x: x.slice(t * width, (t + 1) * width) })).y!.slice());
  }
  for (const tokens of [2, 3, 4, 5, 8, 11, 12, 13, 33, 64]) {
    const { y } = await program.run({ x: x.slice(0, tokens * width) });
    const columns = y!.length / tokens;
    for (let t = 0; t < Math.min(tokens, alone.length); t++) {
      const row = y!.subarray(t * columns, (t + 1) * columns);
      const differing = row.findIndex((value, i) => !Object.is(value, alone[t]![i]));
      assertEquals(differing, -1, `token ${t} of ${tokens}, column ${differing}`);
    }
  }
}

for (const threads of [1, 3]) {
  for (const reproducible of [false, true]) {
    const where = `${reproducible ? "plain" : "relaxed"} build, ${threads} threads`;
    Deno.test(`products of a token do not depend on the others: ${where}`, async () => {
      for (const layout of LAYOUT_NAMES) {
        for (const [rows, width] of [[48, 96], [37, 71], [100, 1024], [20, 1003]] as const) {
          await assertSteady({
            width,
            record: (g, x) => g.op("matmul", [x, g.matrix("w", [rows, width], layout)]),
            weights: { w: floats(rows * width, 7) },
          }, { threads, reproducible });
        }
      }
      for (const layout of ["f32", "f16", "bf16"] as const) {
        await assertSteady({
          width: 3 * 40,
          record: (g, x) => {
            return g.op("headMatmul", [x, g.matrix("w", [3 * 20, 40], layout)], { heads: 3 });
          },
          weights: { w: floats(3 * 20 * 40, 7) },
        }, { threads, reproducible });
      }
    });
  }
}

/** Queries at rows of a cache, each with what it sees: all before it, a window, or what lies around it. */
const SPANS: Readonly<Record<string, (row: number) => readonly [from: number, to: number]>> = {
  causal: (row) => [0, row + 1],
  window: (row) => [Math.max(0, row - 700), row + 1],
  around: () => [64, 1300],
};

for (const dtype of CACHE_TYPES) {
  Deno.test(`attention of a token does not depend on the others: cache of ${dtype}`, async () => {
    const rows = 1304, tokens = 24, first = 1010;
    for (
      const [heads, kvHeads, headDim] of [[3, 3, 6], [3, 3, 20], [6, 3, 104], [12, 3, 8], [
        8,
        1,
        64,
      ]] as const
    ) {
      const caches = floats(2 * rows * kvHeads * headDim, 5),
        q = floats(tokens * heads * headDim, 6);
      for (const bias of [undefined, "perQuery"] as const) {
        const results: Float32Array[] = [];
        for (const threads of [1, 2, 3]) {
          const program = await attentionProgram({
            rows,
            headDim,
            heads,
            kvHeads,
            dtype,
            bias,
            threads,
          });
          await using _ = program;
          const width = kvHeads * headDim;
          await program.store(caches.subarray(0, rows * width), caches.subarray(rows * width));
          for (const [name, span] of Object.entries(SPANS)) {
            const all = await program.run(q, first, tokens, span);
            for (const count of [1, 2, 3, 7]) {
              for (let t = 0; t + count <= tokens; t += count) {
                const columns = heads * headDim;
                const part = await program.run(q.subarray(t * columns), first + t, count, span);
                const same = part.every((it, i) => Object.is(it, all[t * columns + i]));
                const what =
                  `${name}, ${heads}/${kvHeads} heads, ${count} from ${t}, ${threads} threads`;
                assertEquals(same, true, what);
              }
            }
            results.push(all);
          }
        }
        // With other threads, too.
        const kinds = Object.keys(SPANS).length;
        results.forEach((it, i) => assertEquals(it, results[i % kinds]));
      }
    }
  });
}

interface AttentionProgram extends AsyncDisposable {
  store(keys: Float32Array, values: Float32Array): Promise<void>;
  run(
    q: Float32Array,
    row: number,
    tokens: number,
    span: (row: number) => readonly [number, number],
  ): Promise<Float32Array>;
}

/** Attention over caches that are filled first; the result of each token's query. */
async function attentionProgram(of: {
  readonly rows: number;
  readonly headDim: number;
  readonly heads: number;
  readonly kvHeads: number;
  readonly dtype: (typeof CACHE_TYPES)[number];
  readonly bias: "perQuery" | undefined;
  readonly threads: number;
}): Promise<AttentionProgram> {
  const { rows, headDim, heads, kvHeads, dtype, bias, threads } = of, most = 24, biases = 9;
  const shape = [rows, kvHeads, headDim] as const;
  const g = new Graph({ tokens: most });
  const keys = g.cache("keys", "keyCache", shape, dtype);
  const values = g.cache("values", "valueCache", shape, dtype);
  const at = g.input("at", ["tokens"], "i32");
  const stored = [keys, values].map((cache, i) => {
    const x = g.input(i === 0 ? "k" : "v", ["tokens", kvHeads * headDim]);
    return g.op("cacheStore", [cache, x, at]);
  });
  const inputs = [
    g.input("q", ["tokens", heads * headDim]),
    ...stored,
    g.input("spans", ["tokens", 2], "i32"),
    ...(bias
      ? [g.input("bias", ["tokens", heads * biases]), g.input("own", ["tokens"], "i32")]
      : []),
  ];
  const attrs: OpAttributes["attention"] = { heads, scale: 0.3, ...(bias && { bias }) };
  g.output("y", g.op("attention", inputs, attrs));
  const program = await compile(g, { backend: "wasm", threads });
  const width = kvHeads * headDim, table = floats(rows * heads * biases, 9);
  let cached: readonly Float32Array[] = [];
  const data = (from: number, tokens: number): Record<string, Float32Array | Int32Array> => ({
    at: Int32Array.from({ length: tokens }, (_, i) => from + i),
    k: cached[0]!.slice(from * width, (from + tokens) * width),
    v: cached[1]!.slice(from * width, (from + tokens) * width),
    ...(bias && {
      own: Int32Array.from({ length: tokens }, (_, i) => from + i),
      bias: table.slice(from * heads * biases, (from + tokens) * heads * biases),
    }),
  });
  return {
    async store(k, v) {
      cached = [k, v];
      for (let from = 0; from < rows; from += most) {
        const tokens = Math.min(most, rows - from);
        await program.run({
          ...data(from, tokens),
          q: new Float32Array(tokens * heads * headDim),
          spans: new Int32Array(2 * tokens),
        });
      }
    },
    async run(q, row, tokens, span) {
      const spans = Int32Array.from({ length: 2 * tokens }, (_, i) => span(row + (i >> 1))[i & 1]!);
      const rows = q.slice(0, tokens * heads * headDim);
      return (await program.run({ ...data(row, tokens), q: rows, spans })).y!.slice();
    },
    [Symbol.asyncDispose]: () => program.dispose(),
  };
}

const STORIES = new URL("models/stories260K/stories260K.gguf", FIXTURES);
const FAMILIES = ["llama", "gpt2", "mixtral", "qwen3-moe", "opt", "chatglm2", "mistral-window"];

/** Where logits of a sequence are not, to the bit, those of `expected`; in words. */
async function differing(
  model: Model,
  ids: readonly number[],
  expected: Float32Array,
): Promise<string[]> {
  const width = expected.length / ids.length, found: string[] = [];
  const compare = (what: string, at: number, logits: Float32Array): void => {
    const row = expected.subarray(at * width, (at + 1) * width);
    if (!logits.every((it, i) => Object.is(it, row[i]))) found.push(`${what} at ${at}`);
  };
  using steps = model.session();
  for (const [at, id] of ids.entries()) compare("a step", at, await steps.step(id));
  using chunks = model.session();
  for (let at = 0, size = 1; at < ids.length; at += size, size = size % 7 + 2) {
    const logits = await chunks.prefill(ids.slice(at, at + size));
    compare(`a chunk of ${size}`, Math.min(at + size, ids.length) - 1, logits);
  }
  const sessions = [3, 8, 14].map((length) => ({ length, session: model.session() }));
  await Promise.all(sessions.map(({ length, session }) => session.prefill(ids.slice(0, length))));
  for (let step = 0; step < 10; step++) {
    await Promise.all(sessions.map(async ({ length, session }) => {
      compare("a step beside others", length + step, await session.step(ids[length + step]!));
    }));
  }
  for (const { session } of sessions) session[Symbol.dispose]();
  return found;
}

for (const family of FAMILIES) {
  Deno.test(`logits are the same in steps, chunks and company: ${family}`, async () => {
    const source = new URL(`golden/${family}`, FIXTURES);
    for (const weights of ["f32", "int4"] as const) {
      for (const cacheType of ["f32", "int8"] as const) {
        let first: Float32Array | undefined;
        for (const threads of [1, 3]) {
          const options = { backend: "wasm", threads, weights, cacheType, sequences: 3 } as const;
          await using model = await loadModel(source, { ...options, onWarning() {} });
          const words = model.config.vocabSize - 8;
          const ids = Array.from({ length: 28 }, (_, i) => 5 + (i * 37 + i * i) % words);
          using session = model.session();
          const logits = await session.logits(ids);
          assertEquals(await differing(model, ids, logits), []);
          assertEquals(logits, first ??= logits);
        }
      }
    }
  });
}

Deno.test("a text is the same alone and beside others, with a cache of int8", async () => {
  const options = { backend: "wasm", threads: 2, cacheType: "int8" } as const;
  await using alone = await loadModel(STORIES, options);
  await using together = await loadModel(STORIES, { ...options, sequences: 8 });
  const prompts = Array.from(
    { length: 16 },
    (_, i) => `${"Once upon a time ".repeat(i % 5 + 1)}${i}`,
  );
  const say = async (model: Model, prompt: string, seed: number): Promise<string> => {
    return (await model.complete(prompt, { maxTokens: 80, seed })).text;
  };
  const expected: string[] = [];
  for (const [seed, prompt] of prompts.entries()) expected.push(await say(alone, prompt, seed));
  assertEquals(await Promise.all(prompts.map((it, seed) => say(together, it, seed))), expected);
});
