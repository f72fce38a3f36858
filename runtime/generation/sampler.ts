/**
 * From logits to a token: repetition penalty, temperature, top-k, top-p, min-p, and a seeded draw.
 *
 * @module
 */

import { InputError, ModelError } from "../../errors.ts";
import { quote } from "../../escape.ts";
import {
  distance,
  distanceOfShare,
  octavesPerLogit,
  PROBABILITY_UNITS,
  share,
  weight,
} from "../../kernels/sample/weight.ts";
import {
  checkValue,
  isA,
  numberIn,
  NUMBERS,
  readOptions,
  type Rules,
  wholeNumberIn,
} from "../../options.ts";
import type { TokenChoice } from "../backends/backend.ts";
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

/** What each option may be. */
export const SAMPLER_RULES: Rules<SamplerOptions> = {
  temperature: numberIn(0, 100),
  topK: wholeNumberIn(0, 2 ** 31),
  topP: numberIn(0, 1),
  minP: numberIn(0, 1),
  repeatPenalty: numberIn(0.01, 100),
  repeatWindow: wholeNumberIn(0, 2 ** 31),
  seed: wholeNumberIn(0, Number.MAX_SAFE_INTEGER),
};

const DRAW = wholeNumberIn(0, Number.MAX_SAFE_INTEGER);

/** The options of a sampler among others. */
export function samplerOptions(options: SamplerOptions): SamplerOptions {
  const names = Object.keys(SAMPLER_RULES) as (keyof SamplerOptions)[];
  return Object.fromEntries(
    names.filter((name) => options[name] !== undefined).map((name) => [name, options[name]]),
  );
}

/** A choice as backends make it. */
export function backendChoice(options: SamplerOptions & { seed: number }): TokenChoice {
  const { temperature = 0.8, topK = 40, topP = 0.95, minP = 0, seed } = options;
  const { repeatPenalty = 1, repeatWindow = 64 } = options;
  return { temperature, topK, topP, minP, repeatPenalty, repeatWindow, seed };
}

/**
 * Makes a sampler; each call advances its random stream by one draw. What it returns throws a
 * ModelError where no choice can be right: a logit is NaN or infinite (-Infinity rules a word out),
 * or every word is ruled out.
 *
 * @throws InputError when an option is unknown or out of range
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
  options = readOptions("sample", options, SAMPLER_RULES);
  const { temperature = 0.8, topK = 40, topP = 0.95, minP = 0 } = options;
  const { repeatPenalty = 1, repeatWindow = 64 } = options;
  const seed = options.seed ?? randomSeed();
  const scale = octavesPerLogit(temperature), farthest = distanceOfShare(minP);
  const probability = Math.round(topP * PROBABILITY_UNITS);
  let draws = 0;
  return (logits, history = [], number = draws) => {
    if (!isA(logits, Float32Array) || logits.length === 0) {
      throw new InputError(
        `Cannot choose a token from ${quote(logits)}: expected a Float32Array of logits`,
      );
    }
    checkValue("choose a token", "history", history, NUMBERS);
    checkValue("choose a token", "draw", number, DRAW);
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
 * @throws ModelError when an element is NaN or Infinity, or all are -Infinity
 */
export function argmax(values: Float32Array): number {
  let best = -1, max = -Infinity;
  for (let i = 0; i < values.length; i++) {
    const value = values[i]!;
    if (!(value < Infinity)) throw notFinite(i, value);
    if (value > max) max = values[best = i]!;
  }
  if (best < 0) throw nothingLeft();
  return best;
}

function notFinite(id: number, value: number): ModelError {
  return new ModelError(
    `Cannot choose a token: the logit of id ${id} is ${value}, expected a finite number, or ` +
      `-Infinity for a word that is ruled out`,
  );
}

function nothingLeft(): ModelError {
  return new ModelError(
    "Cannot choose a token: every logit is -Infinity, so that every word is ruled out",
  );
}

function penalize(logits: Float32Array, recent: readonly number[], penalty: number): Float32Array {
  const scores = logits.slice();
  // Products, because they are rounded everywhere in the same way.
  const [less, more] = [Math.fround(1 / penalty), Math.fround(penalty)];
  for (const id of new Set(recent)) {
    const score = scores[id];
    if (score !== undefined) scores[id] = score * (score > 0 ? less : more);
  }
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
    const logit = logits[id]!;
    if (!(logit < Infinity)) throw notFinite(id, logit);
    if (logit >= least && logit > -Infinity) ids[found++] = id;
  }
  if (found === 0) throw nothingLeft();
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
