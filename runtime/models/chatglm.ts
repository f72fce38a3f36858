/**
 * ChatGLM-6B (Zeng et al., arXiv:2210.02414, and its released code): a prefix language model. What
 * comes before the start token is read in both directions; what follows is an answer to the place of a
 * mask in it. Positions have two coordinates, one for each half of a head: the place in the prefix,
 * which for the answer is that of the mask, and the place in the answer. The residual is the normed
 * input, times a constant.
 *
 * @module
 */

import { ModelError } from "../../errors.ts";
import { quote } from "../../escape.ts";
import { readConfig } from "../files/config.ts";
import type { Graph, Tensor } from "../graph/graph.ts";
import { type BlankTokens, findPrefix, maskOf } from "./blanks.ts";
import { blocks } from "./blocks.ts";
import { HARMLESS_FIELDS } from "./common_fields.ts";
import { type ModelConfig, type ModelDefinition, tellHeadless } from "./definition.ts";
import { checkFields } from "./fields.ts";
import { cacheRows, prefixSpans, tokenIds } from "./inputs.ts";
import type { InputRule, RunSizes } from "./program.ts";
import { rotationTable } from "./rope.ts";
import {
  keptMatrix,
  linear,
  matrix,
  norm,
  queriesKeysValues,
  type WeightSpec,
} from "./weight_spec.ts";
import type { WeightScope } from "./weights.ts";

/** Configuration of a ChatGLM-6B. */
export interface ChatglmConfig extends ModelConfig, BlankTokens {
  /** Heads of each layer. */
  readonly heads: number;
  /** Width of the feed-forward block. */
  readonly intermediateSize: number;
  /** Added to variances. */
  readonly layerNormEps: number;
  /** Whether the embedding table is the output head where the file has no other. */
  readonly tiedEmbeddings: boolean;
}

/** Factor of the residual: the released code has that of 28 layers, whatever number there is. */
const ALPHA = Math.sqrt(2 * 28);

/** ChatGLM-6B. */
export const chatglm: ModelDefinition<ChatglmConfig> = {
  parseConfig(file, warn = () => {}) {
    const config = readConfig(file);
    checkFields(file, "", FIELDS, warn);
    const hiddenSize = config.count("hidden_size"), heads = config.count("num_attention_heads");
    if (hiddenSize % (4 * heads) !== 0) {
      throw new ModelError(
        `Cannot load ${
          quote(file.name)
        }: hidden_size ${hiddenSize} with ${heads} attention heads, ` +
          `expected heads whose halves have an even length`,
      );
    }
    return {
      architecture: config.text("model_type"),
      layers: config.count("num_layers"),
      hiddenSize,
      heads,
      kvHeads: heads,
      headDim: hiddenSize / heads,
      intermediateSize: config.count("inner_hidden_size", 4 * hiddenSize),
      layerNormEps: config.epsilon("layernorm_epsilon", 1e-5),
      vocabSize: config.count("vocab_size"),
      maxPositions: config.count("max_sequence_length", 2048),
      bosId: config.whole("bos_token_id"),
      maskIds: [config.whole("gmask_token_id"), config.whole("mask_token_id")],
      maskUses: ["[gMASK], the text goes on", "[MASK], a few words"],
      tiedEmbeddings: config.flag("tie_word_embeddings", true),
    };
  },

  weights(config, file, contextLength, warn = () => {}) {
    const hasHead = file.tensors.has(HEAD);
    if (!hasHead && !config.tiedEmbeddings) tellHeadless(file, warn);
    return Promise.resolve(listWeights(config, contextLength, hasHead));
  },

  programs: (config) => ({
    decode: {
      ids: tokenIds,
      inputs: [maskedPositions(config), answerPositions, cacheRows, prefixSpans],
      whole: ({ prefixLength = 0 }) => prefixLength,
      record: (g, w, sizes) => recordDecoder(g, config, w, sizes),
    },
    prompts: { complete: (sequence) => findPrefix(config, sequence) },
  }),
};

/** Place of each token in the prefix; of an answer's tokens that of the mask `[tokens]`. */
function maskedPositions(config: ChatglmConfig): InputRule {
  return {
    name: "positions",
    step: [0],
    fill({ sequence, position }, i, into, at) {
      const place = position + i, { prefixLength = 0 } = sequence;
      into[at] = place < prefixLength ? place : maskOf(config, sequence).place;
    },
  };
}

/** Place of each token in the answer, from 1; 0 in the prefix `[tokens]`. */
const answerPositions: InputRule = {
  name: "answerPositions",
  step: [1],
  fill({ sequence: { prefixLength = 0 }, position }, i, into, at) {
    into[at] = Math.max(0, position + i + 1 - prefixLength);
  },
};

