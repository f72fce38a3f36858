/**
 * The WebGPU kernels' variants and fused steps, against the reference on the graph as it was
 * recorded; and how variants are chosen.
 */

import { assert, assertEquals, assertRejects } from "@std/assert";
import { BackendError, InputError } from "../errors.ts";
import { detectBackends } from "../mod.ts";
import { elements } from "../kernels/op.ts";
import type { GluKind } from "../kernels/ops.ts";
import { encodeRows, LAYOUT_NAMES, type LayoutName, LAYOUTS } from "../quant/formats.ts";
import type { Backend } from "../runtime/backends/backend.ts";
import { Graph, type Tensor } from "../runtime/graph/graph.ts";
import { withIntegerMatmuls } from "../runtime/graph/integer_matmuls.ts";
import { makePlan } from "../runtime/graph/plan.ts";
import { createReferenceBackend } from "../runtime/backends/reference/backend.ts";
import { createWasmBackend } from "../runtime/backends/wasm/backend.ts";
import {
  createWebgpuBackend,
  type WebgpuBackendOptions,
} from "../runtime/backends/webgpu/backend.ts";
import { type Gpu, type OpenDevice, openDevice } from "../runtime/backends/webgpu/device.ts";
import { neighboursIn, withFusedSteps } from "../runtime/backends/webgpu/fusions.ts";
import { TIMED, timeKernels } from "../runtime/backends/webgpu/timing.ts";
import { chooseVariants, type KernelTimes } from "../runtime/backends/webgpu/variants.ts";
import type { TimesCache } from "../runtime/backends/webgpu/variant_options.ts";
import { deviation, runCase } from "../cases/runner.ts";
import { normalNumbers, randomNumbers } from "./fixtures.ts";
import { CASES } from "../cases/cases.ts";
import { hasWebgpu } from "./webgpu_adapter.ts";

const ignore = !hasWebgpu;
const EPS = 1e-5;

/**
 * Most deviation that is allowed, relative to the root mean square of an output, and the layouts
 * whose products the variant does in its own way.
 */
const KINDS: Readonly<Record<string, { bound: number; layouts: readonly LayoutName[] }>> = {
  f32: { bound: 1e-5, layouts: LAYOUT_NAMES },
  f16: {
    bound: 1e-2,
    layouts: ["f16", "int8", "int4", "int4n", "int5", "int4m", "int5m", "int4k", "int5k"],
  },
  integer: {
    bound: 1e-5,
    layouts: ["int8", "int4", "int4n", "int5", "int4m", "int5m", "int4k", "int5k"],
  },
};

/** The products of a layer: normalized queries, keys and values; a gated block with its residual. */
function layer(
  layout: LayoutName,
  [K, N, M]: readonly [number, number, number],
  tokens: number,
  biased: boolean,
  gate: GluKind = "silu",
): Graph {
  const g = new Graph({ tokens });
  const x = g.input("x", ["tokens", K]);
  const linear = (x: Tensor, name: string, rows: number): Tensor =>
    g.op("matmul", [
      x,
      g.matrix(`${name} ${K} ${layout}`, [rows, x.shape[1]!], layout),
      ...(biased ? [g.constant(`${name}.bias ${rows}`, [rows])] : []),
    ]);
  const norm = (x: Tensor, name: string): Tensor =>
    g.op("rmsNorm", [x, g.constant(`${name} ${K}`, [K])], { eps: EPS });
  const a = norm(x, "norm1");
  g.output("q", linear(a, "wq", N));
  g.output("k", linear(a, "wk", M));
  g.output("v", linear(a, "wv", M));
  const b = norm(x, "norm2");
  const gated = g.op("glu", [linear(b, "gate", N), linear(b, "up", N)], { kind: gate });
  const y = g.op("add", [x, linear(gated, "down", K)]);
  g.output("y", y);
  g.output("z", g.op("add", [linear(y, "head", M), linear(x, "other", M)]));
  return g;
}

type Outputs = ReadonlyMap<string, Float32Array>;

