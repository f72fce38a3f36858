/**
 * Graphs without a language model: every op refuses tensors that do not fit, the graph refuses
 * names, tensors and outputs that mean nothing, and programs refuse data that they cannot run.
 */

import { assertEquals, assertRejects, assertStringIncludes, assertThrows } from "@std/assert";
import { InputError, ShapeError } from "../errors.ts";
import { compile, Graph, type Program, type Tensor } from "../graph.ts";
import { type OpAttributes, type OpName, OPS } from "../kernels/ops.ts";

interface OpCase<N extends OpName> {
  /** Valid operands. */
  inputs(g: Graph): Tensor[];
  attrs: OpAttributes[N];
  /** Attributes that do not fit those operands. */
  wrong?: OpAttributes[N][];
  /** Index of the operand whose extents may be anything. */
  free?: number;
  /** Index of an operand that may be left out. */
  optional?: number;
}

const CASES: { [N in OpName]: OpCase<N> } = {
  activation: {
    inputs: (g) => [g.input("x", [3, 8])],
    attrs: { kind: "relu" },
    wrong: [{ kind: "step" as "relu" }],
    free: 0,
  },
  add: { inputs: (g) => [g.input("a", [3, 8]), g.input("b", [3, 8])], attrs: {} },
  attention: {
    inputs: (g) => [
      g.input("q", [3, 16]),
      g.cache("keys", "keyCache", [10, 2, 4]),
      g.cache("values", "valueCache", [10, 2, 4]),
      g.input("spans", [3, 2], "i32"),
    ],
    attrs: { heads: 4, scale: 0.5 },
    wrong: [{ heads: 3, scale: 0.5 }, { heads: 8, scale: 0.5 }, { heads: 0, scale: 0.5 }],
  },
  cacheStore: {
    inputs: (g) => [
      g.cache("keys", "keyCache", [10, 2, 4]),
      g.input("x", [3, 8]),
      g.input("rows", [3], "i32"),
    ],
    attrs: {},
  },
  divideColumn: {
    inputs: (g) => [g.input("x", [3, 8]), g.input("parts", [3, 5])],
    attrs: { column: 7 },
    wrong: [{ column: 8 }, { column: -1 }, { column: 0.5 }],
  },
  embed: {
    inputs: (g) => [g.input("ids", [3], "i32"), g.matrix("table", [10, 8])],
    attrs: {},
    free: 1,
    wrong: [{ first: -1 }, { first: 0.5 }, { first: 2 ** 31 }],
  },
  expertMatmul: {
    inputs: (g) => [
      g.input("x", [3, 8]),
      g.matrix("w", [20, 8], "int8"),
      g.input("chosen", [3, 2], "i32"),
    ],
    attrs: { experts: 4 },
    wrong: [{ experts: 3 }, { experts: 0 }, { experts: 2.5 }],
  },
  expertSum: {
    inputs: (g) => [g.input("x", [3, 2, 8]), g.input("weights", [3, 2])],
    attrs: {},
  },
  expertWeights: {
    inputs: (g) => [g.input("scores", [3, 4]), g.input("chosen", [3, 2], "i32")],
    attrs: { over: "all" },
    wrong: [{ over: "none" as "all" }],
  },
  glu: {
    inputs: (g) => [g.input("gate", [3, 8]), g.input("up", [3, 8])],
    attrs: { kind: "gelu" },
    wrong: [{ kind: "swish" as "silu" }, { kind: "reluSquared" as "relu" }],
  },
  headMatmul: {
    inputs: (g) => [g.input("x", [3, 8]), g.matrix("w", [6, 4])],
    attrs: { heads: 2 },
    wrong: [{ heads: 1 }, { heads: 4 }, { heads: 0 }],
  },
  layerNorm: {
    inputs: (g) => [g.input("x", [3, 8]), g.constant("w", [8]), g.constant("b", [8])],
    attrs: { eps: 1e-5 },
    optional: 2,
  },
  logSoftmax: { inputs: (g) => [g.input("x", [3, 8])], attrs: {}, free: 0 },
  matmul: {
    inputs: (g) => [g.input("x", [3, 8]), g.matrix("w", [5, 8], "int8"), g.constant("b", [5])],
    attrs: {},
    optional: 2,
  },
  mul: { inputs: (g) => [g.input("a", [3, 8]), g.input("b", [3, 8])], attrs: {} },
  quantizeActivations: { inputs: (g) => [g.input("x", [3, 8])], attrs: {}, free: 0 },
  rmsNorm: { inputs: (g) => [g.input("x", [3, 8]), g.constant("w", [8])], attrs: { eps: 1e-5 } },
  rope: {
    inputs: (g) => [
      g.input("x", [3, 16]),
      g.input("positions", [3], "i32"),
      g.constant("table", [20, 4]),
    ],
    attrs: { heads: 4, pairing: "half" },
    wrong: [
      { heads: 3, pairing: "half" },
      { heads: 8, pairing: "half" },
      { heads: 0.5, pairing: "half" },
      { heads: 4, pairing: "half", offset: 1 },
      { heads: 2, pairing: "half", offset: -2 },
      { heads: 2, pairing: "half", offset: 0.5 },
      { heads: 4, pairing: "other" as "half" },
    ],
  },
  scale: {
    inputs: (g) => [g.input("x", [3, 8])],
    attrs: { factor: 2 },
    free: 0,
    wrong: [{ factor: NaN }],
  },
  selectColumns: {
    inputs: (g) => [g.input("x", [3, 8]), g.input("columns", [8])],
    attrs: {},
    free: 0,
  },
  selectRows: {
    inputs: (g) => [g.input("x", [3, 8]), g.input("rows", [2], "i32")],
    attrs: {},
  },
  softmax: { inputs: (g) => [g.input("x", [3, 8])], attrs: {}, free: 0 },
  topExperts: {
    inputs: (g) => [g.input("scores", [3, 4])],
    attrs: { count: 2 },
    wrong: [{ count: 0 }, { count: 5 }, { count: 1.5 }],
    free: 0,
  },
};

