/**
 * Vectors of texts.
 *
 * @module
 */

import { InputError, ModelError } from "../../errors.ts";
import { quote } from "../../escape.ts";
import {
  accepts,
  FLAG,
  oneOf,
  readOptions,
  type Rules,
  SIGNAL,
  TEXT,
  TEXTS,
  wholeNumberIn,
} from "../../options.ts";
import { read } from "../generation/read_texts.ts";
import type { Output } from "../models/program.ts";
import type { VectorModules } from "./modules.ts";
import { normalized, pool, type Pooling, POOLINGS } from "./pooling.ts";
import { inTurn, promptOf, type TaskModel, TEXTS_AT_ONCE } from "./reader.ts";

/** How `Model.embed` makes one vector of a text. */
export interface EmbedOptions {
  /**
   * From the states of tokens to one vector: the first or the last token's, the mean of all, the largest
   * number of each column (`max`), the sum divided by the root of the number of tokens (`mean-sqrt`), or
   * the mean in which the nth token counts n times (`weighted-mean`). Default what the model's files
   * name: the modules of sentence-transformers or GGUF's `pooling_type`; where they name nothing, `last`
   * for a decoder, whose last token alone has seen the whole text, and `mean` for an encoder.
   */
  readonly pooling?: Pooling;
  /**
   * Whether vectors are scaled to length 1. Default whether a `modules.json` has `Normalize`; without
   * such a file, true.
   */
  readonly normalize?: boolean;
  /**
   * Keeps the first so many numbers of each vector, for models that were trained so that these are a vector
   * of their own (Kusupati et al., arXiv:2205.13147); they are scaled to length 1 as the whole one would be.
   * Default all.
   */
  readonly dimensions?: number;
  /** Put before every text, as `"query: "`. */
  readonly prefix?: string;
  /**
   * The same by the name that `config_sentence_transformers.json` gives it, as `"query"`. Default the one
   * that it names as default, if it does.
   */
  readonly promptName?: string;
  /** Whether of a text that is too long the beginning is read. Default false: it is an error. */
  readonly truncate?: boolean;
  /** Ends it between two runs; the promise rejects with the signal's reason. */
  readonly signal?: AbortSignal;
}

const EMBED_RULES: Rules<EmbedOptions> = {
  pooling: oneOf(POOLINGS),
  normalize: FLAG,
  dimensions: wholeNumberIn(1, 1_000_000_000),
  prefix: TEXT,
  promptName: TEXT,
  truncate: FLAG,
  signal: SIGNAL,
};

/** One vector per text. */
export async function embed(
  model: TaskModel,
  texts: readonly string[],
  given: EmbedOptions,
): Promise<Float32Array[]> {
  const options = readOptions("embed", given, EMBED_RULES);
  if (!accepts(TEXTS, texts)) {
    throw new InputError(
      `Cannot embed ${quote(texts)}: expected a list of texts, as in ["a text"]`,
    );
  }
  const { engine, tokenizer, facts } = model;
  const modules = modulesOf(model, options);
  const { poolings, countsPrefix, steps, normalizes } = modules;
  const prefix = prefixOf(model, options);
  const written = (text: string): string => facts.lowercase ? text.toLowerCase() : text;
  const reading = { action: "embed", most: facts.maxTokens, truncate: options.truncate };
  // Every text is looked at before the first one runs.
  const prompts = texts.map((text, i) =>
    promptOf(model, written(prefix + text), { ...reading, what: `text ${i + 1}` })
  );
  const skipped = countsPrefix || prefix === ""
    ? 0
    : beforeText(model) + tokenizer.encode(written(prefix), { addSpecial: false }).length;
  const program = engine.programs.encode ? "encode" as const : "decode" as const;
  const output: Output = { program, names: ["hidden"], rows: rowsFor(modules, program, skipped) };
  const width = engine.config.hiddenSize;
  // An encoder reads texts together; a decoder would keep a cache for each.
  const together = engine.programs.encode ? TEXTS_AT_ONCE : 1;
  return await inTurn(prompts, together, async (prompt) => {
    const hidden = await read(engine, prompt, output, options.signal); // [tokens, width], or one row
    const first = Math.min(skipped, hidden.length / width - 1);
    const pooled = poolings.map((it) => pool(hidden, width, it, first));
    const joined = pooled.length === 1
      ? pooled[0]!
      : Float64Array.from(pooled.flatMap((it) => [...it]));
    const whole = steps.reduce((it, step) => step(it), joined);
    const vector = firstOf(model, whole, options.dimensions);
    return finite(model, Float32Array.from(normalizes ? normalized(vector) : vector));
  });
}