/** Runs `graph`, whose weights are those that `seed` gives, for each number of tokens. */
async function run(
  backend: Backend,
  graph: Graph,
  runs: readonly number[],
  x: (count: number) => Float32Array,
): Promise<Outputs[]> {
  const plan = makePlan(graph, (type) => backend.bytesOf(type));
  backend.place(plan);
  for (const { name, dtype, shape, origin } of plan.stages[0]!.pinned) {
    if (origin !== "weight") continue;
    const seed = Array.from(name).reduce((sum, letter) => sum * 31 + letter.charCodeAt(0), 7);
    const values = normalNumbers(elements(shape), randomNumbers(seed));
    if (shape.length === 2) values.forEach((value, i) => values[i] = value / Math.sqrt(shape[1]!));
    const layout = LAYOUTS[dtype as LayoutName];
    await backend.writeRows(name, 0, encodeRows(layout, values, shape.at(-1)!));
  }
  const executable = backend.compile(plan), results: Outputs[] = [];
  for (const tokens of runs) {
    executable.write("x", x(tokens * plan.graph.tensors.find((it) => it.name === "x")!.shape[1]!));
    await executable.run(tokens);
    const outputs = new Map<string, Float32Array>();
    for (const [name, tensor] of graph.outputs) {
      outputs.set(name, await executable.read(name, tokens * tensor.shape[1]!));
    }
    results.push(outputs);
  }
  return results;
}

function compare(what: string, actual: Outputs[], expected: Outputs[], bound: number): void {
  expected.forEach((outputs, i) => {
    for (const [name, values] of outputs) {
      const largest = values.reduce((most, value) => Math.max(most, Math.abs(value)), 0);
      const squares = values.reduce((sum, value) => sum + (value / largest) ** 2, 0);
      const scale = largest * Math.sqrt(squares / values.length);
      values.forEach((value, j) => {
        const off = Math.abs(actual[i]!.get(name)![j]! - value) / scale;
        assert(off <= bound, `${what}, run ${i}: ${name}[${j}] is off by ${off}`);
      });
    }
  });
}

/** Rows of vectors of four, and of any length, with biases. */
const SHAPES = [[300, 48, 16], [70, 35, 9]] as const;

/** Functions of the gates, in turn. */
const GATES = ["silu", "geluTanh", "relu", "gelu", "sigmoid"] as const;

/** Tokens of runs: of few, then of tiles. */
const RUNS = [1, 3, 9, 40];

for (const [kind, { bound, layouts }] of Object.entries(KINDS)) {
  for (const reduction of ["subgroup", "shared"] as const) {
    const integer = kind === "integer";
    const options: WebgpuBackendOptions = {
      integer,
      arithmetic: kind === "f16" ? "f16" : "f32",
      reduction,
    };
    Deno.test(
      { name: `a layer in ${kind}, ${reduction}, is the reference's`, ignore },
      async () => {
        if (!(await has(options))) return console.log(`skipped: no ${kind} with ${reduction} here`);
        const backend = await createWebgpuBackend(options), reference = createReferenceBackend();
        let gates = 0;
        for (const layout of reduction === "shared" ? ["int4" as const] : layouts) {
          for (const [i, shape] of SHAPES.entries()) {
            const gate = GATES[gates++ % GATES.length];
            const graph = layer(layout, shape, Math.max(...RUNS), i === 1, gate);
            const single = layer(layout, shape, 1, i === 1, gate); // has no tiles
            for (const [recorded, runs] of [[single, [1]], [graph, RUNS]] as const) {
              const x = (count: number) => normalNumbers(count, randomNumbers(count));
              const exact = integer ? withIntegerMatmuls(recorded) : recorded;
              const expected = await run(reference, exact, runs, x);
              const found = await run(backend, backend.lower(recorded), runs, x);
              compare(`${kind} ${layout} ${shape}`, found, expected, bound);
            }
          }
        }
        await backend.dispose();
      },
    );
  }
}

