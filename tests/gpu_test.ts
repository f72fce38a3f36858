/**
 * The WebGPU backend beyond its ops (ops_test.ts) and golden models (golden_test.ts): shaders in two
 * compilers, matrices in slices, a real model's text, and faults.
 */

import { assert, assertEquals, assertRejects, assertThrows } from "@std/assert";
import { BackendError } from "../errors.ts";
import { detectBackends, loadModel, type LoadOptions } from "../mod.ts";
import { planeRowBytes } from "../kernels/pack/planes.ts";
import { CACHE_TYPES } from "../kernels/op.ts";
import type { OpName } from "../kernels/ops.ts";
import { encodeRows, LAYOUT_NAMES, LAYOUTS } from "../quant/formats.ts";
import { argmax } from "../runtime/generation/most_likely.ts";
import { Graph } from "../runtime/graph/graph.ts";
import type { Backend } from "../runtime/backends/backend.ts";
import { makePlan } from "../runtime/graph/plan.ts";
import { createReferenceBackend } from "../runtime/backends/reference/backend.ts";
import { createWasmBackend } from "../runtime/backends/wasm/backend.ts";
import { createWebgpuBackend } from "../runtime/backends/webgpu/backend.ts";
import { type Gpu, openDevice } from "../runtime/backends/webgpu/device.ts";
import { below, type OpCase } from "../cases/recorder.ts";
import { runCase } from "../cases/runner.ts";
import { FIXTURES, normalNumbers, randomNumbers } from "./fixtures.ts";
import { CASES } from "../cases/cases.ts";
import { compileShaders } from "./shader_compile.ts";
import { tinyBlob } from "./tiny_model.ts";
import { hasWebgpu, withDevices } from "./webgpu_adapter.ts";

const ignore = !hasWebgpu;
const STORIES = new URL("models/stories260K/", FIXTURES);
const BROKEN = { name: "broken", code: "fn main( {}", access: [] };

Deno.test({ name: "every shader compiles on the adapter", ignore }, async () => {
  const { device, subgroupLines } = await openDevice();
  for (const lines of new Set([undefined, subgroupLines])) {
    const { compiled, errors } = await compileShaders(device, lines);
    assertEquals(errors, []);
    assert(compiled >= 50, `only ${compiled} pipelines were made`);
  }
  const [error, ...others] = (await compileShaders(device, undefined, [BROKEN])).errors;
  assert(error!.startsWith('Cannot compile shader "broken": '), error);
  assertEquals(others, []);
  device.destroy();
});

Deno.test("every shader compiles with Dawn", async () => {
  const script = new URL("dawn_process.ts", import.meta.url);
  const { stdout, stderr } = await new Deno.Command(Deno.execPath(), {
    args: ["run", "--quiet", "-A", script.href],
    signal: AbortSignal.timeout(120_000),
  }).output();
  const text = new TextDecoder().decode(stdout);
  if (!text.startsWith("loaded") && Deno.env.get("CI") !== "true") {
    return console.log("skipped: Dawn (npm:webgpu) cannot be loaded here");
  }
  assert(text.endsWith("}\n"), new TextDecoder().decode(stderr));
  const { shared, subgroups, broken } = JSON.parse(text.trim().split("\n").at(-1)!);
  for (const { compiled, errors } of [shared, subgroups]) {
    assertEquals(errors, []);
    assert(compiled >= 50, `only ${compiled} pipelines were made`);
  }
  assertEquals(broken, 1);
});

Deno.test({ name: "integer activations are an option of the backend", ignore }, async () => {
  const g = new Graph({ tokens: 3 });
  const x = g.input("x", ["tokens", 64]);
  g.output("y", g.op("matmul", [x, g.matrix("w", [5, 64], "int4")]));
  const values = normalNumbers(3 * 64, randomNumbers(1));
  const weights = encodeRows(LAYOUTS.int4, normalNumbers(5 * 64, randomNumbers(2)), 64);
  const run = async (backend: Backend): Promise<Float32Array> => {
    const lowered = backend.lower(g);
    const plan = makePlan(lowered, (type) => backend.bytesOf(type));
    backend.place(plan);
    await backend.writeRows("w", 0, weights);
    const executable = backend.compile(plan);
    executable.write("x", values);
    await executable.run(3);
    const y = await executable.read("y", 15);
    await backend.dispose();
    return y;
  };
  const integer = await run(await createWebgpuBackend({ integer: true }));
  const float = await run(await createWebgpuBackend());
  const wasm = await run(await createWasmBackend({ threads: 1 }));
  integer.forEach((value, i) => assert(Math.abs(value - wasm[i]!) <= 1e-4, `${value} ${wasm[i]}`));
  assert(integer.some((value, i) => Math.abs(value - float[i]!) > 1e-3), "nothing was rounded");
});

