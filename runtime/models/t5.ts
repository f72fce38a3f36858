/**
 * T5: an encoder and a decoder that share nothing but the words; no positions but a bias of the scores
 * by the distance of two tokens; RMS norms before each block, no biases, scores that are not scaled
 * (Raffel et al., arXiv:1910.10683). Version 1.1, with a gate in the feed-forward block and a head of
 * its own, and mT5 (arXiv:2010.11934).
 *
 * @module
 */

import { ModelError } from "../../errors.ts";
import { quote } from "../../escape.ts";
import { readConfig } from "../files/config.ts";
import type { Graph, Tensor } from "../graph/graph.ts";
import type { WeightScope } from "./weights.ts";
import { blocks } from "./blocks.ts";
import { HARMLESS_FIELDS } from "./common_fields.ts";
import type { ModelConfig, ModelDefinition } from "./definition.ts";
import { checkFields } from "./fields.ts";
import {
  cacheRows,
  causalSpans,
  encoderSpans,
  runRows,
  sourceRows,
  sourceSpans,
  tokenIds,
} from "./inputs.ts";
import type { RunSizes } from "./program.ts";
import { keptMatrix, matrix, vector, type WeightSpec } from "./weight_spec.ts";

/** Configuration of a T5. */
export interface T5Config extends ModelConfig {
  /** Layers of the encoder; `layers` are those of both. */
  readonly encoderLayers: number;
  /** Layers of the decoder. */
  readonly decoderLayers: number;
  /** Heads of each layer; heads times their length need not be the width. */
  readonly heads: number;
  /** Width of the feed-forward block. */
  readonly intermediateSize: number;
  /** `relu`, or the gate of a gated block. */
  readonly feedForward: "relu" | "gated";
  /** Added to mean squares. */
  readonly rmsNormEps: number;
  /** Buckets of distances. */
  readonly buckets: number;
  /** Distance from which on all are in the last bucket. */
  readonly maxDistance: number;
  /** Whether the head is the table of words, under a factor. */
  readonly tiedEmbeddings: boolean;
  /** What the decoder begins with. */
  readonly startId: number;
}

/** T5, version 1.1 of it, and mT5. */
export const t5: ModelDefinition<T5Config> = {
  parseConfig(file, warn = () => {}) {
    const config = readConfig(file);
    checkFields(file, "", FIELDS, warn);
    const encoderLayers = config.count("num_layers", 6);
    const decoderLayers = config.count("num_decoder_layers", encoderLayers);
    const kind = config.text("feed_forward_proj", "relu");
    if (kind !== "relu" && kind !== "gated-gelu") {
      throw new ModelError(
        `Cannot load ${quote(file.name)}: field "feed_forward_proj" is ${quote(kind)}, expected ` +
          `relu or gated-gelu`,
      );
    }
    const heads = config.count("num_heads", 8);
    return {
      architecture: config.text("model_type"),
      layers: encoderLayers + decoderLayers,
      encoderLayers,
      decoderLayers,
      hiddenSize: config.count("d_model", 512),
      heads,
      kvHeads: heads,
      headDim: config.count("d_kv", 64),
      intermediateSize: config.count("d_ff", 2048),
      feedForward: kind === "relu" ? "relu" : "gated",
      rmsNormEps: config.number("layer_norm_epsilon", 1e-6),
      vocabSize: config.count("vocab_size"),
      // Distances have no end; the context is what the memory holds.
      maxPositions: config.count("n_positions", 512),
      buckets: config.count("relative_attention_num_buckets", 32),
      maxDistance: config.count("relative_attention_max_distance", 128),
      tiedEmbeddings: config.flag("tie_word_embeddings", true),
      startId: config.whole("decoder_start_token_id", config.whole("pad_token_id", 0)),
    };
  },

  weights: (config) => Promise.resolve(listWeights(config)),

  programs: (config) => ({
    encode: {
      ids: tokenIds,
      inputs: [runRows, encoderSpans, sourceRows],
      record: (g, w, sizes) => recordEncoder(g, config, w, sizes),
    },
    decode: {
      ids: tokenIds,
      inputs: [cacheRows, causalSpans(), sourceSpans],
      record: (g, w, sizes) => recordDecoder(g, config, w, sizes),
    },
    prompts: { fields: { decoderIds: config.vocabSize }, decoderStart: [config.startId] },
  }),
};

const SIDES = ["encoder", "decoder"] as const;