/** What each operand is replaced by; undefined where that would change nothing or be valid. */
const REPLACEMENTS: Record<
  string,
  (g: Graph, input: Tensor, free: boolean) => Tensor | undefined
> = {
  dtype: (g, { shape, dtype }) =>
    g.input("other", shape as [number], dtype === "i32" ? "f32" : "i32"),
  "matrix role": (g, { role }) => role === "matrix" ? undefined : g.matrix("other", [8, 8]),
  "dense role": (g, { role, shape }) =>
    role === "dense" ? undefined : g.input("other", shape as [number]),
  "cache role": (g, { role, name }) =>
    role === "dense" || role === "matrix"
      ? g.cache("other", "keyCache", [10, 2, 4])
      : name === "values"
      ? g.cache("other", "keyCache", [10, 2, 4])
      : undefined,
  rank: (g, { role, shape, dtype }, free) =>
    role !== "dense" || free ? undefined : g.input("other", [1, ...shape], dtype as "f32" | "i32"),
  "last extent": (g, { role, shape, dtype }, free) => {
    if (free) return undefined;
    const longer = [...shape.slice(0, -1), shape.at(-1)! + 1];
    if (role === "matrix") return g.matrix("other", longer as [number, number]);
    if (role !== "dense") return g.cache("other", role, longer as [number, number, number]);
    return g.input("other", longer as [number], dtype as "f32" | "i32");
  },
};

/** Replacements that are valid operands after all. */
const VALID = new Set([
  "divideColumn x last extent",
  "divideColumn parts last extent",
  "embed ids last extent", // another number of tokens
  "expertMatmul chosen last extent", // another number of experts for each token
  "expertSum x last extent",
  "expertWeights scores last extent",
  "expertWeights chosen last extent",
  "selectColumns x last extent",
  "selectColumns columns last extent",
  "selectRows rows last extent",
  "selectRows x last extent",
  "matmul x rank", // rows may be grouped
  "layerNorm x rank",
  "rmsNorm x rank",
]);

