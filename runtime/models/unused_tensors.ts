/**
 * Tensors of a file that a model does not use. They are told: a configuration with fewer layers than
 * the file, or a part that nobody knows, would otherwise change results in silence.
 *
 * @module
 */

import { quote } from "../../escape.ts";
import type { ModelFile } from "../files/model_file.ts";
import type { ResolvedWeights } from "./weights.ts";

/** Tensors without which nothing is missing. */
const HARMLESS = new RegExp(
  [
    /(^|\.)(rotary|pos)_emb\.inv_freq$/, // frequencies that follow from the configuration
    /(^|\.)position_ids$/, // numbers from 0 upwards
    /(^|\.)h\.\d+\.attn\.(masked_)?bias$/, // GPT's mask of the future, and the number it is made of
    /^rope_(freqs|factors_long|factors_short)\.weight$/, // divisors for another length of context
    /^(lm_head|output)\.weight$/, // a head that repeats the embedding table: another one is used
    // Tables of words that repeat another one, or before which others come (word_tables.ts).
    /(^|\.)(shared|(en|de)coder\.embed_tokens)\.weight$/,
    // Tables and projections of words, and biases that all layers share: others are used.
    /^crit\.out_(layers\.\d+\.weight|projs\.\d+)$|\.dec_attn\.r_[rw]_bias$/,
    /(^|\.)predictions(\.decoder)?\.bias$/, // the bias of the words under another name
    // Of MT-DNN's answer networks: a number that nothing reads, and what a softmax takes away again.
    /^scoring_list\.\d+\.(alpha|(query_wsum\.att|attn\.score_func)\.linear\.bias)$/,
    // A bias that no T5 adds to the scores of its source, though old files have one.
    /\.EncDecAttention\.relative_attention_bias\.weight$|\.cross_attn_rel_b\.weight$/,
  ].map(({ source }) => source).join("|"),
);

/** Names that are listed. */
const MOST_NAMES = 6;

/** One sentence for layers beyond the last one, one for everything else; none where all is used. */
export function unusedTensors(
  file: ModelFile,
  weights: ResolvedWeights,
  layers: number,
): readonly string[] {
  const used = new Set(Array.from(weights.values()).flatMap(({ tensors }) => tensors));
  const unused = Array.from(file.tensors.keys()).filter((it) =>
    !used.has(it) && !HARMLESS.test(it)
  );
  const isBeyond = (name: string): boolean => layerOf(name) >= layers;
  const beyond = new Set(unused.filter(isBeyond).map(layerOf));
  const rest = unused.filter((it) => !isBeyond(it));
  const sentences: string[] = [];
  if (beyond.size > 0) {
    const field = file.format === "gguf" ? "block_count" : "num_hidden_layers";
    sentences.push(
      `${quote(file.name)} has ${layers + beyond.size} layers, of which ${layers} are used: ` +
        `${field} is ${layers}`,
    );
  }
  if (rest.length > 0) {
    const names = rest.slice(0, MOST_NAMES).map((it) => quote(it)).join(", ");
    const more = rest.length > MOST_NAMES ? ` and ${rest.length - MOST_NAMES} more` : "";
    sentences.push(`${quote(file.name)} has tensors that are not used: ${names}${more}`);
  }
  return sentences;
}

/** Number of the layer that a tensor belongs to, -1 for none. */
function layerOf(name: string): number {
  return Number(/(?:^|\.)(?:layers|blk)\.(\d+)\./.exec(name)?.[1] ?? -1);
}
