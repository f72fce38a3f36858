/**
 * Llama-family GGUF models of any size with random weights, for measuring speed and memory where no
 * trained model is at hand.
 *
 * @module
 */

import { UsageError } from "../cli/errors.ts";
import { elements } from "../kernels/op.ts";
import { ggmlType, tensorBlocks } from "../quant/ggml_types.ts";
import { halfBits } from "../quant/half.ts";
import { type GgufContents, type GgufTensor, writeGguf } from "../runtime/files/gguf_write.ts";
import type { MetadataValue } from "../runtime/files/gguf_metadata.ts";
import { randomBits } from "../runtime/generation/random.ts";

/** Extents of a llama-family model. */
export interface ModelSize {
  /** Layers. */
  readonly layers: number;
  /** Width of the residual stream. */
  readonly hidden: number;
  /** Width of the feed-forward block. */
  readonly inner: number;
  /** Query heads. */
  readonly heads: number;
  /** Heads of keys and values. */
  readonly kvHeads: number;
  /** Words. */
  readonly vocab: number;
  /** Whether the head is the embedding table. Default false. */
  readonly tied?: boolean;
  /** Feed-forward blocks of a layer, and how many of them a token gets; one block where absent. */
  readonly experts?: readonly [count: number, perToken: number];
}

/** Sizes by name. */
export const SIZES: Readonly<Record<string, ModelSize>> = {
  "1m": { layers: 2, hidden: 64, inner: 192, heads: 4, kvHeads: 2, vocab: 512 },
  "160m": { layers: 12, hidden: 768, inner: 3072, heads: 12, kvHeads: 12, vocab: 32000 },
  "340m": { layers: 20, hidden: 1024, inner: 4096, heads: 16, kvHeads: 4, vocab: 32000 },
  // As many weights for a token as "340m".
  "1b-a340m": {
    ...{ layers: 20, hidden: 1024, inner: 1024, heads: 16, kvHeads: 4, vocab: 32000 },
    experts: [16, 4],
  },
  "1b": { layers: 16, hidden: 2048, inner: 8192, heads: 32, kvHeads: 8, vocab: 128256 },
  // 6.17 billion weights. Three matrices of 10,912 rows are as large as the two of 16,384 in models
  // whose feed-forward block has no gate.
  "6b": {
    ...{ layers: 28, hidden: 4096, inner: 10912, heads: 32, kvHeads: 32, vocab: 130528 },
    tied: true,
  },
  // 7.17 billion weights: the same with a gated block of 16,384 and two heads of keys.
  "6b-gated": {
    ...{ layers: 28, hidden: 4096, inner: 16384, heads: 32, kvHeads: 2, vocab: 130528 },
    tied: true,
  },
  "7b": { layers: 32, hidden: 4096, inner: 11008, heads: 32, kvHeads: 32, vocab: 32000 },
  "8b": { layers: 32, hidden: 4096, inner: 14336, heads: 32, kvHeads: 8, vocab: 128256 },
};

/** Types of matrices. */
export const TYPES: readonly string[] = [
  "Q4_0",
  "Q4_1",
  "Q8_0",
  "F16",
  "F32",
  "Q4_K",
  "Q6_K",
  "Q4_K_M",
];

/** Tensors of the mixture Q4_K_M that are Q6_K: values and down projections of every other layer. */
function typeOf(type: string, name: string, layer: number): string {
  if (type !== "Q4_K_M") return type;
  const finer = name === "output" || layer % 2 === 0 && (name === "attn_v" || name === "ffn_down");
  return finer ? "Q6_K" : "Q4_K";
}

/** A model that can be written, and how large it is. */
export interface SyntheticModel {
  readonly contents: GgufContents;
  /** Its numbers. */
  readonly parameters: number;
  /** Bytes of its tensors. */
  readonly bytes: number;
}

/** How long a text may be, and which random numbers it has. */
export interface SyntheticOptions {
  readonly context?: number;
  readonly seed?: number;
}

/** Writes the model. */
export async function writeSyntheticModel(
  sink: WritableStream<Uint8Array<ArrayBuffer>>,
  size: ModelSize,
  type: string,
  options: SyntheticOptions = {},
): Promise<void> {
  await writeGguf(syntheticModel(size, type, options).contents, sink);
}

/** A model, whose numbers are made when it is written. */
export function syntheticModel(
  size: ModelSize,
  type: string,
  options: SyntheticOptions = {},
): SyntheticModel {
  const { layers, hidden, inner, heads, kvHeads, vocab, experts } = size;
  const { context = 8192, seed = 1 } = options;
  const kv = hidden / heads * kvHeads;
  const matrices: [string, number, number][] = [
    ["attn_q", hidden, hidden],
    ["attn_k", kv, hidden],
    ["attn_v", kv, hidden],
    ["attn_output", hidden, hidden],
  ];
  const blocks: [string, number, number][] = [
    ["ffn_gate", inner, hidden],
    ["ffn_up", inner, hidden],
    ["ffn_down", hidden, inner],
  ];
  const tensors: GgufTensor[] = [];
  const matrix = (name: string, rows: number, columns: number, type: string, count = 0): void => {
    const data = randomBlocks(type, (count || 1) * rows * columns, columns, seed + tensors.length);
    const shape = count ? [count, rows, columns] : [rows, columns];
    tensors.push({ name: `${name}.weight`, shape, type, data });
  };
  const norm = (name: string): void => {
    const data = new Uint8Array(new Float32Array(hidden).fill(1).buffer);
    tensors.push({ name: `${name}.weight`, shape: [hidden], type: "F32", data });
  };
  matrix("token_embd", vocab, hidden, typeOf(type, "token_embd", -1));
  for (let layer = 0; layer < layers; layer++) {
    norm(`blk.${layer}.attn_norm`);
    for (const [name, rows, columns] of matrices) {
      matrix(`blk.${layer}.${name}`, rows, columns, typeOf(type, name, layer));
    }
    if (experts) matrix(`blk.${layer}.ffn_gate_inp`, experts[0], hidden, "F32");
    for (const [name, rows, columns] of blocks) {
      const path = `blk.${layer}.${name}${experts ? "_exps" : ""}`;
      matrix(path, rows, columns, typeOf(type, name, layer), experts?.[0]);
    }
    norm(`blk.${layer}.ffn_norm`);
  }
  norm("output_norm");
  if (!size.tied) matrix("output", vocab, hidden, typeOf(type, "output", -1));
  const count = (of: (tensor: GgufTensor) => number): number =>
    tensors.reduce((sum, tensor) => sum + of(tensor), 0);
  return {
    contents: { fields: fields(size, context), tensors },
    parameters: count(({ shape }) => elements(shape)),
    bytes: count(({ shape, type }) => {
      const { blockSize, blockBytes } = tensorBlocks(type)!;
      return elements(shape) / blockSize * blockBytes;
    }),
  };
}

