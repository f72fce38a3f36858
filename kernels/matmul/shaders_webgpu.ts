/**
 * The shaders of `matmul` on WebGPU, put together from fragments: how activations are read, what is
 * multiplied, for few or many tokens, and where sums go.
 *
 * @module
 */

import { LAYOUT_NAMES, type LayoutName } from "../../quant/formats.ts";
import { weightShader } from "../pack/weight_webgpu.ts";
import { rowShader } from "../row_webgpu.ts";
import type { Access, Shader } from "../webgpu_kernel.ts";
import { CURVES } from "../curves_webgpu.ts";
import finish from "./finish.wgsl" with { type: "text" };
import finishThree from "./finish_three.wgsl" with { type: "text" };
import gainFloat from "./gain_float.wgsl" with { type: "text" };
import gainFloat4 from "./gain_float4.wgsl" with { type: "text" };
import gainNone from "./gain_none.wgsl" with { type: "text" };
import halve from "./halve.wgsl" with { type: "text" };
import params from "./params.wgsl" with { type: "text" };
import runBytes from "./run_bytes.wgsl" with { type: "text" };
import runF16 from "./run_f16.wgsl" with { type: "text" };
import runF32 from "./run_f32.wgsl" with { type: "text" };
import tile from "./tile.wgsl" with { type: "text" };
import tileBytes from "./tile_bytes.wgsl" with { type: "text" };
import tileHalf from "./tile_half.wgsl" with { type: "text" };
import tileParts from "./tile_parts.wgsl" with { type: "text" };
import vector from "./vector.wgsl" with { type: "text" };
import xA8 from "./x_a8.wgsl" with { type: "text" };
import xFloat from "./x_float.wgsl" with { type: "text" };
import xFloat4 from "./x_float4.wgsl" with { type: "text" };

/**
 * How activations lie in memory: f32 in rows of vectors of four or of any length, or int8 (a8).
 * Integer weights meet int8 in bytes, others as numbers.
 */
export type Form = "float4" | "float" | "a8";

/** What is multiplied. */
export type Product = "f32" | "f16" | "bytes";

const READERS: Readonly<Record<Form, string>> = { float4: xFloat4, float: xFloat, a8: xA8 };
const GAINS: Readonly<Record<Form, string>> = {
  float4: gainFloat4,
  float: gainFloat,
  a8: gainNone,
};

/** Layouts whose weights are products' operands as halves, and as bytes. */
const BYTE_LAYOUTS: readonly LayoutName[] = [
  ...["int8", "int4", "int4n", "int5", "int4m", "int5m", "int4k", "int5k"] as const,
];
const HALF_LAYOUTS: readonly LayoutName[] = ["f16", ...BYTE_LAYOUTS];

/** After the planes: x, gain, bias, side, out; or x, gain, bias, three outs. */
const ONE: readonly Access[] = ["read", "read", "read", "read", "write"];
const THREE: readonly Access[] = ["read", "read", "read", "write", "write", "write"];

/** What is multiplied where activations are in `form`; `arithmetic` is that of floats. */
export function productOf(form: Form, layout: LayoutName, arithmetic: "f32" | "f16"): Product {
  if (form === "a8") return BYTE_LAYOUTS.includes(layout) ? "bytes" : "f32";
  return arithmetic === "f16" && HALF_LAYOUTS.includes(layout) ? "f16" : "f32";
}

/** Every combination that there is, by `key`. */
function shaders(
  make: (form: Form, layout: LayoutName, product: Product) => Shader | undefined,
): ReadonlyMap<string, Shader> {
  const found = new Map<string, Shader>();
  for (const layout of LAYOUT_NAMES) {
    for (const form of Object.keys(READERS) as Form[]) {
      for (const arithmetic of ["f32", "f16"] as const) {
        const product = productOf(form, layout, arithmetic), id = key(form, layout, product);
        const shader = found.has(id) ? undefined : make(form, layout, product);
        if (shader) found.set(id, shader);
      }
    }
  }
  return found;
}

/** The name of a combination. */
export function key(form: Form, layout: LayoutName, product: Product): string {
  return `${form} ${layout} ${product}`;
}

function vectorShader(ofThree: boolean, form: Form, layout: LayoutName, product: Product): Shader {
  const multiply = product === "bytes"
    ? runBytes
    : READERS[form] + GAINS[form] + (product === "f16" ? runF16 : runF32);
  const { name, code, access, ...rest } = weightShader(
    `matmul vector ${ofThree ? "three " : ""}${form} ${product}`,
    layout,
    CURVES + params + multiply + (ofThree ? finishThree : finish) + vector,
    ofThree ? THREE : ONE,
    product === "f16" ? "f16" : "f32",
  );
  return { ...rowShader(name, code, access), ...rest };
}

/** For few tokens. */
export const VECTOR: ReadonlyMap<string, Shader> = shaders((form, layout, product) =>
  vectorShader(false, form, layout, product)
);

/** For few tokens and three weights that lie together. */
export const VECTOR_THREE: ReadonlyMap<string, Shader> = shaders((form, layout, product) =>
  form === "float" ? undefined : vectorShader(true, form, layout, product)
);

/** For many tokens. Those in f16 read what `HALVE` makes of floats, so that their form is one. */
export const TILE: ReadonlyMap<string, Shader> = shaders((form, layout, product) => {
  if (product === "f16" && form === "float4") return undefined;
  const code = { f32: READERS[form] + tile, f16: tileHalf, bytes: tileBytes }[product];
  return weightShader(
    `matmul tile ${form} ${product}`,
    layout,
    CURVES + params + tileParts + code + finish,
    ONE,
    product === "f16" ? "f16" : "f32",
  );
});

/** Floats to scaled halves. */
export const HALVE: Shader = rowShader("matmul halve", halve, ["read", "read", "write"]);
