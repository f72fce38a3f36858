/**
 * From the name of a backend to the backend. Each is loaded only when it is used.
 *
 * @module
 */

import { InputError } from "../errors.ts";
import type { Backend, BackendName } from "./backend.ts";

/** Which backend, and how wide. */
export interface BackendOptions {
  /** Where to run; `auto` is `wasm`. Default `auto`. */
  readonly backend?: "auto" | BackendName;
  /** Worker threads of the `wasm` backend; all cores where absent. */
  readonly threads?: number;
}

/** Most worker threads; more are a mistake, and would only wait for each other. */
const MAX_THREADS = 256;

/** Creates the backend that the options name. */
export async function createBackend(
  options: BackendOptions,
): Promise<Backend> {
  const { backend = "auto", threads } = options;
  if (threads !== undefined) checkCount("threads", threads, MAX_THREADS);
  switch (backend) {
    case "reference":
      return (await import("./reference/backend.ts")).createReferenceBackend();
    case "auto":
    case "wasm": {
      const { createWasmBackend } = await import("./wasm/backend.ts");
      return createWasmBackend(threads === undefined ? {} : { threads });
    }
    case "webgpu":
      return await (await import("./webgpu/backend.ts")).createWebgpuBackend();
  }
  throw new InputError(
    `Cannot use backend "${backend}": expected auto, wasm, webgpu or reference`,
  );
}

/** Throws unless an option is a whole number from 1 to `most`. */
export function checkCount(option: string, value: number, most: number = 2 ** 30): number {
  if (!Number.isInteger(value) || value < 1 || value > most) {
    throw new InputError(
      `Cannot load with ${option} ${value}: expected a whole number from 1 to ${most}`,
    );
  }
  return value;
}
