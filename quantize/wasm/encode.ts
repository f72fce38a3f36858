/**
 * Tensors of a file to blocks of a type, in pieces on all threads: from the source's bytes to those of
 * the draft, with the bytes that `quantizeRows` gives.
 *
 * @module
 */

import { InputError, SparrowError } from "../../errors.ts";
import { elements } from "../../kernels/op.ts";
import { tensorBlocks } from "../../quant/ggml_types.ts";
import { quantizeRows, weightsOf } from "../../quant/quantize.ts";
import type { TensorEntry } from "../../runtime/files/model_file.ts";
import { readVector } from "../../runtime/models/weights.ts";
import { failed } from "../write.ts";
import type { Draft } from "../draft.ts";
import type { Pool, Step } from "./pool.ts";

/** Numbers that are decoded and encoded at a time: with their bytes they fit in a core's cache. */
const PIECE = 1 << 16;
/** Pieces of a task. */
const PIECES = 16;
/** Scratch memory of a block's search (kernels/quantizers/area.as.ts). */
export const AREA = 4096;

/** Types that have an encoder of their own for numbers that count alike. */
export const SHORT_SEARCHES: ReadonlySet<string> = new Set([
  ...["F32", "F16", "BF16", "Q4_0", "Q4_1", "Q5_0", "Q5_1", "Q8_0", "Q4_K", "Q5_K", "Q6_K"],
]);

/** Where the numbers of an entry are. */
export interface Numbers {
  readonly type: string;
  /** Whether workers read them, so that a task can have several pieces. */
  readonly isRead: boolean;
  /** Bytes of so many numbers. */
  bytesOf(count: number): number;
  /** Steps, or none and they are there already, that put numbers from `first` on at an address. */
  bring(first: number, count: number, address: number): Promise<readonly Step[]>;
}

/**
 * How numbers of a tensor get into the memory of a pool: workers read them from the file where they can,
 * and the main thread does it where they cannot.
 */
export function numbersOf(pool: Pool, entry: TensorEntry): Numbers {
  const { source, offset, type, bytes, shape } = entry;
  const count = elements(shape);
  const blocks = tensorBlocks(type);
  const isPlain = blocks && bytes === count / blocks.blockSize * blocks.blockBytes;
  if (!isPlain || type === "F64") {
    // What is computed from several tensors comes as floats, all of it at once.
    let values: Promise<Float32Array> | undefined;
    return {
      ...{ type: "F32", isRead: false },
      bytesOf: (count) => 4 * count,
      async bring(first, count, address) {
        values ??= readVector(entry);
        pool.floats(address, count).set((await values).subarray(first, first + count));
        return [];
      },
    };
  }
  const bytesOf = (count: number): number => count / blocks.blockSize * blocks.blockBytes;
  return {
    ...{ type, bytesOf, isRead: source.path !== undefined },
    async bring(first, count, address) {
      const from = offset + bytesOf(first), length = bytesOf(count);
      if (source.path !== undefined) return [["read", source.path, from, address, length]];
      pool.bytes(address, length).set(await source.read(from, length));
      return [];
    },
  };
}

/** Numbers of types by name. */
export function typeNumber(type: string): number {
  return tensorBlocks(type)!.id;
}

/**
 * Writes a tensor in blocks of `type` into a draft, each of its matrices by its own importances, or to
 * nearest where there are none.
 *
 * @param matrices how many matrices lie on top of each other, each of which has importances `[columns]`
 * @param scales what each column is multiplied with first, with importances
 * @param part which of the equal parts of the draft's tensor the entry is
 * @throws InputError when a number cannot be held
 */
export async function encodeTensor(
  pool: Pool,
  entry: TensorEntry,
  type: string,
  draft: Draft,
  importances?: { readonly matrices: number; readonly meanSquares: Float32Array },
  scales?: Float32Array,
  part = 0,
): Promise<void> {
  const { blockSize, blockBytes } = tensorBlocks(type)!, columns = entry.shape.at(-1) ?? 1;
  const count = elements(entry.shape);
  const isNearest = !importances && SHORT_SEARCHES.has(type) || blockSize === 1;
  const numbers = numbersOf(pool, entry);
  const offset = draft.placeOf(entry.name).offset + part * count / blockSize * blockBytes;
  const rows = count / columns, matrices = importances?.matrices ?? 1;
  /** Numbers of a piece: whole rows where these have importances. */
  const piece = isNearest ? PIECE : Math.max(1, Math.floor(PIECE / columns)) * columns;
  const mark = pool.mark();
  try {
    const weights = isNearest ? 0 : pool.reserve(4 * columns * matrices);
    for (let i = 0; i < matrices && !isNearest; i++) {
      const own = importances?.meanSquares.slice(i * columns, (i + 1) * columns);
      pool.floats(weights + 4 * columns * i, columns).set(weightsOf(own, columns, blockSize));
    }
    const factors = scales ? pool.reserve(4 * columns) : 0;
    if (scales) pool.floats(factors, columns).set(scales);
    const outBytes = piece / blockSize * blockBytes;
    const areas = Array.from({ length: pool.threads }, () => ({
      area: pool.reserve(AREA),
      source: pool.reserve(numbers.bytesOf(piece)),
      values: pool.reserve(4 * piece),
      out: pool.reserve(outBytes),
    }));
    const perMatrix = rows / matrices * columns;
    for (let matrix = 0; matrix < matrices; matrix++) {
      const base = matrix * perMatrix, w = weights + 4 * columns * matrix;
      const size = numbers.isRead ? piece * PIECES : piece;
      const isSound = await pool.each(perMatrix, size, async (first, end, thread) => {
        const { area, source, values, out } = areas[thread]!, steps: Step[] = [];
        for (let at = first; at < end; at += piece) {
          const length = Math.min(piece, end - at);
          steps.push(...await numbers.bring(base + at, length, source));
          if (isNearest) {
            steps.push(
              ["call", "encodeNearest", typeNumber(numbers.type), source, length, values]
                .concat([typeNumber(type), out, area]) as unknown as Step,
            );
          } else {
            const number = typeNumber(numbers.type), count = length / columns;
            steps.push(["call", "decode", number, source, length, values]);
            if (scales) {
              steps.push(["call", "spreadRows", values, columns, count, factors, columns, values]);
            }
            steps.push(
              ["call", "encodeRows", typeNumber(type), values, w, columns, count, out, area],
            );
          }
          steps.push([
            ...["write", draft.path, offset + (base + at) / blockSize * blockBytes] as const,
            ...[out, length / blockSize * blockBytes] as const,
          ]);
        }
        return steps;
      });
      if (!isSound) await fail(entry, type, columns);
    }
  } catch (error) {
    throw error instanceof SparrowError ? error : failed(draft.path, error);
  } finally {
    pool.release(mark);
  }
}

/** What cannot be held is said by the definition. */
export async function fail(entry: TensorEntry, type: string, columns: number): Promise<never> {
  quantizeRows(type, await readVector(entry), columns);
  throw new InputError(`Cannot encode ${type}: a scale is too large for half precision`);
}
