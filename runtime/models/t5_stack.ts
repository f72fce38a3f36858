/**
 * The encoder and the decoder of T5 and its kin: they share nothing but the words, have no positions but
 * a bias of the scores by the distance of two tokens, RMS norms before each block, no biases, and
 * scores that are not scaled (Raffel et al., arXiv:1910.10683). What their feed-forward blocks are, the
 * families say.
 *
 * @module
 */

import type { ConfigReader } from "../files/config.ts";
import type { Graph, Tensor } from "../graph/graph.ts";
import { blocks } from "./blocks.ts";
import type { ModelConfig } from "./definition.ts";
import {
  cacheRows,
  causalSpans,
  encoderSpans,
  runRows,
  sourceRows,
  sourceSpans,
  tokenIds,
} from "./inputs.ts";
import type { InputRule, Programs, RunSizes } from "./program.ts";
import type { PromptRules } from "./prompt.ts";
import { keptMatrix, matrix, vector, type WeightSpec } from "./weight_spec.ts";
import type { WeightScope } from "./weights.ts";

/** Configuration of both stacks. */
export interface StackConfig extends ModelConfig {
  /** Layers of the encoder; `layers` are those of both. */
  readonly encoderLayers: number;
  /** Layers of the decoder. */
  readonly decoderLayers: number;
  /** Heads of each layer; heads times their length need not be the width. */
  readonly heads: number;
  /** Width of the feed-forward block. */
  readonly intermediateSize: number;
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

/** One of the two stacks. */
export type Side = "encoder" | "decoder";

/** A layer of a stack. */
export interface LayerPlace {
  readonly side: Side;
  readonly layer: number;
}

/** The feed-forward block of a layer. */
export interface FeedForward {
  /** Lists its weights; `path` begins their names in the file. */
  list(place: LayerPlace, path: string): Iterable<WeightSpec>;
  /** Records it on normed states `m [tokens, width]`; the residual is added outside. */
  record(
    g: Graph,
    w: WeightScope,
    place: LayerPlace,
    m: Tensor,
    inputs: RunSizes["inputs"],
  ): Tensor;
}

/** Reads what all of the families have. */
export function readStack(config: ConfigReader): StackConfig {
  const encoderLayers = config.count("num_layers", 6);
  const decoderLayers = config.count("num_decoder_layers", encoderLayers);
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
    rmsNormEps: config.epsilon("layer_norm_epsilon", 1e-6),
    vocabSize: config.count("vocab_size"),
    // Distances have no end; the context is what the memory holds.
    maxPositions: config.count("n_positions", 512),
    buckets: config.count("relative_attention_num_buckets", 32),
    maxDistance: config.count("relative_attention_max_distance", 128, 2 ** 20),
    tiedEmbeddings: config.flag("tie_word_embeddings", true),
    startId: config.whole("decoder_start_token_id", config.whole("pad_token_id", 0)),
  };
}

/** The programs of both stacks; `more` are inputs that feed-forward blocks want. */
export function stackPrograms(
  config: StackConfig,
  feedForward: FeedForward,
  more: readonly InputRule[] = [],
): Programs {
  return {
    encode: {
      ids: tokenIds,
      inputs: [runRows, encoderSpans, sourceRows, ...more],
      record: (g, w, sizes) => recordEncoder(g, config, feedForward, w, sizes),
    },
    decode: {
      ids: tokenIds,
      inputs: [cacheRows, causalSpans(), sourceSpans, ...more],
      record: (g, w, sizes) => recordDecoder(g, config, feedForward, w, sizes),
    },
    prompts: promptsOf(config),
  };
}

/** Prompts of an encoder–decoder. */
function promptsOf({ vocabSize, startId }: StackConfig): PromptRules {
  return { fields: { decoderIds: vocabSize }, decoderStart: [startId] };
}

/** The weights of both stacks. */
export function* listStack(config: StackConfig, feedForward: FeedForward): Iterable<WeightSpec> {
  const { hiddenSize: width, vocabSize, heads, headDim } = config, inner = heads * headDim;
  yield keptMatrix("wordTable", vocabSize, width, "shared.weight");
  if (!config.tiedEmbeddings) yield matrix("head", vocabSize, width, "lm_head.weight");
  for (const side of ["encoder", "decoder"] as const) {
    yield {
      name: `${side}.bias`,
      role: "table",
      shape: [heads, 2 * config.maxDistance + 1],
      source: {
        uses: [{ name: distanceTable(side), shape: [config.buckets, heads] }],
        values: (read) => distanceBias(config, side, read),
      },
    };
    yield vector(`${side}.norm`, width, `${side}.final_layer_norm.weight`);
    const isEncoder = side === "encoder";
    for (
      let layer = 0;
      layer < (isEncoder ? config.encoderLayers : config.decoderLayers);
      layer++
    ) {
      const path = `${side}.block.${layer}.layer.`, name = `${side}.${layer}.`;
      const attention = [["self", "0.SelfAttention"], ["cross", "1.EncDecAttention"]] as const;
      for (const [which, it] of isEncoder ? attention.slice(0, 1) : attention) {
        for (const part of ["q", "k", "v"]) {
          yield matrix(`${name}${which}.${part}`, inner, width, `${path}${it}.${part}.weight`);
        }
        yield matrix(`${name}${which}.o`, width, inner, `${path}${it}.o.weight`);
        yield vector(`${name}${which}Norm`, width, `${path}${it[0]}.layer_norm.weight`);
      }
      const block = `${path}${isEncoder ? 1 : 2}.`;
      yield* feedForward.list({ side, layer }, block);
      yield vector(`${name}mlpNorm`, width, `${block}layer_norm.weight`);
    }
  }
}

/** The tensor with the biases of a side: those of its first layer. */
const distanceTable = (side: Side): string =>
  `${side}.block.0.layer.0.SelfAttention.relative_attention_bias.weight`;

/** The bias of each head for every distance from `-maxDistance` to `maxDistance`: `[heads, width]`. */
async function distanceBias(
  { heads, buckets, maxDistance }: StackConfig,
  side: Side,
  read: (tensor: string) => Promise<Float32Array>,
): Promise<Float32Array> {
  const table = await read(distanceTable(side)); // [buckets, heads]
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

function recordEncoder(
  g: Graph,
  config: StackConfig,
  feedForward: FeedForward,
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
    x = g.op("add", [x, linear(mixed, `${name}self.o`)]);
    const m = rmsNorm(x, `${name}mlpNorm`, eps);
    x = g.op("add", [x, feedForward.record(g, w, { side: "encoder", layer: i }, m, inputs)]);
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
  config: StackConfig,
  feedForward: FeedForward,
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
    const m = rmsNorm(x, `${name}mlpNorm`, eps);
    x = g.op("add", [x, feedForward.record(g, w, { side: "decoder", layer: i }, m, inputs)]);
  }
  g.cut("head");
  const hidden = rmsNorm(wanted(x), "decoder.norm", eps); // [rows, width]
  if (!config.tiedEmbeddings) return { hidden, logits: linear(hidden, "head") };
  const scaled = g.op("scale", [hidden], { factor: config.hiddenSize ** -0.5 });
  return { hidden, logits: linear(scaled, "wordTable") };
}
