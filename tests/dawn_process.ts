/**
 * Compiles every shader with Dawn, the WebGPU of Chrome, which is another compiler than Deno's. Its
 * null adapter checks shaders and runs nothing, so no GPU is needed. A process of its own, because
 * the package is a native add-on, for which the tests have no permission. Prints one JSON object.
 *
 * @module
 */

import { create, globals } from "npm:webgpu@0.6.2";
import { compileShaders } from "./shader_compile.ts";

console.log("loaded");
const gpu = create(["backend=null"]);
const adapter = await gpu.requestAdapter();
// What the add-on made must not be collected while it is used.
Object.assign(globalThis, globals, { gpu, adapter });
const requiredFeatures = ["shader-f16", "subgroups"] as GPUFeatureName[];
const device = await adapter!.requestDevice({ requiredFeatures }) as GPUDevice;
const broken = { name: "broken", code: "fn main( {}", access: [] };
console.log(JSON.stringify({
  shared: await compileShaders(device),
  subgroups: await compileShaders(device, "enable subgroups;\n"),
  broken: (await compileShaders(device, undefined, [broken])).errors.length,
}));
Deno.exit();
