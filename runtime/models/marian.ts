/**
 * Marian: the Transformer as it was first described, for translation (Vaswani et al.,
 * arXiv:1706.03762; the OPUS-MT models). A norm after each block, positions from sines and cosines,
 * words shared by encoder, decoder and head.
 *
 * @module
 */

import { ModelError } from "../../errors.ts";
import { quote, word } from "../../escape.ts";
import type { ActivationName } from "../../kernels/ops.ts";
import { readConfig } from "../files/config.ts";
import type { Graph, Tensor } from "../graph/graph.ts";
import { blocks } from "./blocks.ts";
import { HARMLESS_FIELDS } from "./common_fields.ts";
import { checkStart, type ModelConfig, type ModelDefinition } from "./definition.ts";
import { checkFields } from "./fields.ts";
import {
  cacheRows,
  causalSpans,
  encoderSpans,
  positions,
  runRows,
  sourceRows,
  sourceSpans,
  tokenIds,
} from "./inputs.ts";
import type { RunSizes } from "./program.ts";
import { keptMatrix, linear, matrix, norm, vector, type WeightSpec } from "./weight_spec.ts";
import type { WeightScope } from "./weights.ts";
import { findWordTables, type WordTables } from "./word_tables.ts";

/** The encoder's or the decoder's side. */
interface Side {
  /** Layers. */
  readonly layers: number;
  /** Heads of each layer. */
  readonly heads: number;
  /** Width of the feed-forward block. */
  readonly inner: number;
}

/** Configuration of a Marian model. */
export interface MarianConfig extends ModelConfig {
  readonly encoder: Side;
  readonly decoder: Side;
  /** Nonlinearity of the feed-forward block. */
  readonly activation: ActivationName;
  /** Factor of embeddings. */
  readonly embeddingScale: number;
  /** What the decoder begins with. */
  readonly startId: number;
  /** Whether a head that is not in the file is the table of words. */
  readonly tiedEmbeddings: boolean;
}

/** Added to variances: the value of the layers that it is made of. */
const EPS = 1e-5;
const ACTIVATIONS: Readonly<Record<string, ActivationName>> = {
  relu: "relu",
  swish: "silu",
  silu: "silu",
  gelu: "gelu",
};

/** Marian. */
export const marian: ModelDefinition<MarianConfig> = {
  parseConfig(file, warn = () => {}) {
    const config = readConfig(file);
    checkFields(file, "", FIELDS, warn);
    const hiddenSize = config.count("d_model", 1024), vocabSize = config.count("vocab_size");
    const side = (name: string): Side => ({
      layers: config.count(`${name}_layers`, 12),
      heads: config.count(`${name}_attention_heads`, 16),
      inner: config.count(`${name}_ffn_dim`, 4096),
    });
    const encoder = side("encoder"), decoder = side("decoder");
    for (const { heads } of [encoder, decoder]) {
      if (hiddenSize % heads === 0) continue;
      throw new ModelError(
        `Cannot load ${quote(file.name)}: d_model ${hiddenSize} with ${heads} attention heads, ` +
          `expected a multiple of them`,
      );
    }
    const name = config.text("activation_function", "gelu"), activation = ACTIVATIONS[name];
    const decoderVocabulary = config.count("decoder_vocab_size", vocabSize);
    if (!activation || decoderVocabulary !== vocabSize) {
      throw new ModelError(
        `Cannot load ${quote(file.name)}: activation_function ${
          word(name)
        } and decoder_vocab_size ` +
          `${decoderVocabulary}, expected one of ${Object.keys(ACTIVATIONS).join(", ")} and ` +
          `vocab_size, ${vocabSize}`,
      );
    }
    return checkStart(file, {
      architecture: config.text("model_type"),
      layers: encoder.layers + decoder.layers,
      encoder,
      decoder,
      hiddenSize,
      kvHeads: decoder.heads,
      headDim: hiddenSize / decoder.heads,
      activation,
      embeddingScale: config.flag("scale_embedding", false) ? Math.sqrt(hiddenSize) : 1,
      vocabSize,
      maxPositions: config.count("max_position_embeddings", 1024),
      startId: config.whole("decoder_start_token_id"),
      tiedEmbeddings: config.flag("tie_word_embeddings", true),
    });
  },

  weights: async (config, file, contextLength) => {
    const tables = await findWordTables(file, TABLES, config.tiedEmbeddings);
    return listWeights(config, contextLength, tables, file.tensors.has("final_logits_bias"));
  },

  programs: (config) => ({
    encode: {
      ids: tokenIds,
      inputs: [positions, runRows, encoderSpans, sourceRows],
      record: (g, w, sizes) => recordEncoder(g, config, w, sizes),
    },
    decode: {
      ids: tokenIds,
      inputs: [positions, cacheRows, causalSpans(), sourceSpans],
      record: (g, w, sizes) => recordDecoder(g, config, w, sizes),
    },
    prompts: { fields: { decoderIds: config.vocabSize }, decoderStart: [config.startId] },
  }),
};

