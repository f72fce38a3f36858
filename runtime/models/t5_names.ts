/**
 * What the files of T5 and its kin call their tensors.
 *
 * @module
 */

import { readConfig } from "../files/config.ts";
import type { ModelFile } from "../files/model_file.ts";
import { ggufHead } from "./gguf_config.ts";

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
  readonly words: string;
  /** The head, which may be the table of words; absent where it is that table under a factor. */
  readonly head?: string | undefined;
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

const WORDS = "shared.weight", HEAD = "lm_head.weight";

/**
 * The head; undefined where it is the table of words under a factor. Up to version 4 Transformers has
 * either a head of its own without the factor, or the table with it. Version 5 calls every model tied:
 * `scale_decoder_outputs` tells of the factor, which mT5 never has there, and a head is in the file where
 * it is another matrix than the table.
 */
function jsonHead(file: ModelFile): string | undefined {
  const config = readConfig(file);
  if (!config.flag("tie_word_embeddings", true)) return HEAD;
  const isMt5 = config.text("model_type", "") === "mt5" &&
    parseInt(config.text("transformers_version", "")) >= 5;
  if (config.flag("scale_decoder_outputs", !isMt5)) return undefined;
  return file.tensors.has(HEAD) ? HEAD : WORDS;
}

/** The names of Transformers. */
function jsonNames(file: ModelFile): StackNames {
  return {
    words: WORDS,
    head: jsonHead(file),
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
  return {
    words: "token_embd.weight",
    head: await ggufHead(file),
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
  return file.format === "gguf" ? await ggufNames(file) : jsonNames(file);
}
