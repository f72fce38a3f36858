/**
 * Transformer-XL (Dai et al., arXiv:1901.02860), as the class of Transformers computes it: attention
 * by relative positions over a memory, embeddings and a softmax in clusters of words
 * (adaptive_words.ts).
 *
 * The memory. The original reads a text in segments, and a token sees the `mem_len` states before its
 * segment; a text begins with so many zeros, which are seen like any others. Keys and values are
 * products of states without a bias, so that those of zeros are zeros: rows of the caches that nobody
 * writes (`Program.blankRows`). With `same_length`, as in published models, a token sees the last
 * `mem_len` states up to its own, wherever segments begin, so that it makes no difference what runs
 * together. Without it, the tokens that a sequence began with are one segment (`Sequence.opening`), and
 * each token behind them is one of its own, as in a generation by the original.
 *
 * @module
 */

import { ModelError } from "../../errors.ts";
import { quote } from "../../escape.ts";
import { readConfig } from "../files/config.ts";
import type { Graph, Tensor } from "../graph/graph.ts";
import {
  adaptiveLogits,
  adaptiveWords,
  type Cluster,
  listWords,
  readWords,
} from "./adaptive_words.ts";
import { blocks } from "./blocks.ts";
import { HARMLESS_FIELDS } from "./common_fields.ts";
import type { ModelConfig, ModelDefinition } from "./definition.ts";
import { checkFields } from "./fields.ts";
import { cacheRows, tokenIds } from "./inputs.ts";
import type { InputRule, RunSizes } from "./program.ts";
import { layerVectors, relativeKeys } from "./relative_positions.ts";
import { linear, matrix, norm, vector, type WeightSpec } from "./weight_spec.ts";
import type { WeightScope } from "./weights.ts";

/** Configuration of a Transformer-XL. */
export interface TransfoXlConfig extends ModelConfig {
  /** Heads of each layer; heads times their length need not be the width. */
  readonly heads: number;
  /** Width of the feed-forward block. */
  readonly intermediateSize: number;
  /** Added to variances. */
  readonly layerNormEps: number;
  /** Whether blocks are normed before them, and not after the residual. */
  readonly normFirst: boolean;
  /** States before a segment that its tokens see. */
  readonly memory: number;
  /** Whether every token sees as many states, its own among them, as the memory has. */
  readonly sameLength: boolean;
  /** Distance from which on all are one; undefined for none. */
  readonly farthest: number | undefined;
  /** Whether each layer has biases of its own for content and for positions. */
  readonly ownBiases: boolean;
  /** Words by their frequency. */
  readonly clusters: readonly Cluster[];
}

/** Longer memories are a corrupt file; those of published models have up to 3800. */
const MOST_MEMORY = 2 ** 16;

/** Transformer-XL. */
export const transfoXl: ModelDefinition<TransfoXlConfig> = {
  parseConfig(file, warn = () => {}) {
    const config = readConfig(file);
    checkFields(file, "", FIELDS, warn);
    const hiddenSize = config.count("d_model", 1024), heads = config.count("n_head", 16);
    const sameLength = config.flag("same_length", true);
    const memory = config.whole("mem_len", 1600), least = sameLength ? 1 : 0;
    if (memory < least || memory > MOST_MEMORY) {
      throw new ModelError(
        `Cannot load ${quote(file.name)}: mem_len is ${memory} with same_length ${sameLength}, ` +
          `expected ${least} to ${MOST_MEMORY}`,
      );
    }
    const farthest = config.number("clamp_len", 1000);
    if (hiddenSize % 2 !== 0 || !Number.isInteger(farthest)) {
      throw new ModelError(
        `Cannot load ${quote(file.name)}: d_model is ${hiddenSize} and clamp_len ${farthest}, ` +
          `expected an even width, of sines and cosines, and a whole number`,
      );
    }
    const vocabSize = config.count("vocab_size", 267735);
    return {
      architecture: config.text("model_type"),
      layers: config.count("n_layer", 18),
      hiddenSize,
      heads,
      kvHeads: heads,
      headDim: config.count("d_head", 64),
      intermediateSize: config.count("d_inner", 4096),
      layerNormEps: config.epsilon("layer_norm_epsilon", 1e-5),
      vocabSize,
      // Distances have no end; the context is what the memory holds.
      maxPositions: 2 ** 20,
      normFirst: config.flag("pre_lnorm", false),
      memory,
      sameLength,
      farthest: farthest > 0 ? farthest : undefined,
      ownBiases: config.flag("untie_r", true),
      clusters: readWords(file, vocabSize, hiddenSize),
    };
  },

  weights: (config, _, contextLength) => Promise.resolve(listWeights(config, contextLength)),

  programs(config) {
    const { sameLength, memory } = config;
    return {
      decode: {
        ids: tokenIds,
        inputs: [cacheRows, memorySpans(config)],
        blankRows: sameLength ? memory - 1 : memory,
        record: (g, w, sizes) => recordDecoder(g, config, w, sizes),
      },
      ...(!sameLength && { prompts: { together: true } }),
    };
  },
};

