/**
 * Nomic's BERT (Nussbaum et al., arXiv:2402.01613): BERT's encoder with rotary positions in the place of
 * learned ones, a gated feed-forward block and, in the published models, no biases.
 *
 * @module
 */

import { InputError, ModelError } from "../../errors.ts";
import { quote } from "../../escape.ts";
import { readConfig } from "../files/config.ts";
import type { ModelFile } from "../files/model_file.ts";
import { type BertConfig, encoderPrograms } from "./bert_encoder.ts";
import { bertGgufWeights, segmentsOf } from "./bert_gguf.ts";
import { HARMLESS_FIELDS } from "./common_fields.ts";
import type { ModelDefinition } from "./definition.ts";
import { checkFields, type Warn } from "./fields.ts";
import { readGgufSizes } from "./gguf_config.ts";
import { ropeTable } from "./rope.ts";
import { ropeFromGguf, ropeFromJson } from "./rope_config.ts";
import { keptMatrix, matrix, norm, vector, type WeightSpec } from "./weight_spec.ts";

/** Nomic's BERT. */
export const nomicBert: ModelDefinition<BertConfig> = {
  parseConfig(file, warn = () => {}) {
    const config = file.format === "gguf" ? fromGguf(file, warn) : fromJson(file, warn);
    const { headDim, rotation } = config, theta = rotation!.theta;
    if (headDim % 2 !== 0 || !(theta > 0)) {
      throw new ModelError(
        `Cannot load ${quote(file.name)}: heads of ${headDim} elements and a rope base of ` +
          `${theta}, expected an even length and a positive base`,
      );
    }
    return config;
  },

  weights(config, file, contextLength) {
    const { positions = Infinity, type = "" } = config.rotation!.limit ?? {};
    if (contextLength > positions) {
      throw new InputError(
        `Cannot load ${quote(file.name)} with contextLength ${contextLength}: rope type ` +
          `${quote(type)} is supported up to ${positions} positions; use a shorter one`,
      );
    }
    return Promise.resolve(listWeights(config, file, contextLength));
  },

  programs: encoderPrograms,
};

/** What is so in every file. */
const SAME = {
  kind: "bert",
  activation: "silu",
  headActivation: "silu",
  gate: "silu",
  positionOffset: 0,
  tasks: 0,
} as const;

function fromGguf(file: ModelFile, warn: Warn): BertConfig {
  const { fields, sizes } = readGgufSizes(file, {
    read: [
      ...["attention.layer_norm_epsilon", "rope.freq_base", "rope.scale_linear"],
      ...["rope.scaling.type", "rope.scaling.factor", "rope.scaling.attn_factor"],
      ...["rope.scaling.original_context_length", "rope.dimension_count"],
    ],
    harmless: ["rope.scaling.finetuned"],
    neutral: { "attention.causal": [false], hidden_activation: ["silu", "swish"] },
    scale: (headDim) => headDim ** -0.5,
  }, warn);
  const { headDim, maxPositions } = sizes, rotary = fields.count("rope.dimension_count", headDim);
  if (rotary !== headDim) {
    throw new ModelError(
      `Cannot load ${quote(file.name)}: field "rope.dimension_count" is ` +
        `${rotary}, expected ${headDim}, the length of a head`,
    );
  }
  return {
    ...SAME,
    ...sizes,
    layerNormEps: fields.epsilon("attention.layer_norm_epsilon"),
    segments: segmentsOf(file),
    rotation: ropeFromGguf(file, fields, maxPositions),
  };
}

/** How the published files name fields, and how Transformers 5 does. */
const FIELD_NAMES = {
  published: {
    width: "n_embd",
    heads: "n_head",
    layers: "n_layer",
    inner: "n_inner",
    eps: "layer_norm_epsilon",
    positions: "n_positions",
  },
  transformers: {
    width: "hidden_size",
    heads: "num_attention_heads",
    layers: "num_hidden_layers",
    inner: "intermediate_size",
    eps: "layer_norm_eps",
    positions: "max_position_embeddings",
  },
};

