/**
 * What the files of T5 and its kin call their tensors.
 *
 * @module
 */

import { readConfig } from "../files/config.ts";
import type { ModelFile } from "../files/model_file.ts";
import { ggufHead } from "./gguf_config.ts";
import { findWordTables, type WordTables } from "./word_tables.ts";

/** One of the two stacks. */
export type Side = "encoder" | "decoder";

/** A layer of a stack. */
export interface LayerPlace {
  readonly side: Side;
  readonly layer: number;
}

/** Matrices and norms of a layer by their names in the graph; those of a decoder also have `cross`. */
type InLayer = Readonly<Record<string, string>>;

/** Names of tensors. */
export interface StackNames {
  /** The tables of words of the encoder, of the decoder, and the head; one name is one table. */
  readonly words: WordTables;
  /** The norm behind the last layer. */
  norm(side: Side): string;
  /** The biases of distances of a layer; undefined for one that has those of the first. */
  distances(place: LayerPlace): string | undefined;
  /** What the names of a layer's tensors begin with. */
  layer(place: LayerPlace): string;
  /** The rest of them without `.weight`, by the names of the weights in the graph. */
  readonly inLayer: Readonly<Record<Side, InLayer>>;
  /** What stands between a layer's beginning and the names of its feed-forward block. */
  readonly block: Readonly<Record<Side, string>>;
}

/** `PART.q`, `PART.k`, `PART.v` and `PART.o` of an attention block. */
function attention(part: string, path: string): InLayer {
  return Object.fromEntries(["q", "k", "v", "o"].map((it) => [`${part}.${it}`, path + it]));
}

const OWN = { ...attention("self", "0.SelfAttention."), selfNorm: "0.layer_norm" };

const TABLES = {
  shared: "shared.weight",
  encoder: "encoder.embed_tokens.weight",
  decoder: "decoder.embed_tokens.weight",
  head: "lm_head.weight",
};

/**
 * Whether what the last layer gives is multiplied by a factor before the head. Up to version 4
 * Transformers has either a head of its own without the factor, or the table with it. Version 5 calls
 * every T5 tied, and `scale_decoder_outputs` tells of the factor, which mT5 never has there. A Switch
 * Transformer has it where it is tied, in any version.
 */
export function scalesHead(file: ModelFile): boolean {
  const config = readConfig(file);
  if (!config.flag("tie_word_embeddings", true)) return false;
  const isMt5 = config.text("model_type", "") === "mt5" &&
    parseInt(config.text("transformers_version", "")) >= 5;
  return config.flag("scale_decoder_outputs", !isMt5);
}

/** Every T5 is tied, whatever it says; of the others an untied one has a head of its own. */
function isTied(file: ModelFile): boolean {
  const config = readConfig(file);
  return config.text("model_type", "") !== "switch_transformers" ||
    config.flag("tie_word_embeddings", true);
}

/** The names of Transformers. */
async function jsonNames(file: ModelFile): Promise<StackNames> {
  return {
    words: await findWordTables(file, TABLES, isTied(file)),
    norm: (side) => `${side}.final_layer_norm.weight`,
    distances: ({ side, layer }) =>
      layer > 0
        ? undefined
        : `${side}.block.0.layer.0.SelfAttention.relative_attention_bias.weight`,
    layer: ({ side, layer }) => `${side}.block.${layer}.layer.`,
    inLayer: {
      encoder: { ...OWN, mlpNorm: "1.layer_norm" },
      decoder: {
        ...OWN,
        ...attention("cross", "1.EncDecAttention."),
        crossNorm: "1.layer_norm",
        mlpNorm: "2.layer_norm",
      },
    },
    block: { encoder: "1.", decoder: "2." },
  };
}

const GGUF_OWN = { ...attention("self", "attn_"), selfNorm: "attn_norm", mlpNorm: "ffn_norm" };

/** The names of llama.cpp. */
async function ggufNames(file: ModelFile): Promise<StackNames> {
  const stack = (side: Side): string => side === "encoder" ? "enc." : "dec.";
  const layer = (place: LayerPlace): string => `${stack(place.side)}blk.${place.layer}.`;
  const words = "token_embd.weight";
  return {
    words: { encoder: words, decoder: words, head: await ggufHead(file) ?? words },
    norm: (side) => `${stack(side)}output_norm.weight`,
    distances(place) {
      const name = `${layer(place)}attn_rel_b.weight`;
      return place.layer === 0 || file.tensors.has(name) ? name : undefined;
    },
    layer,
    inLayer: {
      encoder: GGUF_OWN,
      decoder: {
        ...GGUF_OWN,
        ...attention("cross", "cross_attn_"),
        crossNorm: "cross_attn_norm",
      },
    },
    block: { encoder: "", decoder: "" },
  };
}

/** The names that a file uses. */
export async function stackNames(file: ModelFile): Promise<StackNames> {
  return await (file.format === "gguf" ? ggufNames(file) : jsonNames(file));
}
