/**
 * Golden models: tiny models of every architecture whose logits and greedy continuations were
 * computed by the original implementations.
 */

import { assert, assertEquals } from "@std/assert";
import { loadModel, type Model } from "../mod.ts";
import { argmax } from "../runtime/sampler.ts";
import { FIXTURES } from "./fixtures.ts";
import { hasWebgpu } from "./webgpu_adapter.ts";

type Rows = (number | null)[][];

interface GoldenCase {
  name: string;
  kind: string;
  // deno-lint-ignore no-explicit-any
  inputs: any;
  // deno-lint-ignore no-explicit-any
  outputs: any;
}

/** Those of the fixtures whose architectures run. */
const MODELS = [
  ...["llama-bias", "llama-linear", "llama-yarn", "mistral-window"],
  ...["mixtral-narrow", "olmoe", "qwen2-moe-step", "qwen3-moe-dense"],
  ...["llama", "llama3-rope", "mixtral", "qwen2", "qwen2-moe", "qwen3", "qwen3-moe"],
];

/** Largest difference that a backend may show, on logits. */
const BACKENDS = [
  { backend: "reference", threads: 1, bound: 1e-4 },
  { backend: "wasm", threads: 1, bound: 1e-3 },
  { backend: "wasm", threads: 2, bound: 1e-3 },
  { backend: "webgpu", threads: 1, bound: 1e-3 },
  { backend: "webgpu", threads: 2, gpuLayers: 1, bound: 1e-3 },
] as const;

function difference(actual: Float32Array, expected: (number | null)[]): number {
  assertEquals(actual.length, expected.length);
  let max = 0;
  expected.forEach((value, i) => {
    if (value === null) return;
    const off = Math.abs(actual[i]! - value);
    max = off <= max ? max : off; // NaN counts as the largest
  });
  return max;
}

/** Logits of whole sequences; a left-padded row is run without its padding. */
async function checkForward(model: Model, { inputs, outputs }: GoldenCase): Promise<number> {
  let max = 0;
  for (let row = 0; row < inputs.input_ids.length; row++) {
    const mask: number[] | undefined = inputs.attention_mask?.[row];
    const first = mask ? mask.indexOf(1) : 0;
    const ids = inputs.input_ids[row].slice(first);
    const logits = await model.logits({ ids });
    const expected: Rows = outputs.logits[row].slice(first);
    max = Math.max(max, difference(logits, expected.flat()));
  }
  return max;
}

async function checkIncremental(model: Model, { inputs, outputs }: GoldenCase): Promise<number> {
  using session = model.session();
  const rows: Rows = outputs.logits_after_prompt_then_each_token;
  let max = difference(await session.prefill(inputs.prompt_ids), rows[0]!);
  for (const [i, id] of inputs.tokens.entries()) {
    max = Math.max(max, difference(await session.step(id), rows[i + 1]!));
  }
  return max;
}

async function checkGreedy(model: Model, { inputs, outputs }: GoldenCase): Promise<number> {
  using session = model.session();
  const ids: number[] = [];
  let logits = await session.prefill(inputs.prompt_ids);
  while (ids.length < outputs.ids.length) {
    ids.push(argmax(logits));
    logits = await session.step(ids.at(-1)!);
  }
  assertEquals(ids, outputs.ids);
  return 0;
}

const CHECKS: Record<string, (model: Model, row: GoldenCase) => Promise<number>> = {
  forward: checkForward,
  incremental: checkIncremental,
  greedy: checkGreedy,
};

for (const architecture of MODELS) {
  const folder = new URL(`golden/${architecture}/`, FIXTURES);
  for (const { bound, ...options } of BACKENDS) {
    const { backend, threads } = options;
    Deno.test({
      name: `golden() ${architecture} on ${backend} with ${threads} threads` +
        ("gpuLayers" in options ? ", one layer on the GPU" : ""),
      ignore: backend === "webgpu" && !hasWebgpu,
      async fn(): Promise<void> {
        const { cases } = JSON.parse(await Deno.readTextFile(new URL("expected.json", folder)));
        await using model = await loadModel(folder, options);
        for (const row of cases as GoldenCase[]) {
          const max = await CHECKS[row.kind]!(model, row);
          assert(max <= bound, `${row.name}: logits differ by ${max}, at most ${bound} expected`);
        }
      },
    });
  }
}
