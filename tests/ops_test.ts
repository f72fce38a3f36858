/**
 * Every case of every op on every build of the WebAssembly backend, on one to three threads, with
 * guard bytes around every buffer, and on WebGPU, against the reference backend.
 *
 * @module
 */

import { assert, assertAlmostEquals, assertEquals } from "@std/assert";
import type { OpName } from "../kernels/ops.ts";
import type { Backend } from "../runtime/backends/backend.ts";
import { createReferenceBackend } from "../runtime/backends/reference/backend.ts";
import { createWasmBackend } from "../runtime/backends/wasm/backend.ts";
import { createWebgpuBackend } from "../runtime/backends/webgpu/backend.ts";
import { deviation, runCase } from "../cases/runner.ts";
import type { OpCase } from "../cases/recorder.ts";
import { CASES } from "../cases/cases.ts";
import { hasWebgpu } from "./webgpu_adapter.ts";

/** Every variant of the WebAssembly kernels. */
const KERNELS: readonly { name: string; relaxed: boolean; dots?: "pairs" | "quads" }[] = [
  { name: "relaxed build, pairs", relaxed: true, dots: "pairs" },
  { name: "relaxed build, quads", relaxed: true, dots: "quads" },
  { name: "plain build", relaxed: false },
];

const BACKENDS: readonly { name: string; ignore?: boolean; create(): Promise<Backend> }[] = [
  ...KERNELS.flatMap(({ name, ...options }) =>
    [1, 2, 3].map((threads) => ({
      name: `wasm, ${name}, ${threads} threads`,
      create: () => createWasmBackend({ ...options, threads, guards: true }),
    }))
  ),
  { name: "webgpu", ignore: !hasWebgpu, create: () => createWebgpuBackend() },
];

/** Results of the reference backend, which all backends are compared with. */
const expectations = new Map<string, Promise<Float32Array[]>>();

function expected<N extends OpName>(op: N, row: OpCase<N>): Promise<Float32Array[]> {
  const id = `${op}: ${row.title}`;
  let results = expectations.get(id);
  if (!results) {
    expectations.set(id, results = runCase(createReferenceBackend(), op, row, row.title));
  }
  return results;
}

for (const op of Object.keys(CASES) as OpName[]) {
  Deno.test(`${op}: titles of cases are unique`, () => {
    const titles = CASES[op].map((row) => row.title);
    assertEquals(titles.filter((title, i) => titles.indexOf(title) !== i), []);
  });

  for (const { name, ignore = false, create } of BACKENDS) {
    Deno.test({ name: `${op}: ${name}`, ignore }, async () => {
      const backend = await create();
      try {
        for (const row of CASES[op] as readonly OpCase<OpName>[]) {
          const results = await runCase(backend, op, row, row.title);
          (await expected(op, row)).forEach((result, run) => {
            const found = deviation(results[run]!, result);
            assert(
              found <= row.bound,
              `${row.title}, run ${run}: deviation ${found}, expected at most ${row.bound}`,
            );
          });
        }
      } finally {
        await backend.dispose();
      }
    });
  }
}

Deno.test("deviation() is relative, and sees what is not a number", () => {
  const of = (actual: number[], expected: number[]): number =>
    deviation(Float32Array.from(actual), Float32Array.from(expected));
  assertEquals(of([1, NaN, Infinity], [1, NaN, Infinity]), 0);
  assertAlmostEquals(of([3, 4.5], [3, 4]), 0.125);
  assertAlmostEquals(of([0.5, 4], [0, 4]), 0.5 / Math.sqrt(8));
  assertEquals(of([NaN], [1]), Infinity);
  assertEquals(of([1], [NaN]), Infinity);
  assertEquals(of([-Infinity], [Infinity]), Infinity);
});
