/**
 * BERT, DistilBERT and RoBERTa: the encoder, what makes one vector of a text, and a classifier of texts. GGUF files
 * have no head for masked words.
 *
 * @module
 */

import { ModelError } from "../../errors.ts";
import { quote } from "../../escape.ts";
import type { ModelFile } from "../../runtime/files/model_file.ts";
import type { BertConfig } from "../../runtime/models/bert_encoder.ts";
import { SCORES } from "../../runtime/models/gguf_config.ts";
import { readLabels } from "../../runtime/models/labels.ts";
import type { ResolvedWeights } from "../../runtime/models/weights.ts";
import { readVectorModules } from "../../runtime/tasks/modules.ts";
import type { Converted } from "./converted.ts";
import { f32, type Fields, flag, sizeFields, texts, u32 } from "./fields.ts";

/** `llama_pooling_type` by ways of pooling. */
const POOLING: Readonly<Record<string, number>> = { mean: 1, first: 2, last: 3 };
/** That of a head that ranks or classifies. */
const RANK = 4;

/** What becomes of such a model. */
export async function bert(
  architecture: string,
  config: BertConfig,
  file: ModelFile,
  weights: ResolvedWeights,
): Promise<Converted> {
  const { activation } = config, notes: string[] = [];
  if (activation !== "gelu" && activation !== "geluTanh") {
    throw new ModelError(
      `Cannot convert ${quote(file.name)} to GGUF: its activation is ${
        quote(activation)
      }, expected ` +
        `GELU, which is all that files of architecture bert are read with; use the model as it is`,
    );
  }
  if (activation === "geluTanh") {
    notes.push(
      "GELU is the form with the hyperbolic tangent, which has no name in GGUF files of architecture " +
        "bert: readers may take the exact one, which differs in the fourth digit",
    );
  }
  // The pooler of BERT stands before its classifier, as the layer with tanh does in that of RoBERTa.
  const { kind, positionOffset } = config, before = kind === "bert" ? "pooler" : "scoresHidden";
  const isTold = kind !== "distilbert" && weights.has(before);
  const scores = isTold ? weights.get("scores") : undefined;
  const pooling = scores ? { pooling_type: u32(RANK) } : await poolingOf(file, notes);
  const labels = scores && readLabels(file);
  return {
    config: { ...config, architecture, positionOffset: 0 } as BertConfig,
    fields: {
      ...sizeFields(config),
      "attention.layer_norm_epsilon": f32(config.layerNormEps),
      "attention.causal": flag(false),
      ...pooling,
      ...(labels && { "classifier.output_labels": texts(labels) }),
    },
    general: { "tokenizer.ggml.token_type_count": u32(Math.max(1, config.segments)) },
    rules: {
      has: (name) =>
        /^cls\./.test(name)
          ? scores !== undefined
          : name !== "output.weight" && /\.bias$/.test(name) && !/attn_qkv/.test(name),
      shape: (name) => name === SCORES ? scores!.shape : [],
      others: { scoresHidden: before, "scoresHidden.bias": `${before}.bias` },
      firstRow: (weight) => weight === "positionTable" ? positionOffset : 0,
    },
    notes,
  };
}

/** How a text becomes one vector, where the files of sentence-transformers say it. */
async function poolingOf(file: ModelFile, notes: string[]): Promise<Fields> {
  const modules = await readVectorModules(file);
  if (!modules) return {};
  const { poolings, steps } = modules, type = POOLING[poolings[0]!];
  if (poolings.length === 1 && steps.length === 0 && type !== undefined) {
    return { pooling_type: u32(type) };
  }
  notes.push(
    `vectors of texts are made by ${poolings.join(" and ")}${
      steps.length > 0 ? ` and ${steps.length} further steps` : ""
    }, which has no place in GGUF: files say mean, first or last`,
  );
  return {};
}
