/**
 * Stands for kernels/pkg/module.js in the bundle: the compiled kernels from bytes that are in the
 * bundle itself, because bundlers do not know source-phase imports.
 */

import bytes from "../kernels/pkg/kernels_bg.wasm" with { type: "bytes" };

export default new WebAssembly.Module(bytes);
