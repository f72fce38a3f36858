/**
 * What a model makes of texts that it only reads: logits, hidden states, one vector for a whole text.
 * `Model` is where these are called.
 *
 * @module
 */

import { InputError } from "../../errors.ts";
import { quote } from "../../escape.ts";
import { accepts, FLAG, oneOf, readOptions, type Rules, SIGNAL, TEXTS } from "../../options.ts";
import type { Engine } from "../engine/engine.ts";
import type { Pooling } from "../models/definition.ts";
import type { Output, ProgramName } from "../models/program.ts";
import type { Prompt } from "../models/prompt.ts";
import type { Tokenizer } from "../text/tokenizer/tokenizer.ts";

/** What an encoder makes of a text. */
export interface Encoding {
  /** The last layer's state for each token, `[tokens, hidden]` row-major. */
  readonly hidden: Float32Array;
  /** One vector for the whole text, `[hidden]`, where the model has a pooler. */
  readonly pooled?: Float32Array;
}

/** How `Model.embed` makes one vector of a text. */
export interface EmbedOptions {
  /**
   * The first or the last token's hidden state, or the mean of all. Default what the model's file names;
   * where it names none, `last` for a decoder, whose last token alone has seen the whole text, and
   * `mean` for an encoder.
   */
  readonly pooling?: Pooling;
  /** Whether vectors are scaled to length 1. Default true. */
  readonly normalize?: boolean;
  /** Ends it between two runs; the promise rejects with the signal's reason. */
  readonly signal?: AbortSignal;
}

const EMBED_RULES: Rules<EmbedOptions> = {
  pooling: oneOf(["first", "last", "mean"]),
  normalize: FLAG,
  signal: SIGNAL,
};

/** Token ids, or a prompt with what else a model takes. */
export type PromptLike = readonly number[] | Prompt;

/** Runs a prompt by itself; what it caches is forgotten. */
async function read(
  engine: Engine,
  prompt: PromptLike,
  output: Output,
  signal?: AbortSignal,
): Promise<Float32Array> {
  const sequence = engine.sequenceOf(prompt), holder = { cached: 0 };
  // An encoder by itself reads the source, whatever the decoder would do with it.
  const own = output.program === "encode" ? sequence.source ?? sequence : sequence;
  const finish = (rows: Float32Array): Float32Array => rows;
  try {
    return await engine.run({ holder, output, signal, sequence: () => own, finish });
  } finally {
    engine.release(holder);
  }
}

/** The program that reads texts by itself. */
function readerOf({ programs }: Engine): ProgramName {
  return programs.encode ? "encode" : "decode";
}

/** The logits of every token, `[tokens, vocab]`. */
export function readLogits(engine: Engine, prompt: PromptLike): Promise<Float32Array> {
  const program = engine.programs.decode ? "decode" : "encode";
  return read(engine, prompt, { program, names: ["logits"], rows: "all" });
}

/** The hidden state of every token, `[tokens, hidden]`. */
function readHidden(
  engine: Engine,
  prompt: PromptLike,
  signal: AbortSignal | undefined,
): Promise<Float32Array> {
  const output = { program: readerOf(engine), names: ["hidden"], rows: "all" } as const;
  return read(engine, prompt, output, signal);
}

/** Hidden states, and the pooled first token where the model has it. */
export async function encode(
  engine: Engine,
  prompt: PromptLike,
  signal: AbortSignal | undefined,
): Promise<Encoding> {
  const program = readerOf(engine);
  if (!engine.gives(program, "pooled")) {
    return { hidden: await readHidden(engine, prompt, signal) };
  }
  const output = { program, names: ["hidden", "pooled"], rows: "all" } as const;
  const both = await read(engine, prompt, output, signal); // [tokens, hidden + hidden]
  const width = engine.config.hiddenSize, hidden = new Float32Array(both.length / 2);
  for (let i = 0; i < hidden.length; i += width) {
    hidden.set(both.subarray(2 * i, 2 * i + width), i);
  }
  return { hidden, pooled: both.slice(width, 2 * width) }; // of the first token
}

/** One vector per text. */
export async function embed(
  engine: Engine,
  tokenizer: Tokenizer,
  texts: readonly string[],
  given: EmbedOptions,
): Promise<Float32Array[]> {
  const isEncoder = engine.programs.encode !== undefined;
  const options = readOptions("embed", given, EMBED_RULES);
  const own = engine.config.pooling ?? (isEncoder ? "mean" : "last");
  const { pooling = own, normalize = true, signal } = options;
  if (!accepts(TEXTS, texts)) {
    throw new InputError(
      `Cannot embed ${quote(texts)}: expected a list of texts, as in ["a text"]`,
    );
  }
  const embedOne = async (text: string): Promise<Float32Array> => {
    const hidden = await readHidden(engine, tokenizer.encode(text), signal);
    const vector = pool(hidden, engine.config.hiddenSize, pooling);
    const length = normalize ? Math.hypot(...vector) || 1 : 1;
    return vector.map((value) => value / length);
  };
  // An encoder reads texts together; a decoder would keep a cache for each.
  if (isEncoder) return await Promise.all(texts.map(embedOne));
  const vectors: Float32Array[] = [];
  for (const text of texts) vectors.push(await embedOne(text));
  return vectors;
}

/** One of the rows of `hidden [tokens, width]`, or their mean. */
function pool(
  hidden: Float32Array,
  width: number,
  pooling: Pooling,
): Float32Array {
  if (pooling === "first") return hidden.slice(0, width);
  if (pooling === "last") return hidden.slice(-width);
  const mean = new Float32Array(width), tokens = hidden.length / width;
  hidden.forEach((value, i) => mean[i % width]! += value / tokens);
  return mean;
}
