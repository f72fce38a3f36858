/**
 * What a model does in one run, as the engine sees it: which numbers go in, how they go on from one
 * token to the next, which tokens must run together, and which results come out. The model says all
 * of it; the engine carries it out without knowing what it means.
 *
 * @module
 */

import type { CacheType } from "../../kernels/op.ts";
import type { Advance } from "../../kernels/sample/advance.ts";
import type { Graph, Tensor } from "../graph/graph.ts";
import type { WeightScope } from "./weights.ts";
import type { PromptRules } from "./prompt.ts";
import type { Sequence } from "./sequence.ts";

/** Tokens of one sequence that run, one after another. */
export interface RunPart {
  /** The whole sequence that they belong to. */
  readonly sequence: Sequence;
  /** Place in the sequence of the first of them: that many come before them. */
  readonly position: number;
  /** How many run. */
  readonly count: number;
  /** Tokens of other parts that come before them in the run. */
  readonly offset: number;
  /** First row of the sequence in the caches. */
  readonly firstRow: number;
}

/**
 * An input of a graph, `i32 [tokens]` or `[tokens, 2]`: what is in it for each token, and how that
 * goes on where a backend chooses tokens by itself.
 */
export interface InputRule extends Advance {
  /** Its name in the graph. */
  readonly name: string;
  /**
   * Whether it is there for the tokens alone whose results are wanted: `[1]` or `[1, 2]` where that is
   * one token.
   */
  readonly ofResults?: true;
  /** Writes the numbers of token `i` of a part to `into`, from index `at` on. */
  fill(part: RunPart, i: number, into: Int32Array, at: number): void;
}

/** What a graph is recorded for. */
export interface RunSizes {
  /** The inputs that the program's rules describe, by name. */
  readonly inputs: Readonly<Record<string, Tensor>>;
  /** Rows of a cache that is kept for later runs: those of all sequences. */
  readonly cacheRows: number;
  /** Rows of a cache that serves a single run: the most tokens of a run. */
  readonly runRows: number;
  /** Element type of caches. */
  readonly cacheType: CacheType;
  /**
   * The rows whose results are wanted: `x [tokens, width]` itself, or the row of one token alone. For
   * what comes after the last layer, so that a prompt's head is computed once.
   */
  wanted(x: Tensor): Tensor;
}

/** One thing that a model does: read tokens and give results for them. */
export interface Program {
  /** Rule of the ids: the chosen token goes there. */
  readonly ids: InputRule;
  /** Rules of the other inputs. */
  readonly inputs: readonly InputRule[];
  /**
   * Rows of every cache before that of a sequence's first token which nobody writes, so that they stay
   * zeros: a memory that tokens see before there are any. Spans may begin that many rows before
   * `firstRow`. None where absent.
   */
  readonly blankRows?: number;
  /**
   * Leading tokens of a sequence that must share one run, because they see each other: a prefix that
   * is read in both directions. None where absent. An `encode` program always gets whole sequences.
   */
  readonly whole?: (sequence: Sequence) => number;
  /**
   * Whether tokens behind those run one at a time. For models whose results depend on what runs
   * together, so that a text does not depend on how often it was computed again.
   */
  readonly apart?: boolean;
  /**
   * Records the graph and returns its results by name, for the wanted rows each: "logits"
   * `[rows, vocab]`, "hidden" `[rows, hidden]`. What nobody asks for is not computed.
   */
  record(g: Graph, w: WeightScope, sizes: RunSizes): Readonly<Record<string, Tensor>>;
}

/** What a model does. An encoder–decoder does both; its programs share weights and caches by name. */
export interface Programs {
  /** Reads a text as a whole; keeps nothing but what a `decode` program needs of it. */
  readonly encode?: Program;
  /** Reads a text from left to right, and gives "logits" of the next token. */
  readonly decode?: Program;
  /** What prompts may hold beside ids; nothing where absent. */
  readonly prompts?: PromptRules;
}

export type { Sequence };

/** Name of a program. */
export type ProgramName = "encode" | "decode";

/** Results of a program: which, and for which tokens. */
export interface Output {
  /** Who gives it. */
  readonly program: ProgramName;
  /**
   * Names that `Program.record` gives them: their rows are put side by side. None where only caches
   * are to be written.
   */
  readonly names: readonly string[];
  /** Every token, or one of them. */
  readonly rows: "first" | "last" | "all";
}