/** First and one past the last cache row that each token sees `[tokens, 2]`. */
function memorySpans({ sameLength, memory }: TransfoXlConfig): InputRule {
  return {
    name: "spans",
    step: [1, 1],
    fill({ sequence: { opening = 0 }, firstRow, position }, i, into, at) {
      const place = position + i;
      const segment = sameLength ? place + 1 : place < opening ? 0 : place;
      into[at] = firstRow + segment - memory;
      into[at + 1] = firstRow + place + 1;
    },
  };
}

function* listWeights(
  config: TransfoXlConfig,
  contextLength: number,
): Iterable<WeightSpec> {
  const { hiddenSize: width, heads, headDim, intermediateSize, normFirst } = config;
  const { sameLength, memory, farthest = Infinity } = config, inner = heads * headDim;
  yield* listWords(config.clusters, width);
  const longest = sameLength ? memory - 1 : memory + contextLength - 1;
  const distances = Math.min(longest, farthest) + 1;
  for (let i = 0; i < config.layers; i++) {
    const layer = `transformer.layers.${i}.`, attention = `${layer}dec_attn.`;
    for (const [place, it] of ["q", "k", "v"].entries()) {
      const rows = [[place * inner, inner]] as const;
      yield matrix(`${i}.${it}`, inner, width, {
        ...{ tensor: `${attention}qkv_net.weight`, fileShape: [3 * inner, width], rows },
      });
    }
    yield matrix(`${i}.o`, width, inner, `${attention}o_net.weight`);
    const shape = { heads, headDim, width, distances, normFirst };
    const biases = config.ownBiases ? attention : "transformer.";
    yield* layerVectors(`${i}`, shape, attention, biases);
    yield relativeKeys(`${i}.distances`, shape, `${attention}r_net.weight`);
    // What a norm adds before attention is in the biases.
    if (normFirst) yield vector(`${i}.attentionNorm`, width, `${attention}layer_norm.weight`);
    else yield* norm(`${i}.attentionNorm`, width, `${attention}layer_norm`);
    yield* linear(`${i}.up`, intermediateSize, width, `${layer}pos_ff.CoreNet.0`);
    yield* linear(`${i}.down`, width, intermediateSize, `${layer}pos_ff.CoreNet.3`);
    yield* norm(`${i}.mlpNorm`, width, `${layer}pos_ff.layer_norm`);
  }
}

function recordDecoder(
  g: Graph,
  config: TransfoXlConfig,
  w: WeightScope,
  { inputs, cacheRows, cacheType, wanted }: RunSizes,
): Record<string, Tensor> {
  const { heads, headDim, layerNormEps: eps, normFirst, clusters, hiddenSize } = config;
  const { ids, cacheRows: rows, spans } = inputs as Record<string, Tensor>;
  const { linear, layerNorm, attend } = blocks(g, w);
  let x = adaptiveWords(g, w, clusters, hiddenSize, ids!); // [tokens, width]
  for (let i = 0; i < config.layers; i++) {
    g.cut(`layer ${i}`, i);
    const a = normFirst ? layerNorm(x, `${i}.attentionNorm`, eps) : x;
    const q = linear(a, `${i}.q`); // [tokens, heads * headDim], with the bias for content
    const distances = w.tensor(`${i}.distances`); // [heads * width, headDim]
    const asked = g.op("add", [q, w.tensor(`${i}.positionBias`)]);
    const bias = g.op("headMatmul", [asked, distances], { heads }); // [tokens, heads * width]
    const mixed = attend({
      name: `${i}`,
      q,
      stored: { k: linear(a, `${i}.k`), v: linear(a, `${i}.v`), rows: rows! },
      shape: [cacheRows, heads, headDim],
      cacheType,
      spans: spans!,
      extra: [bias, rows!],
      heads,
      scale: headDim ** -0.5,
      bias: "perQuery",
      center: distances.shape[0]! / heads - 1,
    });
    x = g.op("add", [x, linear(mixed, `${i}.o`)]);
    if (!normFirst) x = layerNorm(x, `${i}.attentionNorm`, eps);
    const m = normFirst ? layerNorm(x, `${i}.mlpNorm`, eps) : x;
    const inside = g.op("activation", [linear(m, `${i}.up`)], { kind: "relu" });
    x = g.op("add", [x, linear(inside, `${i}.down`)]);
    if (!normFirst) x = layerNorm(x, `${i}.mlpNorm`, eps);
  }
  g.cut("head");
  const hidden = wanted(x); // [rows, width]
  return { hidden, logits: adaptiveLogits(g, w, clusters, hidden) };
}

/** Fields of `config.json`, as the class of Transformers reads them. */
const FIELDS = {
  read: [
    ...["model_type", "vocab_size", "cutoffs", "d_model", "d_embed", "n_head", "d_head", "d_inner"],
    ...["div_val", "pre_lnorm", "n_layer", "mem_len", "clamp_len", "same_length", "untie_r"],
    ...["proj_share_all_but_first", "tie_projs", "tie_word_embeddings", "layer_norm_epsilon"],
  ],
  harmless: [
    ...HARMLESS_FIELDS,
    // The original reads none of these when it computes; lengths of segments are the caller's.
    ...["adaptive", "tgt_len", "dropout", "dropatt", "init", "init_range", "init_std"],
    ...["proj_init_std", "trainer_compatible", "sample_softmax"],
  ],
  neutral: {
    attn_type: [0],
    ext_len: [0],
    tie_weight: [true],
    quantization_config: [],
  },
};
