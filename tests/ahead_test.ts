/**
 * Tokens that are chosen on the GPU: the same choices as the sampler's, and generation that runs
 * ahead of its reader without anybody noticing.
 */

import { assert, assertEquals, assertRejects } from "@std/assert";
import { InputError } from "../errors.ts";
import { type GenerateOptions, loadModel, type Model, sampler } from "../mod.ts";
import { Graph } from "../runtime/graph.ts";
import { makePlan } from "../runtime/plan.ts";
import { backendChoice, type SamplerOptions } from "../runtime/sampler.ts";
import { createWebgpuBackend } from "../runtime/webgpu/backend.ts";
import { normalNumbers, randomNumbers } from "./fixtures.ts";
import { tinyBlob } from "./tiny_model.ts";
import { hasWebgpu } from "./webgpu_adapter.ts";

const ignore = !hasWebgpu;

/** Tokens that the GPU draws from the same logits, one after another. */
async function drawOnGpu(
  logits: Float32Array,
  count: number,
  options: SamplerOptions & { seed: number },
): Promise<number[]> {
  const g = new Graph();
  const x = g.input("x", [1, logits.length]);
  g.output("logits", g.op("add", [x, g.input("zeros", [1, logits.length])]));
  const backend = await createWebgpuBackend();
  const executable = backend.compile(makePlan(g, (type) => backend.bytesOf(type)));
  executable.write("x", logits);
  const loop = {
    logits: "logits",
    ids: "ids",
    counters: ["positions", "slots"],
    spans: "spans",
    window: 1,
  } as const;
  const ids = await executable.runAhead!(count, loop, backendChoice(options)!, 0);
  await backend.dispose();
  return Array.from(ids);
}

/** The same with the sampler. */
function drawOnCpu(logits: Float32Array, count: number, options: SamplerOptions): number[] {
  const sample = sampler(options);
  return Array.from({ length: count }, () => sample(logits));
}

const SETTINGS: readonly SamplerOptions[] = [
  { temperature: 0 },
  {},
  { topK: 1 },
  { temperature: 2, topK: 256, topP: 1 },
  { temperature: 1.5, topP: 0.3 },
  { temperature: 1.5, topK: 100, topP: 1, minP: 0.2 },
  { topP: 0 },
  { temperature: 0.01, seed: 2 ** 40 + 5 },
];

const random = randomNumbers(5);
const LOGITS: Readonly<Record<string, Float32Array>> = {
  normal: normalNumbers(1000, random).map((it) => 4 * it),
  "many words": normalNumbers(70_001, random),
  few: Float32Array.of(0.5, -1, 2),
  one: Float32Array.of(-3),
  "all the same": new Float32Array(5000).fill(1.5),
  "ties at the end of the candidates": Float32Array.from({ length: 3000 }, (_, i) => i % 7),
  "zeros of both signs": Float32Array.from({ length: 64 }, (_, i) => i % 2 ? 0 : -0),
  "what cannot be chosen": Float32Array.from(
    { length: 300 },
    (_, i) => i % 3 === 0 ? -Infinity : i % 3 === 1 ? NaN : -i / 50,
  ),
  "an infinity": Float32Array.from({ length: 300 }, (_, i) => i === 77 ? Infinity : i / 100),
  negative: normalNumbers(500, random).map((it) => -1e4 - it),
};

for (const [name, logits] of Object.entries(LOGITS)) {
  Deno.test({ name: `the GPU draws as sampler() does: ${name}`, ignore }, async () => {
    for (const settings of SETTINGS) {
      const options = { seed: 11, ...settings };
      const message = JSON.stringify(options);
      assertEquals(await drawOnGpu(logits, 30, options), drawOnCpu(logits, 30, options), message);
    }
  });
}

Deno.test({ name: "the GPU reports logits of which none is a number", ignore }, async () => {
  const logits = new Float32Array(50).fill(NaN).fill(-Infinity, 20);
  assertEquals(await drawOnGpu(logits, 2, { seed: 1 }), [-1, -1]);
  assertEquals(await drawOnGpu(logits, 2, { seed: 1, temperature: 0 }), [-1, -1]);
});

