/**
 * The choice of the next token on the GPU, after which the same dispatches can run again without
 * the host. No op: nothing in a graph stands for it.
 *
 * @module
 */

import { floatBits, type Shader } from "../webgpu_kernel.ts";
import code from "./webgpu.wgsl" with { type: "text" };

/** Chooses from the logits in binding 1 and advances the inputs in bindings 2 to 5. */
export const SAMPLE_SHADER: Shader = {
  name: "sample",
  code,
  access: ["read", "write", "write", "write", "write", "write"],
};

/** What decides a choice; the names are those of `SamplerOptions`. */
export interface SampleParams {
  /** Logits. */
  readonly vocab: number;
  /** Rows that a token sees at most. */
  readonly window: number;
  /** 0 takes the largest logit. */
  readonly temperature: number;
  /** From 1 to 256, where the temperature is not 0. */
  readonly topK: number;
  /** Probability that the candidates must reach. */
  readonly topP: number;
  /** Least probability of a candidate, as a fraction of the best one's. */
  readonly minP: number;
  /** Stream of random numbers. */
  readonly seed: number;
  /** Number of the first draw. */
  readonly draw: number;
}

/** The shader's parameters. */
export function sampleParams(params: SampleParams): number[] {
  const { vocab, window, temperature, topK, topP, minP, seed, draw } = params;
  return [
    vocab,
    window,
    topK,
    floatBits(temperature),
    floatBits(topP),
    floatBits(minP),
    seed >>> 0,
    Math.floor(seed / 2 ** 32) >>> 0,
    draw,
  ];
}
