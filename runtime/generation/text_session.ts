/**
 * What generation needs of a session and of its model: the interfaces between session.ts, which owns a
 * sequence of tokens, and generate.ts, which makes it longer.
 *
 * @module
 */

import type { TokenChoice } from "../backends/backend.ts";
import type { Engine } from "../engine/engine.ts";
import type { LeaseHolder } from "../engine/leases.ts";
import type { Prompt } from "../models/prompt.ts";
import type { Sequence } from "../models/sequence.ts";
import type { ChatMessage, RenderOptions } from "../text/chat_template.ts";
import type { Tokenizer } from "../text/tokenizer/tokenizer.ts";
import type { Ahead } from "./ahead.ts";

/** What a session needs of its model. */
export interface SessionModel {
  /** Runs tokens. */
  readonly engine: Engine;
  /** Text to tokens and back; absent for a model without tokenizer files. */
  readonly tokenizer: Tokenizer | undefined;
  /** Tokens that end an answer, from the model's files. */
  readonly stopIds: readonly number[];
  /** What a saved session must agree with, beside the cache; absent where there are no files. */
  readonly fingerprint?: () => Promise<string>;
  /** What writes the prompt of a conversation; absent for a model without a chat template. */
  readonly chatPrompt?: ChatPrompt;
}

/** Writes the prompt of a conversation, as token ids. */
export type ChatPrompt = (
  messages: readonly ChatMessage[],
  options: RenderOptions,
) => Promise<number[]>;

/** How far a prompt has come. */
export interface PromptProgress {
  /** Tokens of the sequence that are in the cache. */
  readonly done: number;
  /** Tokens of the sequence, those before the prompt too. */
  readonly total: number;
}

/** How `Session.prefill` runs. */
export interface PrefillOptions {
  /** Ends it between two parts of the prompt; the promise rejects with the signal's reason. */
  readonly signal?: AbortSignal;
  /** Called after each part of the prompt, some hundred tokens, and at its end. */
  readonly onProgress?: (progress: PromptProgress) => void;
}

/** What a session is made of, for those that save it or make it longer. */
export interface SessionState {
  /** What is cached of it. */
  readonly holder: LeaseHolder;
  /** Number of its tokens. */
  readonly position: number;
  /** Whether nothing has been said, so that a prompt begins the session. */
  readonly isUnbegun: boolean;
  /**
   * Its tokens as they are now.
   *
   * @throws InputError when it has been disposed
   */
  current(): Sequence;
  /** Appends a token that has been computed. */
  append(id: number): void;
  /** Gives it other tokens, which have been computed. */
  become(sequence: Sequence): void;
}

/** A sequence of tokens that grows; `Session` documents the public members. */
export interface TextSession {
  /** Number of tokens so far. */
  readonly position: number;
  /** The tokens so far; another list after each change. */
  readonly history: readonly number[];
  /** How many of them are in the cache. */
  readonly cachedTokens: number;
  /** How many tokens of the last prompt came from another session's rows. */
  readonly takenTokens: number;
  /** A step that was given up and is still under way. */
  readonly leaving: Promise<unknown> | undefined;
  /** Keeps what a new sequence begins with, and says how many tokens that are. */
  begin(sequence: Sequence): number;
  /** Appends tokens and gives the logits after the last one. */
  prefill(prompt: readonly number[] | Prompt, options: PrefillOptions): Promise<Float32Array>;
  /** Forgets all but the first tokens. */
  truncate(length: number): void;
  /** Tokens after those that were generated, chosen on the backend, where it can. */
  ahead(choice: TokenChoice, generated: readonly number[]): Ahead | undefined;
  /** Marks a step as under way until it ends. */
  underWay<T>(promise: Promise<T>, isGivenUp: () => boolean): Promise<T>;
}
