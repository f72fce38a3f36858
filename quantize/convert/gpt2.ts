/**
 * GPT-2: matrices lie the other way round, and queries, keys and values in one.
 *
 * @module
 */

import { ModelError } from "../../errors.ts";
import { quote } from "../../escape.ts";
import { sameBytes } from "../../runtime/files/compare.ts";
import type { ModelFile, TensorEntry } from "../../runtime/files/model_file.ts";
import type { GptConfig } from "../../runtime/models/gpt.ts";
import type { ResolvedWeights } from "../../runtime/models/weights.ts";
import type { Converted } from "./converted.ts";
import { f32, sizeFields } from "./fields.ts";

/** What becomes of such a model. */
export async function gpt2(
  architecture: string,
  config: GptConfig,
  file: ModelFile,
  weights: ResolvedWeights,
): Promise<Converted> {
  const { activation } = config;
  if (activation !== "geluTanh" && activation !== "gelu") {
    throw new ModelError(
      `Cannot convert ${quote(file.name)} to GGUF: its activation is ${
        quote(activation)
      }, expected ` +
        `GELU, which is all that files of architecture gpt2 are read with; use the model as it is`,
    );
  }
  const [words] = (weights.get("wordTable")?.source ?? []) as readonly TensorEntry[];
  const [own] = (weights.get("head")?.source ?? []) as readonly TensorEntry[];
  const hasHead = words && own && !await sameBytes(words, own);
  return {
    config: { ...config, architecture },
    fields: {
      ...sizeFields(config),
      "attention.layer_norm_epsilon": f32(config.layerNormEps),
    },
    rules: {
      has: (name) => name === "output.weight" ? !!hasHead : /attn_qkv\.|\.bias$/.test(name),
    },
    notes: activation === "gelu"
      ? [
        "GELU is exact, and in GGUF files of architecture gpt2 it is the form with the hyperbolic " +
        "tangent, which differs in the fourth digit",
      ]
      : [],
  };
}
