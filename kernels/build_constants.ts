/**
 * The numbers that TypeScript and AssemblyScript share, each defined once, in TypeScript: the build
 * gives them to the kernels as `constants.as.ts`, a file that exists only while it runs.
 *
 * @module
 */

import { ACTIVATIONS } from "./activation/op.ts";
import { MOST_PARTS, QUAD_CHUNK, QUAD_RECORD_BYTES } from "./attention/wasm.ts";
import * as memory from "./memory.ts";
import { CACHE_TYPES } from "./op.ts";
import { ACTIVATION_BLOCK_BYTES, PACKED_BLOCK_BYTES, PANEL_HEADER_BYTES } from "./pack/layouts.ts";
import { LAYOUT_NUMBERS } from "./pack/wasm.ts";
import { FLAG_BARRIER, STEP_HEADER_WORDS, STEP_WORDS } from "./wasm_kernel.ts";

/** `geluTanh` as `GELU_TANH`. */
function constantCase(name: string): string {
  return name.replace(/[A-Z]/g, (letter) => `_${letter}`).toUpperCase();
}

/** Places in a list, by name. */
function numbered(names: readonly string[], prefix = ""): [string, number][] {
  return names.map((name, i) => [prefix + constantCase(name), i]);
}

/** Names with their numbers, by type in AssemblyScript. */
export const CONSTANTS: Readonly<Record<"usize" | "i32", readonly (readonly [string, number])[]>> =
  {
    usize: [
      // Cells at the start of memory.
      ["ARRIVED", memory.ARRIVED],
      ["GENERATION", memory.GENERATION],
      ["SLEEPERS", memory.SLEEPERS],
      ["ABORTED", memory.ABORTED],
      ["SPIN_LIMIT", memory.SPIN_LIMIT],
      ["SCRATCH_BASE", memory.SCRATCH_BASE],
      ["SCRATCH_STRIDE", memory.SCRATCH_STRIDE],
      ["QUADS", memory.QUADS],
      ["ZEROS", memory.ZEROS],
      // A step of a tape.
      ["STEP_BYTES", 4 * STEP_WORDS],
      ["STEP_ARGS", 4 * STEP_HEADER_WORDS],
      // Packed weights and activations.
      ["PANEL_HEADER", PANEL_HEADER_BYTES],
      ["INT4_BLOCK", PACKED_BLOCK_BYTES.int4],
      ["INT4M_BLOCK", PACKED_BLOCK_BYTES.int4m],
      ["INT8_BLOCK", PACKED_BLOCK_BYTES.int8],
      ["INT4N_BLOCK", PACKED_BLOCK_BYTES.int4n],
      ["INT5_BLOCK", PACKED_BLOCK_BYTES.int5],
      ["INT5M_BLOCK", PACKED_BLOCK_BYTES.int5m],
      ["INT4K_BLOCK", PACKED_BLOCK_BYTES.int4k],
      ["INT5K_BLOCK", PACKED_BLOCK_BYTES.int5k],
      ["INT6K_BLOCK", PACKED_BLOCK_BYTES.int6k],
      ["ACTIVATION_BLOCK", ACTIVATION_BLOCK_BYTES],
      // A quad of queries (attention/quad.as.ts).
      ["QUAD_RECORD", QUAD_RECORD_BYTES],
    ],
    i32: [
      ["FLAG_BARRIER", FLAG_BARRIER],
      ["QUAD_CHUNK", QUAD_CHUNK],
      ["MOST_PARTS", MOST_PARTS],
      ...Object.entries(LAYOUT_NUMBERS).map(([name, i]) => [name.toUpperCase(), i] as const),
      ...numbered(CACHE_TYPES, "CACHE_"),
      ...numbered(ACTIVATIONS),
    ],
  };

/** AssemblyScript that exports them, without a global for any: they are inlined. */
export function generateConstants(): string {
  return Object.entries(CONSTANTS).flatMap(([type, constants]) =>
    constants.map(([name, value]) => `@inline export const ${name}: ${type} = ${value};`)
  ).join("\n");
}
