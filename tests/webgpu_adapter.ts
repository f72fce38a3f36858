/**
 * Whether tests can run on WebGPU here. In CI they must: there a missing adapter fails them.
 *
 * @module
 */

import { probeAdapter } from "../runtime/webgpu/device.ts";

const adapter = await probeAdapter();

/** Whether rows on WebGPU run; says once why where they do not. */
export const hasWebgpu: boolean = adapter !== undefined || Deno.env.get("CI") === "true";

if (!hasWebgpu) console.log("skipped: tests on WebGPU, because there is no adapter");
