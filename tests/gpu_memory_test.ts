/**
 * Memory of the WebGPU backend: caches that grow, buffers that are given back, what does not fit.
 */

import { assert, assertAlmostEquals, assertEquals, assertRejects, assertThrows } from "@std/assert";
import { CASES } from "../cases/cases.ts";
import { deviation, runCase } from "../cases/runner.ts";
import { InputError, MemoryError } from "../errors.ts";
import { loadModel, type Model } from "../mod.ts";
import type { Backend } from "../runtime/backends/backend.ts";
import { Graph } from "../runtime/graph/graph.ts";
import { makePlan } from "../runtime/graph/plan.ts";
import { createReferenceBackend } from "../runtime/backends/reference/backend.ts";
import { createWebgpuBackend, type WebgpuBackend } from "../runtime/backends/webgpu/backend.ts";
import { normalNumbers, randomNumbers } from "./fixtures.ts";
import { tinyBlob } from "./tiny_model.ts";
import { hasWebgpu, withDevices } from "./webgpu_adapter.ts";

const ignore = !hasWebgpu;

Deno.test(
  { name: "caches grow with the rows that runs need, and keep what they hold", ignore },
  async () => {
    const rows = 3000, width = 8;
    const bytesAfter: number[] = [];
    const run = async (backend: Backend & { bytes?: number }): Promise<Float32Array[]> => {
      const random = randomNumbers(3), results: Float32Array[] = [];
      const g = new Graph({ tokens: 4 });
      const places = g.input("rows", ["tokens"], "i32"),
        spans = g.input("spans", ["tokens", 2], "i32");
      const store = (name: string, role: "keyCache" | "valueCache") =>
        g.op("cacheStore", [
          g.cache(name, role, [rows, 1, width]),
          g.input(`new ${name}`, ["tokens", width]),
          places,
        ]);
      const keys = store("keys", "keyCache"), values = store("values", "valueCache");
      const q = g.input("q", ["tokens", width]);
      g.output("y", g.op("attention", [q, keys, values, spans], { heads: 1, scale: 0.1 }));
      const plan = makePlan(g, (type) => backend.bytesOf(type));
      backend.place(plan);
      const [first, second] = [backend.compile(plan), backend.compile(plan)];
      for (const [i, start] of [0, 4, 506, 510, 1500, 8, 2996, 2996].entries()) {
        const executable = i % 2 ? second : first, tokens = start === 506 ? 1 : 4;
        const list = Int32Array.from({ length: tokens }, (_, token) => start + token);
        executable.write("rows", list);
        executable.write("spans", Int32Array.from([...list].flatMap((row) => [0, row + 1])));
        for (const name of ["new keys", "new values", "q"]) {
          executable.write(name, normalNumbers(tokens * width, random));
        }
        await executable.run(tokens);
        results.push(await executable.read("y", tokens * width));
        if (backend.bytes) bytesAfter.push(backend.bytes);
      }
      await backend.dispose();
      return results;
    };
    const gpu: WebgpuBackend = await createWebgpuBackend();
    const actual = await run(gpu), expected = await run(createReferenceBackend());
    expected.forEach((values, i) =>
      values.forEach((value, at) => assertAlmostEquals(actual[i]![at]!, value, 1e-5, `run ${i}`))
    );
    // From when both have a copy of their results.
    const steps = bytesAfter.slice(1).map((bytes) => bytes - bytesAfter[1]!);
    const row = 2 * 4 * width; // of both caches
    assertEquals(steps.map((it) => it / row), [0, 0, 512, 1536, 1536, 2488, 2488]);
    assertEquals(gpu.bytes, 0);
  },
);

async function generated(model: Model, options: { ahead: boolean }): Promise<number[]> {
  using session = model.session();
  if (!options.ahead) session.ahead = () => undefined;
  const ids: number[] = [], prompt = Array.from({ length: 500 }, (_, i) => 3 + i % 20);
  const settings = { temperature: 1, seed: 5, maxTokens: 40, stopIds: [] };
  for await (const { id } of session.generate(prompt, settings)) ids.push(id);
  return ids;
}

Deno.test({ name: "caches grow while tokens are chosen ahead", ignore }, async () => {
  const blob = await tinyBlob({ context: 2048 });
  const load = (contextLength: number): Promise<Model> =>
    loadModel(blob, { backend: "webgpu", contextLength });
  await using growing = await load(2048);
  await using stepping = await load(2048);
  await using fixed = await load(544); // a little more than the first rows
  const ids = await generated(growing, { ahead: true });
  assertEquals(ids, await generated(stepping, { ahead: false }));
  assertEquals(ids, await generated(fixed, { ahead: true }));
});

