/**
 * The WebAssembly kernel of `add`.
 *
 * @module
 */

import { binaryWasm } from "../elementwise_wasm.ts";
import type { WasmKernel } from "../wasm_kernel.ts";

/** Arguments: see kernels/elementwise.as.ts. */
export const addWasm: WasmKernel<"add"> = binaryWasm("add");