async function has({ arithmetic, reduction }: WebgpuBackendOptions): Promise<boolean> {
  const { device, facts } = await openDevice();
  device.destroy();
  return (facts.f16 || arithmetic !== "f16") && (facts.subgroups || reduction !== "subgroup");
}

Deno.test(
  { name: "the matmul cases in f16 are the reference's, within its bound", ignore },
  async () => {
    if (!(await has({ arithmetic: "f16" }))) return console.log("skipped: no f16 here");
    const backend = await createWebgpuBackend({ arithmetic: "f16" });
    const reference = createReferenceBackend();
    // Those of other layouts have int8 activations, which are products of bytes in any arithmetic.
    for (const row of CASES.matmul.filter(({ title }) => title.startsWith("f16"))) {
      const expected = await runCase(reference, "matmul", row, row.title);
      for (const [i, found] of (await runCase(backend, "matmul", row, row.title)).entries()) {
        const off = deviation(found, expected[i]!);
        const bound = row.bound && KINDS.f16!.bound;
        assert(off <= bound, `${row.title}, run ${i}: deviation ${off}, expected at most ${bound}`);
      }
    }
    await backend.dispose();
  },
);

Deno.test({ name: "large tiles are the reference's", ignore }, async () => {
  // As if the adapter had the memory for them, and needed little work to be busy.
  const traits = { workgroupBytes: 32768, invocations: 1 };
  const tokens = 130, x = (count: number) => normalNumbers(count, randomNumbers(count));
  const graph = new Graph({ tokens });
  graph.output(
    "y",
    graph.op("matmul", [
      graph.input("x", ["tokens", 40]),
      graph.matrix("w", [140, 40], "int4m"),
      graph.constant("b", [140]),
    ]),
  );
  for (const [kind, { bound }] of Object.entries(KINDS)) {
    const integer = kind === "integer";
    const options = { integer, arithmetic: kind === "f16" ? "f16" as const : "f32" as const };
    if (!(await has(options))) continue;
    const backend = await createWebgpuBackend({ ...options, traits });
    const exact = integer ? withIntegerMatmuls(graph) : graph;
    const expected = await run(createReferenceBackend(), exact, [tokens, 77], x);
    compare(kind, await run(backend, backend.lower(graph), [tokens, 77], x), expected, bound);
    await backend.dispose();
  }
});

Deno.test({ name: "f16 has room for numbers that halves have not", ignore }, async () => {
  if (!(await has({ arithmetic: "f16" }))) return console.log("skipped: no f16 here");
  const backend = await createWebgpuBackend({ arithmetic: "f16" });
  const reference = createReferenceBackend();
  for (const [i, scale] of [1e37, 1e30, 1e5, 1e-30].entries()) {
    const graph = new Graph({ tokens: 9 });
    const weight = graph.matrix(`w${i}`, [20, 70], "int8");
    graph.output("y", graph.op("matmul", [graph.input("x", ["tokens", 70]), weight]));
    const x = (count: number) =>
      normalNumbers(count, randomNumbers(3)).map((value) => scale * value);
    const expected = await run(reference, graph, [9, 2], x);
    compare(`${scale}`, await run(backend, graph, [9, 2], x), expected, 1e-2);
  }
  const g = new Graph({ tokens: 9 });
  g.output("y", g.op("matmul", [g.input("x", ["tokens", 64]), g.matrix("w", [3, 64], "f16")]));
  const x = (count: number) =>
    new Float32Array(count).fill(1).with(0, NaN).with(65, Infinity).with(130, -Infinity);
  const [outputs] = await run(backend, g, [9], x), y = outputs!.get("y")!;
  assert(y.subarray(0, 3).every(Number.isNaN), "NaN");
  assert(y.subarray(3, 9).every((value) => Math.abs(value) === Infinity), "infinities");
  assert(y.subarray(9).every(Number.isFinite), "rows without them");
  await backend.dispose();
});

