/**
 * Plans of random graphs: memory is never shared by two values that are alive, barriers stand
 * wherever steps meet, and graphs that are cut into stages compute the same numbers.
 */

import { assert, assertEquals, assertThrows } from "@std/assert";
import fc from "fast-check";
import { MemoryError, ShapeError } from "../errors.ts";
import { elements } from "../kernels/op.ts";
import { tensorBytes } from "../kernels/shape.ts";
import { encodeRows, type LayoutName, LAYOUTS } from "../quant/formats.ts";
import type { Backend } from "../runtime/backends/backend.ts";
import { Graph, type Tensor } from "../runtime/graph/graph.ts";
import {
  assignStages,
  makePlan,
  type Plan,
  segmentsOf,
  type StageMap,
} from "../runtime/graph/plan.ts";
import { createReferenceBackend } from "../runtime/backends/reference/backend.ts";
import { createWasmBackend } from "../runtime/backends/wasm/backend.ts";
import { normalNumbers, randomNumbers } from "./fixtures.ts";

const TOKENS = 7, WIDTHS = [4, 33, 64] as const, ROWS = 9;

/** One choice: which op, of which operands, with which weight. */
type Choice = readonly [op: number, first: number, second: number, weight: number];

const choices = fc.array(
  fc.tuple(fc.nat(99), fc.nat(99), fc.nat(99), fc.nat(99)),
  { minLength: 1, maxLength: 24 },
);

/** A graph of random ops over per-token values; every value that nothing reads is an output. */
function randomGraph(picked: readonly Choice[], layouts: readonly LayoutName[]): Graph {
  const g = new Graph({ tokens: TOKENS });
  const values: Tensor[] = WIDTHS.map((width, i) => g.input(`x${i}`, ["tokens", width]));
  const index = (name: string): Tensor => g.input(name, ["tokens"], "i32");
  const read = new Set<Tensor>();
  for (const [i, [op, first, second, weight]] of picked.entries()) {
    const take = (n: number, fits: (it: Tensor) => boolean = () => true): Tensor => {
      const list = values.filter(fits);
      const value = list[n % list.length]!;
      read.add(value);
      return value;
    };
    const x = take(first), width = x.shape[1]!;
    const y = (): Tensor => take(second, (it) => it.shape[1] === width);
    const layout = layouts[weight % layouts.length]!;
    switch (op % 10) {
      case 0:
        values.push(g.op("add", [x, y()]));
        break;
      case 1:
        values.push(g.op("glu", [x, y()], { kind: "silu" }));
        break;
      case 2:
        values.push(g.op("activation", [x], { kind: "tanh" }));
        break;
      case 3:
        values.push(g.op("rmsNorm", [x, g.constant(`norm ${width}`, [width])], { eps: 1e-5 }));
        break;
      case 4: {
        const table = g.matrix(`table ${i}`, [ROWS, WIDTHS[weight % 3]!], layout);
        values.push(g.op("embed", [index("ids"), table]));
        break;
      }
      case 5: // stores one of the values, and looks at it and at itself
        if (width % 4 === 0) {
          const keys = g.cache(`keys ${i}`, "keyCache", [ROWS, 1, width]);
          const stored = g.cache(`values ${i}`, "valueCache", [ROWS, 1, width]);
          g.op("cacheStore", [keys, x, index("rows")]);
          g.op("cacheStore", [stored, y(), index("rows")]);
          const spans = g.input("spans", ["tokens", 2], "i32");
          values.push(g.op("attention", [x, keys, stored, spans], { heads: 1, scale: 0.3 }));
        }
        break;
      case 6:
        g.cut();
        break;
      default: {
        const rows = WIDTHS[weight % 3]!;
        const matrix = g.matrix(`w ${width} ${rows} ${layout}`, [rows, width], layout);
        values.push(g.op("matmul", [x, matrix]));
      }
    }
  }
  values.filter((it) => it.origin === "op" && !read.has(it))
    .forEach((it, i) => g.output(`y${i}`, it));
  return g;
}

/** Non-decreasing stages from a number per segment: where it is odd, a new stage begins. */
function stagesOf({ segments }: Graph, picked: readonly Choice[]): StageMap {
  let stage = 0;
  return new Map(segments.map(({ name }, i) => {
    if (i > 0 && picked[i % picked.length]![3] % 2) stage++;
    return [name, stage];
  }));
}

