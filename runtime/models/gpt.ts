/**
 * The decoder that GPT-2 and its kin share: learned positions, a norm before each block, biases
 * everywhere, a head that is the table of words (Radford et al., 2019). The files of the families say
 * how they are configured and where their weights lie.
 *
 * @module
 */

import type { ActivationName } from "../../kernels/ops.ts";
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

/** The program; with `prefix`, tokens of a prompt's prefix see each other in both directions. */
export function gptDecoder(config: GptConfig, { prefix }: { readonly prefix: boolean }): Program {
  return {
    ids: tokenIds,
    inputs: [positions, cacheRows, prefix ? prefixSpans : causalSpans()],
    ...(prefix && { whole: ({ prefixLength = 0 }: Sequence) => prefixLength }),
    record: (g, w, sizes) => recordDecoder(g, config, w, sizes),
  };
}

/**
 * Records the graph. Weights by name: `wordTable` and `positionTable`, in layer i `i.attentionNorm`, `i.q`,
 * `i.k`, `i.v`, `i.o`, `i.mlpNorm`, `i.up` and `i.down`, at last `norm`; each with its `.bias`.
 */
function recordDecoder(
  g: Graph,
  config: GptConfig,
  w: WeightScope,
  { inputs, cacheRows, cacheType, wanted }: RunSizes,
): Record<string, Tensor> {
  const { heads, headDim, activation: kind, layerNormEps: eps } = config;
  const { ids, positions, cacheRows: rows, spans } = inputs as Record<string, Tensor>;
  const { linear, layerNorm, embed, attend } = blocks(g, w);
  let x = embed([ids!, "wordTable"], [positions!, "positionTable"]); // [tokens, hidden]
  for (let i = 0; i < config.layers; i++) {
    g.cut(`layer ${i}`, i);
    const a = layerNorm(x, `${i}.attentionNorm`, eps);
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
    x = g.op("add", [x, linear(mixed, `${i}.o`)]);
    const m = layerNorm(x, `${i}.mlpNorm`, eps);
    const inner = g.op("activation", [linear(m, `${i}.up`)], { kind }); // [tokens, intermediate]
    x = g.op("add", [x, linear(inner, `${i}.down`)]);
  }
  g.cut("head");
  const hidden = layerNorm(wanted(x), "norm", eps); // [rows, hidden]
  return { hidden, logits: linear(hidden, w.has("head") ? "head" : "wordTable") };
}
