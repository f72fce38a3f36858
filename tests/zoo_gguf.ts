/**
 * Small GGUF files of GPT-2, BERT, Nomic's BERT, T5 and its encoder with seeded random weights, as
 * llama.cpp takes them: names, fields and tokenizers of its converter. Text made by them is noise.
 *
 * @module
 */

import { encodeRows, LAYOUTS } from "../quant/formats.ts";
import { ggmlType } from "../quant/ggml_types.ts";
import type { GgufTensor } from "../runtime/files/gguf_write.ts";
import type { MetadataValue } from "../runtime/files/gguf_metadata.ts";
import { elements } from "../kernels/op.ts";
import { normalNumbers, randomBlocks, randomNumbers } from "./fixtures.ts";
import { type Contents, f32, flag, text, u32 } from "./golden_gguf.ts";
import { tinyContents } from "./tiny_model.ts";

/** Architectures of these files. */
export type ZooArchitecture = "gpt2" | "bert" | "nomic-bert" | "t5" | "t5encoder";

/** What a file is like. */
export interface ZooOptions {
  /** Type of the matrices. Default `F32`. */
  readonly type?: string;
  /** Whether queries, keys and values of a BERT are one tensor, as those of GPT-2 are. Default no. */
  readonly fused?: boolean;
  /** Whether there is a head of its own. Default no. */
  readonly head?: boolean;
  /** Whether the feed-forward block of a T5 has a gate. Default no. */
  readonly gated?: boolean;
  /**
   * What gives the scores of a BERT: a layer before them or none, for so many labels. The model then has
   * no segments, since llama.cpp numbers none. None where absent.
   */
  readonly scores?: { readonly dense: boolean; readonly labels: number };
  /** Whether a BERT tells capital letters apart. Default no. */
  readonly cased?: boolean;
  /** Whose tokens a BERT has: its own, or those of RoBERTa or XLM-RoBERTa. Default its own. */
  readonly pieces?: "words" | "bytes" | "unigrams";
  /** More fields, without the architecture before their names. */
  readonly fields?: Readonly<Record<string, MetadataValue>>;
  /** Width of states and of feed-forward blocks; a multiple of what blocks of the type hold. */
  readonly width?: number;
}

const LAYERS = 2, HEADS = 4, CONTEXT = 256, BUCKETS = 8;

const LETTERS = Array.from("abcdefghijklmnopqrstuvwxyz");
const texts = (value: string[]): MetadataValue => ({ type: "array", items: "string", value });
const types = (value: number[]): MetadataValue => ({ type: "array", items: "i32", value });

function bytePairs(): Record<string, MetadataValue> {
  const { fields } = tinyContents({ tokenizer: "bpe" });
  return Object.fromEntries(Array.from(fields).filter(([key]) => key.startsWith("tokenizer.")));
}

/** BERT's words as llama.cpp has them: those that begin a word carry the mark of a space. */
function wordPieces(cased: boolean): Record<string, MetadataValue> {
  const special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"];
  const letters = cased ? [...LETTERS, ...LETTERS.map((it) => it.toUpperCase())] : LETTERS;
  const begin = [...letters, "the", "un", "é", "北", ".", ",", "!", "'"].map((it) => `▁${it}`);
  const tokens = [...special, ...begin, ...letters, "ing", "he", "ed"];
  return {
    "tokenizer.ggml.model": text("bert"),
    "tokenizer.ggml.pre": text("default"),
    "tokenizer.ggml.tokens": texts(tokens),
    "tokenizer.ggml.token_type": types(tokens.map((_, id) => id < special.length ? 3 : 1)),
    "tokenizer.ggml.token_type_count": u32(2),
    "tokenizer.ggml.padding_token_id": u32(0),
    "tokenizer.ggml.unknown_token_id": u32(1),
    "tokenizer.ggml.bos_token_id": u32(2),
    "tokenizer.ggml.cls_token_id": u32(2),
    "tokenizer.ggml.seperator_token_id": u32(3), // spelled so in the format
    "tokenizer.ggml.mask_token_id": u32(4),
    ...(cased && { "tokenizer.ggml.normalizer.lowercase": flag(false) }),
  };
}

