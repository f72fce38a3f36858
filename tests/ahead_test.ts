/**
 * Tokens that are chosen on the GPU: the same choices as the sampler's, and generation that runs
 * ahead of its reader without anybody noticing.
 */

import { assertEquals, assertRejects } from "@std/assert";
import { InputError } from "../errors.ts";
import { type GenerateOptions, loadModel, type Model, sampler, type Session } from "../mod.ts";
import type { Backend, Executable, TokenLoop } from "../runtime/backends/backend.ts";
import { Graph } from "../runtime/graph/graph.ts";
import { makePlan } from "../runtime/graph/plan.ts";
import { choiceOf, type SamplerOptions } from "../runtime/generation/sampler.ts";
import { createWebgpuBackend } from "../runtime/backends/webgpu/backend.ts";
import { normalNumbers, randomNumbers } from "./fixtures.ts";
import { tinyBlob } from "./tiny_model.ts";
import { hasWebgpu } from "./webgpu_adapter.ts";

const ignore = !hasWebgpu;

/** Chooses tokens on the GPU, one after another from the same logits. */
class Drawer {
  readonly #backend: Backend;
  readonly #executable: Executable;

  private constructor(backend: Backend, executable: Executable) {
    this.#backend = backend;
    this.#executable = executable;
  }

  static async create(logits: Float32Array): Promise<Drawer> {
    const g = new Graph();
    const x = g.input("x", [1, logits.length]);
    g.output("logits", g.op("add", [x, g.input("zeros", [1, logits.length])]));
    const backend = await createWebgpuBackend();
    const executable = backend.compile(makePlan(g, (type) => backend.bytesOf(type)));
    executable.write("x", logits);
    return new Drawer(backend, executable);
  }

