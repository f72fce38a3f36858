/**
 * Switch Transformers (Fedus et al., arXiv:2101.03961): a T5 in which some feed-forward blocks are
 * experts, of which each token gets one. An expert takes no more tokens of a sequence than its capacity,
 * the first ones; the others pass the block by.
 *
 * @module
 */

import { ModelError } from "../../errors.ts";
import { quote } from "../../escape.ts";
import { readConfig } from "../files/config.ts";
import { blocks } from "./blocks.ts";
import { HARMLESS_FIELDS } from "./common_fields.ts";
import type { ModelDefinition } from "./definition.ts";
import { checkFields } from "./fields.ts";
import type { InputRule } from "./program.ts";
import type { Sequence } from "./sequence.ts";
import { type LayerPlace, stackNames } from "./t5_names.ts";
import {
  type FeedForward,
  listStack,
  readStack,
  type StackConfig,
  stackPrograms,
} from "./t5_stack.ts";
import { keptMatrix, matrix } from "./weight_spec.ts";

/** Configuration of a Switch Transformer. */
export interface SwitchConfig extends StackConfig {
  /** Experts of a sparse layer. */
  readonly experts: number;
  /** Tokens of a sequence that an expert takes in one run. */
  readonly capacity: number;
  /** In each stack, every how many layers one is sparse; 0 for none. */
  readonly steps: { readonly encoder: number; readonly decoder: number };
}

/** More are a corrupt file; kernels count them in memory. */
const MOST_EXPERTS = 4096;

/** Switch Transformers. */
export const switchTransformers: ModelDefinition<SwitchConfig> = {
  parseConfig(file, warn = () => {}) {
    const config = readConfig(file);
    checkFields(file, "", FIELDS, warn);
    const stack = readStack(file), experts = config.count("num_experts", 8);
    if (experts > MOST_EXPERTS) {
      throw new ModelError(
        `Cannot load ${
          quote(file.name)
        }: num_experts is ${experts}, expected at most ${MOST_EXPERTS}`,
      );
    }
    const step = (layers: number, sparse: number): number =>
      sparse > 0 ? Math.max(1, Math.floor(layers / sparse)) : 0;
    return {
      ...stack,
      experts,
      capacity: config.count("expert_capacity", 64),
      steps: {
        encoder: step(stack.encoderLayers, config.whole("num_sparse_encoder_layers", 3)),
        decoder: step(stack.decoderLayers, config.whole("num_sparse_decoder_layers", 3)),
      },
    };
  },

  weights: async (config, file) => listStack(config, await stackNames(file), feedForward(config)),

  programs(config) {
    const { encode, decode, prompts } = stackPrograms(config, feedForward(config), [starts]);
    // How many tokens an expert has taken counts within a run.
    const whole = ({ opening = 0 }: Sequence): number => opening;
    return {
      encode: encode!,
      decode: { ...decode!, whole, apart: true },
      prompts: { ...prompts, together: true },
    };
  },
};

/** In the run, the place of the first token of each token's sequence `[tokens]`. */
const starts: InputRule = {
  name: "starts",
  step: [0],
  fill({ offset }, _, into, at) {
    into[at] = offset;
  },
};

function isSparse({ steps }: SwitchConfig, { side, layer }: LayerPlace): boolean {
  const step = steps[side];
  return step === 1 || step > 1 && layer % step === 1;
}

function feedForward(config: SwitchConfig): FeedForward {
  const { hiddenSize: width, intermediateSize: inner, experts, capacity } = config;
  return {
    *list(place, path) {
      const name = `${place.side}.${place.layer}.`;
      if (!isSparse(config, place)) {
        yield matrix(`${name}up`, inner, width, `${path}mlp.wi.weight`);
        yield matrix(`${name}down`, width, inner, `${path}mlp.wo.weight`);
        return;
      }
      yield keptMatrix(`${name}router`, experts, width, `${path}mlp.router.classifier.weight`);
      const tensor = (part: string): string[] =>
        Array.from(
          { length: experts },
          (_, e) => `${path}mlp.experts.expert_${e}.${part}.weight`,
        );
      yield matrix(`${name}experts.up`, experts * inner, width, { tensor: tensor("wi") });
      yield matrix(`${name}experts.down`, experts * width, inner, { tensor: tensor("wo") });
    },
    record(g, w, place, m, inputs) {
      const { linear } = blocks(g, w), name = `${place.side}.${place.layer}.`;
      if (!isSparse(config, place)) {
        const inside = g.op("activation", [linear(m, `${name}up`)], { kind: "relu" });
        return linear(inside, `${name}down`);
      }
      const scores = linear(m, `${name}router`); // [tokens, experts]
      const chosen = g.op("topExperts", [scores, inputs.starts!], { count: 1, capacity });
      const weights = g.op("expertWeights", [scores, chosen], { over: "all" }); // [tokens, 1]
      const up = g.op("expertMatmul", [m, w.tensor(`${name}experts.up`), chosen], { experts });
      const inside = g.op("activation", [up], { kind: "relu" }); // [tokens, 1, inner]
      const down = w.tensor(`${name}experts.down`);
      return g.op("expertSum", [
        g.op("expertMatmul", [inside, down, chosen], { experts }),
        weights,
      ]);
    },
  };
}

/** Fields of `config.json`, as the class of Transformers reads them. */
const FIELDS = {
  read: [
    ...["model_type", "vocab_size", "d_model", "d_kv", "d_ff", "num_layers", "num_decoder_layers"],
    ...["num_heads", "relative_attention_num_buckets", "relative_attention_max_distance"],
    ...["layer_norm_epsilon", "tie_word_embeddings", "n_positions", "decoder_start_token_id"],
    ...["pad_token_id", "num_experts", "expert_capacity", "num_sparse_encoder_layers"],
    "num_sparse_decoder_layers",
  ],
  harmless: [
    ...HARMLESS_FIELDS,
    ...["dropout_rate", "is_encoder_decoder", "is_gated_act", "output_past", "router_type"],
    ...["add_router_probs", "router_jitter_noise", "router_z_loss_coef", "router_aux_loss_coef"],
    // Read by no computation of the original; softmax of few scores is in f32 here in any case.
    ...["router_ignore_padding_tokens", "router_dtype", "encoder_sparse_step"],
    "decoder_sparse_step",
  ],
  neutral: {
    dense_act_fn: ["relu"],
    feed_forward_proj: ["relu"],
    router_bias: [false],
    quantization_config: [],
  },
};
