/**
 * Steps that the WebAssembly backend fuses: the same numbers to the bit as apart, fewer steps, and
 * nothing fused whose result somebody else reads.
 */

import { assert, assertEquals, assertThrows } from "@std/assert";
import { ShapeError } from "../errors.ts";
import type { LayoutName } from "../quant/formats.ts";
import { encodeRows, LAYOUTS } from "../quant/formats.ts";
import { GLU_KINDS, type GluKind } from "../kernels/glu/op.ts";
import { elements } from "../kernels/op.ts";
import type { Backend } from "../runtime/backends/backend.ts";
import { Graph } from "../runtime/graph/graph.ts";
import { withIntegerMatmuls } from "../runtime/graph/integer_matmuls.ts";
import { makePlan } from "../runtime/graph/plan.ts";
import { createReferenceBackend } from "../runtime/backends/reference/backend.ts";
import { createWasmBackend } from "../runtime/backends/wasm/backend.ts";
import { withFusedSteps } from "../runtime/backends/wasm/fusions.ts";
import { normalNumbers, randomNumbers } from "./fixtures.ts";

const TOKENS = 20;

/** A layer's worth of what is fused, `width` wide, with matrices of a layout. */
function layer(width: number, layout: LayoutName, kind: GluKind = "silu"): Graph {
  const g = new Graph({ tokens: TOKENS }), inner = width + 7;
  const name = (weight: string): string => `${layout} ${width} ${weight}`;
  const x = g.input("x", ["tokens", width]);
  const normed = g.op("rmsNorm", [x, g.constant(name("gain"), [width])], { eps: 1e-5 });
  const gate = g.op("matmul", [normed, g.matrix(name("gate"), [inner, width], layout)]);
  const up = g.op("matmul", [normed, g.matrix(name("up"), [inner, width], layout)]);
  const gated = g.op("glu", [gate, up], { kind });
  const down = g.op("matmul", [
    gated,
    g.matrix(name("down"), [width, inner], layout),
    g.constant(name("bias"), [width]),
  ]);
  g.output("y", g.op("add", [x, down]));
  return g;
}

/** Results of the given numbers of tokens, one after another. */
async function results(
  backend: Backend,
  graph: Graph,
  counts: readonly number[],
): Promise<Float32Array[]> {
  const random = randomNumbers(11);
  const plan = makePlan(graph, (type) => backend.bytesOf(type));
  backend.place(plan);
  for (const tensor of plan.stages[0]!.pinned.toSorted((a, b) => a.name < b.name ? -1 : 1)) {
    const layout = LAYOUTS[tensor.dtype as LayoutName];
    const values = normalNumbers(elements(tensor.shape), random);
    await backend.writeRows(tensor.name, 0, encodeRows(layout, values, tensor.shape.at(-1)!));
  }
  const executable = backend.compile(plan);
  const width = graph.outputs.get("y")!.shape[1]!;
  executable.write("x", normalNumbers(TOKENS * width, random));
  const found: Float32Array[] = [];
  for (const tokens of counts) {
    await executable.run(tokens);
    found.push(await executable.read("y", tokens * width));
  }
  return found;
}

for (const options of [{ relaxed: true }, { relaxed: false }]) {
  for (const threads of [1, 2, 3]) {
    const name = `${options.relaxed ? "relaxed" : "plain"} build, ${threads} threads`;
    Deno.test(`fused steps give the numbers of steps apart (${name})`, async () => {
      const backend = await createWasmBackend({ ...options, threads, guards: true });
      try {
        for (const layout of ["int4", "int8", "f32", "f16"] as const) {
          for (const [i, kind] of GLU_KINDS.entries()) {
            const width = [5, 33, 64, 100][i % 4]!;
            const graph = layer(width, layout, kind), counts = [1, 5, TOKENS, 9, 2];
            assertEquals(
              await results(backend, backend.lower(graph), counts),
              await results(backend, withIntegerMatmuls(graph), counts),
              `${layout}, ${width} wide, ${kind}`,
            );
          }
        }
      } finally {
        await backend.dispose();
      }
    });
  }
}

Deno.test("the definitions of fused ops are those of the steps", async () => {
  for (const layout of ["int8", "f32"] as const) {
    const graph = withIntegerMatmuls(layer(37, layout, "geluTanh"));
    const [found, expected] = await Promise.all(
      [withFusedSteps(graph), graph].map((it) => results(createReferenceBackend(), it, [3, 20])),
    );
    found!.forEach((values, run) => {
      values.forEach((value, i) => assert(Math.abs(value - expected![run]![i]!) < 1e-4));
    });
  }
});

Deno.test("norms, gates and residuals are fused where nobody else needs them", () => {
  const names = (graph: Graph) =>
    withFusedSteps(withIntegerMatmuls(graph)).nodes.map(({ op, attrs }) =>
      [op, ...Object.keys(attrs)].join(" ")
    );
  assertEquals(names(layer(64, "int4")), [
    "quantizeActivations eps",
    "matmul",
    "matmul",
    "quantizeActivations gate",
    "matmul residual",
  ]);
  assertEquals(names(layer(64, "f32")), [
    "rmsNorm eps",
    "matmul",
    "matmul",
    "glu kind",
    "matmul residual",
  ]);

  const g = layer(64, "int4");
  for (const { op, output } of g.nodes) {
    if (op !== "add") g.output(`also ${op} ${output.id}`, output);
  }
  assert(names(g).includes("rmsNorm eps"));
  assert(names(g).includes("glu kind"));
  assert(names(g).includes("add"));

  // Norms of heads are no norms of rows.
  const heads = new Graph();
  const x = heads.input("x", [2, 64]);
  const normed = heads.op("rmsNorm", [x, heads.constant("gain", [16])], { eps: 0 });
  heads.output("y", heads.op("matmul", [normed, heads.matrix("w", [8, 64], "int4")]));
  assertEquals(names(heads), ["rmsNorm eps", "quantizeActivations", "matmul"]);

  // A stage ends between the product and the sum.
  const cut = new Graph();
  const a = cut.input("x", [2, 64]);
  const product = cut.op("matmul", [a, cut.matrix("w", [64, 64])]);
  cut.cut();
  cut.output("y", cut.op("add", [a, product]));
  assertEquals(names(cut), ["matmul", "add"]);
});

Deno.test("quantizeActivations is normed or gated, not both", () => {
  const g = new Graph();
  const x = g.input("x", [2, 64]);
  assertThrows(
    () => g.op("quantizeActivations", [x, x], { eps: 1, gate: "silu" }),
    ShapeError,
    "expected one of them",
  );
  assertThrows(() => g.op("quantizeActivations", [x], { gate: "silu" }), ShapeError);
});