Deno.test("fused steps are, by their definition, the steps", async () => {
  const backend = createReferenceBackend();
  const x = (count: number) => normalNumbers(count, randomNumbers(count));
  for (const integer of [false, true]) {
    const recorded = layer("int8", [64, 48, 16], 4, false);
    const graph = integer ? withIntegerMatmuls(recorded) : recorded;
    const fused = withFusedSteps(graph);
    compare(
      "fused",
      await run(backend, fused, [4], x),
      await run(backend, graph, [4], x),
      1e-12,
    );
    const ops = fused.nodes.map(({ op }) => op);
    assertEquals(
      ops,
      integer
        ? [
          ...["quantizeActivations", "matmul", "matmul", "matmul"], // queries, keys, values
          ...["quantizeActivations", "matmul", "quantizeActivations", "matmul"], // gate·up, down
          ...["quantizeActivations", "matmul", "quantizeActivations", "matmul"], // head, other
        ]
        : ["matmul", "matmul", "matmul", "matmul", "matmul", "matmul", "matmul"],
    );
    const together = neighboursIn(fused).matrices.map((tensors) =>
      tensors.map(({ name }) => name.split(" ")[0])
    );
    assertEquals(together, [["gate", "up"], ["wq", "wk", "wv"]]);
  }
});

Deno.test({ name: "what lies together is one dispatch for one token", ignore }, async () => {
  const backend = await createWebgpuBackend(), reference = createReferenceBackend();
  const x = (count: number) => normalNumbers(count, randomNumbers(count));
  const { prototype } = GPUComputePassEncoder, dispatch = prototype.dispatchWorkgroups;
  let count = 0;
  prototype.dispatchWorkgroups = function (...sizes) {
    count++;
    return dispatch.apply(this, sizes);
  };
  try {
    // Without biases: queries, keys and values; gate and up; down; two more.
    for (const [biased, most] of [[false, 5], [true, 7]] as const) {
      for (const [shape, more] of [[[64, 48, 16], 0], [[60, 36, 20], biased ? 2 : 3]] as const) {
        const graph = layer("int4", shape, 1, biased);
        count = 0;
        const found = await run(backend, backend.lower(graph), [1], x);
        assertEquals(count, most + more, `${shape}${biased ? ", biased" : ""}`);
        compare(`${shape}`, found, await run(reference, graph, [1], x), KINDS.f32!.bound);
      }
    }
  } finally {
    prototype.dispatchWorkgroups = dispatch;
    await backend.dispose();
  }
});

Deno.test("what others read stays a step of its own", () => {
  const g = new Graph({ tokens: 2 });
  const x = g.input("x", ["tokens", 32]);
  const norm = g.op("rmsNorm", [x, g.constant("gain", [32])], { eps: EPS });
  const gate = g.op("matmul", [norm, g.matrix("gate", [32, 32])]);
  const up = g.op("matmul", [norm, g.matrix("up", [32, 32])]);
  g.output("gate", gate);
  g.output("y", g.op("add", [norm, g.op("glu", [gate, up], { kind: "silu" })]));
  const heads = g.op("rmsNorm", [x, g.constant("head gain", [16])], { eps: EPS });
  g.output("z", g.op("matmul", [heads, g.matrix("w", [32, 32])]));
  const product = g.op("matmul", [x, g.matrix("v", [32, 32])]);
  g.cut();
  g.output("cut", g.op("add", [x, product]));
  const graph = withFusedSteps(g);
  assertEquals(graph.nodes.map(({ op }) => op), g.nodes.map(({ op }) => op));
  assertEquals(graph.segments, g.segments);
  assertEquals(graph.segments.length, 2);
});

Deno.test("the wasm backend refuses fused steps", async () => {
  const backend = await createWasmBackend({ threads: 1 });
  const graph = withFusedSteps(layer("f32", [32, 16, 16], 2, false));
  const plan = makePlan(graph, (type) => backend.bytesOf(type));
  backend.place(plan);
  try {
    await assertRejects(
      async () => await Promise.resolve(backend.compile(plan)),
      BackendError,
      "Cannot compile matmul: it has eps, expected none",
    );
  } finally {
    await backend.dispose();
  }
});

