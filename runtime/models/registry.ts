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

/** A family, and the file formats that it is read from. */
export interface Architecture {
  /** Loads the definition for a file. */
  readonly load: (file: ModelFile) => Promise<ModelDefinition>;
  /** Formats of files in which such models run. */
  readonly formats: readonly ModelFile["format"][];
}

/** A row; `load` gives a definition of any configuration. */
function family(
  formats: Architecture["formats"],
  load: (file: ModelFile) => Promise<unknown>,
): Architecture {
  // Files of torch hold the same tensors under the same names.
  const both = formats.flatMap((it) => it === "safetensors" ? [it, "torch" as const] : [it]);
  return { formats: both, load: async (file) => await load(file) as ModelDefinition<ModelConfig> };
}

const EVERY = ["gguf", "safetensors"] as const;
const loadBert = async (): Promise<unknown> => (await import("./bert.ts")).bert;
// GGUF files have all of them under the name of BERT.
const bert = family(EVERY, loadBert), likeBert = family(["safetensors"], loadBert);
const loadGlm = async () => (await import("./glm.ts")).glm;
const glm = family(["safetensors"], loadGlm);
const glm4 = family(EVERY, loadGlm);
// The second generation came under the name of the first; it has a padded vocabulary.
const chatglm = family(
  EVERY,
  async ({ format, metadata }) =>
    format !== "gguf" && metadata.padded_vocab_size === undefined
      ? (await import("./chatglm.ts")).chatglm
      : await loadGlm(),
);
const glm130b = family(["safetensors"], async () => (await import("./glm130b.ts")).glm130b);
const gpt2 = family(EVERY, async () => (await import("./gpt2.ts")).gpt2);
const llama = family(EVERY, async () => (await import("./llama.ts")).llama);
const marian = family(["safetensors"], async () => (await import("./marian.ts")).marian);
const nomicBert = async (): Promise<unknown> => (await import("./nomic_bert.ts")).nomicBert;
const opt = family(["safetensors"], async () => (await import("./opt.ts")).opt);
const pangu = family(["safetensors"], async () => (await import("./pangu.ts")).pangu);
const switchTransformers = family(
  ["safetensors"],
  async () => (await import("./switch.ts")).switchTransformers,
);
const loadT5 = async (): Promise<unknown> => (await import("./t5.ts")).t5;
const transfoXl = family(["safetensors"], async () => (await import("./transfo_xl.ts")).transfoXl);
const yuan1 = family(["safetensors"], async () => (await import("./yuan1.ts")).yuan1);

/** Families by `model_type` of config.json and `general.architecture` of GGUF. */
export const ARCHITECTURES: Readonly<Record<string, Architecture>> = {
  albert: likeBert,
  bert,
  chatglm,
  distilbert: likeBert,
  ernie: likeBert,
  glm,
  glm4,
  "glm-130b": glm130b,
  gpt2,
  gpt_pangu: pangu,
  llama,
  marian,
  mistral: llama,
  mixtral: llama,
  mt5: family(["safetensors"], loadT5),
  "nomic-bert": family(["gguf"], nomicBert),
  nomic_bert: family(["safetensors"], nomicBert),
  olmoe: llama,
  opt,
  pangu,
  qwen2: llama,
  qwen2_moe: llama,
  qwen2moe: llama,
  qwen3: llama,
  qwen3_moe: llama,
  qwen3moe: llama,
  roberta: likeBert,
  switch_transformers: switchTransformers,
  t5: family(EVERY, loadT5),
  t5encoder: family(["gguf"], loadT5),
  "transfo-xl": transfoXl,
  "xlm-roberta": likeBert,
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
  const row = typeof name === "string" && Object.hasOwn(ARCHITECTURES, name)
    ? ARCHITECTURES[name]
    : undefined;
  if (!row) {
    throw new ModelError(
      `Cannot load ${quote(file.name)}: field ${quote(field)} is ` +
        `${name === undefined ? "missing" : quote(name)}, expected one of ${
          Object.keys(ARCHITECTURES)
            .filter((it) => ARCHITECTURES[it]!.formats.includes(file.format)).join(", ")
        }`,
    );
  }
  if (!row.formats.includes(file.format)) {
    throw new ModelError(
      `Cannot load ${quote(file.name)}: models of architecture ${quote(name)} are read from ` +
        `${row.formats.join(" and ")}, not from ${file.format}; take the files in that form`,
    );
  }
  return row.load(file);
}
