/**
 * The encoder and the decoder of T5 and its kin: they share nothing but the words, have no positions but
 * a bias of the scores by the distance of two tokens, RMS norms before each block, no biases, and
 * scores that are not scaled (Raffel et al., arXiv:1910.10683). What their feed-forward blocks are, the
 * families say.
 *
 * @module
 */

import { ModelError } from "../../errors.ts";
import { quote } from "../../escape.ts";
import { readConfig } from "../files/config.ts";
import type { ModelFile } from "../files/model_file.ts";
import type { Graph, Tensor } from "../graph/graph.ts";
import { blocks } from "./blocks.ts";
import { checkStart, type ModelConfig } from "./definition.ts";
import {
  cacheRows,
  causalSpans,
  encoderSpans,
  runRows,
  sourceRows,
  sourceSpans,
  tokenIds,
} from "./inputs.ts";
import type { InputRule, Program, Programs, RunSizes } from "./program.ts";
import type { PromptRules } from "./prompt.ts";
import { type LayerPlace, scalesHead, type StackNames } from "./t5_names.ts";
import { keptMatrix, matrix, type ReadTensor, vector, type WeightSpec } from "./weight_spec.ts";
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
  /** What the decoder begins with. */
  readonly startId: number;
  /**
   * Whether what the last layer gives is multiplied by `hiddenSize ** -0.5` before the head; where a
   * file does not say, it is if the head is the table of words.
   */
  readonly scalesHead?: boolean;
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

/**
 * Reads what all of the families have in `config.json`.
 *
 * @throws ModelError naming what is missing, or does not fit together
 */
export function readStack(file: ModelFile): StackConfig {
  const config = readConfig(file), encoderLayers = config.count("num_layers", 6);
  const classes = config.get("architectures");
  const isEncoder = Array.isArray(classes) && /^M?T5EncoderModel$/.test(String(classes[0]));
  const decoderLayers = isEncoder ? 0 : config.count("num_decoder_layers", encoderLayers);
  const heads = config.count("num_heads", 8);
  return checkStack(file, {
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
    startId: config.whole("decoder_start_token_id", config.whole("pad_token_id", 0)),
    scalesHead: scalesHead(file),
  });
}

/**
 * Checks that a decoder begins with a word, and that buckets and distances fit together: half of a direction's buckets are for one distance
 * each, and the others reach further.
 *
 * @throws ModelError with both numbers
 */
export function checkStack<C extends StackConfig>(file: ModelFile, config: C): C {
  const { buckets, maxDistance } = config;
  if (buckets % 2 !== 0 || buckets < 4 || maxDistance <= buckets / 2) {
    throw new ModelError(
      `Cannot load ${quote(file.name)}: ${buckets} buckets of distances up to ${maxDistance}, ` +
        `expected an even number of them, from 4 on and below twice the distance`,
    );
  }
  return config.decoderLayers > 0 ? checkStart(file, config) : config;
}

/** The programs of both stacks, or of the encoder alone; `more` are inputs of feed-forward blocks. */
export function stackPrograms(
  config: StackConfig,
  feedForward: FeedForward,
  more: readonly InputRule[] = [],
): Programs {
  const hasDecoder = config.decoderLayers > 0;
  const encode: Program = {
    ids: tokenIds,
    inputs: [runRows, encoderSpans, ...(hasDecoder ? [sourceRows] : []), ...more],
    record: (g, w, sizes) => recordEncoder(g, config, feedForward, w, sizes),
  };
  if (!hasDecoder) return { encode };
  return {
    encode,
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
export function* listStack(
  config: StackConfig,
  names: StackNames,
  feedForward: FeedForward,
): Iterable<WeightSpec> {
  const { hiddenSize: width, vocabSize, heads, headDim, encoderLayers, decoderLayers } = config;
  const inner = heads * headDim;
  const { words } = names;
  yield keptMatrix("wordTable", vocabSize, width, words.encoder);
  if (decoderLayers > 0) {
    if (words.decoder !== words.encoder) {
      yield keptMatrix("decoder.wordTable", vocabSize, width, words.decoder);
    }
    if (words.head !== words.decoder) yield matrix("head", vocabSize, width, words.head);
  }
  for (const [side, layers] of [["encoder", encoderLayers], ["decoder", decoderLayers]] as const) {
    if (layers > 0) yield vector(`${side}.norm`, width, names.norm(side));
    for (let layer = 0; layer < layers; layer++) {
      const place = { side, layer }, path = names.layer(place), name = `${side}.${layer}.`;
      const distances = names.distances(place);
      if (distances !== undefined) yield distanceBias(config, place, distances);
      for (const [weight, tensor] of Object.entries(names.inLayer[side])) {
        const file = `${path}${tensor}.weight`;
        if (weight.endsWith("Norm")) yield vector(name + weight, width, file);
        else if (weight.endsWith(".o")) yield matrix(name + weight, width, inner, file);
        else yield matrix(name + weight, inner, width, file);
      }
      yield* feedForward.list(place, path + names.block[side]);
    }
  }
}

/** Name of the biases of a layer, where it has its own. */
function biasName({ side, layer }: LayerPlace): string {
  return layer === 0 ? `${side}.bias` : `${side}.${layer}.bias`;
}

/** The biases that a layer adds: its own, or those of the first. */
function biasOf(w: WeightScope, place: LayerPlace): Tensor {
  const own = biasName(place);
  return w.tensor(w.has(own) ? own : biasName({ ...place, layer: 0 }));
}

/** The bias of each head for every distance from `-maxDistance` to `maxDistance`: `[heads, width]`. */
function distanceBias(
  { heads, buckets, maxDistance }: StackConfig,
  place: LayerPlace,
  tensor: string,
): WeightSpec {
  const width = 2 * maxDistance + 1, isEncoder = place.side === "encoder";
  async function values(read: ReadTensor): Promise<Float32Array> {
    const table = await read(tensor); // [buckets, heads]
    const bias = new Float32Array(heads * width);
    for (let i = 0; i < width; i++) {
      const bucket = bucketOf(i - maxDistance, buckets, maxDistance, isEncoder);
      for (let h = 0; h < heads; h++) bias[h * width + i] = table[bucket * heads + h]!;
    }
    return bias;
  }
  const source = { uses: [{ name: tensor, shape: [buckets, heads] }], values };
  return { name: biasName(place), role: "table", shape: [heads, width], source };
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
      extra: [biasOf(w, { side: "encoder", layer: i }), rows!],
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
  const words = w.has("decoder.wordTable") ? "decoder.wordTable" : "wordTable";
  let x = embed([ids!, words]); // [tokens, width]
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
      extra: [biasOf(w, { side: "decoder", layer: i }), rows!],
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
  const head = w.has("head") ? "head" : words;
  if (!(config.scalesHead ?? head !== "head")) return { hidden, logits: linear(hidden, head) };
  const scaled = g.op("scale", [hidden], { factor: config.hiddenSize ** -0.5 });
  return { hidden, logits: linear(scaled, head) };
}
