/**
 * What a family's model becomes in a GGUF file.
 *
 * @module
 */

import type { ModelConfig } from "../../runtime/models/definition.ts";
import type { Fields } from "./fields.ts";
import type { TensorRules } from "./tensors.ts";

/** What becomes of a model of some family. */
export interface Converted {
  /** The configuration as the family's definition reads it from the GGUF file. */
  readonly config: ModelConfig;
  /** Fields behind the architecture's name. */
  readonly fields: Fields;
  /** Fields with no architecture before their names. */
  readonly general?: Fields;
  /** How tensors differ. */
  readonly rules: TensorRules;
  /** Tensors of f32 that the folder has not, each of one extent. */
  readonly tensors?: Readonly<Record<string, Float32Array>>;
  /** What has no place in GGUF, as sentences. */
  readonly notes: readonly string[];
}
