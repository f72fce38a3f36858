/**
 * Prefixes that sessions share: what one has computed another takes over, and goes on to the bit as if
 * it had computed it itself.
 */

import { assert, assertEquals, assertNotEquals } from "@std/assert";
import {
  type GenerationResult,
  loadModel,
  type LoadOptions,
  type Model,
  type Prompt,
} from "../mod.ts";
import { createReferenceBackend } from "../runtime/backends/reference/backend.ts";
import { createSplitBackend } from "../runtime/backends/split/backend.ts";
import { createWasmBackend } from "../runtime/backends/wasm/backend.ts";
import { Engine } from "../runtime/engine/engine.ts";
import { loadWeights } from "../runtime/engine/load_weights.ts";
import { resolveModel } from "../runtime/engine/resolve.ts";
import { openModelFile } from "../runtime/files/open.ts";
import { restoreSession } from "../runtime/generation/saved_session.ts";
import { Session } from "../runtime/generation/session.ts";
import { takeable } from "../runtime/engine/sharing.ts";
import { FIXTURES, randomNumbers } from "./fixtures.ts";
import { tinyBlob, type TinyOptions, tinyVocabulary } from "./tiny_model.ts";
import { hasWebgpu } from "./webgpu_adapter.ts";

/** An engine on wasm in small memories; with the first layers on the reference backend if there are any. */
async function engineOf(
  options: TinyOptions,
  layers?: number,
): Promise<Engine & { [Symbol.asyncDispose](): Promise<void> }> {
  const file = await openModelFile(await tinyBlob(options));
  const { contextLength, ...model } = {
    contextLength: options.context!,
    ...await resolveModel(file, {}, () => {}),
  };
  const { definition, config, weights } = model;
  const outer = await createWasmBackend({ threads: 2, stageBytes: 1_200_000 });
  const backend = layers ? createSplitBackend(createReferenceBackend(), outer, layers) : outer;
  const sizes = { contextLength, sequences: 3, cacheType: "f32", chunk: 256 } as const;
  const engine = new Engine(definition, config, weights, backend, sizes);
  await loadWeights(weights, backend);
  return Object.assign(engine, { [Symbol.asyncDispose]: () => engine.dispose() });
}

const VOCAB = tinyVocabulary();

function randomIds(length: number, seed = 1, vocab = VOCAB): number[] {
  const random = randomNumbers(seed);
  return Array.from({ length }, () => Math.floor(random() * vocab));
}

async function tiny(options: TinyOptions = {}, load: LoadOptions = {}): Promise<Model> {
  const blob = await tinyBlob({ context: 640, ...options });
  return await loadModel(blob, { backend: "wasm", threads: 1, sequences: 3, ...load });
}

/** What a session says after a prompt: its logits, those of some tokens more, how much was there. */
async function answer(
  model: Model,
  prompt: readonly number[] | Prompt,
): Promise<{ bits: number[]; result: GenerationResult; session: ReturnType<Model["session"]> }> {
  const session = model.session();
  let result: GenerationResult | undefined;
  const onFinish = (it: GenerationResult): void => void (result = it);
  for await (
    const _ of session.generate(prompt, { temperature: 0, stopIds: [], maxTokens: 3, onFinish })
  );
  const bits = [...new Uint32Array((await session.step(1)).buffer)];
  return { bits, result: result!, session };
}

const SETTINGS: [string, TinyOptions, LoadOptions][] = [
  ...(["F32", "F16", "Q8_0", "Q4_0"] as const).flatMap((type) =>
    (["f32", "f16", "int8"] as const).flatMap((cacheType) =>
      [1, 2].map((threads): [string, TinyOptions, LoadOptions] => [
        `wasm, ${type}, cache of ${cacheType}, ${threads} threads`,
        { type },
        { cacheType, threads },
      ])
    )
  ),
  ...(["f32", "f16", "int8"] as const).map((cacheType): [string, TinyOptions, LoadOptions] => [
    `reference, cache of ${cacheType}`,
    { context: 160 },
    { backend: "reference", cacheType },
  ]),
  ["wasm, reproducible", {}, { reproducible: true, threads: 2 }],
];

