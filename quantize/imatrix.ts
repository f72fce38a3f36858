/**
 * Importance files of llama.cpp: how large what matrices are multiplied with is, column by column. They
 * are GGUF files with two tensors for each matrix, Σ x² `NAME.in_sum2` `[matrices, columns]` and the
 * number of inputs `NAME.counts` `[matrices, 1]`; a stack of experts has several matrices.
 *
 * Source: `imatrix` of llama.cpp (ggml-org/llama.cpp, tools/imatrix/README.md), in its GGUF form.
 *
 * @module
 */

import { ModelError } from "../errors.ts";
import { quote, word } from "../escape.ts";
import { openModelFile } from "../runtime/files/open.ts";
import { readVector } from "../runtime/models/weights.ts";
import { writeModel } from "./write.ts";

/** Importances of a tensor. */
export interface Importances {
  /** Matrices on top of each other: the experts of a stack, else 1. */
  readonly matrices: number;
  /** Mean square of each column's input `[matrices, columns]`; zeros for an expert that read nothing. */
  readonly meanSquares: Float32Array;
}

const SUMS = ".in_sum2", COUNTS = ".counts";

/**
 * Reads a file's importances by name of tensor.
 *
 * @throws ModelError when it is no such file, or its numbers make no sense
 */
export async function readImatrix(source: string | URL): Promise<Map<string, Importances>> {
  const file = await openModelFile(source);
  try {
    const found = new Map<string, Importances>();
    for (const [name, entry] of file.tensors) {
      if (!name.endsWith(SUMS)) continue;
      const of = name.slice(0, -SUMS.length), counts = file.tensors.get(`${of}${COUNTS}`);
      const columns = entry.shape.at(-1)!, sums = await readVector(entry);
      const matrices = sums.length / columns;
      if (
        !counts || entry.type !== "F32" || counts.type !== "F32" || counts.shape[0] !== matrices
      ) {
        throw new ModelError(
          `Cannot read importances ${quote(name)} of ${quote(file.name)}: expected F32 ` +
            `[matrices, columns], and F32 counts of as many matrices in ${quote(of + COUNTS)}`,
        );
      }
      const numbers = await readVector(counts);
      const meanSquares = sums.map((sum, i) => {
        const count = numbers[Math.floor(i / columns)]!;
        return count > 0 ? sum / count : 0;
      });
      const wrong = meanSquares.find((it) => !(it >= 0 && it < Infinity));
      if (wrong !== undefined) {
        throw new ModelError(
          `Cannot read importances ${quote(name)} of ${
            quote(file.name)
          }: a mean square is ${wrong}`,
        );
      }
      found.set(of, { matrices, meanSquares });
    }
    if (found.size === 0) {
      const type = file.metadata["general.type"];
      throw new ModelError(
        `Cannot read importances from ${quote(file.name)}: it has none (general.type is ` +
          `${word(String(type))}), expected an imatrix file of llama.cpp in GGUF form`,
      );
    }
    return found;
  } finally {
    file.close();
  }
}

/** What an importance file is made of. */
export interface ImatrixSums {
  /** Inputs that were summed, of each matrix of a stack, or of the one there is. */
  readonly counts: readonly number[];
  /** Σ x² of each column `[matrices, columns]`. */
  readonly squares: Float32Array;
}

/** What sums say of each tensor. */
export function importancesOf(
  sums: ReadonlyMap<string, ImatrixSums>,
): Map<string, Importances> {
  return new Map(Array.from(sums, ([name, { counts, squares }]) => {
    const columns = squares.length / counts.length;
    const meanSquares = squares.map((sum, i) => {
      const count = counts[Math.floor(i / columns)]!;
      return count > 0 ? sum / count : 0;
    });
    return [name, { matrices: counts.length, meanSquares }];
  }));
}

/** Writes an importance file; its size in bytes. */
export async function writeImatrix(
  path: string,
  tensors: ReadonlyMap<string, ImatrixSums>,
  { dataset, tokens, textTokens }: {
    readonly dataset: string;
    readonly tokens: number;
    readonly textTokens: number;
  },
): Promise<number> {
  return await writeModel(path, {
    fields: [
      ["general.type", { type: "string", value: "imatrix" }],
      ["imatrix.datasets", { type: "array", items: "string", value: [dataset] }],
      ["imatrix.chunk_count", { type: "u32", value: Math.ceil(tokens / textTokens) }],
      ["imatrix.chunk_size", { type: "u32", value: textTokens }],
    ],
    tensors: Array.from(tensors).flatMap(([name, { counts, squares }]) => [
      {
        ...{
          name: `${name}${SUMS}`,
          type: "F32",
          shape: [counts.length, squares.length / counts.length],
        },
        data: new Uint8Array(squares.buffer, squares.byteOffset, squares.byteLength),
      },
      {
        ...{ name: `${name}${COUNTS}`, type: "F32", shape: [counts.length, 1] },
        data: new Uint8Array(Float32Array.from(counts).buffer),
      },
    ]),
  });
}
