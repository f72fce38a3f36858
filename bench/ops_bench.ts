/**
 * `deno task bench`: times the op cases marked `bench` on every backend of this machine. A run
 * includes waking the workers, some 10 µs; `deno task bench model` measures what a whole model does.
 *
 * @module
 */

import type { OpName } from "../kernels/ops.ts";
import type { Backend } from "../runtime/backend.ts";
import { createReferenceBackend } from "../runtime/reference/backend.ts";
import { createWasmBackend } from "../runtime/wasm/backend.ts";
import type { OpCase } from "../tests/case_recorder.ts";
import { prepareCase, type PreparedCase } from "../tests/case_runner.ts";
import { CASES } from "../tests/kernel_cases.ts";

/** The reference backend is a definition: a few runs show how far it is from the others. */
const BACKENDS: readonly { name: string; create(): Promise<Backend>; n?: number }[] = [
  { name: "wasm", create: () => createWasmBackend() },
  { name: "wasm, 1 thread", create: () => createWasmBackend({ threads: 1 }) },
  { name: "wasm without relaxed SIMD", create: () => createWasmBackend({ relaxed: false }) },
  { name: "reference", create: () => Promise.resolve(createReferenceBackend()), n: 2 },
];

for (const { name, create, n } of BACKENDS) {
  let backend: Promise<Backend> | undefined;
  for (const op of Object.keys(CASES) as OpName[]) {
    for (const row of CASES[op] as readonly OpCase<OpName>[]) {
      if (!row.bench) continue;
      let prepared: PreparedCase | undefined;
      Deno.bench({
        name,
        group: `${op}: ${row.title}`,
        baseline: name === "wasm",
        ...(n === undefined ? {} : { n, warmup: 1 }),
        async fn(b) {
          if (!prepared) {
            const id = `${op}: ${row.title}`;
            prepared = await prepareCase(await (backend ??= create()), op, row, id);
            await prepared.prepare(prepared.runs[0]!);
          }
          b.start();
          await prepared.run(prepared.runs[0]!);
          b.end();
        },
      });
    }
  }
}