const TABLES = {
  shared: "model.shared.weight",
  head: "lm_head.weight",
  decoder: "model.decoder.embed_tokens.weight",
  encoder: "model.encoder.embed_tokens.weight",
};

function* listWeights(
  config: MarianConfig,
  contextLength: number,
  words: WordTables,
  hasBias: boolean,
): Iterable<WeightSpec> {
  const { hiddenSize: width, vocabSize } = config;
  yield keptMatrix("wordTable", vocabSize, width, words.encoder);
  if (words.decoder !== words.encoder) {
    yield keptMatrix("decoder.wordTable", vocabSize, width, words.decoder);
  }
  if (words.head !== words.decoder) yield matrix("head", vocabSize, width, words.head);
  if (hasBias) {
    const source = { tensor: "final_logits_bias", fileShape: [1, vocabSize] };
    yield vector("headBias", vocabSize, source);
  }
  // There is no tensor of positions: sines of all frequencies, then their cosines.
  yield {
    name: "positionTable",
    role: "matrix",
    shape: [contextLength, width],
    kept: true,
    source: { values: () => sinusoids(contextLength, width) },
  };
  for (const side of ["encoder", "decoder"] as const) {
    const { layers, inner } = config[side];
    for (let i = 0; i < layers; i++) {
      const layer = `model.${side}.layers.${i}.`, name = `${side}.${i}.`;
      for (const attention of side === "encoder" ? ["self_attn"] : ["self_attn", "encoder_attn"]) {
        for (const it of ["q_proj", "k_proj", "v_proj", "out_proj"]) {
          yield* linear(`${name}${attention}.${it}`, width, width, `${layer}${attention}.${it}`);
        }
        yield* norm(`${name}${attention}Norm`, width, `${layer}${attention}_layer_norm`);
      }
      yield* linear(`${name}up`, inner, width, `${layer}fc1`);
      yield* linear(`${name}down`, width, inner, `${layer}fc2`);
      yield* norm(`${name}mlpNorm`, width, `${layer}final_layer_norm`);
    }
  }
}

function sinusoids(positions: number, width: number): Float32Array {
  const table = new Float32Array(positions * width), half = Math.ceil(width / 2);
  for (let position = 0; position < positions; position++) {
    for (let i = 0; i < width; i++) {
      const angle = position / 10000 ** (2 * (i % half) / width);
      table[position * width + i] = i < half ? Math.sin(angle) : Math.cos(angle);
    }
  }
  return table;
}

function recordEmbedding(
  g: Graph,
  { embeddingScale: factor }: MarianConfig,
  w: WeightScope,
  ids: Tensor,
  positions: Tensor,
  table: string,
): Tensor {
  const { embed } = blocks(g, w);
  const words = g.op("scale", [embed([ids, table])], { factor });
  return g.op("add", [words, embed([positions, "positionTable"])]);
}

function feedForward(
  g: Graph,
  { activation: kind }: MarianConfig,
  w: WeightScope,
  name: string,
  x: Tensor,
): Tensor {
  const { linear, layerNorm } = blocks(g, w);
  const inner = g.op("activation", [linear(x, `${name}up`)], { kind });
  return layerNorm(g.op("add", [x, linear(inner, `${name}down`)]), `${name}mlpNorm`, EPS);
}

