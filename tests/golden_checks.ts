/**
 * What is compared with the numbers that original implementations gave for golden models, in whatever
 * file a model's weights lie.
 *
 * @module
 */

import { assertEquals } from "@std/assert";
import type { Model, Prompt } from "../mod.ts";
import { openModelFile } from "../runtime/files/open.ts";
import { argmax } from "../runtime/generation/most_likely.ts";
import { readVector } from "../runtime/models/weights.ts";

type Rows = (number | null)[][];

/** One case of an `expected.json`. */
export interface GoldenCase {
  name: string;
  kind: string;
  // deno-lint-ignore no-explicit-any
  inputs: any;
  // deno-lint-ignore no-explicit-any
  outputs: any;
}

/** Largest difference that a backend may show, on logits. */
export const BACKENDS = [
  { backend: "reference", threads: 1, bound: 1e-4 },
  { backend: "wasm", threads: 1, bound: 1e-3 },
  { backend: "wasm", threads: 2, bound: 1e-3 },
  { backend: "webgpu", threads: 1, bound: 1e-3 },
  { backend: "webgpu", threads: 2, gpuLayers: 1, bound: 1e-3 },
] as const;

/** The largest difference of numbers; null is not compared. */
export function difference(actual: Float32Array, expected: (number | null)[]): number {
  assertEquals(actual.length, expected.length);
  let max = 0;
  expected.forEach((value, i) => {
    if (value === null) return;
    const off = Math.abs(actual[i]! - value);
    max = off <= max ? max : off; // NaN counts as the largest
  });
  return max;
}

/** A row of a batch as a prompt, without its padding, and where it begins in the row. */
export function promptOf(
  inputs: GoldenCase["inputs"],
  row: number,
): { prompt: Prompt; first: number } {
  const padding = inputs.pad_counts?.[row] ?? 0; // on the left
  const mask: number[] = inputs.attention_mask?.[row] ??
    inputs.input_ids[row].map((_: number, i: number) => i < padding ? 0 : 1);
  const first = mask.indexOf(1), end = mask.lastIndexOf(1) + 1;
  const prefixLength: number | undefined = inputs.prefix_lengths?.[row] ?? inputs.prefix_length;
  const prompt = {
    ids: inputs.input_ids[row].slice(first, end),
    ...(inputs.token_type_ids && { tokenTypeIds: inputs.token_type_ids[row].slice(first, end) }),
    ...(inputs.decoder_input_ids && { decoderIds: inputs.decoder_input_ids[row] }),
    ...(prefixLength !== undefined && { prefixLength }),
  };
  return { prompt, first };
}

/** What begins a text: ids, or the source of an encoder–decoder and the target's first token. */
function openingOf({ inputs }: GoldenCase): Prompt {
  if (inputs.input_ids) {
    const [first] = inputs.decoder_tokens_fed_one_by_one ?? [inputs.decoder_start_token_id];
    return { ids: inputs.input_ids[0], decoderIds: [first] };
  }
  const { prompt_ids: ids, prefix_length: prefixLength } = inputs;
  return { ids, ...(prefixLength !== undefined && { prefixLength }) };
}

/** Logits of whole sequences, by the model and by a session. */
async function checkForward(model: Model, { inputs, outputs }: GoldenCase): Promise<number> {
  let max = 0;
  for (let row = 0; row < inputs.input_ids.length; row++) {
    const { prompt, first } = promptOf(inputs, row);
    const length = (prompt.decoderIds ?? prompt.ids).length;
    const expected = (outputs.logits ?? outputs.prediction_logits)[row]
      .slice(prompt.decoderIds ? 0 : first).slice(0, length).flat();
    max = Math.max(max, difference(await model.logits(prompt), expected));
    if (outputs.prediction_logits) continue; // an encoder has no sessions
    using session = model.session();
    max = Math.max(max, difference(await session.logits(prompt), expected));
    assertEquals(session.position, length);
  }
  return max;
}

/** An encoder: the head for masked words, and the pooled first token. */
async function checkMasked(model: Model, row: GoldenCase): Promise<number> {
  const { inputs, outputs } = row;
  let max = await checkForward(model, row);
  const batch = inputs.input_ids.map((_: unknown, i: number) => promptOf(inputs, i).prompt);
  for (
    const [i, { hidden, pooled }] of (await Promise.all(
      batch.map((it: Prompt) => model.encode(it)),
    )).entries()
  ) {
    assertEquals(hidden.length, batch[i].ids.length * model.config.hiddenSize);
    if (outputs.pooled) max = Math.max(max, difference(pooled!, outputs.pooled[i]));
  }
  return max;
}

