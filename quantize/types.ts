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
import type { ResolvedModel } from "../runtime/engine/resolve.ts";
import type { ModelFile } from "../runtime/files/model_file.ts";
import type { ResolvedWeight } from "../runtime/models/weights.ts";
import { FLOAT_TENSORS } from "./convert/tensors.ts";

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
  /**
   * Where types were chosen for a size: how far its rounding moves predictions by itself, as measured
   * before, in nats a token.
   */
  readonly cost?: number;
}

/** What was chosen for a tensor. */
export interface ChosenType {
  readonly type: string;
  /** How far its rounding moves predictions by itself, where that was measured, in nats a token. */
  readonly cost?: number;
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
 * Whether a weight is rounded at all: matrices are, but for those that must stay as they are, such as
 * routers of experts and tables of positions; tables of words are.
 */
export function isRounded({ role, kept, shape }: ResolvedWeight, vocabSize: number): boolean {
  return role === "matrix" && (!kept || shape[0] === vocabSize);
}

/**
 * Plans the type of each tensor: matrices get `type`, or what the last wish that finds them says;
 * everything else stays.
 *
 * @param chosen types that were chosen by measuring, by name of tensor
 * @param outside names of weights outside the layers: tables of words and heads, whose errors meet
 *   every token, get at least Q6_K
 * @throws ModelError when a wish cannot be met, or no tensor has a name that it finds
 */
export function planTypes(
  file: ModelFile,
  model: ResolvedModel,
  outside: ReadonlySet<string>,
  type: string,
  wishes: readonly TensorWish[],
  chosen?: ReadonlyMap<string, ChosenType>,
): TensorPlan[] {
  const { weights, config } = model;
  const matrices = new Map<string, { isOutside: boolean; isRounded: boolean }>();
  for (const weight of weights.values()) {
    const { name, role, tensors } = weight;
    if (role !== "matrix") continue;
    for (const it of tensors) {
      const before = matrices.get(it);
      matrices.set(it, {
        isOutside: (before?.isOutside ?? false) || outside.has(name),
        isRounded: (before?.isRounded ?? true) && isRounded(weight, config.vocabSize),
      });
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
    if (!wish && (!matrix!.isRounded || FLOAT_TENSORS.test(name))) {
      return plan(from, "sensitive, and small");
    }
    const choice = wish ? undefined : chosen?.get(name);
    if (choice) {
      return { ...plan(choice.type), ...(choice.cost !== undefined && { cost: choice.cost }) };
    }
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
