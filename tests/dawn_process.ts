/**
 * Compiles every shader with Dawn, the WebGPU of Chrome, which is another compiler than Deno's. Its
 * null adapter checks shaders and runs nothing, so no GPU is needed. A process of its own, because
 * the package is a native add-on, for which the tests have no permission. Prints one JSON object.
 *
 * @module
 */

import { create, globals } from "npm:webgpu@0.6.2";
import { compileShaders } from "./shader_compile.ts";

Object.assign(globalThis, globals);

const adapter = await create(["backend=null"]).requestAdapter();
const device = await adapter!.requestDevice() as GPUDevice;
const broken = { name: "broken", code: "fn main( {}", access: [] };
console.log(JSON.stringify({
  all: await compileShaders(device),
  broken: (await compileShaders(device, [broken])).errors.length,
}));
Deno.exit();
