/**
 * ChatGLM2-6B, ChatGLM3-6B and GLM-4-9B in the form of their first releases: causal decoders with RMS
 * norms, a gated feed-forward block, few heads of keys and values, and rotary positions on the first
 * half of each head (Zeng et al., arXiv:2406.12793).
 *
 * @module
 */

import { ModelError } from "../../errors.ts";
import { quote } from "../../escape.ts";
import { readConfig } from "../files/config.ts";
import type { Graph, Tensor } from "../graph/graph.ts";
import { blocks } from "./blocks.ts";
import { HARMLESS_FIELDS } from "./common_fields.ts";
import { type ModelConfig, type ModelDefinition, tellHeadless } from "./definition.ts";
import { checkFields } from "./fields.ts";
import { cacheRows, causalSpans, positions, tokenIds } from "./inputs.ts";
import type { RunSizes } from "./program.ts";
import { ropeTable } from "./rope.ts";
import { matrix, vector, type WeightSpec } from "./weight_spec.ts";
import type { WeightScope } from "./weights.ts";

/** Configuration of a ChatGLM2 and its successors. */
export interface Chatglm2Config extends ModelConfig {
  /** Query heads; a multiple of `kvHeads`. */
  readonly heads: number;
  /** Width of the feed-forward block. */
  readonly intermediateSize: number;
  /** Added to mean squares. */
  readonly rmsNormEps: number;
  /** Base of the rotary frequencies. */
  readonly ropeTheta: number;
  /** Whether queries, keys and values have biases. */
  readonly queryBias: boolean;
  /** Whether the other matrices have. */
  readonly linearBias: boolean;
}

/** ChatGLM2, ChatGLM3, GLM-4. */
export const chatglm2: ModelDefinition<Chatglm2Config> = {
  parseConfig(file, warn = () => {}) {
    const config = readConfig(file);
    checkFields(file, "", FIELDS, warn);
    const hiddenSize = config.count("hidden_size"), heads = config.count("num_attention_heads");
    const isGrouped = config.flag("multi_query_attention", false);
    const kvHeads = isGrouped ? config.count("multi_query_group_num") : heads;
    const headDim = config.count("kv_channels", hiddenSize / heads);
    if (heads % kvHeads !== 0 || headDim % 4 !== 0) {
      throw new ModelError(
        `Cannot load ${
          quote(file.name)
        }: ${heads} heads of length ${headDim} in ${kvHeads} groups, ` +
          `expected groups of equal size and a length that four divides`,
      );
    }
    const linearBias = config.flag("add_bias_linear", false);
    return {
      architecture: config.text("model_type"),
      layers: config.count("num_layers"),
      hiddenSize,
      heads,
      kvHeads,
      headDim,
      intermediateSize: config.count("ffn_hidden_size"),
      rmsNormEps: config.epsilon("layernorm_epsilon", 1e-5),
      ropeTheta: 10000 * config.number("rope_ratio", 1),
      queryBias: config.flag("add_qkv_bias", false) || linearBias,
      linearBias,
      vocabSize: config.count("padded_vocab_size"),
      maxPositions: config.count("seq_length", 2048),
    };
  },

  weights(config, file, contextLength, warn = () => {}) {
    const hasHead = file.tensors.has(HEAD);
    if (!hasHead) tellHeadless(file, warn);
    return Promise.resolve(listWeights(config, contextLength, hasHead));
  },

  programs: (config) => ({
    decode: {
      ids: tokenIds,
      inputs: [positions, cacheRows, causalSpans()],
      record: (g, w, sizes) => recordDecoder(g, config, w, sizes),
    },
  }),
};

/** The output head; models that were saved without it have hidden states alone. */
const HEAD = "transformer.output_layer.weight";

