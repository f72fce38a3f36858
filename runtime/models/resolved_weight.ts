/**
 * A weight as it was found in a file: its source, and the layout that was chosen for it.
 *
 * @module
 */

import type { LayoutName } from "../../quant/formats.ts";
import type { TensorEntry } from "../files/model_file.ts";
import type { WeightSpec } from "./weight_spec.ts";

/** How weights are stored: as near to the file as possible, or all matrices in one layout. */
export type WeightsOption = "as-is" | "int4" | "int4m" | "int8" | "f32";

/** Every value of `WeightsOption`. */
export const WEIGHTS_OPTIONS: readonly WeightsOption[] = ["as-is", "int4", "int4m", "int8", "f32"];

/** A weight with its source and its layout. */
export interface ResolvedWeight {
  /** Name in the graph. */
  readonly name: string;
  /** `[rows, columns]` of a matrix, `[length]` of a vector, any extents of a table. */
  readonly shape: readonly number[];
  /** What it is for; a backend packs a matrix. */
  readonly role: WeightSpec["role"];
  /** Storage of a matrix; f32 for the rest. */
  readonly layout: LayoutName;
  /** Whether the layout keeps every value of the file. */
  readonly exact: boolean;
  /** Names of the tensors of the file that it comes from. */
  readonly tensors: readonly string[];
  /** Where it comes from: tensors on top of each other, or a computation. */
  readonly source: readonly TensorEntry[] | ComputeWeight;
  /** The weight with the order of its columns, where it is not that of their inputs. */
  readonly order?: string;
  /** Whether it stays as near to the file as possible, as tables and products that choose do. */
  readonly kept?: boolean;
  /** As it would be in the layout of the file: of a table for which `wordTables` chose another one. */
  readonly asIs?: ResolvedWeight;
  /**
   * Of a table whose rows the engine reads from the file as words come, so that no backend holds it: the
   * id of its first row.
   */
  readonly inFile?: { readonly firstId: number };
  /** Why no layout of integers holds it as it is, where its file has integers and none does. */
  readonly obstacle?: string;
}

/** Computes the numbers of a weight, row-major. */
export type ComputeWeight = () => Promise<Float32Array>;

/** The weights of a model by their name in the graph. */
export type ResolvedWeights = ReadonlyMap<string, ResolvedWeight>;