/** Pieces with scores, as T5 has them. */
function unigrams(): Record<string, MetadataValue> {
  const tokens = [
    "<pad>",
    "</s>",
    "<unk>",
    "▁",
    ...LETTERS,
    "▁the",
    "the",
    "▁a",
    "ing",
    "▁be",
    "é",
  ];
  return {
    "tokenizer.ggml.model": text("t5"),
    "tokenizer.ggml.pre": text("default"),
    "tokenizer.ggml.tokens": texts(tokens),
    "tokenizer.ggml.scores": {
      type: "array",
      items: "f32",
      value: tokens.map((token, id) => id < 3 ? 0 : -5 - id / 64 + token.length / 8),
    },
    "tokenizer.ggml.token_type": types(tokens.map((_, id) => [3, 3, 2][id] ?? 1)),
    "tokenizer.ggml.add_space_prefix": flag(true),
    "tokenizer.ggml.remove_extra_whitespaces": flag(true),
    "tokenizer.ggml.eos_token_id": u32(1),
    "tokenizer.ggml.unknown_token_id": u32(2),
    "tokenizer.ggml.padding_token_id": u32(0),
    "tokenizer.ggml.add_bos_token": flag(false),
    "tokenizer.ggml.add_eos_token": flag(true),
  };
}

/** What RoBERTa and XLM-RoBERTa have around texts. */
function likeRoberta(pieces: "bytes" | "unigrams"): Record<string, MetadataValue> {
  const [bos, end] = pieces === "bytes" ? [257, 258] : [0, 1];
  return {
    ...(pieces === "bytes" && { "tokenizer.ggml.pre": text("roberta-bpe") }),
    "tokenizer.ggml.token_type_count": u32(2),
    "tokenizer.ggml.bos_token_id": u32(bos),
    "tokenizer.ggml.eos_token_id": u32(end),
    "tokenizer.ggml.seperator_token_id": u32(end),
    "tokenizer.ggml.add_bos_token": flag(true),
    "tokenizer.ggml.add_eos_token": flag(true),
  };
}

/** A name and extents of every tensor, and what kind of numbers it has. */
type Listed = [name: string, shape: number[], kind: "table" | "matrix" | "gain" | "bias"];

function* withBias(name: string, rows: number, columns: number): Iterable<Listed> {
  yield [`${name}.weight`, [rows, columns], "matrix"];
  yield [`${name}.bias`, [rows], "bias"];
}

function* layerNorm(name: string, width: number): Iterable<Listed> {
  yield [`${name}.weight`, [width], "gain"];
  yield [`${name}.bias`, [width], "bias"];
}

function* listGpt2(width: number, vocab: number): Iterable<Listed> {
  yield ["token_embd.weight", [vocab, width], "table"];
  yield ["position_embd.weight", [CONTEXT, width], "table"];
  for (let i = 0; i < LAYERS; i++) {
    yield* layerNorm(`blk.${i}.attn_norm`, width);
    yield* withBias(`blk.${i}.attn_qkv`, 3 * width, width);
    yield* withBias(`blk.${i}.attn_output`, width, width);
    yield* layerNorm(`blk.${i}.ffn_norm`, width);
    yield* withBias(`blk.${i}.ffn_up`, 4 * width, width);
    yield* withBias(`blk.${i}.ffn_down`, width, 4 * width);
  }
  yield* layerNorm("output_norm", width);
}

