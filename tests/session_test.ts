/** Sessions and generation, on tiny random models: what is cached, what is refused, what is stored. */

import { assert, assertAlmostEquals, assertEquals, assertRejects, assertThrows } from "@std/assert";
import { type GenerateOptions, InputError, loadModel, ModelError } from "../mod.ts";
import { argmax } from "../runtime/generation/most_likely.ts";
import type { WeightsOption } from "../runtime/models/weights.ts";
import { CHAT_TEMPLATE, type TinyOptions, tinySafetensors, withFolder } from "./tiny_model.ts";
import { assertClose, difference, randomIds, run, tiny, VOCAB } from "./tiny_sessions.ts";

// Prompts, chunks and steps.

for (const architecture of ["llama", "qwen2", "qwen3"] as const) {
  Deno.test(`a prompt gives the logits of its tokens one by one: ${architecture}`, async () => {
    await using model = await tiny({ architecture, context: 300 }, { threads: 2 });
    const ids = randomIds(260);
    const all = await model.logits({ ids });
    assertEquals(all.length, 260 * VOCAB);
    using steps = model.session();
    for (const [i, id] of ids.entries()) {
      const logits = await steps.step(id);
      assertEquals(logits.length, VOCAB);
      assertClose(all.subarray(i * VOCAB, (i + 1) * VOCAB), logits);
      // Chunks of a prompt are 256 long, those of all logits 64.
      if (![1, 2, 63, 64, 65, 255, 256, 257].includes(i + 1)) continue;
      using whole = model.session();
      assertClose(await whole.prefill(ids.slice(0, i + 1)), logits);
      assertEquals(whole.position, i + 1);
    }
    using parts = model.session();
    await parts.prefill(ids.slice(0, 3));
    await parts.prefill(ids.slice(3, 257));
    assertClose(await parts.prefill(ids.slice(257)), all.subarray(259 * VOCAB));
    assertEquals(parts.history, ids);
  });
}

Deno.test("threads and backends give the same text", async () => {
  const texts: string[] = [];
  for (
    const load of [{ backend: "reference" }, { threads: 1 }, { threads: 2 }, {
      threads: 3,
    }] as const
  ) {
    await using model = await tiny({}, load);
    texts.push((await run(model.session(), "the man", { maxTokens: 50 })).ids.join());
  }
  assertEquals(new Set(texts).size, 1, texts.join("\n"));
});

Deno.test("a seed gives the same text again, another seed another", async () => {
  await using model = await tiny({}, { threads: 2 });
  const text = async (seed: number): Promise<string> =>
    (await run(model.session(), "the", { temperature: 1, seed, maxTokens: 30 })).ids.join();
  const first = await text(1);
  assertEquals(await text(1), first);
  assert(await text(2) !== first);
});

// What is kept between calls.

Deno.test("generate() reuses the prefix that a prompt shares with the session", async () => {
  await using model = await tiny({ context: 200 }, { sequences: 2 });
  const session = model.session();
  const first = await run(session, "the man in the hat", { maxTokens: 10 });
  assertEquals(first.reusedTokens, 0);
  const next = [...first.promptIds, ...first.ids, 5, 6, 7];
  const second = await run(session, next, { maxTokens: 20 });
  await using alone = await tiny({ context: 200 });
  const fresh = await run(alone.session(), next, { maxTokens: 20 });
  // The last generated token has not been run.
  assertEquals(second.reusedTokens, first.promptIds.length + first.ids.length - 1);
  assertEquals(second.ids, fresh.ids);
  // The same prompt again: its last token has to run.
  const third = await run(session, next, { maxTokens: 20 });
  assertEquals([third.reusedTokens, third.ids], [next.length - 1, fresh.ids]);
  const other = await run(session, [1, 40, 2], { maxTokens: 5 });
  assertEquals(other.reusedTokens, 1);
  assertEquals(other.ids, (await run(model.session(), [1, 40, 2], { maxTokens: 5 })).ids);
});

