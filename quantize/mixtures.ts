/**
 * The mixtures of types that llama.cpp's quantizer has names for, such as Q4_K_M: how many bytes each
 * gives a tensor. What a tensor gets here is decided by measuring (costs.ts), in as many bytes.
 *
 * Source: `llama_tensor_get_type` of llama.cpp (ggml-org/llama.cpp, src/llama-quant.cpp); facts only.
 *
 * @module
 */

import { tensorBlocks } from "../quant/ggml_types.ts";

/** A named mixture. */
interface Mixture {
  /** What most tensors get. */
  readonly type: string;
  /** Number of `general.file_type`. */
  readonly fileType: number;
  /** What values and results of feed-forward blocks get in some layers. */
  readonly more: string;
  /** In which layers values, and feed-forward results, get more. */
  isMore(kind: "attn_v" | "ffn_down", layer: number, layers: number): boolean;
}

/** The first and last eighth of the layers, and every third between. */
function some(layer: number, layers: number): boolean {
  const eighth = Math.floor(layers / 8);
  return layer < eighth || layer >= Math.floor(7 * layers / 8) || (layer - eighth) % 3 === 2;
}

const MIXTURES: Readonly<Record<string, Mixture>> = {
  Q4_K_S: {
    ...{ type: "Q4_K", fileType: 14, more: "Q5_K" },
    isMore: (kind, layer, layers) => kind === "attn_v" ? layer < 4 : layer < Math.floor(layers / 8),
  },
  Q4_K_M: {
    ...{ type: "Q4_K", fileType: 15, more: "Q6_K" },
    isMore: (_, layer, layers) => some(layer, layers),
  },
  Q5_K_S: { type: "Q5_K", fileType: 16, more: "Q5_K", isMore: () => false },
  Q5_K_M: {
    ...{ type: "Q5_K", fileType: 17, more: "Q6_K" },
    isMore: (_, layer, layers) => some(layer, layers),
  },
};

/** Names of mixtures. */
export const MIXTURE_NAMES: readonly string[] = Object.keys(MIXTURES);

/** The number of a mixture in `general.file_type`; undefined of what is none. */
export function mixtureNumber(name: string): number | undefined {
  return MIXTURES[name]?.fileType;
}

/** What decides, besides a tensor's name and columns. */
export interface MixedModel {
  readonly layers: number;
  /** Experts of each layer; 1 where there is no mixture of them. */
  readonly experts: number;
  /** Whether the table of words is the head too. */
  readonly isTied: boolean;
}

/** What a mixture gives a tensor with rows of so many columns. */
export function mixedType(
  mixture: string,
  name: string,
  columns: number,
  { layers, experts, isTied }: MixedModel,
): string {
  const { type, more, isMore } = MIXTURES[mixture]!;
  const [, number, kind = ""] = /^blk\.(\d+)\.([a-z_]+?)(?:_exps|\.\d+)?\.weight$/.exec(name) ?? [];
  const layer = Number(number);
  if (name === "output.weight" || isTied && name === "token_embd.weight") {
    return fallback(columns % 256 === 0 ? "Q6_K" : "Q8_0", columns);
  }
  let given = type;
  const hasValues = kind === "attn_v" || kind === "attn_qkv";
  if (hasValues && isMore("attn_v", layer, layers)) given = more;
  if (kind === "ffn_down" && isMore("ffn_down", layer, layers)) given = more;
  if (experts === 8) {
    if (hasValues || kind === "attn_k") given = "Q8_0";
    if (kind === "attn_output" && type === "Q4_K") given = "Q5_K";
  }
  return fallback(given, columns);
}

/** What llama.cpp takes where rows are no multiple of 256 numbers, or not even of 32. */
const SMALLER_BLOCKS: Readonly<Record<string, string>> = {
  Q4_K: "Q5_0",
  Q5_K: "Q5_1",
  Q6_K: "Q8_0",
};

function fallback(type: string, columns: number): string {
  const fits = (it: string): boolean => columns % tensorBlocks(it)!.blockSize === 0;
  if (fits(type)) return type;
  const other = SMALLER_BLOCKS[type] ?? type;
  return fits(other) ? other : "F16";
}
