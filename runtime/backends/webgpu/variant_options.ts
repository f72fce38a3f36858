/**
 * The options of the `webgpu` backend, and what they may be; apart from variants.ts, so that they can
 * be checked before anything of the backend is loaded.
 *
 * @module
 */

import { FLAG, oneOf, type Rules } from "../../../options.ts";

/** The kernels in use. */
export interface Variants {
  /** Numbers that products of matrices are computed in; sums of many are f32 all the same. */
  readonly arithmetic: "f32" | "f16";
  /** How a workgroup adds up: by subgroups, or through its memory. */
  readonly reduction: "subgroup" | "shared";
  /** Whether activations are quantized to int8 before products with integer weights. */
  readonly integer: boolean;
}

/** Keeps times between processes. */
export interface TimesCache {
  /** What was written for a key, if anything. */
  read(key: string): Promise<string | undefined>;
  /** Keeps text for a key. */
  write(key: string, text: string): Promise<void>;
}

/** Which kernels to use; what is absent is measured. */
export interface VariantOptions extends Partial<Variants> {
  /**
   * Whether what is open is measured. Default true, but on adapters that are software: there f32,
   * subgroups and no integers are used.
   */
  readonly measure?: boolean;
  /** Where times are kept between processes. */
  readonly cache?: TimesCache;
}

/** A rule for every option. */
export const VARIANT_RULES: Rules<VariantOptions> = {
  arithmetic: oneOf(["f32", "f16"]),
  reduction: oneOf(["subgroup", "shared"]),
  integer: FLAG,
  measure: FLAG,
  cache: {
    expected: "an object with functions read and write",
    accepts: (value) =>
      typeof (value as TimesCache).read === "function" &&
      typeof (value as TimesCache).write === "function",
  },
};
