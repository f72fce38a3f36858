/**
 * The functions of `activation` and `glu` in WGSL, with their numbers.
 *
 * @module
 */

import { ACTIVATIONS } from "./activation/op.ts";
import code from "./curves.wgsl" with { type: "text" };

/** WGSL of `curve(kind, v)`, and of the functions by themselves; `kind` is a place in ACTIVATIONS. */
export const CURVES: string =
  ACTIVATIONS.map((kind, i) => `const KIND_${kind} = ${i}u;\n`).join("") + code;
