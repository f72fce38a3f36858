/**
 * T5 (Raffel et al., arXiv:1910.10683), version 1.1 of it, with a gate in the feed-forward block and a
 * head of its own, and mT5 (arXiv:2010.11934). What GGUF files have, t5_gguf.ts says.
 *
 * @module
 */

import { ModelError } from "../../errors.ts";
import { quote, word } from "../../escape.ts";
import { readConfig } from "../files/config.ts";
import type { ModelFile } from "../files/model_file.ts";
import { blocks } from "./blocks.ts";
import { HARMLESS_FIELDS } from "./common_fields.ts";
import type { ModelDefinition } from "./definition.ts";
import { checkFields } from "./fields.ts";
import { t5FromGguf } from "./t5_gguf.ts";
import { stackNames } from "./t5_names.ts";
import {
  type FeedForward,
  listStack,
  readStack,
  type StackConfig,
  stackPrograms,
} from "./t5_stack.ts";
import { matrix } from "./weight_spec.ts";

/** Configuration of a T5. */
export interface T5Config extends StackConfig {
  /** Whether the feed-forward block has a gate. */
  readonly gated: boolean;
}

/** T5, version 1.1 of it, and mT5. */
export const t5: ModelDefinition<T5Config> = {
  parseConfig(file, warn = () => {}) {
    if (file.format === "gguf") return t5FromGguf(file, warn);
    const config = readConfig(file);
    checkFields(file, "", FIELDS, warn);
    const kind = config.text("feed_forward_proj", "relu");
    if (kind !== "relu" && kind !== "gated-gelu") {
      throw new ModelError(
        `Cannot load ${quote(file.name)}: field "feed_forward_proj" is ${word(kind)}, expected ` +
          `relu or gated-gelu`,
      );
    }
    return { ...readStack(file), gated: kind === "gated-gelu" };
  },

  weights: async (config, file) =>
    listStack(config, await stackNames(file), feedForward(config, file)),

  programs: (config) => stackPrograms(config, feedForward(config)),
};

/** Names of the feed-forward block: its gate, if any, and its two matrices. */
function blockNames(isGguf: boolean, gated: boolean): { gate: string; up: string; down: string } {
  if (isGguf) return { gate: "ffn_gate", up: "ffn_up", down: "ffn_down" };
  const dense = "DenseReluDense.";
  return { gate: `${dense}wi_0`, up: dense + (gated ? "wi_1" : "wi"), down: `${dense}wo` };
}

/** The feed-forward block; `file` is given where its weights are to be listed. */
function feedForward(
  { gated, hiddenSize: width, intermediateSize: inner }: T5Config,
  file?: ModelFile,
): FeedForward {
  const names = blockNames(file?.format === "gguf", gated);
  return {
    *list({ side, layer }, path) {
      const name = `${side}.${layer}.`;
      if (gated) yield matrix(`${name}gate`, inner, width, `${path}${names.gate}.weight`);
      yield matrix(`${name}up`, inner, width, `${path}${names.up}.weight`);
      yield matrix(`${name}down`, width, inner, `${path}${names.down}.weight`);
    },
    record(g, w, { side, layer }, m) {
      const { linear } = blocks(g, w), name = `${side}.${layer}.`, up = linear(m, `${name}up`);
      const inside = gated
        ? g.op("glu", [linear(m, `${name}gate`), up], { kind: "geluTanh" })
        : g.op("activation", [up], { kind: "relu" });
      return linear(inside, `${name}down`);
    },
  };
}

/** Fields of `config.json`, as the classes of Transformers read them. */
const FIELDS = {
  read: [
    ...["model_type", "vocab_size", "d_model", "d_kv", "d_ff", "num_layers", "num_decoder_layers"],
    ...["num_heads", "relative_attention_num_buckets", "relative_attention_max_distance"],
    ...["layer_norm_epsilon", "feed_forward_proj", "tie_word_embeddings", "n_positions"],
    ...["decoder_start_token_id", "pad_token_id", "scale_decoder_outputs"],
  ],
  harmless: [
    ...HARMLESS_FIELDS,
    ...["dropout_rate", "is_encoder_decoder", "is_gated_act", "dense_act_fn", "output_past"],
    ...["classifier_dropout"],
  ],
  neutral: { quantization_config: [] },
};
