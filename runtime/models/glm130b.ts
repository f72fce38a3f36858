/**
 * GLM-130B (Zeng et al., arXiv:2210.02414, and its released code): a model that fills blanks. What comes
 * before the start token is read in both directions. Rotary positions on whole heads, a feed-forward
 * block whose gate is a GELU, and DeepNorm: the residual is the normed input, times a constant. Its
 * checkpoint is divided among processes (`runtime/files/ranks.ts`).
 *
 * @module
 */

import { ModelError } from "../../errors.ts";
import { quote, word } from "../../escape.ts";
import { readConfig } from "../files/config.ts";
import type { ModelFile } from "../files/model_file.ts";
import { rankName } from "../files/ranks.ts";
import type { Graph, Tensor } from "../graph/graph.ts";
import { type BlankTokens, findPrefix, maskOf } from "./blanks.ts";
import { blocks } from "./blocks.ts";
import { HARMLESS_FIELDS } from "./common_fields.ts";
import type { ModelConfig, ModelDefinition } from "./definition.ts";
import { checkFields } from "./fields.ts";
import { cacheRows, prefixSpans, tokenIds } from "./inputs.ts";
import type { InputRule, RunSizes } from "./program.ts";
import { rotationTable } from "./rope.ts";
import {
  matrix,
  queriesKeysValues,
  type TensorSource,
  vector,
  type WeightSpec,
} from "./weight_spec.ts";
import type { WeightScope } from "./weights.ts";

/** Configuration of a GLM-130B. */
export interface Glm130bConfig extends ModelConfig, BlankTokens {
  /** Heads of each layer. */
  readonly heads: number;
  /** Width of the feed-forward block. */
  readonly intermediateSize: number;
  /** Added to variances. */
  readonly layerNormEps: number;
  /** Among `maskIds`, the one for a text that goes on: its answer's positions go on, too. */
  readonly longMask: number;
  /** Processes among which the checkpoint is divided. */
  readonly ranks: number;
}

const WORDS = "transformer.word_embeddings.weight";

/** GLM-130B. What a configuration leaves out is as in the published model. */
export const glm130b: ModelDefinition<Glm130bConfig> = {
  parseConfig(file, warn = () => {}) {
    const config = readConfig(file);
    checkFields(file, "", FIELDS, warn);
    const ranks = countRanks(file);
    const hiddenSize = config.count("hidden_size", 12288);
    const heads = config.count("num_attention_heads", 96);
    const vocabSize = config.count("vocab_size", 150528);
    const intermediateSize = config.count(
      "inner_hidden_size",
      config.has("hidden_size") ? Math.floor(4 * hiddenSize * 2 / 3) : 32768,
    );
    if (hiddenSize % (2 * heads) !== 0) {
      throw new ModelError(
        `Cannot load ${quote(file.name)}: hidden_size ${hiddenSize} with ${heads} attention ` +
          `heads, expected heads of an even length`,
      );
    }
    const extents = { num_attention_heads: heads, vocab_size: vocabSize, intermediateSize };
    const other = Object.entries(extents).find(([, extent]) => extent % ranks !== 0);
    if (other) {
      throw new ModelError(
        `Cannot load ${quote(file.name)}: ${word(other[0])} ${
          other[1]
        } is divided among ${ranks} ` +
          `processes, expected equal parts`,
      );
    }
    return {
      architecture: config.text("model_type"),
      layers: config.count("num_layers", 70),
      hiddenSize,
      heads,
      kvHeads: heads,
      headDim: hiddenSize / heads,
      intermediateSize,
      layerNormEps: config.epsilon("layernorm_epsilon", 1e-5),
      vocabSize,
      maxPositions: config.count("max_sequence_length", 2048),
      bosId: config.whole("bos_token_id", 150004),
      // A prompt with several kinds is a request to fill the short ones first.
      maskIds: [
        config.whole("mask_token_id", 150000),
        config.whole("smask_token_id", 150002),
        config.whole("gmask_token_id", 150001),
      ],
      maskUses: ["[MASK], a few words", "[sMASK], a sentence", "[gMASK], the text goes on"],
      longMask: 2,
      ranks,
    };
  },

  weights: (config, _file, contextLength) => Promise.resolve(listWeights(config, contextLength)),

  programs: (config) => ({
    decode: {
      ids: tokenIds,
      inputs: [startPositions(config), answerPositions(config), cacheRows, prefixSpans],
      whole: ({ prefixLength = 0 }) => prefixLength,
      record: (g, w, sizes) => recordDecoder(g, config, w, sizes),
    },
    prompts: { complete: (sequence) => findPrefix(config, sequence) },
  }),
};

