/**
 * The configurations of ChatGLM2 and its successors: `config.json` as their authors first published
 * it (`chatglm`), `config.json` of the classes that Transformers has of its own (`glm`, `glm4`), and
 * GGUF metadata (`chatglm`, `glm4`).
 *
 * Source: the configuration published with each model, the configuration classes of Transformers 5,
 * and the metadata keys of llama.cpp.
 *
 * @module
 */

import { ModelError } from "../../errors.ts";
import { quote } from "../../escape.ts";
import { type ConfigReader, readConfig } from "../files/config.ts";
import type { ModelFile } from "../files/model_file.ts";
import type { ModelConfig } from "./definition.ts";
import { checkFields, type Warn } from "./fields.ts";
import { chatglmFields, glmGgufFields, glmJsonFields } from "./glm_fields.ts";
import { type RopeConfig, ropeFromGguf, ropeFromJson } from "./rope_config.ts";

/** Configuration of a ChatGLM2 and its successors. */
export interface GlmConfig extends ModelConfig {
  /** Query heads; a multiple of `kvHeads`. */
  readonly heads: number;
  /** Width of the feed-forward block. */
  readonly intermediateSize: number;
  /** Added to mean squares. */
  readonly rmsNormEps: number;
  /** Rotary positions. */
  readonly rope: RopeConfig;
  /** Elements of a head, the first ones, that rotate. */
  readonly rotaryDim: number;
  /** Whether queries, keys and values have biases. */
  readonly queryBias: boolean;
  /** Whether the other matrices have. */
  readonly linearBias: boolean;
  /** Whether what a block gives is normalized before it is added (GLM-4 of April 2025). */
  readonly postNorms: boolean;
  /** Whether the embedding table is the output head where the file has no other. */
  readonly tiedEmbeddings: boolean;
}

/**
 * Reads the configuration of a file of any of these forms.
 *
 * @throws ModelError naming the field that is missing or not supported
 */
export function readGlmConfig(file: ModelFile, warn: Warn): GlmConfig {
  const read = file.format === "gguf"
    ? fromGguf
    : file.metadata.model_type === "chatglm"
    ? fromChatglm
    : fromJson;
  const config = read(file, warn), { heads, kvHeads, headDim, rotaryDim, rope } = config;
  const fits = Number.isInteger(headDim) && heads % kvHeads === 0 && rotaryDim >= 2 &&
    rotaryDim % 2 === 0 && rotaryDim <= headDim;
  if (!fits) {
    throw new ModelError(
      `Cannot load ${
        quote(file.name)
      }: ${heads} heads of length ${headDim} in ${kvHeads} groups, ` +
        `${rotaryDim} elements of which rotate, expected groups of equal size and an even ` +
        `rotary length within a head`,
    );
  }
  const factor = rope.scaling?.factor ?? 1, amplitude = rope.amplitude ?? 1;
  if (!(rope.theta > 0 && factor > 0 && amplitude > 0)) {
    throw new ModelError(
      `Cannot load ${quote(file.name)}: rope base ${rope.theta}, rope factor ${factor}, rope ` +
        `attention factor ${amplitude}, expected positive numbers`,
    );
  }
  return config;
}

/** The first form. */
function fromChatglm(file: ModelFile, warn: Warn): GlmConfig {
  const config = readConfig(file);
  checkFields(file, "", chatglmFields, warn);
  const hiddenSize = config.count("hidden_size"), heads = config.count("num_attention_heads");
  const isGrouped = config.flag("multi_query_attention", false);
  const headDim = config.count("kv_channels", hiddenSize / heads);
  const linearBias = config.flag("add_bias_linear", false);
  return {
    architecture: config.text("model_type"),
    layers: config.count("num_layers"),
    hiddenSize,
    heads,
    kvHeads: isGrouped ? config.count("multi_query_group_num") : heads,
    headDim,
    intermediateSize: config.count("ffn_hidden_size"),
    rmsNormEps: config.epsilon("layernorm_epsilon", 1e-5),
    rope: chatglmRope(config),
    rotaryDim: headDim / 2,
    queryBias: config.flag("add_qkv_bias", false) || linearBias,
    linearBias,
    postNorms: false,
    tiedEmbeddings: false,
    vocabSize: config.count("padded_vocab_size"),
    maxPositions: config.count("seq_length", 2048),
  };
}

