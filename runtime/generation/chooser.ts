/**
 * The choice of a token from its logits, as every backend that chooses makes it: offsets, penalties,
 * temperature, top-k, top-p, min-p and a numbered draw. It checks nothing; sampler.ts is for callers.
 *
 * @module
 */

import { hasOffsets, LogitOffsets } from "../../kernels/sample/offsets.ts";
import {
  distance,
  distanceOfShare,
  octavesPerLogit,
  PROBABILITY_UNITS,
  share,
  weight,
} from "../../kernels/sample/weight.ts";
import type { TokenChoice } from "../backends/backend.ts";
import { argmax, mostLikely } from "./most_likely.ts";
import { uniform } from "./random.ts";

/** What a choice goes by beside the logits. */
export interface ChoicePlace {
  /** All tokens so far, the prompt's too. */
  readonly history: readonly number[];
  /** Offsets after the generated tokens, where there are any. */
  readonly offsets: LogitOffsets | undefined;
  /** Number of the random draw. */
  readonly draw: number;
}

/** Chooses a token from its logits `[vocab]`, which it leaves as they are. */
export type Chooser = (logits: Float32Array, place: ChoicePlace) => number;

/** Offsets for a choice after some generated tokens; undefined where it adds nothing. */
export function offsetsOf(
  choice: TokenChoice,
  generated: Iterable<number> = [],
): LogitOffsets | undefined {
  return hasOffsets(choice) ? new LogitOffsets(choice, generated) : undefined;
}

/**
 * Makes a chooser. What it returns throws a ModelError when a logit is NaN or Infinity, or every one
 * is -Infinity.
 */
export function chooser(choice: TokenChoice): Chooser {
  const { temperature, topK, topP, minP, repeatPenalty, repeatWindow, seed } = choice;
  const scale = octavesPerLogit(temperature), farthest = distanceOfShare(minP);
  const probability = Math.round(topP * PROBABILITY_UNITS);
  const repeats = repeatPenalty !== 1 && repeatWindow > 0;
  return (logits, { history, offsets, draw }) => {
    let scores = logits;
    if (offsets || repeats) scores = logits.slice();
    if (offsets) addOffsets(scores, offsets);
    if (repeats) penalize(scores, history.slice(-repeatWindow), repeatPenalty);
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
    const drawn = share(mass, uniform(seed, draw) * PROBABILITY_UNITS);
    let i = 0, passed = weights[0]!;
    while (passed <= drawn) passed += weights[++i]!;
    return candidates[i]!;
  };
}

/** Adds to each token's score what is its own. */
function addOffsets(scores: Float32Array, { byId }: LogitOffsets): void {
  for (const [id, offset] of byId) {
    const score = scores[id];
    // A logit that is not finite stays what it is, so that it is noticed.
    if (score !== undefined && Number.isFinite(score)) scores[id] = score + offset;
  }
}

/** Makes tokens that came before less likely, each once. */
function penalize(scores: Float32Array, recent: readonly number[], penalty: number): void {
  // Products, because they are rounded everywhere in the same way.
  const [less, more] = [Math.fround(1 / penalty), Math.fround(penalty)];
  for (const id of new Set(recent)) {
    const score = scores[id];
    if (score !== undefined) scores[id] = score * (score > 0 ? less : more);
  }
}