function* listWeights(config: T5Config): Iterable<WeightSpec> {
  const { hiddenSize: width, vocabSize, heads, headDim, intermediateSize: inner } = config;
  yield keptMatrix("wordTable", vocabSize, width, "shared.weight");
  if (!config.tiedEmbeddings) yield matrix("head", vocabSize, width, "lm_head.weight");
  for (const side of SIDES) {
    const layers = side === "encoder" ? config.encoderLayers : config.decoderLayers;
    yield {
      name: `${side}.bias`,
      role: "table",
      shape: [heads, 2 * config.maxDistance + 1],
      source: {
        uses: [`${side}.block.0.layer.0.SelfAttention.relative_attention_bias.weight`],
        values: (read) => distanceBias(config, side, read),
      },
    };
    const last = `${side}.final_layer_norm.weight`;
    yield vector(`${side}.norm`, width, last);
    for (let i = 0; i < layers; i++) {
      const layer = `${side}.block.${i}.layer.`, name = `${side}.${i}.`;
      const attention = [["self", "0.SelfAttention"], ["cross", "1.EncDecAttention"]] as const;
      for (const [which, path] of side === "encoder" ? attention.slice(0, 1) : attention) {
        for (const it of ["q", "k", "v"]) {
          yield matrix(
            `${name}${which}.${it}`,
            heads * headDim,
            width,
            `${layer}${path}.${it}.weight`,
          );
        }
        yield matrix(`${name}${which}.o`, width, heads * headDim, `${layer}${path}.o.weight`);
        yield vector(`${name}${which}Norm`, width, `${layer}${path[0]}.layer_norm.weight`);
      }
      const block = `${layer}${side === "encoder" ? 1 : 2}.`, dense = `${block}DenseReluDense.`;
      if (config.feedForward === "relu") {
        yield matrix(`${name}up`, inner, width, `${dense}wi.weight`);
      } else {
        yield matrix(`${name}gate`, inner, width, `${dense}wi_0.weight`);
        yield matrix(`${name}up`, inner, width, `${dense}wi_1.weight`);
      }
      yield matrix(`${name}down`, width, inner, `${dense}wo.weight`);
      yield vector(`${name}mlpNorm`, width, `${block}layer_norm.weight`);
    }
  }
}

/** The bias of each head for every distance from `-maxDistance` to `maxDistance`: `[heads, width]`. */
async function distanceBias(
  { heads, buckets, maxDistance }: T5Config,
  side: typeof SIDES[number],
  read: (tensor: string) => Promise<Float32Array>,
): Promise<Float32Array> {
  const table = await read( // [buckets, heads]
    `${side}.block.0.layer.0.SelfAttention.relative_attention_bias.weight`,
  );
  const width = 2 * maxDistance + 1, bias = new Float32Array(heads * width);
  for (let i = 0; i < width; i++) {
    const bucket = bucketOf(i - maxDistance, buckets, maxDistance, side === "encoder");
    for (let h = 0; h < heads; h++) bias[h * width + i] = table[bucket * heads + h]!;
  }
  return bias;
}

/** The bucket of a distance, key minus query; an encoder has half of them for each direction. */
function bucketOf(
  distance: number,
  buckets: number,
  maxDistance: number,
  bothDirections: boolean,
): number {
  const count = bothDirections ? buckets / 2 : buckets;
  const first = bothDirections && distance > 0 ? count : 0;
  const far = bothDirections ? Math.abs(distance) : Math.max(0, -distance);
  const exact = Math.floor(count / 2);
  if (far < exact) return first + far;
  // The original computes this in f32.
  const share = Math.fround(
    Math.fround(Math.log(Math.fround(far / exact))) / Math.log(maxDistance / exact),
  );
  return first + Math.min(count - 1, exact + Math.floor(Math.fround(share * (count - exact))));
}

/** The feed-forward block of a layer, with its residual. */
function feedForward(
  g: Graph,
  w: WeightScope,
  config: T5Config,
  name: string,
  x: Tensor,
): Tensor {
  const { linear, rmsNorm } = blocks(g, w);
  const m = rmsNorm(x, `${name}mlpNorm`, config.rmsNormEps);
  const inner = config.feedForward === "relu"
    ? g.op("activation", [linear(m, `${name}up`)], { kind: "relu" })
    : g.op("glu", [linear(m, `${name}gate`), linear(m, `${name}up`)], { kind: "geluTanh" });
  return g.op("add", [x, linear(inner, `${name}down`)]);
}