/** The output head, which repeats the embedding table in the published files. */
const HEAD = "lm_head.weight";

function* listWeights(
  config: ChatglmConfig,
  contextLength: number,
  hasHead: boolean,
): Iterable<WeightSpec> {
  const { hiddenSize: width, heads, headDim, intermediateSize: inner, vocabSize } = config;
  yield keptMatrix("wordTable", vocabSize, width, "transformer.word_embeddings.weight");
  for (let i = 0; i < config.layers; i++) {
    const layer = `transformer.layers.${i}.`, fused = `${layer}attention.query_key_value`;
    yield* norm(`${i}.attentionNorm`, width, `${layer}input_layernorm`);
    yield* queriesKeysValues(`${i}`, heads, headDim, fused);
    yield* linear(`${i}.o`, width, width, `${layer}attention.dense`);
    yield* norm(`${i}.mlpNorm`, width, `${layer}post_attention_layernorm`);
    yield* linear(`${i}.up`, inner, width, `${layer}mlp.dense_h_to_4h`);
    yield* linear(`${i}.down`, width, inner, `${layer}mlp.dense_4h_to_h`);
  }
  yield* norm("norm", width, "transformer.final_layernorm");
  if (hasHead) yield matrix("head", vocabSize, width, HEAD);
  yield {
    name: "rope",
    role: "table",
    shape: [contextLength + 1, headDim / 2],
    source: {
      values: () => rotationTable(halfHeadFrequencies(headDim / 2), contextLength + 1),
    },
  };
}

/** Frequencies for half a head, `[rotaryDim / 2]`; the original keeps them in 16 bits. */
function halfHeadFrequencies(rotaryDim: number): Float16Array {
  return Float16Array.from({ length: rotaryDim / 2 }, (_, i) => 10000 ** (-2 * i / rotaryDim));
}

function recordDecoder(
  g: Graph,
  config: ChatglmConfig,
  w: WeightScope,
  { inputs, cacheRows, cacheType, wanted }: RunSizes,
): Record<string, Tensor> {
  const { heads, headDim, layerNormEps: eps } = config;
  const { ids, positions, answerPositions, cacheRows: rows, spans } = inputs as Record<
    string,
    Tensor
  >;
  const { linear, layerNorm, embed, attend } = blocks(g, w);
  const table = w.tensor("rope"); // [contextLength + 1, headDim / 2]
  const rotate = (x: Tensor): Tensor => {
    const first = g.op("rope", [x, positions!, table], { heads, pairing: "half" });
    const offset = headDim / 2;
    return g.op("rope", [first, answerPositions!, table], { heads, pairing: "half", offset });
  };
  /** What a block gives, beside its normed input. */
  const join = (normed: Tensor, given: Tensor): Tensor =>
    g.op("add", [g.op("scale", [normed], { factor: ALPHA }), given]);

  let x = embed([ids!, "wordTable"]); // [tokens, hidden]
  for (let i = 0; i < config.layers; i++) {
    g.cut(`layer ${i}`, i);
    const a = layerNorm(x, `${i}.attentionNorm`, eps);
    const mixed = attend({
      name: `${i}`,
      q: rotate(linear(a, `${i}.q`)),
      stored: { k: rotate(linear(a, `${i}.k`)), v: linear(a, `${i}.v`), rows: rows! },
      shape: [cacheRows, heads, headDim],
      cacheType,
      spans: spans!,
      heads,
      scale: headDim ** -0.5,
    });
    x = join(a, linear(mixed, `${i}.o`));
    const m = layerNorm(x, `${i}.mlpNorm`, eps);
    const inner = g.op("activation", [linear(m, `${i}.up`)], { kind: "geluTanh" });
    x = join(m, linear(inner, `${i}.down`));
  }
  g.cut("head");
  const hidden = layerNorm(wanted(x), "norm", eps); // [rows, hidden]
  return { hidden, logits: linear(hidden, w.has("head") ? "head" : "wordTable") };
}

/** Fields of `config.json`. */
const FIELDS = {
  read: [
    ...["model_type", "hidden_size", "inner_hidden_size", "num_layers", "num_attention_heads"],
    ...["layernorm_epsilon", "vocab_size", "max_sequence_length", "bos_token_id"],
    ...["gmask_token_id", "mask_token_id", "tie_word_embeddings"],
  ],
  harmless: HARMLESS_FIELDS,
  neutral: {
    position_encoding_2d: [true],
    // The tensors themselves say so.
    quantization_bit: [0, 4, 8],
    quantization_embeddings: [false, true],
    pre_seq_len: [],
    prefix_projection: [false],
  },
};