/** A source of adapters that collects the shaders of its devices. */
function watchShaders(codes: string[]): Gpu {
  return {
    async requestAdapter(options) {
      const adapter = await navigator.gpu.requestAdapter(options);
      const request = adapter!.requestDevice;
      adapter!.requestDevice = async (descriptor) => {
        const device = await request.call(adapter, descriptor);
        const create = device.createShaderModule;
        device.createShaderModule = (descriptor) => {
          codes.push(descriptor.code);
          return create.call(device, descriptor);
        };
        return device;
      };
      return adapter;
    },
  };
}

Deno.test({ name: "every variant is honoured", ignore }, async () => {
  for (const arithmetic of ["f32", "f16"] as const) {
    for (const reduction of ["subgroup", "shared"] as const) {
      for (const integer of [false, true]) {
        const options = { arithmetic, reduction, integer };
        if (!(await has(options))) continue;
        const codes: string[] = [];
        const backend = await createWebgpuBackend({ ...options, gpu: watchShaders(codes) });
        codes.length = 0; // the probe of subgroups
        const g = new Graph();
        const x = g.input("x", [1, 32]);
        for (const layout of ["int8", "f16"] as const) {
          g.output(layout, g.op("matmul", [x, g.matrix(layout, [4, 32], layout)]));
        }
        await run(backend, backend.lower(g), [1], (count) => new Float32Array(count));
        const uses = (text: string): boolean => codes.some((code) => code.includes(text));
        assertEquals({ ...backend.variants }, { ...options, times: {} });
        assertEquals(uses("enable f16;"), arithmetic === "f16");
        assertEquals(uses("subgroupAdd("), reduction === "subgroup");
        assertEquals(uses("dot4I8Packed("), integer);
        await backend.dispose();
      }
    }
  }
});

/** A device of which only the facts are asked. */
function deviceWith(facts: Partial<OpenDevice["facts"]>, identity: string): OpenDevice {
  return {
    facts: {
      ...{ name: "test", f16: true, subgroups: true, software: false, maxBindingBytes: 2 ** 27 },
      ...facts,
    },
    identity,
  } as OpenDevice;
}

/** Times of one token and of many in f32 by subgroups, in f16 and in bytes. */
function times(f32: number, f16: number, bytes: number, shared = 2 * f32): KernelTimes {
  return {
    [TIMED.shared]: shared,
    ...{ [TIMED.subgroup]: f32, [TIMED.f16]: f16, [TIMED.bytes]: bytes },
    ...{ [TIMED.tile]: f32, [TIMED.tileF16]: f16, [TIMED.tileBytes]: bytes },
  };
}

Deno.test("the fastest variants are taken, the more exact ones where little is gained", async () => {
  let count = 0;
  const choose = async (measured: KernelTimes, facts = {}) => {
    const open = deviceWith(facts, `choice ${count++}`);
    const { arithmetic, reduction, integer } = await chooseVariants(
      open,
      {},
      () => Promise.resolve(measured),
    );
    return `${arithmetic} ${reduction} ${integer}`;
  };
  assertEquals(await choose(times(100, 100, 100)), "f32 subgroup false");
  assertEquals(await choose(times(100, 95, 85)), "f32 subgroup false");
  assertEquals(await choose(times(100, 60, 90)), "f16 subgroup false");
  assertEquals(await choose(times(100, 60, 30)), "f16 subgroup true");
  assertEquals(await choose(times(100, 90, 40, 80)), "f32 shared true");
  assertEquals(await choose(times(100, 10, 100), { f16: false }), "f32 subgroup false");
  assertEquals(await choose(times(100, 99, 99, 100), { subgroups: false }), "f32 shared false");
  const { [TIMED.f16]: _, ...rest } = times(100, 10, 100); // its compiler rejected one
  assertEquals(await choose(rest), "f32 subgroup false");
  // What fails is not used, and no reason to fail.
  const open = deviceWith({}, "fails");
  const failing = (): Promise<KernelTimes> => Promise.reject(new Error("lost"));
  assertEquals(
    await chooseVariants(open, {}, failing),
    { arithmetic: "f32", reduction: "subgroup", integer: false, times: {} },
  );
});