for (const [name, options, load] of SETTINGS) {
  Deno.test(`${name}: a session takes over the prefix of another one, to the bit`, async () => {
    const context = options.context ?? 640;
    for (const [shared, length] of [[100, 131], [256, 300], [63, 64], [512, 600], [128, 257]]) {
      if (length! > context - 5) continue;
      const prefix = randomIds(shared!, 5), rest = randomIds(length! - shared!, 6);
      await using model = await tiny(options, load);
      const alone = await answer(model, [...prefix, ...rest]);
      assertEquals(alone.result.reusedTokens, 0);
      alone.session.dispose();
      const first = await answer(model, [...prefix, ...randomIds(20, 7)]);
      const second = await answer(model, [...prefix, ...rest]);
      const { reusedTokens } = second.result;
      assertEquals(reusedTokens, shared);
      assertEquals(second.bits, alone.bits, `${shared} of ${length}, ${reusedTokens} taken over`);
      assertEquals(second.result.ids, alone.result.ids);
      // The one that had it goes on as before.
      const expected = await model.logits([...first.session.history, 2]);
      const logits = await first.session.step(2);
      logits.forEach((it, i) =>
        assert(Math.abs(it - expected[expected.length - VOCAB + i]!) < 0.2, `${i}`)
      );
    }
  });
}

Deno.test("what can be taken over leaves the runs of the rest as they would have been", () => {
  const random = randomNumbers(3), pick = (n: number): number => Math.floor(random() * n);
  for (let i = 0; i < 20_000; i++) {
    const most = 8 + pick(60), whole = pick(3) === 0 ? pick(100) : 0;
    const isSteady = i % 3 !== 0;
    const length = whole + 1 + pick(300), held = pick(length);
    const tokens = takeable(held, { whole, most, isSteady });
    assert(tokens === 0 || tokens >= whole && tokens <= held);
    const last = (from: number): number => {
      let at = from;
      for (let count = from === 0 ? Math.max(whole, most) : most; at + count < length;) {
        at += count;
        count = most;
      }
      return length - at;
    };
    // The last run, which gives the result, is the same, or its length makes no difference.
    if (last(tokens) !== last(0)) assert(isSteady);
    if (isSteady) assertEquals(tokens, held < whole ? 0 : held);
    const border = Math.max(whole, most);
    if (held >= border) assert(tokens > held - most, `${tokens} of ${held}`);
  }
});

/** Models whose rows may depend on what runs together: they share whole chunks of 256 tokens. */
const CHUNKED: [string, TinyOptions, LoadOptions][] = [
  ["webgpu", {}, { backend: "webgpu" }],
  ["webgpu, cache of f16", {}, { backend: "webgpu", cacheType: "f16" }],
  ["webgpu, cache of int8", { type: "Q4_0" }, { backend: "webgpu", cacheType: "int8" }],
  ["webgpu and wasm", { layers: 3 }, { backend: "webgpu", gpuLayers: 1, threads: 2 }],
];

for (const [name, options, load] of CHUNKED) {
  Deno.test({
    name: `${name}: whole chunks are taken over, to the bit`,
    ignore: !hasWebgpu,
    async fn(): Promise<void> {
      await using model = await tiny({ context: 1200, ...options }, load);
      for (const [shared, length, taken] of [[600, 640, 512], [200, 300, 0], [256, 257, 256]]) {
        const prefix = randomIds(shared!, 5), rest = randomIds(length! - shared!, 6);
        const alone = await answer(model, [...prefix, ...rest]);
        alone.session.dispose();
        using first = (await answer(model, [...prefix, ...randomIds(20, 7)])).session;
        const second = await answer(model, [...prefix, ...rest]);
        assertEquals(second.result.reusedTokens, taken);
        assertEquals([second.bits, second.result.ids], [alone.bits, alone.result.ids]);
        second.session.dispose();
        assertEquals(first.cachedTokens, first.position);
      }
    },
  });
}