for (const op of Object.keys(OPS) as OpName[]) {
  const { inputs, attrs, wrong = [], free, optional } = CASES[op] as OpCase<OpName>;
  const record = (g: Graph, operands: Tensor[], attributes: unknown = attrs): Tensor =>
    g.op(op, operands, attributes as never);

  Deno.test(`graph() ${op} refuses operands that do not fit`, () => {
    const g = new Graph();
    record(g, inputs(g));
    const count = inputs(new Graph()).length;
    for (const kind of Object.keys(REPLACEMENTS)) {
      for (let i = 0; i < count; i++) {
        const g = new Graph();
        const operands = inputs(g);
        const { name } = operands[i]!;
        const other = REPLACEMENTS[kind]!(g, operands[i]!, free === i);
        if (!other || VALID.has(`${op} ${name} ${kind}`)) continue;
        operands[i] = other;
        const error = assertThrows(
          () => record(g, operands),
          ShapeError,
          `Cannot record ${op}: `,
          `${op}: ${name} with another ${kind}`,
        );
        assertStringIncludes(error.message, "expected");
      }
    }
  });

  Deno.test(`graph() ${op} refuses a wrong number of operands and wrong attributes`, () => {
    const g = new Graph();
    const operands = inputs(g);
    assertThrows(() => record(g, [...operands, operands[0]!]), ShapeError, "inputs, expected");
    assertThrows(() => record(g, []), ShapeError, "0 inputs, expected");
    if (optional === undefined) {
      assertThrows(() => record(g, operands.slice(0, -1)), ShapeError, "inputs, expected");
    } else record(g, operands.toSpliced(optional, 1));
    for (const attributes of wrong) {
      assertThrows(
        () => record(g, operands, attributes),
        ShapeError,
        `Cannot record ${op}: `,
        JSON.stringify(attributes),
      );
    }
  });
}

const WRONG_RECORDINGS: Record<string, { record(g: Graph): void; message: string }> = {
  "a name that is taken": {
    record: (g) => (g.input("x", [2]), g.input("x", [3])),
    message: 'Cannot record "x": the graph has another tensor of that name',
  },
  "a weight named as an input": {
    record: (g) => (g.input("x", [2]), g.constant("x", [2])),
    message: "another tensor of that name",
  },
  "a matrix recorded again in another layout": {
    record: (g) => (g.matrix("w", [2, 2]), g.matrix("w", [2, 2], "int4")),
    message: "another tensor of that name",
  },
  "a tensor named as a result": {
    record: (g) => g.input(g.op("softmax", [g.input("x", [2])]).name, [2]),
    message: "another tensor of that name",
  },
  "an operand of another graph": {
    record: (g) => g.op("softmax", [new Graph().input("x", [2])]),
    message: 'Cannot record softmax: "x" is of another graph',
  },
  "an output of another graph": {
    record(g) {
      const other = new Graph();
      g.op("softmax", [g.input("x", [2])]);
      g.output("y", other.op("softmax", [other.input("x", [2])]));
    },
    message: 'Cannot record output "y": "softmax.0" is of another graph',
  },
  "an output name that is taken": {
    record(g) {
      const y = g.op("softmax", [g.input("x", [2])]);
      g.output("y", y);
      g.output("y", y);
    },
    message: 'Cannot record output "y": the graph has one of that name',
  },
  "an input as output": {
    record: (g) => g.output("y", g.input("x", [2])),
    message: "expected the f32 result of an op",
  },
  "a cache as output": {
    record(g) {
      const cache = g.cache("k", "keyCache", [4, 1, 2]);
      g.output("y", g.op("cacheStore", [cache, g.input("x", [1, 2]), g.input("s", [1], "i32")]));
    },
    message: "origin cache",
  },
  "quantized activations as output": {
    record: (g) => g.output("y", g.op("quantizeActivations", [g.input("x", [2, 32])])),
    message: "type a8",
  },
  "an extent of zero": {
    record: (g) => g.input("x", [2, 0]),
    message: 'Cannot record "x": its shape is [2, 0], expected one or more whole numbers',
  },
  "a fraction as extent": {
    record: (g) => g.constant("x", [1.5]),
    message: "its shape is [1.5]",
  },
  "no extents": { record: (g) => g.constant("x", []), message: "its shape is []" },
  "more elements than numbers can count": {
    record: (g) => g.constant("x", [2 ** 30, 2 ** 30]),
    message: "its shape is [1073741824, 1073741824]",
  },
  "tokens elsewhere than first": {
    record: (g) => g.input("x", [2, "tokens" as unknown as number]),
    message: "its shape is [2, tokens]",
  },
  "one number per token": {
    record: (g) => g.input("x", ["tokens"]),
    message: "expected rows of numbers: [tokens, width]",
  },
  "a graph of no tokens": {
    record: () => new Graph({ tokens: 0 }).input("x", ["tokens", 2]),
    message: "its shape is [0, 2]",
  },
  "an op that does not exist": {
    record: (g) => g.op("convolve" as "softmax", [g.input("x", [2])]),
    message: "Cannot record convolve: there is no such op, expected activation, add",
  },
  "rows per token with fixed rows": {
    record: (g) => g.op("add", [g.input("a", ["tokens", 2]), g.input("b", [4, 2])]),
    message: "Cannot record add: b is f32 [4, 2]",
  },
  "fixed positions of rows per token": {
    record: (g) =>
      g.op("rope", [
        g.input("x", ["tokens", 4]),
        g.input("p", [4], "i32"),
        g.constant("t", [9, 4]),
      ], { heads: 1, pairing: "half" }),
    message: "Cannot record rope: positions is i32 [4]",
  },
};