/**
 * What `rope_ratio` means: the longer ChatGLM2 divides positions by it, which only its name tells;
 * its successors multiply the base of the frequencies.
 */
function chatglmRope(config: ConfigReader): RopeConfig {
  const ratio = config.number("rope_ratio", 1);
  const divides = ratio !== 1 && /chatglm2/i.test(String(config.get("_name_or_path") ?? ""));
  return divides
    ? { theta: 10000, scaling: { type: "linear", factor: ratio } }
    : { theta: 10000 * ratio };
}

/** The form of Transformers. */
function fromJson(file: ModelFile, warn: Warn): GlmConfig {
  const config = readConfig(file), architecture = config.text("model_type");
  checkFields(file, "", glmJsonFields(architecture), warn);
  const activation = config.text("hidden_act", "silu");
  if (!["silu", "swish"].includes(activation)) {
    throw new ModelError(
      `Cannot load ${quote(file.name)}: field "hidden_act" is ${quote(activation)}, expected ` +
        `"silu" or "swish", which are the same`,
    );
  }
  const hiddenSize = config.count("hidden_size", 4096);
  const heads = config.count("num_attention_heads", 32);
  const headDim = config.count(
    "head_dim",
    file.metadata.head_dim === null ? hiddenSize / heads : 128,
  );
  const positions = config.count("max_position_embeddings", 131072);
  const rope = ropeFromJson(
    file,
    config,
    10000,
    positions,
    config.number("partial_rotary_factor", 0.5),
  );
  return {
    architecture,
    layers: config.count("num_hidden_layers", 40),
    hiddenSize,
    heads,
    kvHeads: config.count("num_key_value_heads", 2),
    headDim,
    intermediateSize: config.count("intermediate_size", 13696),
    rmsNormEps: config.epsilon("rms_norm_eps", 1.5625e-7),
    rope,
    rotaryDim: Math.trunc(headDim * rope.part!),
    queryBias: config.flag("attention_bias", true),
    linearBias: false,
    postNorms: architecture === "glm4",
    tiedEmbeddings: config.flag("tie_word_embeddings", false),
    vocabSize: config.count("vocab_size", 151552),
    maxPositions: Math.min(positions, rope.limit?.positions ?? Infinity),
  };
}

/** GGUF metadata, with the meaning that llama.cpp gives it. */
function fromGguf(file: ModelFile, warn: Warn): GlmConfig {
  const architecture = readConfig(file).text("general.architecture");
  const config = readConfig(file, `${architecture}.`);
  checkFields(file, `${architecture}.`, glmGgufFields, warn);
  const heads = config.count("attention.head_count");
  const hiddenSize = config.count("embedding_length");
  const headDim = config.count("attention.key_length", hiddenSize / heads);
  const valueDim = config.count("attention.value_length", headDim);
  const embedding = file.tensors.get("token_embd.weight");
  const maxPositions = config.count("context_length", 2048);
  const rope = ropeFromGguf(file, config, maxPositions);
  const isOther = valueDim !== headDim || rope.scaling?.type === "longrope";
  if (isOther || !embedding) {
    throw new ModelError(
      `Cannot load ${quote(file.name)}: ` +
        (!embedding
          ? `tensor "token_embd.weight" is missing; the file is incomplete`
          : valueDim !== headDim
          ? `values have the length ${valueDim}, expected that of keys, ${headDim}`
          : `field ${quote(`${architecture}.rope.scaling.type`)} is "longrope", expected none, ` +
            `linear or yarn`),
    );
  }
  return {
    architecture,
    layers: config.count("block_count"),
    hiddenSize,
    heads,
    kvHeads: config.count("attention.head_count_kv", heads),
    headDim,
    intermediateSize: config.count("feed_forward_length"),
    rmsNormEps: config.epsilon("attention.layer_norm_rms_epsilon"),
    rope,
    rotaryDim: config.count("rope.dimension_count", headDim),
    queryBias: Array.from(file.tensors.keys()).some((it) =>
      /^blk\.\d+\.attn_(q|qkv)\.bias$/.test(it)
    ),
    linearBias: false,
    postNorms: architecture === "glm4",
    tiedEmbeddings: !file.tensors.has("output.weight"),
    vocabSize: config.count("vocab_size", embedding.shape[0]),
    maxPositions,
  };
}