/** What the published models were trained for; angles of longer texts are others. */
const TRAINED = 2048;

function fromJson(file: ModelFile, warn: Warn): BertConfig {
  checkFields(file, "", FIELDS, warn);
  const config = readConfig(file), isPublished = config.has("n_embd");
  const fields = isPublished ? FIELD_NAMES.published : FIELD_NAMES.transformers;
  const hiddenSize = config.count(fields.width, 768), heads = config.count(fields.heads, 12);
  const headDim = config.count("head_dim", hiddenSize / heads);
  if (!Number.isInteger(headDim) || headDim * heads !== hiddenSize) {
    throw new ModelError(
      `Cannot load ${quote(file.name)}: ${fields.width} ${hiddenSize} with ${heads} heads of ` +
        `${headDim}, expected a multiple of the heads and that share for each`,
    );
  }
  const positions = config.count(fields.positions, TRAINED);
  const trained = isPublished ? config.count("max_trained_positions", TRAINED) : positions;
  const maxPositions = Math.min(positions, trained);
  // With a factor, the base grows with texts that are longer than those of the training.
  const grows = isPublished && config.number("rotary_scaling_factor", 0) !== 0;
  return {
    ...SAME,
    architecture: config.text("model_type"),
    layers: config.count(fields.layers, 12),
    hiddenSize,
    heads,
    kvHeads: heads,
    headDim,
    intermediateSize: config.count(fields.inner, isPublished ? 4 * hiddenSize : 3072),
    layerNormEps: config.epsilon(fields.eps, 1e-12),
    vocabSize: config.count("vocab_size"),
    maxPositions,
    segments: config.whole("type_vocab_size", 2),
    rotation: isPublished
      ? {
        theta: config.number("rotary_emb_base", 10000),
        ...(grows && { limit: { positions: trained, type: "dynamic" } }),
      }
      : ropeFromJson(file, config, 1000, maxPositions),
  };
}

function* listWeights(
  config: BertConfig,
  file: ModelFile,
  contextLength: number,
): Iterable<WeightSpec> {
  yield* file.format === "gguf" ? bertGgufWeights(config, file) : listJsonWeights(config, file);
  const { rotation: { theta, scaling, amplitude } = { theta: 0 }, headDim: rotaryDim } = config;
  yield {
    name: "rope",
    role: "table",
    shape: [contextLength, rotaryDim],
    source: { values: () => ropeTable({ rotaryDim, theta, scaling, amplitude }, contextLength) },
  };
}

function* listJsonWeights(config: BertConfig, file: ModelFile): Iterable<WeightSpec> {
  const { hiddenSize: width, intermediateSize: inner, vocabSize, segments } = config;
  const words = "embeddings.word_embeddings.weight";
  const prefix = ["", "bert.", "nomic_bert."].find((it) => file.tensors.has(it + words)) ?? "";
  // Nomic's class has biases where nothing is said, that of Transformers has none.
  const fields = readConfig(file), isPublished = fields.has("n_embd");
  const hasBias = (field: string): boolean => isPublished && fields.flag(field, true);
  function* linear(
    name: string,
    rows: number,
    columns: number,
    tensor: string,
    bias: string,
  ): Iterable<WeightSpec> {
    yield matrix(name, rows, columns, `${tensor}.weight`);
    if (hasBias(bias)) yield vector(`${name}.bias`, rows, `${tensor}.bias`);
  }
  yield keptMatrix("wordTable", vocabSize, width, prefix + words);
  if (segments) {
    const types = `${prefix}embeddings.token_type_embeddings.weight`;
    yield keptMatrix("typeTable", segments, width, types);
  }
  yield* norm("embeddingNorm", width, `${prefix}emb_ln`);
  for (let i = 0; i < config.layers; i++) {
    const layer = `${prefix}encoder.layers.${i}.`, fused = `${layer}attn.Wqkv`;
    for (const [third, name] of ["q", "k", "v"].entries()) {
      const rows = [[third * width, width]] as const;
      const weight = { tensor: `${fused}.weight`, fileShape: [3 * width, width], rows };
      yield matrix(`${i}.${name}`, width, width, weight);
      const bias = { tensor: `${fused}.bias`, fileShape: [3 * width], rows };
      if (hasBias("qkv_proj_bias")) yield vector(`${i}.${name}.bias`, width, bias);
    }
    yield* linear(`${i}.o`, width, width, `${layer}attn.out_proj`, "qkv_proj_bias");
    yield* norm(`${i}.attentionNorm`, width, `${layer}norm1`);
    yield* linear(`${i}.up`, inner, width, `${layer}mlp.fc11`, "mlp_fc1_bias");
    yield* linear(`${i}.gate`, inner, width, `${layer}mlp.fc12`, "mlp_fc1_bias");
    yield* linear(`${i}.down`, width, inner, `${layer}mlp.fc2`, "mlp_fc2_bias");
    yield* norm(`${i}.mlpNorm`, width, `${layer}norm2`);
  }
  yield* listHead(config, file, !isPublished || hasBias("mlp_fc1_bias"));
}

