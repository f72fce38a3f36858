/**
 * Which type each tensor of a model gets.
 *
 * @module
 */

import { ModelError } from "../errors.ts";
import { quote, word } from "../escape.ts";
import { elements } from "../kernels/op.ts";
import { ggmlType, tensorBlocks } from "../quant/ggml_types.ts";
import { QUANTIZED_TYPES } from "../quant/quantize.ts";
import type { ModelFile } from "../runtime/files/model_file.ts";
import { FLOAT_TENSORS } from "./convert/tensors.ts";
import type { ResolvedWeights } from "../runtime/models/weights.ts";

/** A wish for tensors whose name a pattern finds. */
export interface TensorWish {
  /** Finds names of tensors. */
  readonly pattern: RegExp;
  /** One of `QUANTIZED_TYPES`, such as `"Q8_0"`. */
  readonly type: string;
}

/** What becomes of a tensor. */
export interface TensorPlan {
  /** Name in the file. */
  readonly name: string;
  /** Type in the source. */
  readonly from: string;
  /** Type in the destination; the same where the bytes are copied. */
  readonly type: string;
  /** Bits per weight of the source and the destination. */
  readonly bits: readonly [from: number, to: number];
  /** How many numbers it has. */
  readonly elements: number;
  /** Why it does not have the type that was asked for. */
  readonly why?: string;
}

/** What is tried where a row is no multiple of a type's block: more bits, then no blocks. */
const INSTEAD: Readonly<Record<string, string>> = {
  Q4_K: "Q5_0",
  Q5_K: "Q5_1",
  Q6_K: "Q8_0",
};

/** Bits per weight of a type. */
export function bitsOf(type: string): number {
  const { blockSize, blockBytes } = tensorBlocks(type)!;
  return 8 * blockBytes / blockSize;
}

/**
 * Plans the type of each tensor: matrices get `type`, or what the last wish that finds them says;
 * everything else stays.
 *
 * @param outside names of weights outside the layers: tables of words and heads, whose errors meet
 *   every token, get at least Q6_K
 * @throws ModelError when a wish cannot be met, or no tensor has a name that it finds
 */
export function planTypes(
  file: ModelFile,
  weights: ResolvedWeights,
  outside: ReadonlySet<string>,
  type: string,
  wishes: readonly TensorWish[],
): TensorPlan[] {
  const matrices = new Map<string, { isOutside: boolean }>();
  for (const { name, role, tensors } of weights.values()) {
    if (role !== "matrix") continue;
    for (const it of tensors) {
      const before = matrices.get(it)?.isOutside ?? false;
      matrices.set(it, { isOutside: before || outside.has(name) });
    }
  }
  for (const { pattern } of wishes) {
    if (file.tensors.keys().some((name) => pattern.test(name))) continue;
    throw new ModelError(
      `Cannot quantize ${quote(file.name)}: no tensor has a name that ${
        quote(pattern.source)
      } finds`,
    );
  }
  return Array.from(file.tensors.values(), ({ name, shape, type: from }) => {
    const count = elements(shape), columns = shape.at(-1) ?? 1;
    const wish = wishes.findLast(({ pattern }) => pattern.test(name));
    const matrix = matrices.get(name);
    const plan = (type: string, why?: string): TensorPlan => ({
      ...{ name, from, type, elements: count, bits: [bitsOf(from), bitsOf(type)] },
      ...(why !== undefined && { why }),
    });
    if (!ggmlType(from)) {
      if (!wish && !matrix) return plan(from);
      throw new ModelError(
        `Cannot quantize tensor ${quote(name)} of ${quote(file.name)}: its type ${
          word(from)
        } is not ` +
          `read`,
      );
    }
    if (!wish && (!matrix || columns === 1 || shape.length === 1)) return plan(from);
    if (!wish && FLOAT_TENSORS.test(name)) return plan(from, "sensitive, and small");
    if (!matrix && tensorBlocks(wish!.type)!.blockSize > 1) {
      throw new ModelError(
        `Cannot quantize tensor ${quote(name)} of ${quote(file.name)} to ${wish!.type}: it is no ` +
          `matrix; let ${quote(wish!.pattern.source)} find matrices alone`,
      );
    }
    let to = wish?.type ?? type, why: string | undefined;
    if (!wish && matrix!.isOutside && bitsOf(to) < bitsOf("Q6_K")) {
      to = "Q6_K";
      why = "every token meets it";
    }
    if (columns % tensorBlocks(to)!.blockSize !== 0) {
      const instead = fitting(to, columns);
      if (wish) {
        throw new ModelError(
          `Cannot quantize tensor ${quote(name)} of ${quote(file.name)} to ${to}: its rows of ` +
            `${columns} numbers are no multiple of ${
              tensorBlocks(to)!.blockSize
            }; ${instead} holds them`,
        );
      }
      to = instead;
      why = `rows of ${columns} numbers`;
    }
    // More bits than the source has would only repeat its errors; floats may be wanted as wider ones.
    const isWidened = [from, to].every((it) => tensorBlocks(it)!.blockSize === 1);
    if (!wish && bitsOf(to) > bitsOf(from) && !isWidened) {
      return plan(from, `${word(from)} in the source`);
    }
    return plan(to, why);
  });
}

/** The smallest type at least as precise whose blocks divide rows of so many numbers. */
function fitting(type: string, columns: number): string {
  const instead = INSTEAD[type] ?? "Q8_0";
  return columns % tensorBlocks(instead)!.blockSize === 0 ? instead : "F16";
}

/** Names of types as flags have them: q4_0 for Q4_0. */
export const TYPE_NAMES: readonly string[] = QUANTIZED_TYPES.map((it) => it.toLowerCase());
