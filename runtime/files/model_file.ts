/**
 * A model file of any format as one thing: metadata and the places of tensors. open.ts opens one.
 *
 * @module
 */

import type { FolderTemplates } from "./chat_templates.ts";
import type { ByteSource } from "./source.ts";
import type { TokenizerFiles } from "./tokenizer_files.ts";

/** Where a tensor's bytes are, and what they mean. */
export interface TensorEntry {
  /** Name in the file. */
  readonly name: string;
  /** Extents, outermost first. */
  readonly shape: readonly number[];
  /** Element type as GGUF names it, such as `"Q4_0"`, `"F32"`, `"BF16"`. */
  readonly type: string;
  /** What to read it from. */
  readonly source: ByteSource;
  /** First byte. */
  readonly offset: number;
  /** Length in bytes. */
  readonly bytes: number;
}

/** A step of the `modules.json` of sentence-transformers. */
export interface SentenceModule {
  /** Its class, as `sentence_transformers.models.Pooling`. */
  readonly type: string;
  /** Name of its folder; empty for the model's own. */
  readonly path: string;
  /** Its `config.json`; empty where there is none. */
  readonly config: Record<string, unknown>;
  /** Its weights, where it has some. */
  readonly tensors: ReadonlyMap<string, TensorEntry>;
}

/** What sentence-transformers puts beside a model. */
export interface SentenceFiles {
  /** The steps in their order; undefined without a `modules.json`. */
  readonly modules?: readonly SentenceModule[] | undefined;
  /** `sentence_bert_config.json`: the longest text, in tokens, and lower case. */
  readonly encoder?: Record<string, unknown> | undefined;
  /** `config_sentence_transformers.json`: prompts by name. */
  readonly settings?: Record<string, unknown> | undefined;
}

/** An open model: its metadata and tensors. */
export interface ModelFile {
  /** Format of its files. */
  readonly format: "gguf" | "safetensors" | "torch";
  /** Path or URL for messages. */
  readonly name: string;
  /** GGUF metadata fields, or the contents of `config.json`. */
  readonly metadata: Record<string, unknown>;
  /** Settings that a checkpoint of torch keeps beside its tensors, under `config`. */
  readonly savedConfig?: Record<string, unknown>;
  /** All tensors by name, in file order. */
  readonly tensors: ReadonlyMap<string, TensorEntry>;
  /** Contents of `tokenizer.json`, where there is one. */
  readonly tokenizerJson?: Record<string, unknown>;
  /** Contents of `tokenizer_config.json`, where there is one. */
  readonly tokenizerConfig?: Record<string, unknown>;
  /** Tokenizer files of a folder that has no `tokenizer.json`, by name, where there are any. */
  readonly tokenizerFiles?: TokenizerFiles;
  /** Chat templates in files of their own, where there are any. */
  readonly chatTemplates?: FolderTemplates;
  /** Contents of `generation_config.json`, where there is one. */
  readonly generationConfig?: Record<string, unknown>;
  /** What sentence-transformers has put beside it, where it has. */
  readonly sentenceFiles?: SentenceFiles;
  /** Closes all sources. */
  close(): void;
}