  /** In submissions of these sizes. */
  async draw(
    counts: readonly number[],
    options: SamplerOptions & { seed: number },
    history: readonly number[] = [0],
  ): Promise<number[]> {
    const loop: TokenLoop = {
      logits: "logits",
      ids: "ids",
      inputs: [{ name: "positions", step: [1] }, { name: "spans", step: [0, 1], window: 1 }],
    };
    const choice = choiceOf(options), ids: Int32Array[] = [];
    let draw = 0;
    for (const count of counts) {
      const start = draw === 0 ? { history, generated: history.slice(1) } : {};
      ids.push(await this.#executable.runAhead!(count, loop, { ...choice, ...start, draw }));
      draw += count;
    }
    return ids.flatMap((it) => Array.from(it));
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.#backend.dispose();
  }
}

/** The same with the sampler. */
function drawOnCpu(
  logits: Float32Array,
  count: number,
  options: SamplerOptions,
  before: readonly number[] = [0],
): number[] {
  const sample = sampler(options), history = [...before];
  for (let i = 0; i < count; i++) {
    history.push(sample(logits, history, undefined, history.slice(1)));
  }
  return history.slice(before.length);
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
  { temperature: 1, topK: 0, topP: 1 },
  { temperature: 1.5, topK: 0, topP: 0.9 },
  { temperature: 50, topK: 0, topP: 0.001 },
  { temperature: 3, topK: 1500, topP: 0.5, minP: 0.01 },
  { temperature: 3, topK: 2 ** 31, topP: 1, minP: 0.3 },
  { temperature: 0, repeatPenalty: 1.3 },
  { temperature: 1, repeatPenalty: 1.1, repeatWindow: 5 },
  { temperature: 2, topK: 0, repeatPenalty: 0.7, repeatWindow: 2 ** 31 },
  { temperature: 0, presencePenalty: 0.7, frequencyPenalty: 0.1 },
  { temperature: 1, topK: 0, frequencyPenalty: 0.3 },
  { temperature: 1.5, presencePenalty: -1.1 },
  { temperature: 1, logitBias: { 0: 3.3, 1: -0.1 } },
  { temperature: 2, logitBias: { 0: -Infinity }, frequencyPenalty: 0.37, repeatPenalty: 1.3 },
];

/** The settings without biases that would be of no word, or leave none. */
function fitting(settings: SamplerOptions, words: number): SamplerOptions {
  const biases = Object.entries(settings.logitBias ?? {}).filter(([id]) => Number(id) < words - 1);
  return { ...settings, logitBias: Object.fromEntries(biases) };
}

const random = randomNumbers(5);
const LOGITS: Readonly<Record<string, Float32Array>> = {
  normal: normalNumbers(1000, random).map((it) => 4 * it),
  "many words": normalNumbers(20_001, random),
  few: Float32Array.of(0.5, -1, 2),
  one: Float32Array.of(-3),
  "all the same": new Float32Array(5000).fill(1.5),
  "ties at the end of the candidates": Float32Array.from({ length: 3000 }, (_, i) => i % 7),
  "zeros of both signs": Float32Array.from({ length: 64 }, (_, i) => i % 2 ? 0 : -0),
  "what cannot be chosen": Float32Array.from(
    { length: 300 },
    (_, i) => i % 3 === 0 ? -Infinity : -i / 50,
  ),
  negative: normalNumbers(500, random).map((it) => -1e4 - it),
};

for (const [name, logits] of Object.entries(LOGITS)) {
  Deno.test({ name: `the GPU draws as sampler() does: ${name}`, ignore }, async () => {
    await using gpu = await Drawer.create(logits);
    for (const settings of SETTINGS) {
      const options = { seed: 11, ...fitting(settings, logits.length) }, history = [2, 0, 0];
      const message = JSON.stringify(options);
      assertEquals(
        await gpu.draw([17, 1, 12], options, history),
        drawOnCpu(logits, 30, options, history),
        message,
      );
    }
  });
}

Deno.test({ name: "the GPU draws as sampler() does, whatever the options", ignore }, async () => {
  const random = randomNumbers(7),
    pick = <T>(list: readonly T[]): T => list[Math.floor(random() * list.length)]!;
  for (let round = 0; round < 6; round++) {
    const logits = normalNumbers(200 + 700 * round, random).map((it) => pick([1, 5]) * it);
    await using gpu = await Drawer.create(logits);
    for (let i = 0; i < 25; i++) {
      const options = {
        temperature: pick([0.3, 0.8, 1, 1.7]),
        topK: pick([0, 3, 40, 300, 700]),
        topP: pick([1, 0.95, random()]),
        minP: pick([0, 0, 0.05, random()]),
        repeatPenalty: pick([1, 1, 1.1, 5]),
        repeatWindow: pick([1, 10, 64]),
        presencePenalty: pick([0, 0, 0.6, -0.3]),
        frequencyPenalty: pick([0, 0, 0.13, 1.9]),
        logitBias: pick([{}, {}, { 3: 2.7, 0: -Infinity, 150: random() }]),
        seed: Math.floor(random() * 2 ** 50),
      };
      const message = JSON.stringify(options);
      assertEquals(await gpu.draw([25], options), drawOnCpu(logits, 25, options), message);
    }
  }
});

const BROKEN: Readonly<Record<string, Float32Array>> = {
  "one NaN": Float32Array.from({ length: 300 }, (_, i) => i === 77 ? NaN : i / 100),
  "a negative NaN": new Float32Array(Uint32Array.of(0, 0xffc00000, 0, 0).buffer),
  "one Infinity": Float32Array.from({ length: 300 }, (_, i) => i === 299 ? Infinity : i / 100),
  "NaN and -Infinity": new Float32Array(50).fill(NaN).fill(-Infinity, 20),
  "all -Infinity": new Float32Array(5000).fill(-Infinity),
};

for (const [name, logits] of Object.entries(BROKEN)) {
  Deno.test({ name: `the GPU makes no choice from broken logits: ${name}`, ignore }, async () => {
    await using gpu = await Drawer.create(logits);
    for (const settings of SETTINGS) {
      assertEquals(
        await gpu.draw([2], { seed: 1, ...settings }),
        [-1, -1],
        JSON.stringify(settings),
      );
    }
  });
}

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

/** Generation in which every token is chosen by `sampler()` and run by itself. */
async function apart(
  session: Session,
  prompt: readonly number[],
  options: GenerateOptions,
): Promise<number[]> {
  session.ahead = () => undefined;
  return await ids(session.generate(prompt, options));
}

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
    { temperature: 0, repeatPenalty: 1.5 },
    { temperature: 1, seed: 9, topK: 0, topP: 1, repeatPenalty: 1.2, repeatWindow: 9 },
    { temperature: 1, seed: 10, maxTokens: 200, repeatPenalty: 1.2, overflow: "slide" },
    { temperature: 0, presencePenalty: 0.5, frequencyPenalty: 0.2 },
    { temperature: 1, seed: 11, maxTokens: 300, frequencyPenalty: 0.4, overflow: "slide" },
    { temperature: 1, seed: 12, logitBias: { 5: 4.4, 9: -Infinity } },
  ];
  for (const row of rows) {
    const options = { stopIds: [], ...row }, prompt = [1, 5, 9];
    const [ahead, other] = [model.session(), model.session()];
    assertEquals(
      await ids(ahead.generate(prompt, options)),
      await apart(other, prompt, options),
      JSON.stringify(row),
    );
    assertEquals(ahead.history, other.history);
    // What ran ahead left nothing behind.
    if (ahead.position < 128) assertEquals(await ahead.step(8), await other.step(8));
    ahead.dispose();
    other.dispose();
  }
});

Deno.test({ name: "who asks for logits gets the same tokens from the host", ignore }, async () => {
  await using model = await tiny();
  const options = { temperature: 1, seed: 3, maxTokens: 30, stopIds: [], presencePenalty: 0.4 };
  const run = async (more: GenerateOptions): Promise<[number[], boolean]> => {
    using session = model.session();
    const { ahead } = session;
    let isAsked = false;
    session.ahead = (...args) => {
      isAsked = true;
      return ahead.apply(session, args);
    };
    return [await ids(session.generate([1, 5, 9], { ...options, ...more })), isAsked];
  };
  const [expected, isAhead] = await run({});
  assertEquals([expected.length, isAhead], [30, true]);
  assertEquals(await run({ logprobs: 0 }), [expected, false]);
  const constraint = { next: () => ({}), accept: () => {} };
  assertEquals(await run({ constraint }), [expected, false]);
  assertEquals(await run({ logitBias: {}, frequencyPenalty: 0 }), [expected, true]);
});

Deno.test({ name: "sessions that run ahead take turns", ignore }, async () => {
  for (const sequences of [1, 2]) {
    await using model = await tiny({ sequences });
    const prompts = [[1, 2, 3], [4, 5]];
    const options = { temperature: 1, seed: 9, maxTokens: 40, stopIds: [] };
    const alone: number[][] = [];
    for (const prompt of prompts) {
      using session = model.session();
      alone.push(await apart(session, prompt, options));
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
