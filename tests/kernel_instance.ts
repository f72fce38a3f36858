/**
 * The kernels of one build in a memory of their own, for tests that call them one at a time: no
 * workers, no tape.
 *
 * @module
 */

import { HEAP_START, PAGE_BYTES, SCRATCH_BASE, SCRATCH_STRIDE } from "../kernels/memory.ts";
import relaxed from "../kernels/pkg/module.js";
import plain from "../kernels/pkg/module_plain.js";

/** An instance whose workers' scratch memories are wherever the test says. */
export interface KernelInstance {
  /** The memory that addresses refer to. */
  readonly memory: WebAssembly.Memory;
  /** First address that is free. */
  readonly heapStart: number;
  /** Grows the memory to at least `bytes`. */
  reserve(bytes: number): void;
  /** Tells the kernels where worker 0's scratch memory starts, and how far the next one's is. */
  setScratch(base: number, stride: number): void;
  /** Does one worker's share of the step whose arguments are at `args`. */
  call(kernel: string, args: number, worker: number, workers: number): void;
}

/** Instantiates one build. */
export function instantiateKernels(build: "relaxed" | "plain"): KernelInstance {
  const memory = new WebAssembly.Memory({ initial: 160, maximum: 65536, shared: true });
  const module = build === "relaxed" ? relaxed : plain;
  const { exports } = new WebAssembly.Instance(module, { env: { memory } });
  return {
    memory,
    heapStart: HEAP_START,
    reserve(bytes) {
      const missing = Math.ceil((bytes - memory.buffer.byteLength) / PAGE_BYTES);
      if (missing > 0) memory.grow(missing);
    },
    setScratch(base, stride) {
      const cells = new Int32Array(memory.buffer, 0, 1024);
      cells[SCRATCH_BASE / 4] = base;
      cells[SCRATCH_STRIDE / 4] = stride;
    },
    call(kernel, args, worker, workers) {
      (exports[kernel] as (args: number, worker: number, workers: number) => void)(
        args,
        worker,
        workers,
      );
    },
  };
}