/** Executes a plan with names in place of numbers; throws where a step would see a wrong one. */
function checkPlan({ graph, stages }: Plan): void {
  assertEquals(stages.flatMap(({ steps }) => steps.map(({ node }) => node)), graph.nodes);
  let before: Map<number, Tensor> | undefined; // what the slots of the stage before hold at its end
  for (const [i, { steps, slots, slotOf, inputs, pinned, receives }] of stages.entries()) {
    const held = new Map<number, Tensor>();
    for (const tensor of receives) {
      const passed = Array.from(before?.values() ?? []).includes(tensor);
      assert(passed, `stage ${i - 1} does not hold ${tensor.name}, which stage ${i} receives`);
      assert(!held.has(slotOf.get(tensor.id)!), `${tensor.name} is received over another`);
      held.set(slotOf.get(tensor.id)!, tensor);
    }
    for (const { node: { op, inputs: operands, output } } of steps) {
      for (const tensor of operands) {
        const slot = slotOf.get(tensor.id);
        if (tensor.origin === "op") {
          assertEquals(held.get(slot!), tensor, `${op} finds another tensor than ${tensor.name}`);
        } else {
          assertEquals(slot, undefined, `${tensor.name} is not pinned`);
          assert((tensor.origin === "input" ? inputs : pinned).includes(tensor));
        }
      }
      if (output.origin !== "op") continue;
      const slot = slotOf.get(output.id)!;
      assert(slots[slot]! >= tensorBytes(output), `${output.name} is larger than its slot`);
      assert(!operands.some((it) => slotOf.get(it.id) === slot), `${op} writes what it reads`);
      held.set(slot, output);
    }
    for (const tensor of graph.outputs.values()) {
      const made = stages.findIndex((it) => it.steps.some(({ node }) => node.output === tensor));
      if (made <= i) assertEquals(held.get(slotOf.get(tensor.id)!), tensor, "an output is gone");
    }
    before = held;
    checkBarriers(stages[i]!);
  }
}

/** Between barriers, no step touches what another writes. */
function checkBarriers({ steps, slotOf }: Plan["stages"][number]): void {
  const place = (it: Tensor): string =>
    `${slotOf.has(it.id) ? "slot" : "tensor"} ${slotOf.get(it.id) ?? it.id}`;
  let group: { reads: string[]; write: string }[] = [];
  for (const { node, barrier } of steps) {
    if (barrier) group = [];
    const reads = node.inputs.map(place), write = place(node.output);
    for (const other of group) {
      assert(!reads.includes(other.write), `${node.op} reads ${other.write} too early`);
      assert(!other.reads.includes(write), `${node.op} writes ${write} too early`);
      assert(other.write !== write, `${node.op} writes ${write} with another step`);
    }
    group.push({ reads, write });
  }
}

Deno.test("makePlan() keeps every value as long as it is needed", () => {
  fc.assert(
    fc.property(choices, (picked) => {
      const graph = randomGraph(picked, ["f32", "int8"]);
      checkPlan(makePlan(graph, tensorBytes));
      checkPlan(makePlan(graph, tensorBytes, stagesOf(graph, picked)));
    }),
    { seed: 1, numRuns: 500 },
  );
});

Deno.test("makePlan() shares memory", () => {
  const g = new Graph();
  let x = g.input("x", [4, 8]);
  for (let i = 0; i < 20; i++) x = g.op("softmax", [x]);
  g.output("y", x);
  const [stage] = makePlan(g, tensorBytes).stages;
  assertEquals(stage!.slots.length, 2);
  // Each step reads what the one before wrote.
  assertEquals(
    stage!.steps.map(({ barrier }) => barrier),
    Array.from({ length: 20 }, (_, i) => i > 0),
  );
});

Deno.test("makePlan() puts no barrier between steps that do not meet", () => {
  const g = new Graph();
  const x = g.input("x", [4, 8]);
  for (const name of ["a", "b", "c"]) g.output(name, g.op("softmax", [x]));
  assertEquals(
    makePlan(g, tensorBytes).stages[0]!.steps.map(({ barrier }) => barrier),
    [false, false, false],
  );
});