/** Metadata, with a SentencePiece vocabulary of all bytes and then made-up words. */
function fields(size: ModelSize, context: number): [string, MetadataValue][] {
  const bytes = Array.from(
    { length: 256 },
    (_, i) => `<0x${i.toString(16).toUpperCase().padStart(2, "0")}>`,
  );
  const specials = ["<unk>", "<s>", "</s>"];
  const words = Array.from({ length: size.vocab - 259 }, (_, i) => `w${i}`);
  const tokens = [...specials, ...bytes, ...words];
  const kinds = tokens.map((_, i) => i === 0 ? 2 : i < 3 ? 3 : i < 259 ? 6 : 1);
  const u32 = (value: number): MetadataValue => ({ type: "u32", value });
  return [
    ["general.architecture", { type: "string", value: "llama" }],
    ["general.name", { type: "string", value: "synthetic" }],
    ["llama.context_length", u32(context)],
    ["llama.embedding_length", u32(size.hidden)],
    ["llama.block_count", u32(size.layers)],
    ["llama.feed_forward_length", u32(size.inner)],
    ["llama.attention.head_count", u32(size.heads)],
    ["llama.attention.head_count_kv", u32(size.kvHeads)],
    ["llama.rope.dimension_count", u32(size.hidden / size.heads)],
    ...(size.experts
      ? [
        ["llama.expert_count", u32(size.experts[0])],
        ["llama.expert_used_count", u32(size.experts[1])],
      ]
      : []),
    ["llama.attention.layer_norm_rms_epsilon", { type: "f32", value: 1e-5 }],
    ["tokenizer.ggml.model", { type: "string", value: "llama" }],
    ["tokenizer.ggml.tokens", { type: "array", items: "string", value: tokens }],
    ["tokenizer.ggml.scores", { type: "array", items: "f32", value: tokens.map((_, i) => -i) }],
    ["tokenizer.ggml.token_type", { type: "array", items: "i32", value: kinds }],
    ["tokenizer.ggml.bos_token_id", u32(1)],
    ["tokenizer.ggml.eos_token_id", u32(2)],
  ] as [string, MetadataValue][];
}

const PIECE_BLOCKS = 16384;

/** Blocks of a type with values of about unit variance per row sum; pieces repeat, reseeded. */
function* randomBlocks(
  name: string,
  count: number,
  columns: number,
  seed: number,
): Generator<Uint8Array> {
  const type = ggmlType(name);
  if (!type) throw new UsageError(`Cannot write weights of type ${name}: it is not known`);
  const blocks = count / type.blockSize;
  const piece = new Uint8Array(Math.min(blocks, PIECE_BLOCKS) * type.blockBytes);
  for (let block = 0; block < blocks; block += PIECE_BLOCKS) {
    fillBlocks(piece, name, type.blockBytes, columns, seed * 7919 + block);
    yield piece.subarray(0, Math.min(PIECE_BLOCKS, blocks - block) * type.blockBytes);
  }
}

function fillBlocks(
  out: Uint8Array,
  name: string,
  blockBytes: number,
  columns: number,
  seed: number,
): void {
  const deviation = 1 / Math.sqrt(columns);
  const words = new Uint32Array(out.buffer, 0, out.length >> 2);
  for (let i = 0; i < words.length; i++) words[i] = randomBits(seed, i);
  const view = new DataView(out.buffer);
  /** Where the f16 scales of a block are, and what a scale of 1 makes of random codes. */
  const scales: Record<string, readonly [offset: number, spread: number][]> = {
    Q4_0: [[0, 4.6]],
    Q4_1: [[0, 4.6], [2, -0.6]],
    Q8_0: [[0, 74]],
    Q4_K: [[0, 146], [2, 146 * 1.2]],
    Q6_K: [[208, 1370]],
  };
  if (name === "F32" || name === "F16") {
    for (let i = 0; i < out.length / blockBytes; i++) {
      const value = (randomBits(seed, i) / 2 ** 32 - 0.5) * 3.46 * deviation;
      if (name === "F32") view.setFloat32(4 * i, value, true);
      else view.setUint16(2 * i, halfBits(value), true);
    }
    return;
  }
  if (!scales[name]) throw new UsageError(`Cannot write weights of type ${name}: not among --type`);
  for (let at = 0; at < out.length; at += blockBytes) {
    for (const [offset, spread] of scales[name]) {
      view.setUint16(at + offset, halfBits(deviation / spread), true);
    }
  }
}