Deno.test({ name: "attention of one token divides its span", ignore }, async () => {
  const spans = [[0, 600], [5, 5], [100, 131], [599, 600], [0, 64], [300, 430]];
  const rows = 600, kvHeads = 2, headDim = 8;
  for (const dtype of CACHE_TYPES) {
    const row: OpCase<"attention"> = {
      title: dtype,
      tokens: 1,
      runs: spans.map(() => 1),
      bound: 1e-5,
      record(r, op) {
        const fill = (role: "keyCache" | "valueCache") =>
          r.graph.op("cacheStore", [
            r.cache(role, [rows, kvHeads, headDim], dtype),
            r.input([rows, kvHeads * headDim]),
            r.indices([rows], (_, i) => i),
          ]);
        const span = r.indices(["tokens", 2], (_, i, { index }) => spans[index]![i]!);
        const q = r.input(["tokens", 4 * headDim]);
        return op([q, fill("keyCache"), fill("valueCache"), span], { heads: 4, scale: 1 });
      },
    };
    const gpu = await createWebgpuBackend({ traits: { invocations: 2 ** 17 } });
    const actual = await runCase(gpu, "attention", row, row.title);
    const expected = await runCase(createReferenceBackend(), "attention", row, row.title);
    expected.forEach((values, run) =>
      values.forEach((value, i) =>
        assert(Math.abs(actual[run]![i]! - value) <= row.bound, `${dtype}, span ${spans[run]}`)
      )
    );
    await gpu.dispose();
  }
});

Deno.test({ name: "kernels do without subgroups", ignore }, async () => {
  const [plain, other] = [
    await createWebgpuBackend({ reduction: "shared" }),
    await createWebgpuBackend(),
  ];
  const ops = ["attention", "layerNorm", "matmul", "rmsNorm", "softmax"] as const;
  for (const op of [...ops, "expertWeights"] as const) {
    // Sums in another order; what is special about numbers is tested elsewhere.
    const rows = (CASES[op] as readonly OpCase<OpName>[]).filter((row, i) =>
      !row.bench && i % 7 === 0
    );
    for (const row of rows) {
      const found = await runCase(plain, op, row, row.title);
      for (const [run, expected] of (await runCase(other, op, row, row.title)).entries()) {
        const most = expected.filter(Number.isFinite).reduce((a, b) => Math.max(a, Math.abs(b)), 0);
        expected.forEach((value, i) => {
          const actual = found[run]![i]!, message = `${op}: ${row.title}`;
          if (!Number.isFinite(value)) assertEquals(actual, value, message);
          else assert(Math.abs(actual - value) <= 1e-5 * most, message);
        });
      }
    }
  }
  await plain.dispose();
  await other.dispose();
});

Deno.test({ name: "matrices larger than a binding lie in slices", ignore }, async () => {
  const [rows, columns] = [100, 70];
  for (const layout of LAYOUT_NAMES) {
    const cases = {
      embed: {
        title: `embed ${layout}`,
        bound: 0,
        record: (r, op) =>
          op([r.indices(["tokens"], below(rows)), r.matrix([rows, columns], layout)], {}),
      } satisfies OpCase<"embed">,
      matmul: {
        title: `matmul ${layout}`,
        bound: 0,
        record: (r, op) =>
          op([
            r.input(["tokens", columns]),
            r.matrix([rows, columns], layout),
            r.constant([rows]),
          ], {}),
      } satisfies OpCase<"matmul">,
      // 25 rows each, so that experts are cut too; for few and for many tokens.
      expertMatmul: {
        title: `expertMatmul ${layout}`,
        tokens: 20,
        runs: [20, 3],
        bound: 0,
        record: (r, op) =>
          op([
            r.input(["tokens", columns]),
            r.matrix([rows, columns], layout),
            r.indices(["tokens", 2], below(4)),
          ], { experts: 4 }),
      } satisfies OpCase<"expertMatmul">,
    };
    // Slices of 48, 48 and 4 rows.
    const maxBindingBytes = 50 * Math.max(...planeRowBytes(layout, columns));
    const sliced = await createWebgpuBackend({ maxBindingBytes });
    const whole = await createWebgpuBackend();
    for (const [op, row] of Object.entries(cases) as ["embed", OpCase<"embed">][]) {
      assertEquals(
        await runCase(sliced, op, row, row.title),
        await runCase(whole, op, row, row.title),
        row.title,
      );
    }
    await sliced.dispose();
    await whole.dispose();
  }
});

async function loadStories(options: LoadOptions) {
  const expected: { promptText: string; promptIds: number[]; greedyIds: number[] } = JSON.parse(
    await Deno.readTextFile(new URL("expected.json", STORIES)),
  );
  return { ...expected, model: await loadModel(new URL("stories260K.gguf", STORIES), options) };
}

Deno.test({
  name: "stories260K continues on webgpu as llama.cpp does",
  ignore,
  async fn(): Promise<void> {
    const { model, promptText, promptIds, greedyIds } = await loadStories({ backend: "webgpu" });
    const options = { temperature: 0, maxTokens: 150, stopIds: [] };
    let text = "";
    const ids: number[] = [];
    for await (const token of model.session().generate(promptText, options)) {
      ids.push(token.id);
      text += token.text;
    }
    assertEquals(ids, greedyIds.slice(0, 150));
    const whole = model.tokenizer.decode([...promptIds, ...ids]);
    assertEquals(model.tokenizer.decode(promptIds) + text, whole);
    await model.dispose();
  },
});