Deno.test("truncate() and reset() forget tokens and nothing else", async () => {
  await using model = await tiny();
  using session = model.session();
  const ids = randomIds(20);
  await session.prefill(ids);
  session.truncate(100);
  assertEquals(session.position, 20);
  session.truncate(7);
  assertEquals(session.history, ids.slice(0, 7));
  const logits = await session.prefill([3, 4]);
  using fresh = model.session();
  assertClose(logits, await fresh.prefill([...ids.slice(0, 7), 3, 4]));
  session.reset();
  assertEquals(session.position, 0);
  fresh.reset();
  assertEquals(await session.prefill(ids), await fresh.prefill(ids));
  for (const length of [-1, 0.5, NaN]) {
    assertThrows(() => session.truncate(length), InputError, `to ${length} tokens: expected`);
  }
});

for (const sequences of [1, 2, 4]) {
  Deno.test(`sessions that take turns do not disturb each other, with ${sequences} sequences`, async () => {
    await using model = await tiny({ context: 40 }, { sequences });
    const prompts = [randomIds(9, 1), randomIds(4, 2), randomIds(17, 3)];
    const expected: number[][] = [];
    for (const prompt of prompts) {
      using alone = model.session();
      expected.push([...(await run(alone, prompt, { maxTokens: 12 })).ids]);
    }
    const sessions = prompts.map(() => model.session());
    const logits = await Promise.all(sessions.map((it, i) => it.prefill(prompts[i]!)));
    const ids: number[][] = prompts.map(() => []);
    for (let turn = 0; turn < 12; turn++) {
      // Any order: the sessions take each other's cache rows in turn.
      for (const i of turn % 2 ? [0, 1, 2] : [2, 0, 1]) {
        ids[i]!.push(argmax(logits[i]!));
        logits[i] = await sessions[i]!.step(ids[i]!.at(-1)!);
      }
    }
    assertEquals(ids, expected);
    // All at the same time, while other work takes cache rows too.
    const [texts] = await Promise.all([
      Promise.all(sessions.map((it, i) => run(it, prompts[i]!, { maxTokens: 12 }))),
      model.logits({ ids: randomIds(30, 4) }),
    ]);
    assertEquals(texts.map((it) => it.ids), expected);
  });
}

Deno.test("reusedTokens counts what is still in the cache", async () => {
  for (const sequences of [1, 2]) {
    await using model = await tiny({}, { sequences });
    const session = model.session(), other = model.session();
    await run(session, "the man", { maxTokens: 4 });
    await run(other, "in", { maxTokens: 4 });
    const { reusedTokens, promptIds } = await run(session, "the man", { maxTokens: 4 });
    // What stays with the other's text is the token that begins both.
    assertEquals(reusedTokens, sequences === 1 ? 1 : promptIds.length - 1);
  }
});

// What cannot be run.