Deno.test("makePlan() refuses a cache in two stages", () => {
  const g = new Graph();
  const keys = g.cache("keys", "keyCache", [4, 1, 4]), x = g.input("x", [1, 4]);
  g.op("cacheStore", [keys, x, g.input("rows", [1], "i32")]);
  g.cut();
  const spans = g.input("spans", [1, 2], "i32");
  const values = g.cache("values", "valueCache", [4, 1, 4]);
  g.output("y", g.op("attention", [x, keys, values, spans], { heads: 1, scale: 1 }));
  assertEquals(makePlan(g, tensorBytes).stages.length, 1);
  assertThrows(
    () => makePlan(g, tensorBytes, new Map(g.segments.map(({ name }, i) => [name, i]))),
    ShapeError,
    'Cannot divide the graph into 2 stages: cache "keys" is used in several, expected one',
  );
});

Deno.test("makePlan() refuses a segment that nobody placed, and stages that go back", () => {
  const g = new Graph(), x = g.input("x", [1, 4]);
  const a = g.op("softmax", [x]);
  g.cut("middle");
  const b = g.op("softmax", [a]);
  g.cut("end");
  g.output("y", g.op("softmax", [b]));
  const plan = (...stages: [string, number][]) => () => makePlan(g, tensorBytes, new Map(stages));
  assertEquals(plan(["start", 0], ["middle", 1], ["end", 1])().stages.length, 2);
  assertThrows(plan(["start", 0], ["end", 1]), ShapeError, '"middle" is in stage none');
  assertThrows(
    plan(["start", 0], ["middle", 2], ["end", 1]),
    ShapeError,
    '"end" is in stage 1, expected one from 2 on',
  );
  assertThrows(() => g.cut("middle"), ShapeError, 'it has a segment "middle" already');
});

Deno.test("graphs of one model are divided together, by the names of their segments", () => {
  const record = (...names: string[]): Graph => {
    const g = new Graph();
    let x = g.input("x", [1, 4]);
    for (const name of names) {
      g.cut(name);
      x = g.op("matmul", [x, g.matrix(`w ${name}`, [4, 4])]);
    }
    g.output("y", x);
    return g;
  };
  const graphs = [record("in", "e1", "e2", "d1", "d2"), record("in", "d1", "d2", "out")];
  const names = ["in", "e1", "e2", "d1", "d2", "out"];
  assertEquals(segmentsOf(graphs).map(({ name }) => name), names);
  const stages = assignStages(graphs, tensorBytes, 128);
  assertEquals(names.map((name) => stages.get(name)), [0, 0, 1, 1, 2, 2]);
  assertEquals(graphs.map((g) => makePlan(g, tensorBytes, stages).stages.length), [3, 3]);
});

Deno.test("assignStages() fills each stage and no more", () => {
  fc.assert(
    fc.property(choices, fc.integer({ min: 1000, max: 60_000 }), (picked, stageBytes) => {
      const graph = randomGraph(picked, ["f32", "int8"]);
      const needs = (segments: readonly number[]): number =>
        Array.from(
          new Set(
            graph.nodes.filter((node) => segments.includes(graph.segments.indexOf(node.segment)))
              .flatMap((node) => node.inputs)
              .filter((it) => it.origin === "weight" || it.origin === "cache"),
          ),
          tensorBytes,
        ).reduce((a, b) => a + b, 0);
      const all = Array.from(graph.segments.keys());
      if (all.some((segment) => needs([segment]) > stageBytes)) {
        assertThrows(
          () => assignStages([graph], tensorBytes, stageBytes),
          MemoryError,
          "Cannot place segment",
        );
        return;
      }
      const stages = assignStages([graph], tensorBytes, stageBytes);
      const stageOf = graph.segments.map(({ name }) => stages.get(name)!);
      assertEquals(stages.size, graph.segments.length);
      for (const segment of all) {
        const here = all.filter((it) => stageOf[it] === stageOf[segment]);
        assert(needs(here) <= stageBytes, "a stage holds too much");
        const next = here.at(-1)! + 1;
        assert(
          next === graph.segments.length || needs([...here, next]) > stageBytes,
          "a stage is not full",
        );
      }
    }),
    { seed: 2, numRuns: 300 },
  );
});

