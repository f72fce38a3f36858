/**
 * What llama-family files call their tensors, and which of them is the output head.
 *
 * @module
 */

import { quote } from "../../escape.ts";
import { sameBytes } from "../files/compare.ts";
import type { ModelFile } from "../files/model_file.ts";
import { tellHeadless } from "./definition.ts";
import type { Warn } from "./fields.ts";
import type { LlamaConfig } from "./llama_config.ts";

/** File names of the weights: of a whole model, and of one layer. */
const NAMES = {
  safetensors: {
    embedding: "embed_tokens.weight",
    norm: "norm.weight",
    head: "lm_head.weight",
    layer: (i: number) => `layers.${i}.`,
    inLayer: {
      attentionNorm: "input_layernorm",
      q: "self_attn.q_proj",
      k: "self_attn.k_proj",
      v: "self_attn.v_proj",
      o: "self_attn.o_proj",
      qNorm: "self_attn.q_norm",
      kNorm: "self_attn.k_norm",
      mlpNorm: "post_attention_layernorm",
      gate: "mlp.gate_proj",
      up: "mlp.up_proj",
      down: "mlp.down_proj",
    },
  },
  gguf: {
    embedding: "token_embd.weight",
    norm: "output_norm.weight",
    head: "output.weight",
    layer: (i: number) => `blk.${i}.`,
    inLayer: {
      attentionNorm: "attn_norm",
      q: "attn_q",
      k: "attn_k",
      v: "attn_v",
      o: "attn_output",
      qNorm: "attn_q_norm",
      kNorm: "attn_k_norm",
      mlpNorm: "ffn_norm",
      gate: "ffn_gate",
      up: "ffn_up",
      down: "ffn_down",
    },
  },
};

/** Names of a file's tensors. */
export interface Names {
  readonly embedding: string;
  readonly norm: string;
  readonly head: string;
  layer(i: number): string;
  readonly inLayer: typeof NAMES.gguf.inLayer;
}

/** The names that a file uses: those of a model without a head have no `model.` before them. */
export function namesOf(file: ModelFile): Names {
  const names = NAMES[file.format === "gguf" ? "gguf" : "safetensors"];
  if (file.format === "gguf" || isBase(file)) return names;
  return {
    ...names,
    embedding: `model.${names.embedding}`,
    norm: `model.${names.norm}`,
    layer: (i) => `model.${names.layer(i)}`,
  };
}

/** Whether a safetensors file holds a model that was saved without its head. */
function isBase({ tensors }: ModelFile): boolean {
  const { embedding, norm } = NAMES.safetensors;
  return [embedding, norm].some((it) => tensors.has(it) && !tensors.has(`model.${it}`));
}

/** Which tensors are the embedding table and the output head; they may be one. */
export interface Head {
  readonly embedding: string;
  /** The embedding table where absent. */
  readonly head?: string;
}

/** Finds the embedding table and the head; `warn` is told where the configuration says otherwise. */
export async function headOf(
  config: Pick<LlamaConfig, "tiedEmbeddings">,
  file: ModelFile,
  { embedding, head }: Pick<Names, "embedding" | "head">,
  warn: Warn,
): Promise<Head> {
  const table = file.tensors.get(embedding), own = file.tensors.get(head);
  if (!own) {
    if (config.tiedEmbeddings) return { embedding };
    if (!isBase(file)) return { embedding, head }; // and it will be missed
    tellHeadless(file, warn);
    return { embedding };
  }
  if (!config.tiedEmbeddings) return { embedding, head };
  if (!table) return { embedding: head };
  const same = await sameBytes(table, own);
  if (same) return { embedding };
  if (same === undefined) return { embedding, head }; // right in both cases
  warn(
    `${quote(file.name)} says that its embeddings are tied ("tie_word_embeddings"), but tensor ` +
      `${quote(head)} differs from ${quote(embedding)}: it is the head`,
  );
  return { embedding, head };
}