for (const [name, { record, message }] of Object.entries(WRONG_RECORDINGS)) {
  Deno.test(`graph() refuses ${name}`, () => {
    assertThrows(() => record(new Graph({ tokens: 4 })), ShapeError, message);
  });
}

Deno.test("graph() lets a weight be recorded where it is used, twice", () => {
  const g = new Graph();
  assertEquals(g.matrix("w", [2, 2]), g.matrix("w", [2, 2]));
  assertEquals(g.tensors.length, 1);
});

// Programs.

const BACKENDS = [
  { backend: "reference" },
  { backend: "wasm", threads: 1 },
  { backend: "wasm", threads: 3 },
] as const;

/** A table, rows chosen from it, and a per-token sum with a fixed input. */
function example(): Graph {
  const g = new Graph({ tokens: 5 });
  const rows = g.op("embed", [g.input("ids", ["tokens"], "i32"), g.matrix("table", [4, 3])]);
  const sum = g.op("add", [rows, g.input("bias", [3])]);
  g.output("sum", sum);
  g.output("picked", g.op("selectRows", [sum, g.input("pick", [1], "i32")]));
  return g;
}

const TABLE = Float32Array.from({ length: 12 }, (_, i) => i);

const RIGHT = { ids: Int32Array.of(1), bias: new Float32Array(3), pick: Int32Array.of(0) };

const WRONG_DATA: Record<
  string,
  { data: Record<string, Float32Array | Int32Array>; message: string }