Deno.test({ name: "Model.dispose() destroys every buffer", ignore }, async () => {
  const alive = new Map<GPUBuffer, number>();
  let most = 0, lost: Promise<unknown> | undefined;
  await withDevices((device) => {
    lost = device.lost;
    const create = device.createBuffer;
    device.createBuffer = (descriptor) => {
      const buffer = create.call(device, descriptor), destroy = buffer.destroy;
      alive.set(buffer, descriptor.size);
      most = Math.max(most, alive.values().reduce((sum, size) => sum + size, 0));
      buffer.destroy = () => {
        alive.delete(buffer);
        destroy.call(buffer);
      };
      return buffer;
    };
  }, async () => {
    const model = await loadModel(await tinyBlob({ type: "Q4_0", context: 2048 }), {
      backend: "webgpu",
    });
    await model.logits({ ids: [1, 2, 3] });
    const { size } = alive;
    await model.session().prefill(new Array(600).fill(4)); // for which caches grow
    assert(most > alive.size && size > 20);
    assert(alive.size > 20 && most > 50_000, `${alive.size} buffers, ${most} bytes`);
    await model.dispose();
    assertEquals(alive.size, 0);
    await lost; // the device itself
    await assertRejects(() => model.session().prefill([4]), InputError, "disposed");
  });
});

Deno.test({ name: "what does not fit is a MemoryError, at once or later", ignore }, async () => {
  const storing = new Graph(), multiplying = new Graph();
  const cache = storing.cache("huge", "keyCache", [2 ** 20, 2 ** 8, 2 ** 8]);
  const row = storing.input("row", [1, 2 ** 16]);
  storing.op("cacheStore", [cache, row, storing.input("rows", [1], "i32")]);
  const x = multiplying.input("x", [1, 1000]);
  multiplying.op("matmul", [x, multiplying.matrix("wide", [16, 1000])]);
  const backend = await createWebgpuBackend({ maxBindingBytes: 50_000 });
  const message = 'Cannot place "huge" on the GPU: it takes 274877906944 bytes, a shader sees';
  const place = (g: Graph): void => backend.place(makePlan(g, (type) => backend.bytesOf(type)));
  assertThrows(() => place(storing), MemoryError, message);
  assertThrows(
    () => place(multiplying),
    MemoryError,
    'Cannot place "wide" on the GPU: 16 rows',
  );
  assertEquals(backend.bytes, 0);
  await backend.dispose();

  let device: GPUDevice | undefined;
  await withDevices((it) => device = it, async () => {
    const backend = await createWebgpuBackend();
    // As if the memory were exhausted: the first scope catches an error.
    const pop = device!.popErrorScope;
    device!.popErrorScope = async () => {
      device!.popErrorScope = pop;
      await pop.call(device);
      return new GPUOutOfMemoryError("all is taken");
    };
    const { tensor, write } = smallWeight(backend);
    await assertRejects(
      write,
      MemoryError,
      `Cannot place "${tensor}" on the GPU (32 bytes): all is`,
    );
  });
});

Deno.test(
  { name: "tables that are cut by rows give those of ids, zeros for others", ignore },
  async () => {
    const reference = createReferenceBackend();
    const backend = await createWebgpuBackend({ maxBindingBytes: 4096 }); // 16 rows of up to 64 floats
    const cases = CASES.embed.filter(({ title }) => /rows from id|21 x|again/.test(title));
    for (const row of cases) {
      const expected = await runCase(reference, "embed", row, row.title);
      const actual = await runCase(backend, "embed", row, row.title);
      expected.forEach((result, run) => {
        assert(deviation(actual[run]!, result) <= row.bound, `${row.title}, run ${run}`);
      });
    }
    assert(cases.length > 20);
    await backend.dispose();
  },
);

function smallWeight(backend: Awaited<ReturnType<typeof createWebgpuBackend>>) {
  const g = new Graph(), weight = g.constant("small", [8]);
  g.output("y", g.op("add", [weight, weight]));
  const plan = makePlan(g, (type) => backend.bytesOf(type));
  backend.place(plan);
  return {
    tensor: weight.name,
    write: async (): Promise<void> => {
      try {
        await backend.compile(plan).run(1);
      } finally {
        await backend.dispose();
      }
    },
  };
}
