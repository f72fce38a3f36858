/**
 * What the files of BERT and its kin call their tensors.
 *
 * @module
 */

import type { ModelFile } from "../files/model_file.ts";

/** Names of tensors; those of layers without `.weight` and `.bias`. */
export interface BertNames {
  readonly words: string;
  readonly positions: string;
  readonly types: string;
  readonly tasks: string;
  readonly embeddingNorm: string;
  /** From the width of the tables to that of the model, for those whose files have it. */
  readonly widen: string;
  /** What the names of a layer's tensors begin with. */
  layer(i: number): string;
  readonly inLayer: {
    readonly q: string;
    readonly k: string;
    readonly v: string;
    readonly o: string;
    readonly attentionNorm: string;
    readonly up: string;
    readonly down: string;
    readonly mlpNorm: string;
  };
  /** A layer for the first token. */
  readonly pooler: string;
  /** The head for masked words: a layer, a norm, the bias of the words, and their table if it is another one. */
  readonly transform: string;
  readonly transformNorm: string;
  readonly headBias: string;
  readonly head: string;
  /** Whether two texts follow each other. */
  readonly relationship: string;
  /** What gives a text's scores, for those whose files have it. */
  readonly scores: ScoreNames;
}

/** A classifier of whole texts. */
export interface ScoreNames {
  /** A layer for the first token and its nonlinearity, before the scores; absent where it is the pooler. */
  readonly hidden?: { readonly layer: string; readonly activation: "tanh" | "relu" };
  /** The layer that gives a score for each label. */
  readonly output: string;
}

const IN_LAYER: BertNames["inLayer"] = {
  q: "attention.self.query",
  k: "attention.self.key",
  v: "attention.self.value",
  o: "attention.output.dense",
  attentionNorm: "attention.output.LayerNorm",
  up: "intermediate.dense",
  down: "output.dense",
  mlpNorm: "output.LayerNorm",
};

const DISTILBERT_IN_LAYER: BertNames["inLayer"] = {
  q: "attention.q_lin",
  k: "attention.k_lin",
  v: "attention.v_lin",
  o: "attention.out_lin",
  attentionNorm: "sa_layer_norm",
  up: "ffn.lin1",
  down: "ffn.lin2",
  mlpNorm: "output_layer_norm",
};

const ALBERT_IN_LAYER: BertNames["inLayer"] = {
  q: "attention.query",
  k: "attention.key",
  v: "attention.value",
  o: "attention.dense",
  attentionNorm: "attention.LayerNorm",
  up: "ffn",
  down: "ffn_output",
  mlpNorm: "full_layer_layer_norm",
};

/** Heads for masked words by what their models' names begin with. */
const HEADS = {
  albert: {
    transform: "predictions.dense",
    transformNorm: "predictions.LayerNorm",
    headBias: "predictions.bias",
    head: "predictions.decoder.weight",
  },
  bert: {
    transform: "cls.predictions.transform.dense",
    transformNorm: "cls.predictions.transform.LayerNorm",
    headBias: "cls.predictions.bias",
    head: "cls.predictions.decoder.weight",
  },
  roberta: {
    transform: "lm_head.dense",
    transformNorm: "lm_head.layer_norm",
    headBias: "lm_head.bias",
    head: "lm_head.decoder.weight",
  },
  distilbert: {
    transform: "vocab_transform",
    transformNorm: "vocab_layer_norm",
    headBias: "vocab_projector.bias",
    head: "vocab_projector.weight",
  },
} as const;

/** Classifiers of whole texts: BertForSequenceClassification and its kin. */
export const SCORES: Readonly<Record<keyof typeof HEADS, ScoreNames>> = {
  albert: { output: "classifier" },
  bert: { output: "classifier" },
  roberta: {
    hidden: { layer: "classifier.dense", activation: "tanh" },
    output: "classifier.out_proj",
  },
  distilbert: {
    hidden: { layer: "pre_classifier", activation: "relu" },
    output: "classifier",
  },
};

/**
 * The names that a file uses: those of a model that was saved without its heads have no prefix. Layers
 * of ALBERT are in groups of so many.
 */
export function bertNames(
  { tensors }: ModelFile,
  kind: keyof typeof HEADS,
  layersOfGroup: number = 1,
): BertNames {
  const words = "embeddings.word_embeddings.weight";
  const prefix = ["albert.", "bert.", "ernie.", "roberta.", "distilbert."]
    .find((it) => tensors.has(it + words)) ?? "";
  const embeddings = `${prefix}embeddings.`;
  return {
    ...HEADS[kind],
    words: prefix + words,
    positions: `${embeddings}position_embeddings.weight`,
    types: `${embeddings}token_type_embeddings.weight`,
    tasks: `${embeddings}task_type_embeddings.weight`,
    embeddingNorm: `${embeddings}LayerNorm`,
    widen: `${prefix}encoder.embedding_hidden_mapping_in`,
    pooler: `${prefix}pooler.dense`,
    relationship: "cls.seq_relationship",
    scores: SCORES[kind],
    ...inLayers(prefix, kind, layersOfGroup),
  };
}

/** What is in layers, and what is called otherwise there where a model's layers are. */
function inLayers(
  prefix: string,
  kind: keyof typeof HEADS,
  layersOfGroup: number,
): Pick<BertNames, "layer" | "inLayer"> & Partial<BertNames> {
  if (kind === "albert") {
    const groups = `${prefix}encoder.albert_layer_groups.`;
    return {
      layer: (i) => `${groups}${Math.floor(i / layersOfGroup)}.albert_layers.${i % layersOfGroup}.`,
      inLayer: ALBERT_IN_LAYER,
      pooler: `${prefix}pooler`,
      relationship: "sop_classifier.classifier",
    };
  }
  const isDistilled = kind === "distilbert";
  return {
    layer: (i) => `${prefix}${isDistilled ? "transformer" : "encoder"}.layer.${i}.`,
    inLayer: isDistilled ? DISTILBERT_IN_LAYER : IN_LAYER,
  };
}
