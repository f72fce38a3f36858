/** The two ways of summing int8 products: same numbers, one choice per process, an option. */

import { assert, assertEquals, assertStrictEquals } from "@std/assert";
import { Graph } from "../graph.ts";
import { encodeRows, LAYOUTS } from "../quant/formats.ts";
import { makePlan } from "../runtime/graph/plan.ts";
import { createWasmBackend } from "../runtime/backends/wasm/backend.ts";
import { fasterDots, hasRelaxedSimd, loadKernels } from "../runtime/backends/wasm/module.ts";
import { normalNumbers, randomNumbers } from "./fixtures.ts";

const ROWS = 50, COLS = 100, TOKENS = 20;

/** The product of fixed numbers, for one token and for some. */
async function products(dots: "pairs" | "quads" | undefined): Promise<Float32Array[]> {
  const random = randomNumbers(5);
  const g = new Graph({ tokens: TOKENS });
  const x = g.input("x", ["tokens", COLS]);
  const w = g.matrix("w", [ROWS, COLS], "int4");
  g.output("y", g.op("matmul", [x, w]));
  const backend = await createWasmBackend({ threads: 2, ...(dots ? { dots } : {}) });
  try {
    const plan = makePlan(backend.lower(g), (type) => backend.bytesOf(type));
    backend.place(plan);
    const weights = normalNumbers(ROWS * COLS, random);
    await backend.writeRows("w", 0, encodeRows(LAYOUTS.int4, weights, COLS));
    const executable = backend.compile(plan);
    executable.write("x", normalNumbers(TOKENS * COLS, random));
    const results: Float32Array[] = [];
    for (const tokens of [1, 7, TOKENS]) {
      await executable.run(tokens);
      results.push(await executable.read("y", tokens * ROWS));
    }
    return results;
  } finally {
    await backend.dispose();
  }
}

Deno.test("pairs and quads give the same numbers to the bit", async () => {
  const pairs = await products("pairs");
  assert(pairs[2]!.some((value) => value !== 0));
  assertEquals(await products("quads"), pairs);
  assertEquals(await products(undefined), pairs);
});

Deno.test({
  name: "the faster of pairs and quads is found once per process",
  ignore: !hasRelaxedSimd(),
  async fn() {
    const module = await loadKernels(true);
    const found = fasterDots(module);
    assertStrictEquals(fasterDots(module), found);
    assert(["pairs", "quads"].includes(await found));
  },
});
