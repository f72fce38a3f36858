/**
 * What tests of sessions share: tiny models, random ids, a generation run to its end, logits compared.
 *
 * @module
 */

import { assert, assertEquals } from "@std/assert";
import {
  type GenerateOptions,
  type GenerationResult,
  loadModel,
  type LoadOptions,
  type Model,
  type Session,
} from "../mod.ts";
import { randomNumbers } from "./fixtures.ts";
import { tinyBlob, type TinyOptions, tinyVocabulary } from "./tiny_model.ts";

/** Words of a tiny model. */
export const VOCAB = tinyVocabulary();

/** A tiny model on `wasm`. */
export async function tiny(options: TinyOptions = {}, load: LoadOptions = {}): Promise<Model> {
  return await loadModel(await tinyBlob(options), { backend: "wasm", threads: 1, ...load });
}

/** Random token ids. */
export function randomIds(length: number, seed = 1): number[] {
  const random = randomNumbers(seed);
  return Array.from({ length }, () => Math.floor(random() * VOCAB));
}

/** Runs a generation to its end. */
export async function run(
  session: Session,
  prompt: string | readonly number[],
  options: GenerateOptions = {},
): Promise<GenerationResult & { pieces: string[] }> {
  const pieces: string[] = [];
  let result: GenerationResult | undefined;
  const stream = session.generate(prompt, {
    temperature: 0,
    stopIds: [],
    ...options,
    onFinish: (it) => {
      assertEquals(result, undefined, "onFinish was called twice");
      result = it;
    },
  });
  for await (const { text } of stream) pieces.push(text);
  assertEquals(pieces.join(""), result!.text);
  return { ...result!, pieces };
}

/** Largest difference of two lists of logits, as a part of the largest logit. */
export function difference(actual: Float32Array, expected: Float32Array): number {
  assertEquals(actual.length, expected.length);
  const largest = expected.reduce((max, it) => Math.max(max, Math.abs(it)), 0);
  return expected.reduce((max, it, i) => Math.max(max, Math.abs(it - actual[i]!)), 0) / largest;
}

/** Throws where logits differ by more than a part of the largest one. */
export function assertClose(actual: Float32Array, expected: Float32Array, bound = 1e-5): void {
  const off = difference(actual, expected);
  assert(off <= bound, `logits differ by ${off} of the largest, at most ${bound} expected`);
}
