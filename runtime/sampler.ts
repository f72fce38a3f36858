/**
 * From logits to a token: repetition penalty, temperature, top-k, top-p, min-p, and a seeded draw.
 *
 * @module
 */

import { InputError } from "../errors.ts";
import {
  distance,
  distanceOfShare,
  octavesPerLogit,
  PROBABILITY_UNITS,
  share,
  weight,
} from "../kernels/sample/weight.ts";
import type { TokenChoice } from "./backend.ts";
import { uniform } from "./random.ts";

/** How tokens are chosen. */
export interface SamplerOptions {
  /** Divides the logits; 0 always takes the most likely token. Default 0.8. */
  readonly temperature?: number;
  /** Keeps the k most likely tokens; 0 keeps all. Default 40. */
  readonly topK?: number;
  /** Keeps the fewest tokens whose probabilities reach p (Holtzman et al., arXiv:1904.09751). Default 0.95. */
  readonly topP?: number;
  /** Keeps tokens at least this fraction as likely as the best (arXiv:2407.01082). Default 0. */
  readonly minP?: number;
  /** Divides positive and multiplies negative logits of recent tokens (arXiv:1909.05858). Default 1. */
  readonly repeatPenalty?: number;
  /** How many of the last tokens the penalty covers. Default 64. */
  readonly repeatWindow?: number;
  /** Whole number that fixes every draw; random where absent. */
  readonly seed?: number;
}

/**
 * Chooses a token from its logits, given the tokens before it, with the random number after the last
 * one, or with number `draw` of its stream.
 */
export type Sampler = (
  logits: Float32Array,
  history?: readonly number[],
  draw?: number,
) => number;

/** Least and most, and whether only whole numbers are meant. */
const LIMITS = {
  temperature: [0, 100, false],
  topK: [0, 2 ** 31, true],
  topP: [0, 1, false],
  minP: [0, 1, false],
  repeatPenalty: [0.01, 100, false],
  repeatWindow: [0, 2 ** 31, true],
  seed: [0, Number.MAX_SAFE_INTEGER, true],
} as const;

/** A choice as backends make it. */
export function backendChoice(options: SamplerOptions & { seed: number }): TokenChoice {
  const { temperature = 0.8, topK = 40, topP = 0.95, minP = 0, seed } = options;
  const { repeatPenalty = 1, repeatWindow = 64 } = options;
  return { temperature, topK, topP, minP, repeatPenalty, repeatWindow, seed };
}

/**
 * Makes a sampler; each call advances its random stream by one draw.
 *
 * @throws InputError when an option is out of range
 *
 * @example
 * ```ts
 * import { sampler } from "@sparrow/sparrow";
 *
 * const greedy = sampler({ temperature: 0 });
 * greedy(Float32Array.of(0.1, 2, 0.3)); // 1
 * ```
 */
export function sampler(options: SamplerOptions = {}): Sampler {
  for (const [name, [least, most, whole]] of Object.entries(LIMITS)) {
    const value = options[name as keyof typeof LIMITS];
    if (value === undefined) continue;
    if (!(value >= least && value <= most) || whole && !Number.isInteger(value)) {
      throw new InputError(
        `Cannot sample with ${name} ${value}: expected a ${whole ? "whole " : ""}number from ` +
          `${least} to ${most}`,
      );
    }
  }
  const { temperature = 0.8, topK = 40, topP = 0.95, minP = 0 } = options;
  const { repeatPenalty = 1, repeatWindow = 64 } = options;
  const seed = options.seed ?? randomSeed();
  const scale = octavesPerLogit(temperature), farthest = distanceOfShare(minP);
  const probability = Math.round(topP * PROBABILITY_UNITS);
  let draws = 0;
  return (logits, history = [], number = draws) => {
    draws = number + 1;
    const scores = repeatPenalty === 1 || repeatWindow === 0
      ? logits
      : penalize(logits, history.slice(-repeatWindow), repeatPenalty);
    if (temperature === 0) return argmax(scores);
    // In whole numbers, as a GPU does it.
    const candidates = mostLikely(scores, topK); // by falling logit
    const best = scores[candidates[0]!]!;
    const weights = new Float64Array(candidates.length);
    let total = 0, within = 0; // the first candidates that are likely enough for min-p
    candidates.forEach((id, i) => {
      const far = distance(scores[id]!, best, scale);
      if (far <= farthest) within++;
      total += weights[i] = weight(far);
    });
    const enough = share(total, probability);
    let kept = 0, mass = 0;
    while (kept < within && (kept === 0 || mass < enough)) mass += weights[kept++]!;
    const drawn = share(mass, uniform(seed, number) * PROBABILITY_UNITS);
    let i = 0, passed = weights[0]!;
    while (passed <= drawn) passed += weights[++i]!;
    return candidates[i]!;
  };
}

/** A seed that nobody chose. */
export function randomSeed(): number {
  return crypto.getRandomValues(new Uint32Array(1))[0]!;
}

/**
 * Index of the largest element, the first of equals.
 *
 * @throws InputError when no element is a number
 */
export function argmax(values: Float32Array): number {
  let best = -1, max = -Infinity;
  for (let i = 0; i < values.length; i++) {
    if (values[i]! > max) max = values[best = i]!;
  }
  if (best < 0) throw new InputError("Cannot choose a token: no logit is a finite number");
  return best;
}

function penalize(logits: Float32Array, recent: readonly number[], penalty: number): Float32Array {
  const scores = logits.slice();
  // Products, because they are rounded everywhere in the same way.
  const [less, more] = [Math.fround(1 / penalty), Math.fround(penalty)];
  for (const id of new Set(recent)) scores[id] = scores[id]! * (scores[id]! > 0 ? less : more);
  return scores;
}

/** Indices of the `count` largest logits (all for 0), largest first; ties by index. */
function mostLikely(logits: Float32Array, count: number): Uint32Array {
  const all = count === 0 || count >= logits.length;
  const least = all ? -Infinity : leastOfLargest(logits, count);
  // Plain loops: callbacks for 150,000 words would take longer than a small model's token.
  let found = 0;
  const ids = new Uint32Array(logits.length);
  for (let id = 0; id < logits.length; id++) {
    if (logits[id]! >= least && logits[id]! > -Infinity) ids[found++] = id;
  }
  if (found === 0) {
    throw new InputError("Cannot choose a token: no logit is a finite number");
  }
  const order = (a: number, b: number): number => logits[b]! - logits[a]! || a - b;
  return ids.slice(0, found).sort(order).subarray(0, all ? found : count);
}

/** The smallest of the `count` largest logits, through a heap of that many. */
function leastOfLargest(logits: Float32Array, count: number): number {
  const heap = new Float32Array(count).fill(-Infinity); // smallest of the largest first
  for (let i = 0; i < logits.length; i++) {
    const value = logits[i]!;
    if (!(value > heap[0]!)) continue;
    let at = 0;
    for (;;) {
      let child = 2 * at + 1;
      if (child >= count) break;
      if (child + 1 < count && heap[child + 1]! < heap[child]!) child++;
      if (heap[child]! >= value) break;
      heap[at] = heap[child]!;
      at = child;
    }
    heap[at] = value;
  }
  return heap[0]!;
}
