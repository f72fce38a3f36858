/** Models whose first layers run on one backend and the rest on another. */

import { assert, assertEquals, assertRejects, assertThrows } from "@std/assert";
import {
  BackendError,
  InputError,
  loadModel,
  type LoadOptions,
  type Model,
  ShapeError,
} from "../mod.ts";
import { Engine } from "../runtime/engine/engine.ts";
import { openModelFile } from "../runtime/files/open.ts";
import { Graph } from "../runtime/graph/graph.ts";
import { findDefinition } from "../runtime/models/registry.ts";
import { placeGraphs } from "../runtime/backends/placement.ts";
import { createReferenceBackend } from "../runtime/backends/reference/backend.ts";
import { Session } from "../runtime/generation/session.ts";
import { createSplitBackend } from "../runtime/backends/split/backend.ts";
import { cutGraph } from "../runtime/backends/split/cut.ts";
import { createWasmBackend } from "../runtime/backends/wasm/backend.ts";
import { loadWeights } from "../runtime/engine/load_weights.ts";
import { resolveWeights } from "../runtime/models/weights.ts";
import { tinyBlob, type TinyOptions } from "./tiny_model.ts";
import { hasWebgpu } from "./webgpu_adapter.ts";

const IDS = Array.from({ length: 40 }, (_, i) => (7 * i + 3) % 40);

async function text(model: Model): Promise<number[]> {
  const ids: number[] = [];
  const options = { temperature: 1, seed: 2, maxTokens: 20, stopIds: [] };
  for await (const { id } of model.session().generate([1, 2, 3], options)) ids.push(id);
  return ids;
}

function assertClose(actual: Float32Array, expected: Float32Array, bound = 1e-4): void {
  assertEquals(actual.length, expected.length);
  actual.forEach((it, i) => assert(Math.abs(it - expected[i]!) <= bound, `${it} ${expected[i]}`));
}

/** Rows of logits of a model on the reference with some layers, and `wasm` with the others. */
async function splitLogits(
  options: TinyOptions,
  layers: number,
  stageBytes: number,
): Promise<{ logits: Float32Array; engine: Engine }> {
  const file = await openModelFile(await tinyBlob(options));
  const definition = await findDefinition(file);
  const config = definition.parseConfig(file);
  const weights = resolveWeights(await definition.weights(config, file, 64), file, "as-is");
  const outer = await createWasmBackend({ threads: 2, stageBytes });
  const backend = createSplitBackend(createReferenceBackend(), outer, layers);
  const engine = new Engine(definition, config, weights, backend, {
    contextLength: 64,
    sequences: 2,
    cacheType: "f32",
    chunk: 16,
  });
  await loadWeights(weights, backend);
  engine.prepare();
  const session = new Session({ engine, tokenizer: undefined, stopIds: [] });
  return { logits: await session.prefill(IDS), engine };
}

Deno.test("any number of layers may be on the other backend, over any number of memories", async () => {
  for (const tied of [false, true]) {
    const model: TinyOptions = { layers: 4, tied };
    await using whole = await loadModel(await tinyBlob(model), { backend: "reference" });
    const expected = (await whole.logits({ ids: IDS })).slice(-whole.config.vocabSize);
    let held = 0;
    for (const layers of [0, 1, 3, 4]) {
      for (const stageBytes of [2 ** 30, 120_000]) {
        const { logits, engine } = await splitLogits(model, layers, stageBytes);
        assertClose(logits, expected);
        const { reference = 0, wasm = 0 } = engine.placedBytes;
        assert(layers === 0 ? reference === 0 : reference > held, `${reference} bytes`);
        assert(wasm > 0);
        if (stageBytes < 2 ** 30) held = reference;
        else if (layers < 3) assertEquals(engine.stages, 3);
        await engine.dispose();
      }
    }
  }
});

