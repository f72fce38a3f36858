/**
 * An encoder in the shape of BERT with random weights, for measuring: its tensors under the names of
 * Transformers, a folder of them that Sparrow loads, and sentences of token ids.
 *
 * @module
 */

import { halfBits } from "../quant/half.ts";
import { randomBits } from "../runtime/generation/random.ts";

/** Extents of an encoder. */
export interface EncoderSize {
  /** Layers. */
  readonly layers: number;
  /** Width of the residual stream. */
  readonly hidden: number;
  /** Width of the feed-forward block. */
  readonly inner: number;
  /** Heads of each layer. */
  readonly heads: number;
  /** Words. */
  readonly vocab: number;
  /** Most tokens of a text. */
  readonly positions: number;
}

/** BERT-base (Devlin et al., arXiv:1810.04805). */
export const BERT_BASE: EncoderSize = {
  layers: 12,
  hidden: 768,
  inner: 3072,
  heads: 12,
  vocab: 30522,
  positions: 512,
};

/** Added to variances. */
export const LAYER_NORM_EPS = 1e-12;

/** A tensor of an encoder: its name in the file, its extents, and how its numbers are drawn. */
interface EncoderTensor {
  readonly name: string;
  readonly shape: readonly number[];
  /** The middle of its numbers. */
  readonly mean: number;
  /** How far from it they are at most. */
  readonly reach: number;
}

/** Name of layer `i` of an encoder, of which `encoderTensors` has the parts. */
export function layerName(i: number): string {
  return `encoder.layer.${i}`;
}

/** All tensors, in the order of the file. */
export function encoderTensors(size: EncoderSize): EncoderTensor[] {
  const { hidden, inner, layers, positions, vocab } = size;
  const table = (name: string, rows: number): EncoderTensor => ({
    ...{ name: `${name}.weight`, shape: [rows, hidden], mean: 0, reach: 0.05 },
  });
  const linear = (name: string, rows: number, columns: number): EncoderTensor[] => [
    { name: `${name}.weight`, shape: [rows, columns], mean: 0, reach: columns ** -0.5 },
    { name: `${name}.bias`, shape: [rows], mean: 0, reach: 0.05 },
  ];
  const norm = (name: string): EncoderTensor[] => [
    { name: `${name}.weight`, shape: [hidden], mean: 1, reach: 0.1 },
    { name: `${name}.bias`, shape: [hidden], mean: 0, reach: 0.05 },
  ];
  return [
    table("embeddings.word_embeddings", vocab),
    table("embeddings.position_embeddings", positions),
    table("embeddings.token_type_embeddings", 2),
    ...norm("embeddings.LayerNorm"),
    ...Array.from({ length: layers }, (_, i) => [
      ...linear(`${layerName(i)}.attention.self.query`, hidden, hidden),
      ...linear(`${layerName(i)}.attention.self.key`, hidden, hidden),
      ...linear(`${layerName(i)}.attention.self.value`, hidden, hidden),
      ...linear(`${layerName(i)}.attention.output.dense`, hidden, hidden),
      ...norm(`${layerName(i)}.attention.output.LayerNorm`),
      ...linear(`${layerName(i)}.intermediate.dense`, inner, hidden),
      ...linear(`${layerName(i)}.output.dense`, hidden, inner),
      ...norm(`${layerName(i)}.output.LayerNorm`),
    ]).flat(),
  ];
}

/** The numbers of a tensor, the same wherever they are drawn. */
export function drawTensor({ name, shape, mean, reach }: EncoderTensor): Float32Array<ArrayBuffer> {
  const seed = Array.from(name).reduce((sum, letter) => sum * 31 + letter.charCodeAt(0) | 0, 7);
  const numbers = new Float32Array(shape.reduce((a, b) => a * b, 1));
  for (let i = 0; i < numbers.length; i++) {
    numbers[i] = mean + reach * (randomBits(seed >>> 0, i) / 2 ** 31 - 1);
  }
  return numbers;
}

/** Types that the weights are written in. */
export type EncoderType = "F32" | "F16";

/** Writes `config.json` and `model.safetensors` into a folder, which is made. */
export async function writeEncoder(
  folder: string,
  size: EncoderSize,
  type: EncoderType,
): Promise<void> {
  await Deno.mkdir(folder, { recursive: true });
  const { hidden, inner, layers, heads, positions, vocab } = size;
  const config = {
    model_type: "bert",
    vocab_size: vocab,
    hidden_size: hidden,
    num_hidden_layers: layers,
    num_attention_heads: heads,
    intermediate_size: inner,
    hidden_act: "gelu",
    layer_norm_eps: LAYER_NORM_EPS,
    max_position_embeddings: positions,
    type_vocab_size: 2,
  };
  await Deno.writeTextFile(`${folder}/config.json`, JSON.stringify(config));
  const bytesEach = type === "F32" ? 4 : 2, tensors = encoderTensors(size);
  let end = 0;
  const header = Object.fromEntries(tensors.map(({ name, shape }) => {
    const start = end;
    end += bytesEach * shape.reduce((a, b) => a * b, 1);
    return [name, { dtype: type, shape, data_offsets: [start, end] }];
  }));
  const json = new TextEncoder().encode(JSON.stringify(header));
  const length = new Uint8Array(8);
  new DataView(length.buffer).setBigUint64(0, BigInt(json.length), true);
  const options = { write: true, create: true, truncate: true };
  const file = await Deno.open(`${folder}/model.safetensors`, options);
  const writer = file.writable.getWriter();
  await writer.write(length);
  await writer.write(json);
  for (const tensor of tensors) {
    const numbers = drawTensor(tensor);
    const data = type === "F32" ? numbers : Uint16Array.from(numbers, halfBits);
    await writer.write(new Uint8Array(data.buffer));
  }
  await writer.close();
}

/** Lengths of sentences, in tokens. */
export const SENTENCE_TOKENS = [8, 40] as const;

/** Token ids of sentences, the same for all who are compared. */
export function drawSentences(count: number, vocab: number): number[][] {
  const [least, most] = SENTENCE_TOKENS;
  return Array.from({ length: count }, (_, i) => {
    const length = least + randomBits(1, i) % (most - least + 1);
    return Array.from({ length }, (_, k) => randomBits(2 + i, k) % vocab);
  });
}

/** The mean of the rows of `hidden [tokens, width]`, from row `first` on: a text's vector. */
export function meanRow(
  hidden: Float32Array,
  width: number,
  first: number,
  tokens: number,
): Float32Array {
  const mean = new Float32Array(width);
  for (let at = first * width, end = at + tokens * width; at < end; at += width) {
    for (let i = 0; i < width; i++) mean[i]! += hidden[at + i]!;
  }
  return mean.map((sum) => sum / tokens);
}