Deno.test("times are taken once for an adapter, and kept where the caller says", async () => {
  const kept = new Map<string, string>();
  const cache: TimesCache = {
    read: (key) => Promise.resolve(kept.get(key)),
    write: (key, text) => Promise.resolve(void kept.set(key, text)),
  };
  let taken = 0;
  const time = (): Promise<KernelTimes> => {
    taken++;
    return Promise.resolve(times(100, 50, 10));
  };
  const choose = async (identity: string, options = {}) =>
    (await chooseVariants(deviceWith({}, identity), { cache, ...options }, time)).integer;
  assertEquals([await choose("one"), await choose("one")], [true, true]);
  assertEquals(taken, 1);
  assertEquals(await choose("two"), true); // another adapter, or driver
  assertEquals([taken, kept.size], [2, 2]);
  // A later process, as it were: the key is what another adapter's would be.
  const [[key, text]] = kept as unknown as [[string, string]];
  assert(/^one f16 subgroups [0-9a-f]+$/.test(key), key);
  kept.set(key.replace("one", "three"), text.replaceAll("10", "1000"));
  assertEquals([await choose("three"), taken], [false, 2]);
  kept.set(key.replace("one", "four"), "damaged {");
  assertEquals([await choose("four"), taken], [true, 3]);
  // Nothing is timed where nothing is open, or the adapter is software.
  const all = { arithmetic: "f32", reduction: "shared", integer: false } as const;
  assertEquals(await choose("five", all), false);
  const software = deviceWith({ software: true }, "six");
  assertEquals((await chooseVariants(software, { cache }, time)).integer, false);
  assertEquals(taken, 3);
  await chooseVariants(software, { cache, measure: true }, time);
  assertEquals(taken, 4);
  // A cache that fails is as if there were none.
  const broken: TimesCache = {
    read: () => Promise.reject(new Error("unreadable")),
    write: () => Promise.reject(new Error("full")),
  };
  assertEquals(await choose("seven", { cache: broken }), true);
});

Deno.test("variants that there are not are refused", async () => {
  const open = deviceWith({ f16: false, subgroups: false }, "poor");
  const choose = (options: object): Promise<unknown> => chooseVariants(open, options);
  await assertRejects(() => choose({ arithmetic: "f16" }), BackendError, "has no shader-f16");
  await assertRejects(() => choose({ reduction: "subgroup" }), BackendError, "has no subgroups");
  await assertRejects(
    () => choose({ arithmetic: "f64" }),
    InputError,
    'Cannot use webgpu with arithmetic "f64": expected f32 or f16',
  );
  await assertRejects(() => choose({ integer: 1 }), InputError, "expected true or false");
});

Deno.test({ name: "kernels are timed by the GPU's clock, or without one", ignore }, async () => {
  const open = await openDevice();
  const sizes = { vector: 64, tile: 64, tokens: 32 };
  for (const hasClock of new Set([open.device.features.has("timestamp-query"), false])) {
    const times = await timeKernels(open, sizes, hasClock);
    const expected = Object.values(TIMED).filter((name) =>
      (open.facts.f16 || !name.includes("f16")) && (open.facts.subgroups || name !== TIMED.subgroup)
    );
    assertEquals(Object.keys(times), expected);
    assert(Object.values(times).every((time) => time > 0 && time < 6e7), JSON.stringify(times));
  }
  open.device.destroy();
});

Deno.test({ name: "detectBackends() tells the variants", ignore }, async () => {
  const pinned = { arithmetic: "f32", reduction: "shared", integer: true } as const;
  const { webgpu } = await detectBackends({ webgpu: pinned });
  assertEquals(webgpu && webgpu.variants, { ...pinned, times: {} });
});