for (const type of ["F32", "F16"] as const) {
  Deno.test({
    name: `gpuLayers: ${type} on webgpu and wasm computes the same`,
    ignore: !hasWebgpu,
    async fn(): Promise<void> {
      const blob = await tinyBlob({ layers: 3, type, context: 128 });
      const load = (options: LoadOptions) => loadModel(blob, { threads: 2, ...options });
      await using plain = await load({ backend: "wasm" });
      const expected = await plain.logits({ ids: IDS }), written = await text(plain);
      for (const gpuLayers of [0, 1, 2, 3]) {
        await using model = await load({ backend: "webgpu", gpuLayers });
        assertClose(await model.logits({ ids: IDS }), expected, 1e-3);
        assertEquals(await text(model), written);
        const { webgpu = 0, wasm = 0 } = model.placedBytes;
        assertEquals([model.backend, webgpu > 0], gpuLayers ? ["webgpu", true] : ["wasm", false]);
        assert(wasm > 0 && webgpu + wasm < 3 * plain.placedBytes.wasm!);
      }
    },
  });
}

Deno.test("gpuLayers is refused where it makes no sense", async () => {
  const blob = await tinyBlob();
  const cases: [LoadOptions, string][] = [
    [{ backend: "wasm", gpuLayers: 1 }, 'gpuLayers on backend "wasm": expected webgpu or auto'],
    [{ backend: "webgpu", gpuLayers: -1 }, "gpuLayers -1: expected a whole number from 0"],
    [{ backend: "webgpu", gpuLayers: 1.5 }, "gpuLayers 1.5"],
    [{ backend: "webgpu", gpuLayers: 3 }, "with gpuLayers 3: it has 2 layers"],
  ];
  for (const [options, message] of cases) {
    await assertRejects(() => loadModel(blob, options), InputError, message);
  }
});

Deno.test("cutGraph() passes on what later parts need, whichever part made it", async () => {
  const record = (): Graph => {
    const g = new Graph({ tokens: 4 });
    const x = g.input("x", ["tokens", 8]), table = g.constant("table", [1, 8]);
    const a = g.op("add", [x, x]);
    g.cut("layer", 0);
    const b = g.op("mul", [a, x]);
    g.cut();
    g.output("sum", g.op("add", [a, b])); // of both parts before
    g.output("b", b);
    g.output("rows", g.op("add", [table, table]));
    return g;
  };
  const recorded = record();
  const parts = cutGraph(recorded, (segment) => recorded.segments.indexOf(segment));
  assertEquals(parts.map(({ receives }) => receives.map(({ width }) => width)), [[], [8], [8, 8]]);
  assertEquals(parts.map(({ graph }) => graph.segments.length), [1, 1, 1]);
  const graph = record();
  const backend = createSplitBackend(
    createReferenceBackend(),
    await createWasmBackend({ threads: 1 }),
    1,
  );
  const placement = placeGraphs(backend, [graph]);
  await backend.writeRows("table", 0, new Uint8Array(Float32Array.from(IDS.slice(0, 8)).buffer));
  const executable = placement.compile(graph);
  executable.write("x", Float32Array.from({ length: 16 }, (_, i) => i));
  await executable.run(2);
  const expected = (f: (x: number) => number): Float32Array =>
    Float32Array.from({ length: 16 }, (_, i) => f(i));
  assertEquals(await executable.read("b", 16), expected((x) => 2 * x * x));
  assertEquals(await executable.read("sum", 16), expected((x) => 2 * x + 2 * x * x));
  assertEquals(
    await executable.read("rows", 8),
    Float32Array.from(IDS.slice(0, 8), (it) => 2 * it),
  );
  assertThrows(() => executable.write("y", new Float32Array(1)), BackendError, 'input "y"');
  assertThrows(() => executable.read("z", 1), BackendError, 'output "z"');
  await assertRejects(() => backend.writeRows("w", 0, new Uint8Array(4)), BackendError, "placed");
  assertThrows(
    () => backend.divide([new Graph()]),
    BackendError,
    "the graph has the segments none",
  );
  const other = new Graph();
  other.cut("elsewhere");
  other.output("y", other.op("softmax", [other.input("x", [1, 4])]));
  assertThrows(() => placement.compile(other), ShapeError, 'segment "elsewhere" is in stage none');
  await backend.dispose();
});
