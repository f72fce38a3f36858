/**
 * The decoder that GPT-2 and its kin share: learned positions, a norm before each block, biases
 * everywhere, a head that is the table of words (Radford et al., 2019). The files of the families say
 * how they are configured and where their weights lie.
 *
 * @module
 */

import { ModelError } from "../../errors.ts";
import { quote, word } from "../../escape.ts";
import type { ActivationName } from "../../kernels/ops.ts";
import { readConfig } from "../files/config.ts";
import type { ModelFile } from "../files/model_file.ts";
import type { Graph, Tensor } from "../graph/graph.ts";
import type { WeightScope } from "./weights.ts";
import { blocks } from "./blocks.ts";
import type { ModelConfig } from "./definition.ts";
import { cacheRows, causalSpans, positions, prefixSpans, tokenIds } from "./inputs.ts";
import type { Program, RunSizes, Sequence } from "./program.ts";

/** Configuration of such a decoder. */
export interface GptConfig extends ModelConfig {
  /** Heads of each layer; each has keys and values of its own. */
  readonly heads: number;
  /** Width of the feed-forward block. */
  readonly intermediateSize: number;
  /** Nonlinearity of the feed-forward block. */
  readonly activation: ActivationName;
  /** Added to variances. */
  readonly layerNormEps: number;
}

/** A field of `config.json`, and what it is where absent. */
type Field = readonly [name: string, fallback?: number];

/** How the files of a family name what `readGptConfig` reads. */
export interface GptFields {
  readonly hiddenSize: Field;
  readonly heads: Field;
  readonly layers: Field;
  readonly vocabSize: Field;
  readonly maxPositions: Field;
  /** Four times the hidden size where absent. */
  readonly intermediateSize: string;
  /** The nonlinearity's name where there is no `activation_function`. */
  readonly activation: string;
  /** What the names of nonlinearities mean. */
  readonly activations: Readonly<Record<string, ActivationName>>;
}

/**
 * Reads the configuration of a model in the form of Transformers.
 *
 * @throws ModelError naming what is missing, or does not fit together
 */
export function readGptConfig(file: ModelFile, fields: GptFields): GptConfig {
  const config = readConfig(file);
  const hiddenSize = config.count(...fields.hiddenSize), heads = config.count(...fields.heads);
  if (hiddenSize % heads !== 0) {
    throw new ModelError(
      `Cannot load ${quote(file.name)}: ${fields.hiddenSize[0]} ${hiddenSize} with ` +
        `${fields.heads[0]} ${heads}, expected a multiple of it`,
    );
  }
  const name = config.text("activation_function", fields.activation);
  const activation = fields.activations[name];
  if (!activation) {
    throw new ModelError(
      `Cannot load ${quote(file.name)}: field "activation_function" is ${word(name)}, expected ` +
        Object.keys(fields.activations).join(", "),
    );
  }
  return {
    architecture: config.text("model_type"),
    layers: config.count(...fields.layers),
    hiddenSize,
    heads,
    kvHeads: heads,
    headDim: hiddenSize / heads,
    intermediateSize: config.count(fields.intermediateSize, 4 * hiddenSize),
    activation,
    layerNormEps: config.epsilon("layer_norm_epsilon", 1e-5),
    vocabSize: config.count(...fields.vocabSize),
    maxPositions: config.count(...fields.maxPositions),
  };
}

/** The program; with `prefix`, tokens of a prompt's prefix see each other in both directions. */
export function gptDecoder(config: GptConfig, { prefix }: { readonly prefix: boolean }): Program {
  return {
    ids: tokenIds,
    inputs: [positions, cacheRows, prefix ? prefixSpans : causalSpans()],
    ...(prefix && { whole: ({ prefixLength = 0 }: Sequence) => prefixLength }),
    record: (g, w, sizes) => recordDecoder(g, config, w, sizes),
  };
}

/** Records the graph, with the weights of `gptLayer`, `wordTable` and `positionTable`, at last `norm`. */
function recordDecoder(
  g: Graph,
  config: GptConfig,
  w: WeightScope,
  sizes: RunSizes,
): Record<string, Tensor> {
  const { ids, positions } = sizes.inputs as Record<string, Tensor>;
  const { linear, layerNorm, embed } = blocks(g, w);
  let x = embed([ids!, "wordTable"], [positions!, "positionTable"]); // [tokens, hidden]
  for (let i = 0; i < config.layers; i++) {
    g.cut(`layer ${i}`, i);
    x = gptLayer(g, config, w, sizes, i, x);
  }
  g.cut("head");
  const hidden = layerNorm(sizes.wanted(x), "norm", config.layerNormEps); // [rows, hidden]
  return { hidden, logits: linear(hidden, w.has("head") ? "head" : "wordTable") };
}

/**
 * Records layer i on `x [tokens, hidden]`. Weights by name: `i.attentionNorm`, `i.q`, `i.k`, `i.v`,
 * `i.o`, `i.mlpNorm`, `i.up` and `i.down`, each with its `.bias`. Queries come from `asking` where it is
 * given, else from the normed `x` as keys and values do.
 */
export function gptLayer(
  g: Graph,
  config: GptConfig,
  w: WeightScope,
  { inputs, cacheRows, cacheType }: RunSizes,
  i: number,
  x: Tensor,
  asking?: Tensor,
): Tensor {
  const { heads, headDim, activation: kind, layerNormEps: eps } = config;
  const { cacheRows: rows, spans } = inputs as Record<string, Tensor>;
  const { linear, layerNorm, attend } = blocks(g, w);
  const a = layerNorm(x, `${i}.attentionNorm`, eps);
  const mixed = attend({
    name: `${i}`,
    q: linear(asking ?? a, `${i}.q`),
    stored: { k: linear(a, `${i}.k`), v: linear(a, `${i}.v`), rows: rows! },
    shape: [cacheRows, heads, headDim],
    cacheType,
    spans: spans!,
    heads,
    scale: headDim ** -0.5,
  });
  const attended = g.op("add", [x, linear(mixed, `${i}.o`)]);
  const m = layerNorm(attended, `${i}.mlpNorm`, eps);
  const inner = g.op("activation", [linear(m, `${i}.up`)], { kind }); // [tokens, intermediate]
  return g.op("add", [attended, linear(inner, `${i}.down`)]);
}
