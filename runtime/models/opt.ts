/**
 * OPT (Zhang et al., arXiv:2205.01068) and Galactica (Taylor et al., arXiv:2211.09085): a decoder with
 * learned positions and biases. The norms lie before or behind the blocks, and words may be narrower
 * than the layers.
 *
 * @module
 */

import { ModelError } from "../../errors.ts";
import { quote, word } from "../../escape.ts";
import type { ActivationName } from "../../kernels/ops.ts";
import { readConfig } from "../files/config.ts";
import type { ModelFile } from "../files/model_file.ts";
import type { Graph, Tensor } from "../graph/graph.ts";
import { blocks } from "./blocks.ts";
import { HARMLESS_FIELDS } from "./common_fields.ts";
import {
  checkPositions,
  type ModelConfig,
  type ModelDefinition,
  tellHeadless,
} from "./definition.ts";
import { checkFields } from "./fields.ts";
import { cacheRows, causalSpans, positions, tokenIds } from "./inputs.ts";
import type { RunSizes } from "./program.ts";
import { keptMatrix, linear, matrix, norm, type WeightSpec } from "./weight_spec.ts";
import type { WeightScope } from "./weights.ts";
import { isOwnTable } from "./word_tables.ts";

/** Configuration of such a decoder. */
interface OptConfig extends ModelConfig {
  /** Heads of each layer; each has keys and values of its own. */
  readonly heads: number;
  /** Width of the feed-forward block. */
  readonly intermediateSize: number;
  /** Width of the table of words; other than the layers', a matrix leads in and another one out. */
  readonly wordWidth: number;
  /** Nonlinearity of the feed-forward block. */
  readonly activation: ActivationName;
  /** Whether the norms lie before the blocks, so that another one comes after the last layer. */
  readonly normsFirst: boolean;
  /** Whether there is a norm after the last layer. */
  readonly normsLast: boolean;
  /** Whether linear layers have biases. */
  readonly biased: boolean;
  /** Whether norms have gains and biases. */
  readonly affine: boolean;
  /** Whether the head is the table of words. */
  readonly tiedEmbeddings: boolean;
}

/** What the original adds to variances. */
const EPS = 1e-5;
/** Rows of the table of positions that stand before that of the first token: a trace of padding. */
const FIRST_POSITION = 2;

const ACTIVATIONS: Readonly<Record<string, ActivationName>> = {
  relu: "relu",
  gelu: "gelu",
  gelu_new: "geluTanh",
  gelu_pytorch_tanh: "geluTanh",
  silu: "silu",
  swish: "silu",
};

/** OPT. */
export const opt: ModelDefinition<OptConfig> = {
  parseConfig(file, warn = () => {}) {
    checkFields(file, "", FIELDS, warn);
    const config = readConfig(file);
    const hiddenSize = config.count("hidden_size", 768);
    const heads = config.count("num_attention_heads", 12);
    if (hiddenSize % heads !== 0) {
      throw new ModelError(
        `Cannot load ${quote(file.name)}: hidden_size ${hiddenSize} with num_attention_heads ` +
          `${heads}, expected a multiple of it`,
      );
    }
    const name = config.text("activation_function", "relu"), activation = ACTIVATIONS[name];
    if (!activation) {
      throw new ModelError(
        `Cannot load ${quote(file.name)}: field "activation_function" is ${word(name)}, expected ` +
          Object.keys(ACTIVATIONS).join(", "),
      );
    }
    const normsFirst = config.flag("do_layer_norm_before", true);
    return {
      architecture: config.text("model_type"),
      layers: config.count("num_hidden_layers", 12),
      hiddenSize,
      heads,
      kvHeads: heads,
      headDim: hiddenSize / heads,
      intermediateSize: config.count("ffn_dim", 3072),
      wordWidth: config.count("word_embed_proj_dim", hiddenSize),
      activation,
      normsFirst,
      normsLast: normsFirst && !config.flag("_remove_final_layer_norm", false),
      biased: config.flag("enable_bias", true),
      affine: config.flag("layer_norm_elementwise_affine", true),
      tiedEmbeddings: config.flag("tie_word_embeddings", true),
      vocabSize: config.count("vocab_size", 50272),
      maxPositions: config.count("max_position_embeddings", 2048),
    };
  },

  async weights(config, file, contextLength, warn = () => {}) {
    checkPositions(file, config, contextLength);
    if (!config.tiedEmbeddings && !file.tensors.has(HEAD)) tellHeadless(file, warn);
    const decoder = prefixOf(file), words = `${decoder}embed_tokens.weight`;
    return listWeights(config, decoder, await isOwnTable(file, HEAD, words));
  },

  programs: (config) => ({
    decode: {
      ids: tokenIds,
      inputs: [positions, cacheRows, causalSpans()],
      record: (g, w, sizes) => recordDecoder(g, config, w, sizes),
    },
  }),
};

const HEAD = "lm_head.weight";

/** What names begin with: a model that was saved without its head has no prefix. */
function prefixOf({ tensors }: ModelFile): string {
  return tensors.has("decoder.embed_tokens.weight") ? "decoder." : "model.decoder.";
}