/** Of how many processes the file has parts; one where names do not say. */
function countRanks({ tensors }: ModelFile): number {
  let count = 0;
  while (tensors.has(`${rankName(count)}/${WORDS}`)) count++;
  return Math.max(1, count);
}

/**
 * Place of each token in the prefix. An answer's tokens have the place of a short mask, which they
 * stand for, or of the start token `[tokens]`.
 */
function startPositions(config: Glm130bConfig): InputRule {
  return {
    name: "positions",
    step: [0],
    fill({ sequence, position }, i, into, at) {
      const place = position + i, { prefixLength = 0 } = sequence;
      if (place < prefixLength) into[at] = place;
      else {
        const mask = maskOf(config, sequence);
        into[at] = mask.kind === config.longMask ? prefixLength : mask.place;
      }
    },
  };
}

/**
 * By how many places each token is further on than `positions` say `[tokens]`, as a row of a table in
 * which every other row is no place further on: the tokens that stand for a short mask go through these.
 */
function answerPositions(config: Glm130bConfig): InputRule {
  return {
    name: "answerPositions",
    step: [2],
    fill({ sequence, position }, i, into, at) {
      const place = position + i, { prefixLength = 0 } = sequence;
      const isShort = maskOf(config, sequence).kind !== config.longMask;
      into[at] = place < prefixLength ? 0 : 2 * (place - prefixLength) + (isShort ? 1 : 0);
    },
  };
}

function* listWeights(config: Glm130bConfig, contextLength: number): Iterable<WeightSpec> {
  const { hiddenSize: width, heads, headDim, intermediateSize: inner, vocabSize, ranks } = config;
  /** The names of a tensor's parts. */
  const partsOf = (tensor: string): string[] =>
    ranks === 1
      ? [tensor]
      : Array.from({ length: ranks }, (_, rank) => `${rankName(rank)}/${tensor}`);
  /** A vector of which each rank has a copy. */
  const copied = (name: string, tensor: string): WeightSpec =>
    vector(name, width, { tensor: partsOf(tensor), fileShape: [width], rows: [[0, width]] });
  const norm = (name: string, tensor: string): WeightSpec[] => [
    copied(name, `${tensor}.weight`),
    copied(`${name}.bias`, `${tensor}.bias`),
  ];
  /** A layer of which each rank has some columns. */
  const joined = (name: string, columns: number, tensor: string): WeightSpec[] => [
    matrix(name, width, columns, { tensor: partsOf(`${tensor}.weight`), sideBySide: true }),
    copied(`${name}.bias`, `${tensor}.bias`),
  ];
  /** One half of a layer of which each rank has rows of both halves. */
  const half = (name: string, place: 0 | 1, tensor: string): WeightSpec[] => {
    const own = inner / ranks; // rows of one rank
    const rows = Array.from(
      { length: ranks },
      (_, rank) => [(2 * rank + place) * own, own] as const,
    );
    const source = (kind: string, ...rest: number[]): TensorSource => ({
      tensor: partsOf(`${tensor}.${kind}`),
      fileShape: [2 * own, ...rest],
      rows,
    });
    return [
      matrix(name, inner, width, source("weight", width)),
      vector(`${name}.bias`, inner, source("bias")),
    ];
  };

  // Not kept as it is: in 16 bits it would be larger than one memory of WebAssembly.
  yield matrix("wordTable", vocabSize, width, { tensor: partsOf(WORDS) });
  for (let i = 0; i < config.layers; i++) {
    const layer = `transformer.layers.${i}.`;
    yield* norm(`${i}.attentionNorm`, `${layer}input_layernorm`);
    const fused = `${layer}attention.query_key_value`;
    yield* queriesKeysValues(`${i}`, heads, headDim, fused, partsOf);
    yield* joined(`${i}.o`, width, `${layer}attention.dense`);
    yield* norm(`${i}.mlpNorm`, `${layer}post_attention_layernorm`);
    yield* half(`${i}.up`, 0, `${layer}mlp.dense_h_to_4h`);
    yield* half(`${i}.gate`, 1, `${layer}mlp.dense_h_to_4h`);
    yield* joined(`${i}.down`, inner, `${layer}mlp.dense_4h_to_h`);
  }
  yield* norm("norm", "transformer.final_layernorm");
  const frequencies = frequenciesOf(headDim);
  yield {
    name: "rope",
    role: "table",
    shape: [contextLength, headDim],
    source: { values: () => rotationTable(frequencies, contextLength) },
  };
  yield {
    name: "answerRope",
    role: "table",
    shape: [2 * contextLength, headDim],
    source: { values: () => everyOther(rotationTable(frequencies, contextLength), headDim) },
  };
}

