/**
 * Matrices in the forms of quantizers, packed from known codes, scales and zeros by the definitions of
 * the forms, so that tests know every number.
 *
 * @module
 */

import { assertEquals } from "@std/assert";
import { decodeRows, LAYOUTS } from "../quant/formats.ts";
import { loadWeights } from "../runtime/engine/load_weights.ts";
import { memoryFolder } from "../runtime/files/folder.ts";
import type { ModelFile } from "../runtime/files/model_file.ts";
import { openModelFolder } from "../runtime/files/open.ts";
import { readQuantized } from "../runtime/models/quantized.ts";
import type { ResolvedWeights } from "../runtime/models/weights.ts";
import { randomNumbers, safetensorsBytes } from "./fixtures.ts";

/** How a matrix is packed. */
export interface PackOptions {
  readonly form: "gptq" | "gptq_v2" | "awq" | "compressed";
  readonly rows: number;
  readonly columns: number;
  readonly bits: 4 | 8;
  /** Columns of a group; all where absent. */
  readonly groupSize?: number;
  /** Whether every zero is half of the range. */
  readonly symmetric?: boolean;
  /** Whether columns are in groups at random; an order by its seed, or none. */
  readonly order?: number;
  /** Type of the scales. Default F16. */
  readonly scaleType?: "F16" | "BF16" | "F32";
  /** Scale of a group, from a number in 0 … 1. */
  readonly scale?: (x: number) => number;
  readonly seed?: number;
}

/** A tensor of a safetensors file. */
export interface FileTensor {
  readonly dtype: string;
  readonly shape: readonly number[];
  readonly data: Uint8Array;
}

/** A packed matrix, and its numbers. */
export interface Packed {
  /** Its tensors by what comes behind its name. */
  readonly tensors: Record<string, FileTensor>;
  /** `[rows, columns]`. */
  readonly values: Float32Array;
  /** The group of each column. */
  readonly groups: Int32Array;
}

const AWQ_ORDER = [0, 2, 4, 6, 1, 3, 5, 7];

/** Numbers of a type as bytes. */
export function tensorOf(
  dtype: "F16" | "BF16" | "F32" | "I32" | "I64" | "I8",
  shape: readonly number[],
  values: ArrayLike<number>,
): FileTensor {
  const numbers = Array.from(values);
  const data = {
    F16: () => new Float16Array(numbers),
    F32: () => new Float32Array(numbers),
    BF16: () =>
      Uint16Array.from(new Uint32Array(new Float32Array(numbers).buffer), (it) => it >>> 16),
    I8: () => new Int8Array(numbers),
    I32: () => new Int32Array(numbers),
    I64: () => BigInt64Array.from(numbers.map(BigInt)),
  }[dtype]();
  return { dtype, shape, data: new Uint8Array(data.buffer as ArrayBuffer) };
}

/** Packs numbers into words, `each` a word, of which `at` gives the number i of word w. */
function words(count: number, bits: number, at: (word: number, i: number) => number): number[] {
  return Array.from({ length: count }, (_, word) => {
    let all = 0;
    for (let i = 0; i < 32 / bits; i++) all |= at(word, i) << i * bits;
    return all;
  });
}

/** A matrix of random codes. */
export function packMatrix(options: PackOptions): Packed {
  const { form, rows, columns, bits, symmetric = false, scaleType = "F16", seed = 1 } = options;
  const size = options.groupSize ?? columns, count = Math.ceil(columns / size);
  const random = randomNumbers(seed), middle = 2 ** (bits - 1), each = 32 / bits;
  const whole = (end: number): number => Math.floor(random() * end);
  const codes = Array.from({ length: rows * columns }, () => whole(2 ** bits));
  const { scale = (x: number) => (1 + x) / 64 } = options;
  const scales = Array.from({ length: count * rows }, () => {
    const value = scale(random()) * (random() < 0.2 ? -1 : 1);
    if (scaleType === "F16") return Math.f16round(value);
    if (scaleType === "F32") return Math.fround(value);
    const word = new Uint32Array(Float32Array.of(value).buffer);
    word[0]! &= 0xffff0000;
    return new Float32Array(word.buffer)[0]!;
  }); // [groups, rows]
  // Version 1 cannot write 0 as a zero; 16 takes its place there.
  const least = form === "gptq" ? 1 : 0;
  const zeros = Array.from(
    { length: count * rows },
    () => symmetric ? middle : least + whole(2 ** bits),
  ); // [groups, rows]
  const groups = Int32Array.from({ length: columns }, (_, i) => Math.floor(i / size));
  if (options.order !== undefined) {
    const shuffle = randomNumbers(options.order);
    for (let i = columns - 1; i > 0; i--) {
      const other = Math.floor(shuffle() * (i + 1));
      [groups[i], groups[other]] = [groups[other]!, groups[i]!];
    }
  }
  const values = Float32Array.from(codes, (code, at) => {
    const place = groups[at % columns]! * rows + Math.floor(at / columns);
    return scales[place]! * (code - zeros[place]!);
  });
  const code = (row: number, column: number): number => codes[row * columns + column] ?? 0;
  const turned = (list: readonly number[]): number[] =>
    Array.from({ length: rows * count }, (_, i) => list[i % count * rows + Math.floor(i / count)]!);
  const tensors: Record<string, FileTensor> = {};
  if (form === "compressed") {
    const stride = Math.ceil(columns / each), lines = Math.ceil(rows / each);
    tensors.weight_packed = tensorOf(
      "I32",
      [rows, stride],
      words(rows * stride, bits, (word, i) => {
        const column = word % stride * each + i;
        return column < columns ? code(Math.floor(word / stride), column) : 0;
      }),
    );
    tensors.weight_scale = tensorOf(scaleType, [rows, count], turned(scales));
    tensors.weight_shape = tensorOf("I64", [2], [rows, columns]);
    if (!symmetric) {
      const packed = words(lines * count, bits, (word, i) => {
        const row = Math.floor(word / count) * each + i;
        return row < rows ? zeros[word % count * rows + row]! : 0;
      });
      tensors.weight_zero_point = tensorOf("I32", [lines, count], packed);
    }
    if (options.order !== undefined) {
      tensors.weight_g_idx = tensorOf("I32", [columns], groups);
    }
    return { tensors, values, groups };
  }
  tensors.scales = tensorOf(scaleType, [count, rows], scales);
  const line = rows / each;
  if (form === "awq") {
    const ordered = (numbers: (line: number, row: number) => number, lines: number): FileTensor =>
      tensorOf(
        "I32",
        [lines, line],
        words(
          lines * line,
          bits,
          (word, i) => numbers(Math.floor(word / line), word % line * each + AWQ_ORDER[i]!),
        ),
      );
    tensors.qweight = ordered((column, row) => code(row, column), columns);
    tensors.qzeros = ordered((group, row) => zeros[group * rows + row]!, count);
    return { tensors, values, groups };
  }
  tensors.qweight = tensorOf(
    "I32",
    [columns / each, rows],
    words(
      columns / each * rows,
      bits,
      (word, i) => code(word % rows, Math.floor(word / rows) * each + i),
    ),
  );
  tensors.qzeros = tensorOf(
    "I32",
    [count, line],
    words(
      count * line,
      bits,
      (word, i) => zeros[Math.floor(word / line) * rows + word % line * each + i]! - least,
    ),
  );
  tensors.g_idx = tensorOf("I32", [columns], groups);
  return { tensors, values, groups };
}