Deno.test("backendChoice() leaves to sampler() what backends cannot do", () => {
  assert(backendChoice({ seed: 1 }));
  assert(backendChoice({ seed: 1, repeatPenalty: 2, repeatWindow: 0 }));
  assert(backendChoice({ seed: 1, temperature: 0, topK: 0 }));
  assertEquals(backendChoice({ seed: 1, repeatPenalty: 1.1 }), undefined);
  assertEquals(backendChoice({ seed: 1, topK: 0 }), undefined);
  assertEquals(backendChoice({ seed: 1, topK: 257 }), undefined);
});

async function tiny(options: { sequences?: number; contextLength?: number } = {}): Promise<Model> {
  return await loadModel(await tinyBlob({ context: 128 }), { backend: "webgpu", ...options });
}

async function ids(
  tokens: AsyncIterable<{ id: number }>,
): Promise<number[]> {
  const ids: number[] = [];
  for await (const { id } of tokens) ids.push(id);
  return ids;
}

/** A penalty that changes nothing, with which the sampler chooses. */
const ON_CPU: GenerateOptions = { repeatPenalty: 1 + 1e-12 };

Deno.test({ name: "generation ahead equals generation step by step", ignore }, async () => {
  await using model = await tiny();
  const rows: GenerateOptions[] = [
    { temperature: 0, maxTokens: 60 },
    { temperature: 1, seed: 3, maxTokens: 60 },
    { temperature: 1, seed: 4, topK: 5, maxTokens: 1 },
    { temperature: 1, seed: 4, maxTokens: 2 },
    { temperature: 1, seed: 5, maxTokens: 7, minP: 0.1 },
    { temperature: 1, seed: 6 }, // until the context is full
    { temperature: 1, seed: 7, maxTokens: 300, overflow: "slide" },
    { temperature: 1, seed: 8, stopIds: [7, 12, 20] },
  ];
  for (const row of rows) {
    const options = { stopIds: [], ...row }, prompt = [1, 5, 9];
    const [ahead, apart] = [model.session(), model.session()];
    assertEquals(
      await ids(ahead.generate(prompt, options)),
      await ids(apart.generate(prompt, { ...options, ...ON_CPU })),
      JSON.stringify(row),
    );
    assertEquals(ahead.history, apart.history);
    // What ran ahead left nothing behind.
    if (ahead.position < 128) assertEquals(await ahead.step(8), await apart.step(8));
    ahead.dispose();
    apart.dispose();
  }
});

Deno.test({ name: "sessions that run ahead take turns", ignore }, async () => {
  for (const sequences of [1, 2]) {
    await using model = await tiny({ sequences });
    const prompts = [[1, 2, 3], [4, 5]];
    const options = { temperature: 1, seed: 9, maxTokens: 40, stopIds: [] };
    const alone: number[][] = [];
    for (const prompt of prompts) {
      using session = model.session();
      alone.push(await ids(session.generate(prompt, { ...options, ...ON_CPU })));
    }
    using first = model.session();
    using second = model.session();
    const together = [first, second].map((it, i) => ids(it.generate(prompts[i]!, options)));
    assertEquals(await Promise.all(together), alone);
  }
});

Deno.test(
  { name: "a reader that leaves early leaves a session that goes on", ignore },
  async () => {
    await using model = await tiny();
    using session = model.session();
    using other = model.session();
    const options = { temperature: 0, maxTokens: 50, stopIds: [] };
    const whole = await ids(other.generate([3, 2, 1], options));
    const part: number[] = [];
    for await (const { id } of session.generate([3, 2, 1], options)) {
      if (part.push(id) === 11) break;
    }
    assertEquals(part, whole.slice(0, 11));
    assertEquals(session.history, [3, 2, 1, ...part.slice(0, 10)]);
    const rest = await ids(session.generate([3, 2, 1, ...part], { ...options, maxTokens: 39 }));
    assertEquals([...part, ...rest], whole);
    // Nor does a session that others disturb go on with something else.
    const disturbed = session.generate([3, 2, 1], options);
    await disturbed.next();
    await disturbed.next();
    session.truncate(2);
    await assertRejects(() => disturbed.next(), InputError, "another call changed");
  },
);