/** An encoder without heads: the last layer's states. */
async function checkStates(model: Model, { inputs, outputs }: GoldenCase): Promise<number> {
  let max = 0;
  for (let row = 0; row < inputs.input_ids.length; row++) {
    const { prompt } = promptOf(inputs, row), { hidden } = await model.encode(prompt);
    const expected = outputs.hidden[row].slice(0, prompt.ids.length).flat();
    max = Math.max(max, difference(hidden, expected));
  }
  return max;
}

async function checkIncremental(model: Model, row: GoldenCase): Promise<number> {
  using session = model.session();
  const { inputs, outputs } = row;
  const rows: Rows = outputs.logits_after_prompt_then_each_token ?? outputs.logits_each_step;
  const tokens: number[] = inputs.tokens ?? inputs.decoder_tokens_fed_one_by_one.slice(1);
  let max = difference(await session.prefill(openingOf(row)), rows[0]!);
  for (const [i, id] of tokens.entries()) {
    max = Math.max(max, difference(await session.step(id), rows[i + 1]!));
  }
  return max;
}

/**
 * Hidden states of calls that share a cache. The models have no head, so that a session's logits are
 * products of its hidden states with the embedding table.
 */
async function checkHidden(model: Model, { inputs, outputs }: GoldenCase): Promise<number> {
  using session = model.session();
  const steps: number[][] = inputs.steps.map((it: { input_ids: number[][] }) => it.input_ids[0]);
  const expected: number[][][] = outputs.last_hidden_state_after_final_norm;
  const { hidden } = await model.encode(steps.flat());
  const table = await embeddingTable(model);
  let max = difference(hidden, expected.flat(2));
  for (const [i, ids] of steps.entries()) {
    const logits = i === 0 ? await session.prefill(ids) : await session.step(ids[0]!);
    const last = expected[i]!.at(-1)!;
    const products = table.map((row) => row.reduce((sum, it, k) => sum + it * last[k]!, 0));
    max = Math.max(max, difference(logits, products));
  }
  return max;
}

/** Rows of the embedding table `[vocab][hidden]`, from the file. */
async function embeddingTable({ name, config }: Model): Promise<number[][]> {
  const file = await openModelFile(name);
  const entry = Array.from(file.tensors.values()).find((it) => it.name.includes("word_embeddings"));
  const values = await readVector(entry!);
  file.close();
  const { vocabSize, hiddenSize } = config;
  return Array.from(
    { length: vocabSize },
    (_, i) => Array.from(values.subarray(i * hiddenSize, (i + 1) * hiddenSize)),
  );
}

/** Every token from a run of all tokens so far, as without a cache. */
async function checkGreedyWhole(model: Model, row: GoldenCase): Promise<number> {
  const { ids, decoderIds } = openingOf(row), target = [...decoderIds!];
  for (const expected of row.outputs.ids) {
    const logits = await model.logits({ ids, decoderIds: target });
    target.push(argmax(logits.subarray(-model.config.vocabSize)));
    assertEquals(target.at(-1), expected);
  }
  return 0;
}

async function checkGreedy(model: Model, row: GoldenCase): Promise<number> {
  if (row.inputs.use_cache === false) return await checkGreedyWhole(model, row);
  using session = model.session();
  const { outputs } = row, ids: number[] = [];
  let logits = await session.prefill(openingOf(row));
  while (ids.length < outputs.ids.length) {
    ids.push(argmax(logits));
    logits = await session.step(ids.at(-1)!);
  }
  assertEquals(ids, outputs.ids);
  const generated = await model.complete(openingOf(row), {
    temperature: 0,
    maxTokens: ids.length,
    stopIds: [],
  });
  assertEquals(generated.ids, outputs.ids);
  return 0;
}

/** A text in segments, by calls of one session, in one call, and token by token. */
async function checkSegments(model: Model, { inputs, outputs }: GoldenCase): Promise<number> {
  const segments: number[][] = inputs.segments;
  // deno-lint-ignore no-explicit-any
  const rows: Rows[] = outputs.map((it: any) => it.log_probs[0]);
  using session = model.session(), slow = model.session();
  let max = difference(await model.logits(segments.flat()), rows.flat(2));
  for (const [i, ids] of segments.entries()) {
    max = Math.max(max, difference(await session.logits(ids), rows[i]!.flat()));
    for (const [k, id] of ids.entries()) {
      max = Math.max(max, difference(await slow.step(id), rows[i]![k]!));
    }
  }
  return max;
}

/** What is done with each kind of case; gives the largest difference of logits. */
export const CHECKS: Record<string, (model: Model, row: GoldenCase) => Promise<number>> = {
  forward: checkForward,
  incremental: checkIncremental,
  greedy: checkGreedy,
  hidden: checkStates,
  hidden_incremental: checkHidden,
  masked_lm: checkMasked,
  segments: checkSegments,
  seq2seq_forward: checkForward,
  seq2seq_incremental: checkIncremental,
  seq2seq_greedy: checkGreedy,
};