/** Runs a graph twice, so that caches matter, and returns its outputs. */
async function outputsOf(
  graph: Graph,
  backend: Backend,
  stages?: StageMap,
): Promise<Float32Array[]> {
  const random = randomNumbers(7);
  const lowered = backend.lower(graph);
  const plan = makePlan(lowered, backend.bytesOf.bind(backend), stages);
  backend.place(plan);
  const weights = new Map(plan.stages.flatMap(({ pinned }) => pinned.map((it) => [it.name, it])));
  for (const name of Array.from(weights.keys()).sort()) { // the same numbers for every division
    const { origin, shape, dtype } = weights.get(name)!;
    if (origin !== "weight") continue;
    const numbers = normalNumbers(elements(shape), random).map((it) => it / 4);
    const columns = shape.at(-1)!;
    await backend.writeRows(name, 0, encodeRows(LAYOUTS[dtype as LayoutName], numbers, columns));
  }
  const executable = backend.compile(plan);
  const outputs: Float32Array[] = [];
  for (const tokens of [TOKENS, 2]) {
    for (const { name, origin, shape, dtype } of graph.tensors) {
      if (origin !== "input") continue;
      const count = tokens * elements(shape.slice(1));
      const data = name === "spans"
        ? Int32Array.from({ length: count }, (_, i) => i % 2 ? 3 + (i >> 1) % 7 : 0)
        : dtype === "i32"
        ? Int32Array.from({ length: count }, (_, i) => i)
        : normalNumbers(count, random);
      executable.write(name, data);
    }
    await executable.run(tokens);
    for (const [name, { shape }] of graph.outputs) {
      outputs.push(await executable.read(name, tokens * shape[1]!));
    }
  }
  await backend.dispose();
  return outputs;
}

Deno.test("the wasm backend computes the same in one stage and in several", async () => {
  let divided = 0;
  await fc.assert(
    fc.asyncProperty(choices, fc.constantFrom(1, 2), async (picked, threads) => {
      const graph = randomGraph(picked, ["f32", "f16", "int8", "int4", "int4m"]);
      const stages = stagesOf(graph, picked);
      const start = (): Promise<Backend> => createWasmBackend({ threads, guards: true });
      const whole = await outputsOf(graph, await start());
      assertEquals(await outputsOf(graph, await start(), stages), whole);
      divided += Math.max(0, ...stages.values()) > 0 ? 1 : 0;
    }),
    { seed: 3, numRuns: 40 },
  );
  assert(divided > 3, `only ${divided} graphs had several stages`);
});

Deno.test("the wasm backend computes random graphs as the reference does", async () => {
  await fc.assert(
    fc.asyncProperty(choices, async (picked) => {
      const graph = randomGraph(picked, ["f32"]);
      const expected = await outputsOf(graph, createReferenceBackend());
      const actual = await outputsOf(graph, await createWasmBackend({ threads: 2, guards: true }));
      for (const [i, values] of expected.entries()) {
        const largest = values.reduce((max, it) => Math.max(max, Math.abs(it)), 1);
        values.forEach((value, j) => {
          const off = Math.abs(value - actual[i]![j]!) / largest;
          assert(off <= 1e-4, `output ${i} differs by ${off} of its largest element`);
        });
      }
    }),
    { seed: 4, numRuns: 20 },
  );
});

Deno.test("the wasm backend passes a value on through stages that do not use it", async () => {
  const g = new Graph({ tokens: TOKENS });
  const x = g.input("x0", ["tokens", 4]);
  const early = g.op("activation", [x], { kind: "tanh" });
  let late = x;
  for (let i = 0; i < 4; i++) {
    g.cut();
    late = g.op("matmul", [late, g.matrix(`w ${i}`, [4, 4])]);
  }
  g.output("y", g.op("add", [early, late]));
  g.output("early", early);
  const whole = await outputsOf(g, await createWasmBackend({ threads: 2 }));
  const stages = new Map(g.segments.map(({ name }, i) => [name, i]));
  assertEquals(stages.size, 5);
  const parts = await outputsOf(g, await createWasmBackend({ threads: 2 }), stages);
  assertEquals(parts, whole);
});