/** The head for masked words, where the file has it: its biases are there with those of the first layers. */
function* listHead(
  { hiddenSize: width, vocabSize }: BertConfig,
  { tensors }: ModelFile,
  hasBias: boolean,
): Iterable<WeightSpec> {
  const head = "cls.predictions.", table = `${head}decoder.weight`;
  const transform = `${head}transform.dense`;
  if (!tensors.has(`${transform}.weight`)) return;
  yield matrix("transform", width, width, `${transform}.weight`);
  if (hasBias) yield vector("transform.bias", width, `${transform}.bias`);
  yield* norm("transformNorm", width, `${head}transform.layer_norm`);
  const hasOwn = tensors.has(table);
  if (hasOwn) yield matrix("head", vocabSize, width, table);
  if (!hasBias) return;
  const bias = [`${head}decoder.bias`, `${head}bias`].find((it) => tensors.has(it));
  yield vector(hasOwn ? "head.bias" : "wordTable.bias", vocabSize, bias ?? `${head}bias`);
}

/** Fields of `config.json`: of the published files, and of Transformers 5. */
const FIELDS = {
  read: [
    ...["model_type", "vocab_size", "type_vocab_size", "tie_word_embeddings"],
    ...Object.values(FIELD_NAMES).flatMap((it) => Object.values(it)),
    ...["max_trained_positions", "rotary_emb_base", "rotary_scaling_factor", "head_dim"],
    ...["rope_theta", "rope_parameters", "rope_scaling"],
    ...["qkv_proj_bias", "mlp_fc1_bias", "mlp_fc2_bias"],
  ],
  harmless: [
    ...HARMLESS_FIELDS,
    ...["summary_*", "fused_*", "use_flash_attn", "attn_pdrop", "embd_pdrop", "resid_pdrop"],
    ...["classifier_dropout", "pad_vocab_size_multiple", "reorder_and_upcast_attn"],
    // Of the whole sequence in the last layer, when a head for masked words is trained.
    ...["dense_seq_output", "last_layer_subset", "use_xentropy", "max_trained_positions"],
  ],
  neutral: {
    activation_function: ["swiglu"],
    hidden_act: ["silu", "swish"],
    prenorm: [false],
    causal: [false],
    parallel_block: [false],
    parallel_block_tied_norm: [false],
    use_rms_norm: [false],
    scale_attn_weights: [true],
    scale_attn_by_inverse_layer_idx: [false],
    rotary_emb_fraction: [1],
    rotary_emb_interleaved: [false],
    rotary_emb_scale_base: [],
    moe_every_n_layers: [0],
    num_experts: [0],
    num_shared_experts: [0],
    add_cross_attention: [false],
    is_decoder: [false],
    quantization_config: [],
  },
};
