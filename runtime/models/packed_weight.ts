/**
 * Weights that a quantizer has packed: in which layout each is held, and the orders of columns that
 * come with some.
 *
 * @module
 */

import { packedEntry } from "../files/packed_blocks.ts";
import { keepsOf, obstacleOf, type PackedMatrix } from "../files/packed_matrix.ts";
import type { TensorEntry } from "../files/model_file.ts";
import type { ResolvedWeight, WeightsOption } from "./resolved_weight.ts";

/** Packed matrices as tensors of a type of GGUF. */
export interface UnpackedWeight {
  /** One for each matrix, all of one type. */
  readonly entries: readonly TensorEntry[];
  /** Whether every number is what it was. */
  readonly exact: boolean;
  /** Names of the tensors of the file that they consist of. */
  readonly tensors: readonly string[];
  /** The columns of the matrices, where they are in another order than the file's. */
  readonly order?: ArrayLike<number> | undefined;
  /** Why no layout of integers holds them as they are, where none does. */
  readonly obstacle?: string | undefined;
}

/** The matrices of one weight in the layout that is asked for, or in the smallest that keeps them. */
export function unpackWeight(
  matrices: readonly PackedMatrix[],
  option: WeightsOption,
): UnpackedWeight {
  const exact = (["int4", "int8", "f32"] as const).find((it) => keepsOf(matrices, it).exact)!;
  // What is rounded anew is rounded from its numbers.
  const form = option === "as-is" ? exact : keepsOf(matrices, option).codes ? option : "f32";
  return {
    entries: matrices.map((it) => packedEntry(it, form)),
    exact: keepsOf(matrices, form).exact,
    tensors: matrices.flatMap(({ codes, others }) => [codes, ...others]).map((it) => it.name),
    ...(form !== "f32" && { order: matrices[0]!.groups.order }),
    ...(option === "as-is" && form === "f32" && { obstacle: obstacleOf(matrices) }),
  };
}

/**
 * Names the orders of columns and lists them as weights. Weights of one layer whose orders are the same
 * share one, so that their input is put in order once.
 *
 * @param orders the order of each weight that has one
 */
export function* listOrders(
  orders: ReadonlyMap<ResolvedWeight, ArrayLike<number>>,
): Iterable<ResolvedWeight> {
  const known = new Map<string, ResolvedWeight>();
  for (const [weight, order] of orders) {
    const columns = Float32Array.from(order); // as constants of graphs are
    const layer = weight.name.slice(0, weight.name.lastIndexOf(".") + 1);
    const key = `${layer} ${columns.join()}`;
    let shared = known.get(key);
    if (!shared) {
      const name = `${weight.name}.order`;
      shared = {
        name,
        role: "vector",
        shape: [columns.length],
        layout: "f32",
        exact: true,
        tensors: [], // they are the matrix's
        source: () => Promise.resolve(columns),
      };
      known.set(key, shared);
      yield shared;
    }
    yield { ...weight, order: shared.name };
  }
}