function* listBert(
  width: number,
  vocab: number,
  { isNomic, fused }: { isNomic: boolean; fused: boolean },
): Iterable<Listed> {
  function* linear(name: string, rows: number, columns: number): Iterable<Listed> {
    for (const it of withBias(name, rows, columns)) if (!isNomic || it[2] === "matrix") yield it;
  }
  yield ["token_embd.weight", [vocab, width], "table"];
  if (!isNomic) yield ["position_embd.weight", [CONTEXT, width], "table"];
  yield ["token_types.weight", [2, width], "table"];
  yield* layerNorm("token_embd_norm", width);
  for (let i = 0; i < LAYERS; i++) {
    if (fused) yield* linear(`blk.${i}.attn_qkv`, 3 * width, width);
    else for (const it of ["q", "k", "v"]) yield* linear(`blk.${i}.attn_${it}`, width, width);
    yield* linear(`blk.${i}.attn_output`, width, width);
    yield* layerNorm(`blk.${i}.attn_output_norm`, width);
    if (isNomic) yield* linear(`blk.${i}.ffn_gate`, 2 * width, width);
    yield* linear(`blk.${i}.ffn_up`, 2 * width, width);
    yield* linear(`blk.${i}.ffn_down`, width, 2 * width);
    yield* layerNorm(`blk.${i}.layer_output_norm`, width);
  }
}

function* listT5(
  width: number,
  vocab: number,
  { gated, sides }: { gated: boolean; sides: readonly ("enc" | "dec")[] },
): Iterable<Listed> {
  yield ["token_embd.weight", [vocab, width], "table"];
  for (const side of sides) {
    yield [`${side}.blk.0.attn_rel_b.weight`, [BUCKETS, HEADS], "bias"];
    yield [`${side}.output_norm.weight`, [width], "gain"];
    for (let i = 0; i < LAYERS; i++) {
      const layer = `${side}.blk.${i}.`;
      for (const kind of side === "dec" ? ["attn", "cross_attn"] : ["attn"]) {
        yield [`${layer}${kind}_norm.weight`, [width], "gain"];
        for (const it of ["q", "k", "v", "o"]) {
          yield [`${layer}${kind}_${it}.weight`, [width, width], "matrix"];
        }
      }
      yield [`${layer}ffn_norm.weight`, [width], "gain"];
      if (gated) yield [`${layer}ffn_gate.weight`, [2 * width, width], "matrix"];
      yield [`${layer}ffn_up.weight`, [2 * width, width], "matrix"];
      yield [`${layer}ffn_down.weight`, [width, 2 * width], "matrix"];
    }
  }
}

/** Draws the numbers of a tensor. */
function draw([name, shape, kind]: Listed, type: string, random: () => number): GgufTensor {
  const count = elements(shape), columns = shape.at(-1)!;
  const spread = { table: 0.7, matrix: 1.3 / Math.sqrt(columns), gain: 0.2, bias: 0.2 }[kind];
  const values = normalNumbers(count, random)
    .map((it) => it * spread + (kind === "gain" ? 1 : 0));
  const used = kind === "matrix" ? type : "F32", { layout, blockSize } = ggmlType(used)!;
  const isPlain = ["F32", "F16", "BF16", "Q8_0", "Q4_0", "Q4_1"].includes(used);
  const data = isPlain
    ? encodeRows(LAYOUTS[layout], values, columns)
    : randomBlocks(used, count / blockSize, random);
  return { name, shape, type: used, data };
}