Deno.test("experts share any number of tokens, to the bit", async () => {
  await using model = await loadModel(new URL("golden/mixtral/", FIXTURES).pathname, {
    ...{ backend: "wasm", threads: 1, sequences: 2, onWarning: () => {} },
  });
  const prefix = randomIds(37, 3, model.config.vocabSize), prompt = [...prefix, 3, 4, 5];
  const alone = await answer(model, prompt);
  alone.session.dispose();
  const { session } = await answer(model, [...prefix, 1, 2]);
  const { result, bits } = await answer(model, prompt);
  assertEquals([result.reusedTokens, session.cachedTokens], [37, session.position]);
  assertEquals([bits, result.ids], [alone.bits, alone.result.ids]);
});

for (const layers of [undefined, 2]) {
  const where = layers ? "some on the reference" : "all on wasm";
  Deno.test(`a model of several memories shares in all of them, ${where}`, async () => {
    const prefix = randomIds(300, 5), rest = randomIds(30, 6);
    await using engine = await engineOf({ layers: 6, context: 640 }, layers);
    assert(engine.stages > 1, `${engine.stages} stages`);
    const logits = async (ids: readonly number[]): Promise<number[]> => {
      sessions.push(new Session({ engine, tokenizer: undefined, stopIds: [] }));
      const session = sessions.at(-1)!;
      await session.prefill(ids);
      return [...new Uint32Array((await session.step(3)).buffer)];
    };
    const sessions: Session[] = [];
    const alone = await logits([...prefix, ...rest]);
    sessions[0]!.dispose();
    await logits([...prefix, 1, 2, 3, 4, 5, 6, 7, 8, 9]);
    assertEquals(await logits([...prefix, ...rest]), alone);
    assertEquals(sessions[2]!.takenTokens, 300);
    // And keeps what it has of all of them.
    const bytes = await sessions[2]!.save();
    const expected = await sessions[2]!.step(4);
    const model = { engine, tokenizer: undefined, stopIds: [] };
    const again = new Session(model, await restoreSession(model, bytes));
    assertEquals(again.cachedTokens, 331);
    assertEquals(await again.step(4), expected);
  });
}

Deno.test("rows that are taken from the one who holds the prefix stay where they are", async () => {
  for (const sequences of [1, 2]) {
    await using model = await tiny({}, { sequences });
    const prefix = randomIds(200, 5);
    const alone = await answer(model, [...prefix, ...randomIds(40, 6)]);
    alone.session.dispose();
    const first = await answer(model, [...prefix, ...randomIds(40, 7)]);
    const others = [];
    for (let i = 1; i < sequences; i++) others.push(await answer(model, randomIds(30, 8)));
    const last = await answer(model, [...prefix, ...randomIds(40, 6)]);
    assertEquals([last.result.reusedTokens, last.bits], [200, alone.bits]);
    assertEquals(first.session.cachedTokens, 0);
    for (const { session } of others) assertEquals(session.cachedTokens, session.position);
    // What it lost it takes back, from the other.
    const { result, bits } = await answer(model, [...prefix, ...randomIds(40, 7)]);
    assertEquals([result.reusedTokens, bits], [200, first.bits]);
  }
});

Deno.test("the longest of several prefixes is taken over", async () => {
  await using model = await tiny();
  const text = randomIds(300, 5);
  await answer(model, [...text.slice(0, 80), 1, 2, 3]);
  await answer(model, [...text.slice(0, 240), 1, 2, 3]);
  const { result } = await answer(model, text);
  assertEquals(result.reusedTokens, 240);
});