/** What such a model's config.json says. */
export function quantizationConfig(options: PackOptions): Record<string, unknown> {
  const { form, bits, groupSize = -1, symmetric = false } = options;
  if (form === "awq") {
    return {
      ...{ quant_method: "awq", bits, group_size: groupSize, zero_point: !symmetric },
      ...{ version: "gemm", modules_to_not_convert: null },
    };
  }
  if (form !== "compressed") {
    return {
      ...{ quant_method: "gptq", bits, group_size: groupSize, sym: symmetric },
      ...{ desc_act: options.order !== undefined, checkpoint_format: form },
    };
  }
  const weights = {
    ...{ num_bits: bits, type: "int", symmetric, actorder: null, dynamic: false },
    ...(groupSize === -1 ? { strategy: "channel" } : { strategy: "group", group_size: groupSize }),
  };
  const group = { targets: ["Linear"], weights, input_activations: null, output_activations: null };
  return {
    ...{ quant_method: "compressed-tensors", format: "pack-quantized", ignore: ["lm_head"] },
    ...{ config_groups: { group_0: group }, kv_cache_scheme: null, sparsity_config: {} },
    ...{ quantization_status: "compressed", version: "0.9.0" },
  };
}

/** A safetensors file of tensors by name. */
export function safetensorsOf(
  tensors: Readonly<Record<string, FileTensor>>,
): Uint8Array<ArrayBuffer> {
  const header: Record<string, unknown> = {}, pieces: Uint8Array[] = [];
  let at = 0;
  for (const [name, { dtype, shape, data }] of Object.entries(tensors)) {
    header[name] = { dtype, shape, data_offsets: [at, at + data.length] };
    pieces.push(data);
    at += data.length;
  }
  const all = new Uint8Array(at);
  at = 0;
  for (const piece of pieces) {
    all.set(piece, at);
    at += piece.length;
  }
  return safetensorsBytes(header, all);
}

/** A folder of tensors with a configuration, in memory. */
export function fileOf(
  tensors: Readonly<Record<string, FileTensor>>,
  config: Record<string, unknown>,
  more: Record<string, unknown> = {},
): Promise<ModelFile> {
  const json = (value: unknown): Uint8Array => new TextEncoder().encode(JSON.stringify(value));
  const others = Object.entries(more).map(([name, value]) => [name, json(value)] as const);
  return openModelFolder(memoryFolder("memory/", {
    ...{ "config.json": json(config), "model.safetensors": safetensorsOf(tensors) },
    ...Object.fromEntries(others),
  }));
}

/** The tensors of packed matrices by their whole names. */
export function named(matrices: Readonly<Record<string, Packed>>): Record<string, FileTensor> {
  return Object.fromEntries(
    Object.entries(matrices).flatMap(([name, { tensors }]) =>
      Object.entries(tensors).map(([part, it]) => [`${name}.${part}`, it])
    ),
  );
}

/** Brings weights where a test can look at them, as the numbers that their layouts hold. */
export async function numbersOf(weights: ResolvedWeights): Promise<Record<string, Float32Array>> {
  const stored: Record<string, Float32Array> = {};
  const backend = {
    writeRows(name: string, row: number, bytes: Uint8Array): Promise<void> {
      const { layout, shape } = weights.get(name)!, columns = shape.at(-1)!;
      const count = shape.reduce((product, it) => product * it, 1);
      const values = decodeRows(LAYOUTS[layout], bytes.slice(), columns);
      (stored[name] ??= new Float32Array(count)).set(values, row * columns);
      return Promise.resolve();
    },
  };
  await loadWeights(weights, backend as unknown as Parameters<typeof loadWeights>[1]);
  return stored;
}

/** A file with matrices in the place of their parts, of which nothing is told. */
export async function readable(file: ModelFile): Promise<ModelFile> {
  const warnings: string[] = [];
  const { file: read } = await readQuantized(file, (it) => warnings.push(it));
  assertEquals(warnings, []);
  return read;
}
