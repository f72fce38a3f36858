/**
 * The library's options and the flags that set them: a message of the library names `contextLength`,
 * and whoever typed a command knows `--context`.
 *
 * @module
 */

/** Flags by the name of the option that they set, as messages of the library have it. */
export const FLAG_OF: Readonly<Record<string, string>> = {
  backend: "backend",
  cacheType: "cache-type",
  contextLength: "context",
  context: "context",
  dimensions: "dimensions",
  frequencyPenalty: "frequency-penalty",
  gpuLayers: "gpu-layers",
  logitBias: "logit-bias",
  logprobs: "logprobs",
  lookupTables: "lookup-tables",
  maxTokens: "max-tokens",
  minP: "min-p",
  pooling: "pooling",
  prefix: "prefix",
  presencePenalty: "presence-penalty",
  promptName: "prompt-name",
  repeatPenalty: "repeat-penalty",
  reproducible: "reproducible",
  saveImatrix: "save-imatrix",
  seed: "seed",
  sequences: "sequences",
  targetBpw: "target-bpw",
  targetSize: "target-size",
  task: "task",
  temperature: "temperature",
  threads: "threads",
  top: "top",
  topK: "top-k",
  topP: "top-p",
  truncate: "truncate",
  weights: "weights",
  wordTables: "word-tables",
};

/** Words that are also words of English are options only before a value; true needs none as a flag. */
const NAMES = Object.keys(FLAG_OF).sort((a, b) => b.length - a.length);
const camel = NAMES.filter((name) => /[A-Z]/.test(name)).join("|");
const plain = NAMES.filter((name) => !/[A-Z]/.test(name)).join("|");
const OPTION = new RegExp(
  `\\b(?:${camel})\\b|(?<=\\b(?:with|use) )(?:${plain})(?:(?= (?:"|-?\\d|-?Infinity|NaN))| true\\b)`,
  "g",
);

/** The message with flags for options, except in what it quotes: names of files may be anything. */
export function withFlags(message: string): string {
  return message.split(/("(?:[^"\\]|\\.)*")/).map((part, i, parts) => {
    if (i % 2 === 1) return part;
    // An option before a quoted value ends its part.
    const followed = i + 1 < parts.length ? `${part}"` : part;
    const text = followed.replaceAll(OPTION, (it) => `--${FLAG_OF[it.replace(/ true$/, "")]}`);
    return i + 1 < parts.length ? text.slice(0, -1) : text;
  }).join("");
}
