/**
 * The WebAssembly kernel of `mul`.
 *
 * @module
 */

import { binaryWasm } from "../elementwise_wasm.ts";
import type { WasmKernel } from "../wasm_kernel.ts";

/** Arguments: see kernels/elementwise.as.ts. */
export const mulWasm: WasmKernel<"mul"> = binaryWasm("mul");
