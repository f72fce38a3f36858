/**
 * "Did you mean": the nearest of the words that are known to one that is not.
 *
 * @module
 */

import { editDistance } from "../options.ts";

/** What other programs call our flags. */
const OTHER_NAMES: Readonly<Record<string, string>> = {
  "temp": "temperature",
  "n-predict": "max-tokens",
  "num-predict": "max-tokens",
  "max-new-tokens": "max-tokens",
  "max-length": "max-tokens",
  "ctx-size": "context",
  "num-ctx": "context",
  "context-length": "context",
  "n-gpu-layers": "gpu-layers",
  "repetition-penalty": "repeat-penalty",
  "system-prompt": "system",
  "device": "backend",
  "prompt-file": "file",
  "num-threads": "threads",
};

/** The known word that was most likely meant, or undefined where none is near. */
export function nearest(word: string, known: readonly string[]): string | undefined {
  const plain = word.toLowerCase().replaceAll("_", "-");
  const other = Object.hasOwn(OTHER_NAMES, plain) ? OTHER_NAMES[plain]! : plain;
  if (known.includes(other)) return other;
  let best: string | undefined, least = Infinity;
  for (const candidate of known) {
    const begins = plain.length >= 3 && candidate.startsWith(plain);
    const distance = begins ? 0.5 : editDistance(plain, candidate.toLowerCase());
    // Half of a word of three letters is not a slip of the finger any more.
    const most = Math.max(1, Math.floor(Math.min(plain.length, candidate.length) / 3));
    if (distance < least && (distance <= most)) [best, least] = [candidate, distance];
  }
  return best;
}

/** ` (did you mean X?)`, or nothing. */
export function didYouMean(word: string, known: readonly string[], prefix = ""): string {
  const best = nearest(word, known);
  return best === undefined ? "" : ` (did you mean ${prefix}${best}?)`;
}