> = {
  "an unknown input": {
    data: { idz: Int32Array.of(1) },
    message: 'Cannot run: there is no input "idz", expected ids, bias, pick',
  },
  "too few numbers": {
    data: { bias: Float32Array.of(1, 2) },
    message: 'Cannot run: input "bias" has 2 values, expected shape [3]',
  },
  "no rows": {
    data: { ids: Int32Array.of() },
    message: 'Cannot run: input "ids" has 0 values, expected shape [1 to 5]',
  },
  "too many rows": {
    data: { ids: new Int32Array(6) },
    message: 'input "ids" has 6 values, expected shape [1 to 5]',
  },
  "an index past the table": {
    data: { ...RIGHT, ids: Int32Array.of(0, 4) },
    message: 'input "ids" has index 4, expected a whole number from 0 to 3, the rows of "table"',
  },
  "a negative index": { data: { ...RIGHT, ids: Int32Array.of(-1) }, message: "has index -1" },
  "a row past the tokens of the run": {
    data: { ...RIGHT, ids: Int32Array.of(0, 1), pick: Int32Array.of(2) },
    message: 'input "pick" has index 2, expected a whole number from 0 to 1',
  },
  "floats for whole numbers": {
    data: { ...RIGHT, ids: Float32Array.of(1) },
    message: 'Cannot run: input "ids" is [1], expected an Int32Array',
  },
  "whole numbers for floats": {
    data: { ...RIGHT, bias: Int32Array.of(1, 2, 3) },
    message: 'Cannot run: input "bias" is [1, 2, 3], expected a Float32Array',
  },
  "no typed array": {
    data: { ...RIGHT, bias: [1, 2, 3] as unknown as Float32Array },
    message: 'input "bias" is [1, 2, 3], expected a Float32Array',
  },
  "an input twice as long": {
    data: { ...RIGHT, bias: new Float32Array(6) },
    message: 'Cannot run: input "bias" has 6 values, expected shape [3]',
  },
  "an input left out": {
    data: { ids: Int32Array.of(1), pick: Int32Array.of(0) },
    message: 'Cannot run: input "bias" is missing, expected all of ids, bias, pick',
  },
  "an input that nobody knows beside all others": {
    data: { ...RIGHT, more: new Float32Array(1) },
    message: 'Cannot run: there is no input "more", expected ids, bias, pick',
  },
  "nothing": { data: {}, message: 'input "ids", "bias", "pick" is missing' },
};

for (const options of BACKENDS) {
  const label = `${options.backend}${"threads" in options ? ` ${options.threads}` : ""}`;
  const start = (g: Graph, weights: Record<string, Float32Array>): Promise<Program> =>
    compile(g, { ...options, weights });

  Deno.test(`compile() runs as many tokens as it is given, on ${label}`, async () => {
    await using program = await start(example(), { table: TABLE });
    const bias = Float32Array.of(10, 20, 30);
    assertEquals(
      await program.run({ ids: Int32Array.of(3, 0), bias, pick: Int32Array.of(1) }),
      { sum: Float32Array.of(19, 30, 41, 10, 21, 32), picked: Float32Array.of(10, 21, 32) },
    );
    const all = await program.run({ ...RIGHT, ids: Int32Array.of(0, 1, 2, 3, 3) });
    assertEquals(all.sum, Float32Array.of(...TABLE, 9, 10, 11));
    const { sum } = await program.run({ ...RIGHT, ids: Int32Array.of(2) });
    assertEquals(sum, Float32Array.of(6, 7, 8));
    // What was given may change at once.
    const reused = Int32Array.of(3), running = program.run({ ...RIGHT, ids: reused });
    reused[0] = 0;
    assertEquals((await running).sum, Float32Array.of(9, 10, 11));
  });

  Deno.test(`compile() refuses data that does not fit, and goes on, on ${label}`, async () => {
    await using program = await start(example(), { table: TABLE });
    await program.run(RIGHT);
    for (const { data, message } of Object.values(WRONG_DATA)) {
      await assertRejects(() => program.run(data), InputError, message);
    }
    assertEquals((await program.run(RIGHT)).sum, Float32Array.of(3, 4, 5));
  });

  Deno.test(`compile() answers runs in turn, on ${label}`, async () => {
    await using program = await start(example(), { table: TABLE });
    const runs = Array.from({ length: 12 }, (_, i) =>
      program.run({
        ids: new Int32Array(1 + i % 5).fill(i % 4),
        bias: new Float32Array(3).fill(i),
        pick: Int32Array.of(0),
      }));
    for (const [i, { sum, picked }] of (await Promise.all(runs)).entries()) {
      const row = TABLE.subarray(3 * (i % 4), 3 * (i % 4) + 3).map((it) => it + i);
      assertEquals(picked, row);
      assertEquals(sum, Float32Array.from({ length: 3 * (1 + i % 5) }, (_, j) => row[j % 3]!));
    }
  });

  Deno.test(`compile() ends runs before it is disposed, on ${label}`, async () => {
    const program = await start(example(), { table: TABLE });
    const runs = [1, 2, 3].map((id) => program.run({ ...RIGHT, ids: Int32Array.of(id) }));
    await Promise.all([program.dispose(), program.dispose()]);
    for (const run of runs) assertEquals((await run).sum!.length, 3);
    await assertRejects(
      () => program.run({ ids: Int32Array.of(1) }),
      InputError,
      "Cannot run a program that has been disposed",
    );
  });

  Deno.test(`compile() handles fixed ids, grouped rows and unused tensors, on ${label}`, async () => {
    const g = new Graph({ tokens: 3 });
    g.input("unread", [2]);
    g.constant("unused", [2]);
    const table = g.matrix("table", [4, 3]);
    g.output("fixed", g.op("embed", [g.input("ids", [3], "i32"), table]));
    const x = g.input("x", ["tokens", 2, 2]); // two rows per token
    const relu = g.op("activation", [x], { kind: "relu" });
    g.output("grouped", g.op("matmul", [relu, g.matrix("w", [1, 2])]));
    await using program = await start(g, { table: TABLE, w: Float32Array.of(1, 10) });
    const { fixed, grouped } = await program.run({
      unread: Float32Array.of(1, 2),
      ids: Int32Array.of(2, 0, 1),
      x: Float32Array.of(1, 2, 3, -1, 5, 6, 7, 8),
    });
    assertEquals(fixed, Float32Array.of(6, 7, 8, 0, 1, 2, 3, 4, 5));
    assertEquals(grouped, Float32Array.of(21, 3, 65, 87));
  });

  Deno.test(`compile() names the weight that is wrong, on ${label}`, async () => {
    for (const [table, found] of [[undefined, "no"], [new Float32Array(11), "11"]] as const) {
      await assertRejects(
        () => start(example(), table ? { table } : {}),
        InputError,
        `Cannot compile: weight "table" has ${found} values, expected 12`,
      );
    }
  });
}