function recordEncoder(
  g: Graph,
  config: T5Config,
  w: WeightScope,
  { inputs, runRows, cacheRows, cacheType, wanted }: RunSizes,
): Record<string, Tensor> {
  const { heads, headDim, rmsNormEps: eps, encoderLayers } = config;
  const { ids, rows, spans, sourceRows } = inputs as Record<string, Tensor>;
  const { linear, rmsNorm, embed, attend } = blocks(g, w);
  let x = embed([ids!, "wordTable"]); // [tokens, width]
  for (let i = 0; i < encoderLayers; i++) {
    g.cut(`encoder layer ${i}`, i);
    const name = `encoder.${i}.`, a = rmsNorm(x, `${name}selfNorm`, eps);
    const [q, k, v] = ["q", "k", "v"].map((it) => linear(a, `${name}self.${it}`));
    const mixed = attend({
      name: `encoder.${i}`,
      q: q!,
      stored: { k: k!, v: v!, rows: rows! },
      shape: [runRows, heads, headDim],
      cacheType: "f32",
      spans: spans!,
      extra: [w.tensor("encoder.bias"), rows!],
      heads,
      scale: 1,
      bias: "shared",
    });
    x = feedForward(g, w, config, name, g.op("add", [x, linear(mixed, `${name}self.o`)]));
  }
  g.cut("encoder norm");
  const hidden = rmsNorm(x, "encoder.norm", eps); // [tokens, width]
  const shape = [cacheRows, heads, headDim] as const;
  for (let i = 0; i < config.decoderLayers; i++) {
    g.cut(`decoder layer ${i}`, encoderLayers + i);
    for (const [it, role] of [["k", "keyCache"], ["v", "valueCache"]] as const) {
      const cache = g.cache(`decoder.${i}.source.${it}`, role, shape, cacheType);
      g.op("cacheStore", [cache, linear(hidden, `decoder.${i}.cross.${it}`), sourceRows!]);
    }
  }
  return { hidden: wanted(hidden) };
}

function recordDecoder(
  g: Graph,
  config: T5Config,
  w: WeightScope,
  { inputs, cacheRows, cacheType, wanted }: RunSizes,
): Record<string, Tensor> {
  const { heads, headDim, rmsNormEps: eps, encoderLayers } = config;
  const { ids, cacheRows: rows, spans, sourceSpans } = inputs as Record<string, Tensor>;
  const { linear, rmsNorm, embed, attend } = blocks(g, w);
  const shape = [cacheRows, heads, headDim] as const;
  let x = embed([ids!, "wordTable"]); // [tokens, width]
  for (let i = 0; i < config.decoderLayers; i++) {
    g.cut(`decoder layer ${i}`, encoderLayers + i);
    const name = `decoder.${i}.`, a = rmsNorm(x, `${name}selfNorm`, eps);
    const [q, k, v] = ["q", "k", "v"].map((it) => linear(a, `${name}self.${it}`));
    const mixed = attend({
      name: `decoder.${i}`,
      q: q!,
      stored: { k: k!, v: v!, rows: rows! },
      shape,
      cacheType,
      spans: spans!,
      extra: [w.tensor("decoder.bias"), rows!],
      heads,
      scale: 1,
      bias: "shared",
    });
    x = g.op("add", [x, linear(mixed, `${name}self.o`)]);
    const found = g.op("attention", [
      linear(rmsNorm(x, `${name}crossNorm`, eps), `${name}cross.q`),
      g.cache(`decoder.${i}.source.k`, "keyCache", shape, cacheType),
      g.cache(`decoder.${i}.source.v`, "valueCache", shape, cacheType),
      sourceSpans!,
    ], { heads, scale: 1 });
    x = g.op("add", [x, linear(found, `${name}cross.o`)]);
    x = feedForward(g, w, config, name, x);
  }
  g.cut("head");
  const hidden = rmsNorm(wanted(x), "decoder.norm", eps); // [rows, width]
  if (!config.tiedEmbeddings) return { hidden, logits: linear(hidden, "head") };
  const scaled = g.op("scale", [hidden], { factor: config.hiddenSize ** -0.5 });
  return { hidden, logits: linear(scaled, "wordTable") };
}

/** Fields of `config.json`, as the classes of Transformers read them. */
const FIELDS = {
  read: [
    ...["model_type", "vocab_size", "d_model", "d_kv", "d_ff", "num_layers", "num_decoder_layers"],
    ...["num_heads", "relative_attention_num_buckets", "relative_attention_max_distance"],
    ...["layer_norm_epsilon", "feed_forward_proj", "tie_word_embeddings", "n_positions"],
    ...["decoder_start_token_id", "pad_token_id"],
  ],
  harmless: [
    ...HARMLESS_FIELDS,
    ...["dropout_rate", "is_encoder_decoder", "is_gated_act", "dense_act_fn", "output_past"],
    ...["classifier_dropout"],
  ],
  neutral: { quantization_config: [] },
};