Deno.test("sessions that begin at the same time share, and give the same texts", async () => {
  await using model = await tiny({}, { sequences: 4 });
  const prefix = randomIds(320, 5), reused: number[] = [];
  const options = { temperature: 0, stopIds: [], maxTokens: 8 };
  const write = async (i: number): Promise<readonly number[]> => {
    using session = model.session();
    const prompt = [...prefix, ...randomIds(20, 10 + i)];
    const result = await session.complete(prompt, options);
    return result.ids;
  };
  const expected = [];
  for (let i = 0; i < 4; i++) expected.push(await write(i));
  assertEquals(await Promise.all([0, 1, 2, 3].map(write)), expected);
  assertEquals(reused, []);
});

Deno.test("reading texts takes rows that nobody holds, then those not used for longest", async () => {
  await using model = await tiny({ context: 160 });
  const chat = await answer(model, randomIds(20, 1)), other = await answer(model, randomIds(20, 2));
  const cached = (): number[] => [chat, other].map(({ session }) => session.cachedTokens);
  const kept = cached();
  for (let i = 0; i < 4; i++) {
    await model.logits(randomIds(12, 3));
    await model.score(randomIds(12, 4));
    await model.embed(["the man", "the hen"]);
  }
  assertEquals(cached(), kept);
  const third = await answer(model, randomIds(20, 5));
  await other.session.step(1);
  await chat.session.step(1);
  await model.logits(randomIds(12, 3));
  assertEquals(third.session.cachedTokens, 0);
  assertEquals(cached(), kept.map((it) => it + 1));
});

for (const name of ["t5-v1.1", "t5-v1.0", "yuan1", "qwen3", "mixtral"]) {
  for (const backend of ["reference", "wasm"] as const) {
    Deno.test(`${backend}, ${name}: whatever sessions do, shared rows change no bit`, async () => {
      const path = new URL(`golden/${name}/`, FIXTURES).pathname, onWarning = (): void => {};
      const load = { backend, threads: 1, onWarning } as const;
      await using model = await loadModel(path, { ...load, sequences: 3 });
      await using plain = await loadModel(path, load);
      const { vocabSize } = model.config, random = randomNumbers(7);
      const pick = (n: number): number => Math.floor(random() * n);
      const texts = [1, 2].map((seed) => randomIds(40, seed, vocabSize));
      const makePrompt = (): Prompt => {
        const ids = [
          ...texts[pick(2)]!.slice(0, 1 + pick(26)),
          ...randomIds(pick(9), pick(3) + 5, vocabSize),
        ];
        if (name.startsWith("t5")) {
          return { ids: texts[pick(2)]!, decoderIds: [0, ...ids.slice(0, 20)] };
        }
        return name === "yuan1" && pick(2)
          ? { ids, prefixLength: Math.min(pick(3) * 8, ids.length) }
          : { ids };
      };
      const sessions = Array.from({ length: 5 }, () => model.session());
      let reused = 0;
      for (let i = 0; i < 60; i++) {
        const at = pick(5), session = sessions[at]!, prompt = makePrompt();
        const act = pick(5);
        if (act === 0) session.truncate(pick(session.position + 1));
        else if (act === 1 && session.position > 0) await session.step(pick(vocabSize));
        else if (act === 2) {
          session.dispose();
          sessions[at] = model.session();
        } else {
          let taken = 0, first: number[] = [];
          await session.complete(prompt, {
            temperature: 0,
            maxTokens: 2,
            stopIds: [],
            onFinish: ({ reusedTokens, ids }) => [taken, first] = [reusedTokens, [...ids]],
          });
          reused += taken;
          using fresh = plain.session();
          const options = { temperature: 0, maxTokens: 2, stopIds: [] };
          const expected = await fresh.complete(prompt, options);
          if (backend === "reference") assertEquals(first, expected.ids, `${i}: ${taken} reused`);
          else if (`${first}` !== `${expected.ids}`) continue; // a tie, after other chunks
          const after = await session.step(1), alone = await fresh.step(1);
          const bound = backend === "reference" ? 0 : 1e-3;
          after.forEach((it, k) => assert(Math.abs(it - alone[k]!) <= bound, `${i}: ${it}`));
        }
      }
      assertNotEquals(reused, 0);
    });
  }
}