/** A file's metadata and tensors. */
export function zooContents(architecture: ZooArchitecture, options: ZooOptions = {}): Contents {
  const { type = "F32", fused = false, gated = false, cased = false, width = 64 } = options;
  const isT5 = architecture.startsWith("t5"), isBert = architecture.endsWith("bert");
  const pieces = options.pieces ?? (isT5 ? "unigrams" : isBert ? "words" : "bytes");
  const tokenizer: Record<string, MetadataValue> = {
    ...pieces === "unigrams" ? unigrams() : pieces === "words" ? wordPieces(cased) : bytePairs(),
    ...(isBert && pieces !== "words" && likeRoberta(pieces)),
  };
  const vocab = (tokenizer["tokenizer.ggml.tokens"]!.value as string[]).length;
  const own: Record<string, MetadataValue> = {
    context_length: u32(CONTEXT),
    embedding_length: u32(width),
    feed_forward_length: u32(isBert || isT5 ? 2 * width : 4 * width),
    block_count: u32(LAYERS),
    "attention.head_count": u32(HEADS),
    "attention.layer_norm_epsilon": f32(1e-5),
    // Without it, llama.cpp's binding for node runs an encoder as a decoder.
    ...((isBert || architecture === "t5encoder") && { "attention.causal": flag(false) }),
    ...(isT5 && {
      "attention.layer_norm_rms_epsilon": f32(1e-6),
      "attention.key_length": u32(width / HEADS),
      "attention.value_length": u32(width / HEADS),
      "attention.relative_buckets_count": u32(BUCKETS),
    }),
    ...(architecture === "t5" && { decoder_start_token_id: u32(0) }),
    ...(architecture === "nomic-bert" && { "rope.freq_base": f32(1000) }),
    ...options.fields,
  };
  const fields = new Map<string, MetadataValue>([["general.architecture", text(architecture)]]);
  for (const [key, value] of Object.entries(own)) fields.set(`${architecture}.${key}`, value);
  for (const [key, value] of Object.entries(tokenizer)) fields.set(key, value);
  const random = randomNumbers(7);
  const listed = isT5
    ? listT5(width, vocab, { gated, sides: architecture === "t5" ? ["enc", "dec"] : ["enc"] })
    : isBert
    ? listBert(width, vocab, { isNomic: architecture === "nomic-bert", fused })
    : listGpt2(width, vocab);
  const tensors = Array.from(listed, (it) => draw(it, type, random));
  const { scores } = options;
  if (scores) {
    const types = tensors.findIndex(({ name }) => name === "token_types.weight");
    const row = (tensors[types]!.data as Uint8Array).slice(0, 4 * width);
    tensors[types] = { ...tensors[types]!, data: Uint8Array.from([...row, ...row]) };
    const more = [
      ...scores.dense ? withBias("cls", width, width) : [],
      ...withBias("cls.output", scores.labels, width),
    ];
    tensors.push(...more.map((it) => draw(it, "F32", random)));
  }
  if (options.head) tensors.push(draw(["output.weight", [vocab, width], "matrix"], type, random));
  return { fields, tensors };
}

/** Files that llama.cpp has run, by name. */
export const ZOO: Readonly<Record<string, readonly [ZooArchitecture, ZooOptions]>> = {
  "gpt2": ["gpt2", {}],
  "gpt2, head of its own": ["gpt2", { head: true }],
  "gpt2, Q8_0": ["gpt2", { type: "Q8_0" }],
  "bert, mean": ["bert", { fields: { pooling_type: u32(1) } }],
  "bert, first, fused": ["bert", { fused: true, fields: { pooling_type: u32(2) } }],
  "bert, last, cased": ["bert", { cased: true, fields: { pooling_type: u32(3) } }],
  "bert that ranks": ["bert", {
    scores: { dense: true, labels: 1 },
    fields: { pooling_type: u32(4) },
  }],
  "bert that ranks, no layer before": ["bert", {
    scores: { dense: false, labels: 1 },
    fields: { pooling_type: u32(4) },
  }],
  "bert with the tokens of XLM-RoBERTa, that ranks": ["bert", {
    pieces: "unigrams",
    scores: { dense: true, labels: 1 },
    fields: { pooling_type: u32(4) },
  }],
  "bert with the tokens of RoBERTa": ["bert", {
    pieces: "bytes",
    fields: { pooling_type: u32(1) },
  }],
  "nomic-bert, mean": ["nomic-bert", { fused: true, fields: { pooling_type: u32(1) } }],
  "nomic-bert, first, Q8_0": ["nomic-bert", { type: "Q8_0", fields: { pooling_type: u32(2) } }],
  "nomic-bert, linear rope": ["nomic-bert", {
    fields: { pooling_type: u32(2), "rope.scaling.factor": f32(3) },
  }],
  "t5encoder, mean": ["t5encoder", { fields: { pooling_type: u32(1) } }],
  "t5encoder, first, gated": ["t5encoder", { gated: true, fields: { pooling_type: u32(2) } }],
  "t5": ["t5", {}],
};

/** A query, and texts that answer it. */
export const QUERY: readonly [string, readonly string[]] = [
  "the thing?",
  ["unbed a thing", "the end", "being he"],
];

/** Texts whose tokens are compared. */
export const TEXTS: readonly string[] = [
  "the thing",
  "The théing unbed, and  ABC!",
  " being   in the 北京 end's\nline",
  "",
];
