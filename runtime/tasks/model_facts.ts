/**
 * What a model keeps of its files.
 *
 * @module
 */

import type { TaskFacts } from "./facts.ts";

/** What a model keeps of its files. */
export interface ModelFileFacts {
  /** Path or URL. */
  readonly name: string;
  /** One Jinja program or several under names, as the files have them. */
  readonly chatTemplate: unknown;
  /** Special tokens by the names that templates know. */
  readonly specialTokens?: Readonly<Record<string, unknown>> | undefined;
  /** Tokens that end an answer. */
  readonly stopIds: readonly number[];
  /** What they say of tasks. */
  readonly tasks: TaskFacts;
  /** What tells the model from others; read from its files when it is first asked for. */
  readonly fingerprint?: () => Promise<string>;
}