Deno.test({
  name: "stories260K, 200 tokens forced on webgpu: logits are those of the reference",
  ignore,
  async fn(): Promise<void> {
    const { model: reference, promptIds, greedyIds } = await loadStories({ backend: "reference" });
    const ids = [...promptIds, ...greedyIds].slice(0, 200);
    const expected = await reference.logits({ ids }), width = reference.config.vocabSize;
    await reference.dispose();
    const row = (logits: Float32Array, i: number): Float32Array =>
      logits.subarray(i * width, (i + 1) * width);
    const compare = (what: string, actual: Float32Array, bound: number, least: number): void => {
      let most = 0;
      actual.forEach((value, i) => {
        const off = Math.abs(value - expected[i]!);
        most = off <= most ? most : off; // NaN counts as the largest
      });
      const agreed = ids.filter((_, i) => argmax(row(actual, i)) === argmax(row(expected, i)));
      console.log(`${what}: top-1 ${agreed.length} of 200, largest difference ${most}`);
      assert(most <= bound && agreed.length >= least, what);
    };

    const { model } = await loadStories({ backend: "webgpu" });
    const session = model.session(), stepped = new Float32Array(expected.length);
    for (const [i, id] of ids.entries()) stepped.set(await session.step(id), i * width);
    compare("one by one", stepped, 1e-3, 200);
    compare("together", await model.logits({ ids }), 1e-3, 200);
    await model.dispose();
    const { model: half } = await loadStories({ backend: "webgpu", cacheType: "f16" });
    compare("together, f16 cache", await half.logits({ ids }), 5e-2, 196);
    await half.dispose();
  },
});

Deno.test({ name: "a lost device ends generation with an error", ignore }, async () => {
  let device: GPUDevice | undefined;
  await withDevices((it) => device = it, async () => {
    const model = await loadModel(await tinyBlob(), { backend: "webgpu" });
    const settings = { temperature: 0, maxTokens: 40, stopIds: [] };
    const { ids: whole } = await model.complete([1, 2], settings);
    const ids: number[] = [];
    await assertRejects(
      async () => {
        for await (const { id } of model.session().generate([1, 2], settings)) {
          if (ids.push(id) === 3) device!.destroy();
        }
      },
      BackendError,
      "the GPU device was lost",
    );
    // Tokens that were chosen ahead and read before the loss still come, and they are right.
    assert(ids.length >= 3 && ids.length < whole.length, `${ids.length} tokens came`);
    assertEquals(ids, [...whole.slice(0, ids.length)]);
    await model.dispose();
  });
});

Deno.test("without an adapter, or a device, webgpu says what to do", async () => {
  const none: Gpu = { requestAdapter: () => Promise.resolve(null) };
  await assertRejects(
    () => createWebgpuBackend({ gpu: none }),
    BackendError,
    'Cannot use backend "webgpu": no adapter was found; install the GPU\'s Vulkan driver',
  );
  const failing: Gpu = { requestAdapter: () => Promise.reject(new Error("no luck")) };
  await assertRejects(() => createWebgpuBackend({ gpu: failing }), BackendError, "no adapter");
  const stingy: Gpu = {
    requestAdapter: () =>
      Promise.resolve({
        limits: {},
        features: new Set(),
        info: { description: "thrifty" },
        requestDevice: () => Promise.reject(new Error("not today")),
      } as unknown as GPUAdapter),
  };
  await assertRejects(
    () => createWebgpuBackend({ gpu: stingy }),
    BackendError,
    'adapter "thrifty" gives no device: not today; use backend "wasm"',
  );
});

Deno.test({ name: "inputs and outputs that do not exist are refused", ignore }, async () => {
  const g = new Graph({ tokens: 4 });
  const x = g.input("x", ["tokens", 8]);
  g.output("y", g.op("add", [x, x]));
  const backend = await createWebgpuBackend();
  const executable = backend.compile(makePlan(g, (type) => backend.bytesOf(type)));
  assertThrows(() => executable.write("z", new Float32Array(8)), BackendError, 'input "z"');
  assertThrows(() => executable.write("x", new Float32Array(33)), BackendError, "at most 32");
  await assertRejects(async () => await executable.read("z", 8), BackendError, 'output "z"');
  await assertRejects(() => backend.writeRows("w", 0, new Uint8Array(4)), BackendError, "placed");
  executable.write("x", new Float32Array(8).fill(21));
  await executable.run(1);
  assertEquals(await executable.read("y", 8), new Float32Array(8).fill(42));
  await backend.dispose();
  await assertRejects(() => executable.run(1), BackendError, "disposed");
});

Deno.test({ name: "detectBackends() describes the adapter", ignore }, async () => {
  const { webgpu } = await detectBackends();
  if (!webgpu) throw new Error("an adapter was there a moment ago");
  assert(webgpu.name !== "" && webgpu.maxBindingBytes >= 2 ** 27);
  assertEquals(typeof webgpu.f16, "boolean");
  assertEquals(typeof webgpu.subgroups, "boolean");
});
