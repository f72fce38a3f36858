/**
 * Which definition runs which architecture. The imports are literal and lazy, so that a program
 * loads only the architectures it runs, and needs no permission for it.
 *
 * @module
 */

import { ModelError } from "../../errors.ts";
import { quote } from "../../escape.ts";
import type { ModelFile } from "../files/model_file.ts";
import type { ModelConfig, ModelDefinition } from "./definition.ts";

const llama = async (): Promise<ModelDefinition> =>
  (await import("./llama.ts")).llama as unknown as ModelDefinition<ModelConfig>;

const bert = async (): Promise<ModelDefinition> =>
  (await import("./bert.ts")).bert as unknown as ModelDefinition<ModelConfig>;
const t5 = async (): Promise<ModelDefinition> =>
  (await import("./t5.ts")).t5 as unknown as ModelDefinition<ModelConfig>;
const yuan1 = async (): Promise<ModelDefinition> =>
  (await import("./yuan1.ts")).yuan1 as unknown as ModelDefinition<ModelConfig>;

/** Definitions by `model_type` of config.json and `general.architecture` of GGUF. */
export const ARCHITECTURES: Readonly<Record<string, () => Promise<ModelDefinition>>> = {
  bert,
  ernie: bert,
  llama,
  mistral: llama,
  mixtral: llama,
  olmoe: llama,
  qwen2: llama,
  qwen2_moe: llama,
  qwen2moe: llama,
  qwen3: llama,
  qwen3_moe: llama,
  qwen3moe: llama,
  t5,
  yuan1_megatron_gpt: yuan1,
};

/**
 * The definition that runs a file.
 *
 * @throws ModelError when the architecture is missing or not among those that run
 */
export function findDefinition(file: ModelFile): Promise<ModelDefinition> {
  const field = file.format === "gguf" ? "general.architecture" : "model_type";
  const name = file.metadata[field];
  const load = typeof name === "string" && Object.hasOwn(ARCHITECTURES, name)
    ? ARCHITECTURES[name]
    : undefined;
  if (!load) {
    throw new ModelError(
      `Cannot load ${quote(file.name)}: field ${quote(field)} is ` +
        `${name === undefined ? "missing" : quote(name)}, expected one of ${
          Object.keys(ARCHITECTURES).join(", ")
        }`,
    );
  }
  return load();
}