/** The first numbers of a vector. */
function firstOf(
  { name }: TaskModel,
  vector: Float64Array,
  dimensions: number = vector.length,
): Float64Array {
  if (dimensions <= vector.length) return vector.subarray(0, dimensions);
  throw new InputError(
    `Cannot embed with dimensions ${dimensions}: vectors of ${quote(name)} have ${vector.length} ` +
      `numbers, expected at most as many`,
  );
}

/** Hidden states are finite; what the modules after them make of them may not be. */
function finite({ name }: TaskModel, vector: Float32Array): Float32Array {
  const at = vector.findIndex((value) => !Number.isFinite(value));
  if (at < 0) return vector;
  throw new ModelError(
    `Cannot embed with ${quote(name)}: number ${at} of a vector is ${
      vector[at]
    }, expected a finite ` +
      `one; the weights of its modules are damaged`,
  );
}

/** How many tokens the tokenizer puts before a text: up to where two texts differ. */
function beforeText({ tokenizer }: TaskModel): number {
  const one = tokenizer.surround([0]).ids, other = tokenizer.surround([1]).ids;
  return one.findIndex((id, i) => id !== other[i]);
}

/** What becomes of hidden states: what the files say, with what the caller wants instead. */
function modulesOf(
  { engine, facts }: TaskModel,
  { pooling, normalize }: EmbedOptions,
): VectorModules {
  const usual: Pooling = engine.programs.encode ? "mean" : "last";
  const plain = { poolings: [usual], countsPrefix: true, steps: [], normalizes: true };
  if (facts.modules instanceof ModelError && pooling === undefined) throw facts.modules;
  const own = facts.modules instanceof ModelError ? plain : facts.modules ?? plain;
  return {
    ...own,
    ...(pooling !== undefined && { poolings: [pooling] }),
    ...(normalize !== undefined && { normalizes: normalize }),
  };
}

/** One row where the pooling needs no other: an encoder's text is one run, a decoder's may be several. */
function rowsFor(
  { poolings }: VectorModules,
  program: "encode" | "decode",
  skipped: number,
): Output["rows"] {
  if (skipped > 0 || poolings.length > 1) return "all";
  if (poolings[0] === "last") return "last";
  return poolings[0] === "first" && program === "encode" ? "first" : "all";
}

function prefixOf({ facts, name }: TaskModel, { prefix, promptName }: EmbedOptions): string {
  if (prefix !== undefined && promptName !== undefined) {
    throw new InputError(
      `Cannot embed with prefix ${quote(prefix)} and promptName ${
        quote(promptName)
      }: give one of ` +
        `them`,
    );
  }
  const wanted = promptName ?? (prefix === undefined ? facts.defaultPrompt : undefined);
  if (wanted === undefined) return prefix ?? "";
  if (Object.hasOwn(facts.prompts, wanted)) return facts.prompts[wanted]!;
  const known = Object.keys(facts.prompts).map((it) => quote(it)).join(", ") || "no prompts";
  throw new InputError(
    `Cannot embed with promptName ${quote(wanted)}: config_sentence_transformers.json of ` +
      `${quote(name)} has ${known}; use prefix for a text of your own`,
  );
}