function* listWeights(
  config: Chatglm2Config,
  contextLength: number,
  hasHead: boolean,
): Iterable<WeightSpec> {
  const { hiddenSize: width, heads, kvHeads, headDim, intermediateSize: inner } = config;
  const { vocabSize, ropeTheta: theta } = config;
  const embedding = "transformer.embedding.word_embeddings.weight";
  yield matrix("wordTable", vocabSize, width, embedding);
  const queries = heads * headDim, keys = kvHeads * headDim;
  /** Some rows of a fused layer. */
  function* rowsOf(
    name: string,
    tensor: string,
    rows: number,
    [first, count]: readonly [number, number],
    biased: boolean,
  ): Iterable<WeightSpec> {
    const part = { rows: [[first, count]] } as const;
    const weight = { tensor: `${tensor}.weight`, fileShape: [rows, width], ...part };
    yield matrix(name, count, width, weight);
    const bias = { tensor: `${tensor}.bias`, fileShape: [rows], ...part };
    if (biased) yield vector(`${name}.bias`, count, bias);
  }
  for (let i = 0; i < config.layers; i++) {
    const layer = `transformer.encoder.layers.${i}.`;
    const fused = `${layer}self_attention.query_key_value`, rows = queries + 2 * keys;
    yield vector(`${i}.attentionNorm`, width, `${layer}input_layernorm.weight`);
    yield* rowsOf(`${i}.q`, fused, rows, [0, queries], config.queryBias);
    yield* rowsOf(`${i}.k`, fused, rows, [queries, keys], config.queryBias);
    yield* rowsOf(`${i}.v`, fused, rows, [queries + keys, keys], config.queryBias);
    yield matrix(`${i}.o`, width, queries, `${layer}self_attention.dense.weight`);
    yield vector(`${i}.mlpNorm`, width, `${layer}post_attention_layernorm.weight`);
    const up = `${layer}mlp.dense_h_to_4h`;
    yield* rowsOf(`${i}.gate`, up, 2 * inner, [0, inner], config.linearBias);
    yield* rowsOf(`${i}.up`, up, 2 * inner, [inner, inner], config.linearBias);
    yield matrix(`${i}.down`, width, inner, `${layer}mlp.dense_4h_to_h.weight`);
    if (!config.linearBias) continue;
    yield vector(`${i}.o.bias`, width, `${layer}self_attention.dense.bias`);
    yield vector(`${i}.down.bias`, width, `${layer}mlp.dense_4h_to_h.bias`);
  }
  yield vector("norm", width, "transformer.encoder.final_layernorm.weight");
  if (hasHead) yield matrix("head", vocabSize, width, HEAD);
  const rotaryDim = headDim / 2;
  yield {
    name: "rope",
    role: "table",
    shape: [contextLength, rotaryDim],
    source: { values: () => ropeTable({ rotaryDim, theta }, contextLength) },
  };
}

function recordDecoder(
  g: Graph,
  config: Chatglm2Config,
  w: WeightScope,
  { inputs, cacheRows, cacheType, wanted }: RunSizes,
): Record<string, Tensor> {
  const { heads, kvHeads, headDim, rmsNormEps: eps } = config;
  const { ids, positions, cacheRows: rows, spans } = inputs as Record<string, Tensor>;
  const { linear, rmsNorm, embed, attend } = blocks(g, w);
  const table = w.tensor("rope"); // [contextLength, headDim / 2]
  const rotate = (x: Tensor, heads: number): Tensor =>
    g.op("rope", [x, positions!, table], { heads, pairing: "interleaved" });
  let x = embed([ids!, "wordTable"]); // [tokens, hidden]
  for (let i = 0; i < config.layers; i++) {
    g.cut(`layer ${i}`, i);
    const a = rmsNorm(x, `${i}.attentionNorm`, eps);
    const mixed = attend({
      name: `${i}`,
      q: rotate(linear(a, `${i}.q`), heads),
      stored: { k: rotate(linear(a, `${i}.k`), kvHeads), v: linear(a, `${i}.v`), rows: rows! },
      shape: [cacheRows, kvHeads, headDim],
      cacheType,
      spans: spans!,
      heads,
      scale: headDim ** -0.5,
    });
    x = g.op("add", [x, linear(mixed, `${i}.o`)]);
    const m = rmsNorm(x, `${i}.mlpNorm`, eps);
    const inner = g.op("glu", [linear(m, `${i}.gate`), linear(m, `${i}.up`)], { kind: "silu" });
    x = g.op("add", [x, linear(inner, `${i}.down`)]);
  }
  g.cut("head");
  const hidden = rmsNorm(wanted(x), "norm", eps); // [rows, hidden]
  return { hidden, logits: linear(hidden, w.has("head") ? "head" : "wordTable") };
}

/** Fields of `config.json`. */
const FIELDS = {
  read: [
    ...["model_type", "num_layers", "padded_vocab_size", "hidden_size", "ffn_hidden_size"],
    ...["kv_channels", "num_attention_heads", "seq_length", "layernorm_epsilon"],
    ...["multi_query_attention", "multi_query_group_num", "add_qkv_bias", "add_bias_linear"],
    "rope_ratio",
  ],
  harmless: [
    ...HARMLESS_FIELDS,
    ...["vocab_size", "interleaved_qkv", "bias_dropout_fusion", "attention_softmax_in_fp32"],
    // Scores divided by the layer's number before the softmax are multiplied by it again.
    ...["apply_query_key_layer_scaling", "fp32_residual_connection", "use_cache", "original_rope"],
  ],
  neutral: {
    rmsnorm: [true],
    post_layer_norm: [true],
    apply_residual_connection_post_layernorm: [false],
    // The tensors themselves say so.
    quantization_bit: [0, 4, 8],
    pre_seq_len: [],
    prefix_projection: [false],
  },
};
