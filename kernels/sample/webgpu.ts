/**
 * The choice of the next token on the GPU, after which the same dispatches can run again without
 * the host. No op: nothing in a graph stands for it.
 *
 * @module
 */

import type { Advance } from "./advance.ts";
import type { TokenChoice } from "./choice.ts";
import { floatBits } from "../numbers.ts";
import { hasOffsets, type LogitOffsets, offsetSteps } from "./offsets.ts";
import type { Shader } from "../webgpu_kernel.ts";
import common from "./common.wgsl" with { type: "text" };
import draw from "./draw.wgsl" with { type: "text" };
import drawAll from "./draw_all.wgsl" with { type: "text" };
import greedy from "./greedy.wgsl" with { type: "text" };
import { distanceOfShare, octavesPerLogit, PROBABILITY_UNITS } from "./weight.ts";
import weight from "./weight.wgsl" with { type: "text" };

/** Logits, then what is written: ids, four other inputs, choices and what is known of each word. */
const ACCESS = ["read", "write", "write", "write", "write", "write", "write", "write"] as const;

/** How many inputs beside the ids a choice can advance. */
export const MOST_ADVANCED = 4;

/** Each chooses from the logits in binding 1 and advances the inputs in bindings 2 to 6. */
export const SAMPLE_SHADERS = {
  greedy: { name: "sample, greedy", code: common + greedy, access: ACCESS },
  draw: { name: "sample, draw", code: common + weight + draw, access: ACCESS },
  drawAll: { name: "sample, draw from all", code: common + weight + drawAll, access: ACCESS },
} as const satisfies Record<string, Shader>;

/** A choice from the logits of one row. */
export interface SampleParams extends TokenChoice {
  /** Logits. */
  readonly vocab: number;
  /** Number of the first random draw. */
  readonly draw: number;
  /** Tokens before the first choice. */
  readonly tokens: number;
}

/** Logits from which on a workgroup is as large as every device allows. */
const MANY_LOGITS = 4096;
/** Candidates for whom there is room in a list, however many are as likely as the last of them. */
const MOST_LISTED = 256;
/** Steps of a loop over the vocabulary for each candidate; software adapters stop at 65535 in all. */
const MOST_STEPS = 50_000;

/** The shader of a choice and its constants; `advances` has an entry for each input beside the ids. */
export function sampleShader(
  params: SampleParams,
  advances: readonly Advance[],
): { shader: Shader; constants: Record<string, number> } {
  const { vocab, temperature, topK, repeatPenalty, repeatWindow } = params;
  const { greedy, draw, drawAll } = SAMPLE_SHADERS;
  const lanes = vocab < MANY_LOGITS ? 64 : 256;
  const candidates = Math.min(topK || vocab, vocab);
  const isFew = candidates <= MOST_LISTED && candidates * (vocab / lanes + 32) <= MOST_STEPS;
  return {
    shader: temperature === 0 ? greedy : isFew ? draw : drawAll,
    constants: {
      LANES: lanes,
      PENALTY: repeatPenalty !== 1 && repeatWindow > 0 ? 1 : 0,
      OFFSETS: hasOffsets(params) ? 1 : 0,
      ...Object.fromEntries(
        Array.from({ length: MOST_ADVANCED }, (_, i) => advances[i] ?? { step: [] })
          .flatMap(({ step: [first = 0, second = 0], window = 0 }, i) => [
            [`FIRST_${i}`, first],
            [`SECOND_${i}`, second],
            [`SPAN_${i}`, window],
          ]),
      ),
    },
  };
}

/** Its parameters. */
export function sampleParams(params: SampleParams): number[] {
  const { vocab, temperature, topK, topP, minP, seed, draw } = params;
  const { repeatPenalty, repeatWindow, tokens } = params;
  const { first, later } = offsetSteps(params);
  return [
    vocab,
    topK === 0 ? vocab : Math.min(topK, vocab),
    floatBits(octavesPerLogit(temperature)),
    Math.round(topP * PROBABILITY_UNITS),
    distanceOfShare(minP),
    seed >>> 0,
    Math.floor(seed / 2 ** 32) >>> 0,
    draw,
    floatBits(repeatPenalty),
    floatBits(1 / repeatPenalty),
    Math.min(repeatWindow, 2 ** 31),
    tokens,
    floatBits(first),
    floatBits(later),
  ];
}

/**
 * What is known of each word before a submission, `[3, vocab]`: the number of tokens up to its last one
 * within the repeat window, its offset as the bits of a float, and 1 where it was generated.
 */
export function sampleWords(
  vocab: number,
  history: readonly number[],
  repeatWindow: number,
  offsets: LogitOffsets,
): Uint32Array<ArrayBuffer> {
  const words = new Uint32Array(3 * vocab);
  for (let i = Math.max(0, history.length - repeatWindow); i < history.length; i++) {
    if (history[i]! < vocab) words[history[i]!] = i + 1;
  }
  for (const [id, offset] of offsets.byId) if (id < vocab) words[vocab + id] = floatBits(offset);
  for (const id of offsets.generated) if (id < vocab) words[2 * vocab + id] = 1;
  return words;
}
