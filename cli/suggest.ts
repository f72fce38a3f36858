/**
 * "Did you mean": the nearest of the words that are known to one that is not.
 *
 * @module
 */

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

/**
 * Fewest letters to insert, delete, replace or swap with their neighbour (optimal string alignment,
 * a restricted Damerau–Levenshtein distance).
 */
export function editDistance(a: string, b: string): number {
  if (Math.abs(a.length - b.length) > 8) return Infinity; // far enough, and long words cost nothing
  const rows = [Array.from({ length: b.length + 1 }, (_, j) => j)];
  for (let i = 1; i <= a.length; i++) {
    const row = [i];
    for (let j = 1; j <= b.length; j++) {
      const replaced = rows[i - 1]![j - 1]! + (a[i - 1] === b[j - 1] ? 0 : 1);
      row[j] = Math.min(rows[i - 1]![j]! + 1, row[j - 1]! + 1, replaced);
      const swapped = i > 1 && j > 1 && a[i - 1] === b[j - 2] && a[i - 2] === b[j - 1];
      if (swapped) row[j] = Math.min(row[j]!, rows[i - 2]![j - 2]! + 1);
    }
    rows.push(row);
  }
  return rows[a.length]![b.length]!;
}