function* listWeights(
  config: OptConfig,
  decoder: string,
  hasHead: boolean,
): Iterable<WeightSpec> {
  const { hiddenSize: width, intermediateSize: inner, wordWidth, vocabSize, maxPositions } = config;
  const dense = (name: string, rows: number, columns: number, tensor: string): WeightSpec[] =>
    linear(name, rows, columns, tensor).slice(0, config.biased ? 2 : 1);
  const normed = (name: string, tensor: string): WeightSpec[] =>
    config.affine ? norm(name, width, tensor) : [ones(name, width)];
  yield keptMatrix("wordTable", vocabSize, wordWidth, `${decoder}embed_tokens.weight`);
  const table = {
    tensor: `${decoder}embed_positions.weight`,
    fileShape: [maxPositions + FIRST_POSITION, width],
    rows: [[FIRST_POSITION, maxPositions]] as const,
  };
  yield keptMatrix("positionTable", maxPositions, width, table);
  if (wordWidth !== width) {
    yield matrix("wordsIn", width, wordWidth, `${decoder}project_in.weight`);
  }
  for (let i = 0; i < config.layers; i++) {
    const layer = `${decoder}layers.${i}.`, attention = `${layer}self_attn.`;
    yield* normed(`${i}.attentionNorm`, `${layer}self_attn_layer_norm`);
    for (const name of ["q", "k", "v"]) {
      yield* dense(`${i}.${name}`, width, width, `${attention}${name}_proj`);
    }
    yield* dense(`${i}.o`, width, width, `${attention}out_proj`);
    yield* normed(`${i}.mlpNorm`, `${layer}final_layer_norm`);
    yield* dense(`${i}.up`, inner, width, `${layer}fc1`);
    yield* dense(`${i}.down`, width, inner, `${layer}fc2`);
  }
  if (config.normsLast) yield* normed("norm", `${decoder}final_layer_norm`);
  if (wordWidth !== width) {
    yield matrix("wordsOut", wordWidth, width, `${decoder}project_out.weight`);
  }
  if (hasHead) yield matrix("head", vocabSize, wordWidth, HEAD);
}

/** The gains of a norm that has learned none. */
function ones(name: string, length: number): WeightSpec {
  const values = (): Float32Array => new Float32Array(length).fill(1);
  return { name, role: "vector", shape: [length], source: { values } };
}

function recordDecoder(
  g: Graph,
  config: OptConfig,
  w: WeightScope,
  { inputs, cacheRows, cacheType, wanted }: RunSizes,
): Record<string, Tensor> {
  const { heads, headDim, activation: kind, normsFirst } = config;
  const { ids, positions, cacheRows: rows, spans } = inputs as Record<string, Tensor>;
  const { linear, layerNorm, embed, attend } = blocks(g, w);
  /** A block's result added to its input, with the norm before the block or behind the sum. */
  const around = (x: Tensor, normName: string, block: (x: Tensor) => Tensor): Tensor => {
    const given = block(normsFirst ? layerNorm(x, normName, EPS) : x);
    const sum = g.op("add", [x, given]);
    return normsFirst ? sum : layerNorm(sum, normName, EPS);
  };

  const words = embed([ids!, "wordTable"]); // [tokens, wordWidth]
  const wide = w.has("wordsIn") ? linear(words, "wordsIn") : words; // [tokens, hidden]
  let x = g.op("add", [wide, embed([positions!, "positionTable"])]);
  for (let i = 0; i < config.layers; i++) {
    g.cut(`layer ${i}`, i);
    x = around(x, `${i}.attentionNorm`, (a) => {
      const mixed = attend({
        name: `${i}`,
        q: linear(a, `${i}.q`),
        stored: { k: linear(a, `${i}.k`), v: linear(a, `${i}.v`), rows: rows! },
        shape: [cacheRows, heads, headDim],
        cacheType,
        spans: spans!,
        heads,
        scale: headDim ** -0.5,
      });
      return linear(mixed, `${i}.o`);
    });
    x = around(x, `${i}.mlpNorm`, (m) => {
      const inside = g.op("activation", [linear(m, `${i}.up`)], { kind }); // [tokens, intermediate]
      return linear(inside, `${i}.down`);
    });
  }
  g.cut("head");
  const last = wanted(x);
  const hidden = w.has("norm") ? layerNorm(last, "norm", EPS) : last; // [rows, hidden]
  const narrow = w.has("wordsOut") ? linear(hidden, "wordsOut") : hidden; // [rows, wordWidth]
  return { hidden, logits: linear(narrow, w.has("head") ? "head" : "wordTable") };
}

/** Fields of `config.json`, as the classes of Transformers read them. */
const FIELDS = {
  read: [
    ...["model_type", "hidden_size", "num_attention_heads", "num_hidden_layers", "ffn_dim"],
    ...["word_embed_proj_dim", "activation_function", "do_layer_norm_before"],
    ...["_remove_final_layer_norm", "enable_bias", "layer_norm_elementwise_affine"],
    ...["tie_word_embeddings", "vocab_size", "max_position_embeddings"],
  ],
  harmless: [...HARMLESS_FIELDS, "dropout", "activation_dropout", "init_std"],
  neutral: { scale_embeddings: [false], learned_embeddings: [true], quantization_config: [] },
};