Deno.test("compile() refuses one number of tokens here and another there", async () => {
  const g = new Graph({ tokens: 4 });
  g.output("y", g.op("add", [g.input("a", ["tokens", 1]), g.input("b", ["tokens", 1])]));
  await using program = await compile(g, { backend: "reference" });
  const three = new Float32Array(3), two = new Float32Array(2);
  const message = 'Cannot run: found rows 3 of "a", 2 of "b", expected one number of tokens';
  await assertRejects(() => program.run({ a: three, b: two }), InputError, message);
  assertEquals((await program.run({ a: three, b: three })).y!.length, 3);
  await assertRejects(() => program.run({ b: two }), InputError, 'input "a" is missing');
});

Deno.test("compile() runs a graph of no ops", async () => {
  for (const options of BACKENDS) {
    await using program = await compile(new Graph(), options);
    assertEquals(await program.run({}), {});
  }
});

Deno.test("compile() refuses backends and threads that do not exist", async () => {
  const wrong = [
    [
      { backend: "cuda" as "wasm" },
      InputError,
      'Cannot compile with backend "cuda": expected auto, wasm',
    ],
    ...[0, -1, 1.5, NaN, 1e6].map((threads) =>
      [
        { threads },
        InputError,
        `threads ${threads}: expected a whole number from 1 to 256`,
      ] as const
    ),
  ] as const;
  for (const [options, type, message] of wrong) {
    await assertRejects(() => compile(example(), options), type, message);
  }
});

Deno.test("withOutputs() keeps the ops, and these results alone can be read", async () => {
  const g = new Graph();
  const x = g.input("x", [1, 4]), soft = g.op("softmax", [x]);
  g.output("soft", soft);
  g.output("twice", g.op("add", [soft, soft]));
  const one = g.withOutputs(["twice"]);
  assertEquals([one.nodes, one.tensors], [g.nodes, g.tensors]);
  await using program = await compile(one, { backend: "reference" });
  assertEquals(await program.run({ x: new Float32Array(4) }), {
    twice: new Float32Array(4).fill(0.5),
  });
  assertThrows(() => g.withOutputs(["other"]), ShapeError, 'output "other"');
});
