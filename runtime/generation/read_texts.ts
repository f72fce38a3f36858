/**
 * What a model makes of texts that it only reads: logits, hidden states. `Model` and the tasks are where
 * these are called.
 *
 * @module
 */

import { ModelError } from "../../errors.ts";
import { quote } from "../../escape.ts";
import type { Engine } from "../engine/engine.ts";
import type { Output, ProgramName } from "../models/program.ts";
import type { Prompt } from "../models/prompt.ts";

/** What an encoder makes of a text. */
export interface Encoding {
  /** The last layer's state for each token, `[tokens, hidden]` row-major. */
  readonly hidden: Float32Array;
  /** One vector for the whole text, `[hidden]`, where the model has a pooler. */
  readonly pooled?: Float32Array;
}

/** Token ids, or a prompt with what else a model takes. */
export type PromptLike = readonly number[] | Prompt;

/** Runs a prompt by itself; what it caches is forgotten. */
export async function read(
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

/**
 * Refuses a model that only reads.
 *
 * @throws ModelError naming the architecture, and what it is good for
 */
export function checkWrites({ config, programs }: Engine, action: string): void {
  if (programs.decode) return;
  throw new ModelError(
    `Cannot ${action} with a model of architecture ${quote(config.architecture)}: it reads texts ` +
      `and writes none; use it to embed, fill masks, classify or rerank, or use a model that writes`,
  );
}

/** The program that reads texts by itself. */
function readerOf({ programs }: Engine): ProgramName {
  return programs.encode ? "encode" : "decode";
}

/**
 * The logits of every token, `[tokens, vocab]`.
 *
 * @throws ModelError when it is an encoder whose file has no head for words
 */
export async function readLogits(engine: Engine, prompt: PromptLike): Promise<Float32Array> {
  const program = engine.programs.decode ? "decode" : "encode";
  if (!engine.gives(program, "logits")) {
    const { architecture } = engine.config, { name = architecture } = engine.options;
    throw new ModelError(
      `Cannot compute logits with ${quote(name)}: it is an encoder of architecture ` +
        `${quote(architecture)} without a head for words, expected a model with one; use encode ` +
        `or embed`,
    );
  }
  return await read(engine, prompt, { program, names: ["logits"], rows: "all" });
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