function recordEncoder(
  g: Graph,
  config: MarianConfig,
  w: WeightScope,
  { inputs, runRows, cacheRows, cacheType, wanted }: RunSizes,
): Record<string, Tensor> {
  const { hiddenSize, encoder: { layers, heads }, decoder } = config;
  const { ids, positions, rows, spans, sourceRows } = inputs as Record<string, Tensor>;
  const { linear, layerNorm, attend } = blocks(g, w);
  let x = recordEmbedding(g, config, w, ids!, positions!, "wordTable"); // [tokens, width]
  for (let i = 0; i < layers; i++) {
    g.cut(`encoder layer ${i}`, i);
    const name = `encoder.${i}.`;
    const [q, k, v] = ["q", "k", "v"].map((it) => linear(x, `${name}self_attn.${it}_proj`));
    const mixed = attend({
      name: `encoder.${i}`,
      q: q!,
      stored: { k: k!, v: v!, rows: rows! },
      shape: [runRows, heads, hiddenSize / heads],
      cacheType: "f32",
      spans: spans!,
      heads,
      scale: (hiddenSize / heads) ** -0.5,
    });
    const sum = g.op("add", [x, linear(mixed, `${name}self_attn.out_proj`)]);
    x = feedForward(g, config, w, name, layerNorm(sum, `${name}self_attnNorm`, EPS));
  }
  const shape = [cacheRows, decoder.heads, hiddenSize / decoder.heads] as const;
  for (let i = 0; i < decoder.layers; i++) {
    g.cut(`decoder layer ${i}`, layers + i);
    for (const [it, role] of [["k", "keyCache"], ["v", "valueCache"]] as const) {
      const cache = g.cache(`decoder.${i}.source.${it}`, role, shape, cacheType);
      const projected = linear(x, `decoder.${i}.encoder_attn.${it}_proj`);
      g.op("cacheStore", [cache, projected, sourceRows!]);
    }
  }
  return { hidden: wanted(x) };
}

function recordDecoder(
  g: Graph,
  config: MarianConfig,
  w: WeightScope,
  { inputs, cacheRows, cacheType, wanted }: RunSizes,
): Record<string, Tensor> {
  const { hiddenSize, encoder, decoder: { layers, heads } } = config;
  const { ids, positions, cacheRows: rows, spans, sourceSpans } = inputs as Record<string, Tensor>;
  const { linear, layerNorm, attend } = blocks(g, w);
  const shape = [cacheRows, heads, hiddenSize / heads] as const;
  const scale = (hiddenSize / heads) ** -0.5;
  const table = w.has("decoder.wordTable") ? "decoder.wordTable" : "wordTable";
  let x = recordEmbedding(g, config, w, ids!, positions!, table); // [tokens, width]
  for (let i = 0; i < layers; i++) {
    g.cut(`decoder layer ${i}`, encoder.layers + i);
    const name = `decoder.${i}.`;
    const [q, k, v] = ["q", "k", "v"].map((it) => linear(x, `${name}self_attn.${it}_proj`));
    const stored = { k: k!, v: v!, rows: rows! };
    const caches = { shape, cacheType, heads, scale };
    const mixed = attend({ name: `decoder.${i}`, q: q!, stored, spans: spans!, ...caches });
    const sum = g.op("add", [x, linear(mixed, `${name}self_attn.out_proj`)]);
    x = layerNorm(sum, `${name}self_attnNorm`, EPS);
    const found = g.op("attention", [
      linear(x, `${name}encoder_attn.q_proj`),
      g.cache(`decoder.${i}.source.k`, "keyCache", shape, cacheType),
      g.cache(`decoder.${i}.source.v`, "valueCache", shape, cacheType),
      sourceSpans!,
    ], { heads, scale });
    const crossed = g.op("add", [x, linear(found, `${name}encoder_attn.out_proj`)]);
    x = feedForward(g, config, w, name, layerNorm(crossed, `${name}encoder_attnNorm`, EPS));
  }
  g.cut("head");
  const hidden = wanted(x); // [rows, width]
  const head = w.tensor(w.has("head") ? "head" : table);
  const bias = w.has("headBias") ? [w.tensor("headBias")] : [];
  return { hidden, logits: g.op("matmul", [hidden, head, ...bias]) };
}

/** Fields of `config.json`, as the class of Transformers reads them. */
const FIELDS = {
  read: [
    ...["model_type", "d_model", "vocab_size", "decoder_vocab_size", "activation_function"],
    ...["scale_embedding", "max_position_embeddings", "decoder_start_token_id"],
    ...["encoder_layers", "encoder_attention_heads", "encoder_ffn_dim"],
    ...["decoder_layers", "decoder_attention_heads", "decoder_ffn_dim", "num_hidden_layers"],
    "tie_word_embeddings",
  ],
  harmless: [
    ...HARMLESS_FIELDS,
    ...["dropout", "activation_dropout", "encoder_layerdrop", "decoder_layerdrop", "init_std"],
    ...["is_encoder_decoder", "classif_dropout", "classifier_dropout"],
    ...["add_bias_logits", "extra_pos_embeddings", "force_bos_token_to_be_generated"],
    ...["num_beams", "max_length", "bad_words_ids", "forced_eos_token_id"],
  ],
  neutral: {
    static_position_embeddings: [true],
    normalize_before: [false],
    normalize_embedding: [false],
    add_final_layer_norm: [false],
    share_encoder_decoder_embeddings: [true],
    quantization_config: [],
  },
};
