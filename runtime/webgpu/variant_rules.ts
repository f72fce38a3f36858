/**
 * What the options of the `webgpu` backend may be; apart from variants.ts, so that they can be
 * checked before anything of the backend is loaded.
 *
 * @module
 */

import { FLAG, oneOf, type Rules } from "../../options.ts";
import type { TimesCache, VariantOptions } from "./variants.ts";

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
