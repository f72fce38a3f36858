/**
 * Whole models on backends that `loadModel` does not make: several memories, guard bytes around
 * every buffer, kernels without relaxed SIMD.
 */

import { assert, assertEquals } from "@std/assert";
import { Engine } from "../runtime/engine/engine.ts";
import { openModelFile } from "../runtime/files/open.ts";
import { findDefinition } from "../runtime/models/registry.ts";
import { Session } from "../runtime/generation/session.ts";
import { createWasmBackend, type WasmBackendOptions } from "../runtime/backends/wasm/backend.ts";
import { loadWeights } from "../runtime/engine/load_weights.ts";
import { resolveWeights } from "../runtime/models/weights.ts";
import { tinyBlob, type TinyOptions, tinyVocabulary } from "./tiny_model.ts";

const CONTEXT = 48;

/** Logits after each of three parts of a sequence, and the number of memories. */
async function logits(
  model: TinyOptions,
  options: WasmBackendOptions,
): Promise<{ rows: Float32Array[]; stages: number }> {
  const file = await openModelFile(await tinyBlob(model));
  const definition = await findDefinition(file);
  const config = definition.parseConfig(file);
  const weights = resolveWeights(await definition.weights(config, file, CONTEXT), file, "as-is");
  const backend = await createWasmBackend(options);
  const engine = new Engine(definition, config, weights, backend, {
    contextLength: CONTEXT,
    sequences: 2,
    cacheType: "f32",
    chunk: 16,
  });
  await loadWeights(weights, backend);
  engine.prepare();
  const session = new Session({ engine, tokenizer: undefined, stopIds: [] });
  const ids = Array.from({ length: 40 }, (_, i) => (7 * i + 3) % tinyVocabulary());
  const rows = [await session.prefill(ids), await session.step(5), await session.step(6)];
  rows.push(
    await engine.run({
      holder: { cached: 0 },
      output: { program: "decode", names: ["logits"], rows: "all" },
      sequence: () => ({ ids }),
      finish: (rows) => rows,
    }),
  );
  const { stages } = engine;
  await engine.dispose();
  return { rows, stages };
}

for (const [type, sizes] of [["F32", [160_000, 80_000]], ["Q4_0", [90_000, 45_000]]] as const) {
  const model: TinyOptions = { layers: 4, type };

  Deno.test(`a model of ${type} in several memories computes the same as in one`, async () => {
    const whole = await logits(model, { threads: 2 });
    assertEquals(whole.stages, 1);
    const stages: number[] = [];
    for (const stageBytes of sizes) {
      const parts = await logits(model, { threads: 2, stageBytes });
      assertEquals(parts.rows, whole.rows);
      stages.push(parts.stages);
    }
    assert(stages[0]! >= 2 && stages[1]! > stages[0]!, `${stages} stages`);
  });

  Deno.test(`a model of ${type} writes nothing outside its buffers`, async () => {
    const plain = await logits(model, { threads: 3 });
    assertEquals(await logits(model, { threads: 3, guards: true }), plain);
  });

  Deno.test(`a model of ${type} computes the same without relaxed SIMD`, async () => {
    const [relaxed, plain] = [
      await logits(model, { threads: 1, relaxed: true }),
      await logits(model, { threads: 1, relaxed: false }),
    ];
    relaxed.rows.forEach((row, i) => {
      const largest = row.reduce((max, it) => Math.max(max, Math.abs(it)), 0);
      row.forEach((value, j) => {
        // Products are rounded once instead of twice.
        const off = Math.abs(value - plain.rows[i]![j]!) / largest;
        assert(off <= 1e-4, `logits differ by ${off} of the largest`);
      });
    });
  });
}
