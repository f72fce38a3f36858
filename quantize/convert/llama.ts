/**
 * Llama, Mistral, Qwen2 and Qwen3, and their mixtures of experts. Files of architecture `llama` have the
 * rows of queries and keys in another order.
 *
 * @module
 */

import type { ModelFile } from "../../runtime/files/model_file.ts";
import type { ExpertsConfig } from "../../runtime/models/experts.ts";
import type { LlamaConfig } from "../../runtime/models/llama_config.ts";
import type { ResolvedWeights } from "../../runtime/models/weights.ts";
import type { Converted } from "./converted.ts";
import { f32, type Fields, flag, sizeFields, u32 } from "./fields.ts";
import { ropeOf } from "./rope.ts";

/** Architectures of which llama.cpp has the weights of a token's experts add up to 1. */
const NORMALIZED = ["llama", "qwen3moe"];

/** What becomes of such a model. */
export function llama(
  architecture: string,
  config: LlamaConfig,
  file: ModelFile,
  weights: ResolvedWeights,
): Converted {
  const { heads, kvHeads, headDim, hiddenSize, experts, windows = [] } = config;
  const rope = ropeOf(config, file), notes = [...rope.notes];
  const narrow = windows.filter((it) => it !== undefined);
  if (narrow.length > 0) {
    notes.push(
      `${narrow.length} of ${config.layers} layers see the last ${Math.min(...narrow)} tokens ` +
        `alone, which has no place in GGUF files of architecture ${architecture}: there every layer ` +
        `sees all tokens, and longer texts give other results`,
    );
  }
  if (experts) notes.push(...expertNotes(architecture, experts));
  const isOwnLength = headDim !== hiddenSize / heads || architecture.startsWith("qwen3");
  const isPermuted = architecture === "llama";
  return {
    config: {
      ...config,
      architecture,
      tiedEmbeddings: !weights.has("head"),
      ropePairing: isPermuted ? "interleaved" : "half",
      rope: { theta: config.rope.theta },
    } as LlamaConfig,
    fields: {
      ...sizeFields(config),
      "attention.head_count_kv": u32(kvHeads),
      "attention.layer_norm_rms_epsilon": f32(config.rmsNormEps),
      ...(isOwnLength && {
        "attention.key_length": u32(headDim),
        "attention.value_length": u32(headDim),
      }),
      ...(experts && expertFields(architecture, experts)),
      ...rope.fields,
    },
    rules: {
      has: (name) => name === "output.weight" && weights.has("head"),
      rotated: (weight) => isPermuted && /\.[qk](\.bias)?$/.test(weight) ? headDim : undefined,
    },
    tensors: rope.tensors,
    notes,
  };
}

function expertFields(architecture: string, experts: ExpertsConfig): Fields {
  const { count, perToken, intermediateSize, sharedSize, normalized } = experts;
  const isUsual = normalized === NORMALIZED.includes(architecture);
  return {
    expert_count: u32(count),
    expert_used_count: u32(perToken),
    ...(architecture !== "llama" && { expert_feed_forward_length: u32(intermediateSize) }),
    ...(sharedSize !== undefined && { expert_shared_feed_forward_length: u32(sharedSize) }),
    ...(!isUsual && { expert_weights_norm: flag(normalized) }),
  };
}

function expertNotes(
  architecture: string,
  { step, denseLayers, normalized }: ExpertsConfig,
): string[] {
  const notes: string[] = [];
  if (step > 1 || denseLayers.length > 0) {
    notes.push(
      "some layers have no experts: llama.cpp does not load such files of architecture " +
        architecture,
    );
  }
  if (normalized !== NORMALIZED.includes(architecture)) {
    notes.push(
      `the weights of a token's experts ${
        normalized ? "" : "do not "
      }add up to 1, which the file ` +
        `says (expert_weights_norm) and llama.cpp does not read for architecture ${architecture}`,
    );
  }
  return notes;
}