Deno.test("prompts and options that cannot be used are refused by name", async () => {
  await using model = await tiny({}, { contextLength: 16 });
  const session = model.session();
  const cases: [prompt: string | number[], options: GenerateOptions, message: string][] = [
    [[], {}, "Cannot process a prompt of no tokens: give at least one"],
    ["", { addSpecial: false }, "a prompt of no tokens"],
    [
      [1, 2, VOCAB],
      {},
      `Cannot process token id ${VOCAB} at index 2: expected a whole number from 0 to 42`,
    ],
    [
      "a",
      { stopIds: [VOCAB] },
      `stop at token id ${VOCAB}: expected stopIds from 0 to ${VOCAB - 1}`,
    ],
    ["a", { stopIds: [-1] }, "stop at token id -1"],
    ["a", { logitBias: new Map([[5, 1]]) as never }, "expected an object of numbers"],
    [[-1], {}, "token id -1 at index 0"],
    [[1.5], {}, "token id 1.5"],
    [["1"] as unknown as number[], {}, 'token id "1" at index 0'],
    [undefined as unknown as string, {}, "a prompt undefined: expected token ids"],
    [randomIds(17), {}, "a prompt of 17 tokens: the context holds 16; shorten the prompt"],
    [[1], { maxTokens: -1 }, "Cannot generate with maxTokens -1: expected a whole number"],
    [[1], { maxTokens: 2.5 }, "Cannot generate with maxTokens 2.5"],
    [[1], { maxTokens: NaN }, "Cannot generate with maxTokens NaN"],
    [[1], { sinkTokens: 9 }, "with sinkTokens 9: expected a whole number from 0 to 8"],
    [[1], { overflow: "wrap" as "slide" }, 'overflow "wrap": expected stop or slide'],
    [[1], { stop: "x" as unknown as string[] }, 'with stop "x": expected a list of texts'],
    [[1], { temperature: -1 }, "Cannot generate with temperature -1"],
  ];
  for (const [prompt, options, message] of cases) {
    await assertRejects(() => session.generate(prompt, options).next(), InputError, message);
  }
  await session.prefill(randomIds(15));
  await assertRejects(
    () => session.prefill([1, 2]),
    InputError,
    "Cannot process 2 tokens at position 15: the context holds 16 tokens",
  );
  await assertRejects(() => session.prefill([]), InputError, "no tokens");
  await assertRejects(() => session.step(VOCAB), InputError, `token id ${VOCAB}`);
  await session.step(1); // all of that has changed nothing
  assertEquals(session.position, 16);
});

Deno.test("logits() refuses what the architecture does not take", async () => {
  await using model = await tiny({}, { contextLength: 16 });
  for (const field of ["prefixLength", "decoderIds", "tokenTypeIds"]) {
    await assertRejects(
      () => model.logits({ ids: [1], [field]: field === "prefixLength" ? 1 : [1] }),
      InputError,
      `Cannot process a prompt with "${field}": this model takes ids`,
    );
  }
  await assertRejects(() => model.logits({ ids: [] }), InputError, "no tokens");
  await assertRejects(
    () => model.logits({ ids: randomIds(17) }),
    InputError,
    "Cannot process a prompt of 17 tokens: the context holds 16",
  );
});

Deno.test("a model without a tokenizer works with ids and says so for text", async () => {
  await using model = await tiny({ tokenizer: "none" });
  assertEquals(model.hasTokenizer, false);
  const { ids, text } = await run(model.session(), [1, 2, 3], { maxTokens: 8, stop: ["a"] });
  assertEquals([ids.length, text], [8, ""]);
  assertThrows(() => model.tokenizer, ModelError, "it came without one; use token ids");
  await assertRejects(() => run(model.session(), "the"), ModelError, "the model has no tokenizer");
  await assertRejects(() => model.embed(["the"]), ModelError, "came without one");
  const message = [{ role: "user", content: "hi" }];
  await assertRejects(() => model.chatPrompt(message), ModelError, "without a chat template");
});

Deno.test("chatPrompt() writes the template's text as tokens", async () => {
  await using model = await tiny({ chatTemplate: CHAT_TEMPLATE });
  const ids = await model.chatPrompt([{ role: "user", content: "the man" }]);
  assertEquals(ids[0], model.tokenizer.bosId);
  assertEquals(model.tokenizer.decode(ids.slice(1)).trim(), "user: the man. assistant:");
});

Deno.test("text that ends in half a character is given out whole", async () => {
  await using model = await tiny({ tokenizer: "bpe", context: 128 });
  let split = 0;
  for (let seed = 0; seed < 6; seed++) {
    const { pieces, ids, promptIds, text } = await run(model.session(), "€ the é", {
      temperature: 1,
      seed,
      topK: 0,
      maxTokens: 60,
    });
    assertEquals(pieces.length, ids.length);
    assertEquals(
      model.tokenizer.decode([...promptIds, ...ids]),
      model.tokenizer.decode(promptIds) + text,
    );
    split += pieces.filter((it) => it === "").length;
  }
  assert(split > 0, "no token held a part of a character");
});

// Vectors and storage.