/** Frequencies of the pairs of a head, `[headDim / 2]`; the released code keeps them in 16 bits. */
function frequenciesOf(headDim: number): Float16Array {
  return Float16Array.from({ length: headDim / 2 }, (_, i) => 10000 ** (-2 * i / headDim));
}

/** A table `[rows, width]` with its first row, which rotates nothing, behind each `[2 * rows, width]`. */
function everyOther(table: Float32Array, width: number): Float32Array {
  const result = new Float32Array(2 * table.length), first = table.subarray(0, width);
  for (let at = 0; at < table.length; at += width) {
    result.set(table.subarray(at, at + width), 2 * at);
    result.set(first, 2 * at + width);
  }
  return result;
}

function recordDecoder(
  g: Graph,
  config: Glm130bConfig,
  w: WeightScope,
  { inputs, cacheRows, cacheType, wanted }: RunSizes,
): Record<string, Tensor> {
  const { heads, headDim, layerNormEps: eps } = config;
  const { ids, positions, answerPositions, cacheRows: rows, spans } = inputs as Record<
    string,
    Tensor
  >;
  const { linear, layerNorm, embed, attend } = blocks(g, w);
  // [contextLength, headDim] and [2 * contextLength, headDim]
  const table = w.tensor("rope"), answerTable = w.tensor("answerRope");
  const rotate = (x: Tensor): Tensor => {
    const start = g.op("rope", [x, positions!, table], { heads, pairing: "half" });
    return g.op("rope", [start, answerPositions!, answerTable], { heads, pairing: "half" });
  };
  /** What a block gives, beside its normed input. */
  const join = (normed: Tensor, given: Tensor): Tensor =>
    g.op("add", [g.op("scale", [normed], { factor: Math.sqrt(2 * config.layers) }), given]);

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
    const inner = g.op("glu", [linear(m, `${i}.gate`), linear(m, `${i}.up`)], { kind: "gelu" });
    x = join(m, linear(inner, `${i}.down`));
  }
  g.cut("head");
  const hidden = layerNorm(wanted(x), "norm", eps); // [rows, hidden]
  return { hidden, logits: linear(hidden, "wordTable") };
}

/** Fields of `config.json`: the arguments of the released programs. */
const FIELDS = {
  read: [
    ...["model_type", "num_layers", "hidden_size", "inner_hidden_size", "num_attention_heads"],
    ...["vocab_size", "max_sequence_length", "layernorm_epsilon", "bos_token_id"],
    ...["mask_token_id", "smask_token_id", "gmask_token_id"],
  ],
  harmless: [
    ...HARMLESS_FIELDS,
    ...["model_class", "tokenizer_type", "skip_init", "fp16", "bf16"],
    // The files themselves say so.
    ...["model_parallel_size", "quantization_bit_width", "from_quantized_checkpoint"],
  ],
  neutral: {
    layernorm_order: ["post"],
    position_encoding_2d: [false],
    no_glu: [false],
    use_bias: [true],
    use_final_layernorm: [true],
    row_parallel_linear_final_bias: [true],
    is_gated_mlp: [false],
    is_rotary_emb: [false],
    is_decoder: [false],
    num_experts: [1],
    num_multi_query_heads: [0],
    hidden_size_per_attention_head: [],
  },
};