Deno.test("embed() gives one vector per text, of length 1 unless told otherwise", async () => {
  await using model = await tiny();
  assertEquals(await model.embed([]), []);
  const texts = ["the man", "in", "the man"];
  for (const pooling of ["last", "mean"] as const) {
    const vectors = await model.embed(texts, { pooling });
    const raw = await model.embed(texts, { pooling, normalize: false });
    assertEquals(vectors.map((it) => it.length), [32, 32, 32]);
    assertEquals(vectors[0], vectors[2]);
    vectors.forEach((vector, i) => {
      const length = Math.hypot(...raw[i]!);
      assertAlmostEquals(Math.hypot(...vector), 1, 1e-5);
      assert(Math.abs(length - 1) > 1e-3);
      assertClose(vector.map((it) => it * length), raw[i]!);
    });
    assert(difference(vectors[0]!, vectors[1]!) > 0.01);
  }
  // Of one token, the last is the mean.
  const [last] = await model.embed([""]), [mean] = await model.embed([""], { pooling: "mean" });
  assertClose(last!, mean!);
  await assertRejects(
    () => model.embed(["x"], { pooling: "median" as "mean" }),
    InputError,
    'Cannot embed with pooling "median": expected first, last, mean, max, mean-sqrt, weighted-mean',
  );
});

/**
 * How far caches of a type may be from f32: f16 keeps 11 bits, so that each number is off by at most
 * 2^-12 of itself; int8 by at most 1/254 of the greatest of its group.
 */
const CACHE_BOUNDS = { f16: 5e-3, int8: 0.05 } as const;

for (const cacheType of ["f16", "int8"] as const) {
  Deno.test(`a cache of ${cacheType} stays close to one of f32`, async () => {
    await using exact = await tiny({ context: 128 });
    await using coarse = await tiny({ context: 128 }, { cacheType });
    await using reference = await tiny({ context: 128 }, { cacheType, backend: "reference" });
    const ids = randomIds(128);
    const [a, b, c] = await Promise.all([exact, coarse, reference].map((it) => it.logits({ ids })));
    assertClose(b!, a!, CACHE_BOUNDS[cacheType]);
    assert(difference(b!, a!) > 0, `the cache was not stored as ${cacheType}`);
    assertClose(b!, c!, cacheType === "f16" ? 1e-3 : 2e-2);
  });
}

/** Ways to store the weights: in the file, and as loaded. Bounds are parts of the largest logit. */
const STORAGE: { type: NonNullable<TinyOptions["type"]>; weights: WeightsOption; bound: number }[] =
  [
    { type: "F32", weights: "as-is", bound: 1e-5 },
    { type: "F16", weights: "as-is", bound: 1e-5 },
    { type: "Q4_1", weights: "f32", bound: 1e-5 },
    // The kernels of integers round activations to 8 bits too; the reference does not.
    { type: "Q8_0", weights: "as-is", bound: 0.05 },
    { type: "Q4_0", weights: "as-is", bound: 0.05 },
    { type: "Q4_1", weights: "as-is", bound: 0.05 },
    { type: "F32", weights: "int8", bound: 0.05 },
    { type: "F16", weights: "int4", bound: 0.05 },
  ];

for (const { type, weights, bound } of STORAGE) {
  Deno.test(`${type} weights stored ${weights} compute as on the reference`, async () => {
    const ids = randomIds(40);
    const rows: Float32Array[] = [];
    for (const backend of ["reference", "wasm"] as const) {
      await using model = await tiny({ type }, { backend, weights, threads: 2 });
      rows.push(await model.logits({ ids }));
    }
    assertClose(rows[1]!, rows[0]!, bound);
  });
}

Deno.test("a model is the same in GGUF and in safetensors", async () => {
  for (
    const options of [{ architecture: "qwen2" }, { architecture: "qwen3", tied: true }] as const
  ) {
    const ids = randomIds(40);
    await using gguf = await tiny({ ...options, tokenizer: "none" });
    await withFolder(tinySafetensors(options), async (path) => {
      await using folder = await loadModel(path, { threads: 1 });
      assertEquals(await folder.logits({ ids }), await gguf.logits({ ids }));
    });
  }
});
