/** Sessions and generation, on tiny random models: what is cached, what ends a text, what goes on. */

import { assert, assertAlmostEquals, assertEquals, assertRejects, assertThrows } from "@std/assert";
import {
  type GenerateOptions,
  type GenerationResult,
  InputError,
  loadModel,
  type LoadOptions,
  type Model,
  ModelError,
  type Session,
} from "../mod.ts";
import { argmax } from "../runtime/generation/most_likely.ts";
import type { WeightsOption } from "../runtime/models/weights.ts";
import { ggufBytes, randomNumbers } from "./fixtures.ts";
import {
  CHAT_TEMPLATE,
  tinyBlob,
  tinyContents,
  type TinyOptions,
  tinySafetensors,
  tinyVocabulary,
  withFolder,
} from "./tiny_model.ts";

const VOCAB = tinyVocabulary();

async function tiny(options: TinyOptions = {}, load: LoadOptions = {}): Promise<Model> {
  return await loadModel(await tinyBlob(options), { backend: "wasm", threads: 1, ...load });
}

function randomIds(length: number, seed = 1): number[] {
  const random = randomNumbers(seed);
  return Array.from({ length }, () => Math.floor(random() * VOCAB));
}

/** Runs a generation to its end. */
async function run(
  session: Session,
  prompt: string | readonly number[],
  options: GenerateOptions = {},
): Promise<GenerationResult & { pieces: string[] }> {
  const pieces: string[] = [];
  let result: GenerationResult | undefined;
  const stream = session.generate(prompt, {
    temperature: 0,
    stopIds: [],
    ...options,
    onFinish: (it) => {
      assertEquals(result, undefined, "onFinish was called twice");
      result = it;
    },
  });
  for await (const { text } of stream) pieces.push(text);
  assertEquals(pieces.join(""), result!.text);
  return { ...result!, pieces };
}

/** Largest difference of two lists of logits, as a part of the largest logit. */
function difference(actual: Float32Array, expected: Float32Array): number {
  assertEquals(actual.length, expected.length);
  const largest = expected.reduce((max, it) => Math.max(max, Math.abs(it)), 0);
  return expected.reduce((max, it, i) => Math.max(max, Math.abs(it - actual[i]!)), 0) / largest;
}

function assertClose(actual: Float32Array, expected: Float32Array, bound = 1e-5): void {
  const off = difference(actual, expected);
  assert(off <= bound, `logits differ by ${off} of the largest, at most ${bound} expected`);
}

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
  const fresh = await run(model.session(), next, { maxTokens: 20 });
  const second = await run(session, next, { maxTokens: 20 });
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
    assertEquals(reusedTokens, sequences === 1 ? 0 : promptIds.length - 1);
  }
});

// What ends a text.

Deno.test("generate() ends at a stop token, which is no part of the text", async () => {
  await using model = await tiny();
  const free = await run(model.session(), "the", { maxTokens: 30 });
  assertEquals(free.stopReason, "length");
  for (const at of [0, 5]) {
    const id = free.ids[at]!;
    const kept = free.ids.slice(0, free.ids.indexOf(id));
    const session = model.session();
    const stopped = await run(session, "the", { maxTokens: 30, stopIds: [id] });
    assertEquals([stopped.stopReason, stopped.ids], ["stop", kept]);
    const decoder = model.tokenizer.decoder({ after: free.promptIds });
    assertEquals(stopped.text, kept.map((it) => decoder.push(it)).join("") + decoder.flush());
  }
});

Deno.test("generate() takes the model's own stop tokens where none are given", async () => {
  const contents = tinyContents();
  await using plain = await loadModel(new Blob([await ggufBytes(contents)]), { threads: 1 });
  const { ids } = await run(plain.session(), "the", { maxTokens: 20 });
  contents.fields.set("tokenizer.ggml.eos_token_id", { type: "u32", value: ids[8]! });
  await using model = await loadModel(new Blob([await ggufBytes(contents)]), { threads: 1 });
  assert(model.stopIds.includes(ids[8]!));
  const tokens: number[] = [];
  for await (const { id } of model.session().generate("the", { temperature: 0 })) tokens.push(id);
  assertEquals(tokens, ids.slice(0, ids.indexOf(ids[8]!)));
});

Deno.test("generate() ends before a stop string and gives out no part of it", async () => {
  await using model = await tiny({ context: 120 });
  const free = await run(model.session(), "the man", { maxTokens: 60 });
  const { text } = free;
  let spanning = 0;
  for (let start = 1; start < text.length - 6; start += 3) {
    const stop = text.slice(start, start + 5);
    const before = text.slice(0, text.indexOf(stop));
    const stopped = await run(model.session(), "the man", { maxTokens: 60, stop: ["zz~", stop] });
    assertEquals([stopped.stopReason, stopped.text], ["stop", before], JSON.stringify(stop));
    if (!free.pieces.some((piece) => piece.includes(stop))) spanning++;
    // The tokens are those that were needed to see the stop string, no more.
    assertEquals(stopped.ids, free.ids.slice(0, stopped.ids.length));
    const decoded = free.pieces.slice(0, stopped.ids.length - 1).join("");
    assert(!decoded.includes(stop), "generation went on after the stop string");
  }
  assert(spanning > 5, "no stop string spanned tokens");
});

Deno.test("generate() gives out what only looked like a stop string", async () => {
  await using model = await tiny();
  const free = await run(model.session(), "the", { maxTokens: 20 });
  const stop = free.text.slice(-3) + "never";
  for (const list of [[stop], [""], ["", stop], []]) {
    const result = await run(model.session(), "the", { maxTokens: 20, stop: list });
    assertEquals([result.text, result.stopReason], [free.text, "length"]);
  }
});

Deno.test("generate() counts tokens: maxTokens 0, 1 and 7", async () => {
  await using model = await tiny();
  for (const maxTokens of [0, 1, 7]) {
    const session = model.session();
    const { ids, stopReason, pieces } = await run(session, "the", { maxTokens });
    assertEquals([ids.length, stopReason, pieces.length], [maxTokens, "length", maxTokens]);
  }
});

Deno.test("generate() ends with the context", async () => {
  await using model = await tiny({}, { contextLength: 16 });
  for (const length of [1, 10, 16]) {
    const session = model.session();
    const { ids, stopReason } = await run(session, randomIds(length));
    // The token after the last place in the context is known, but cannot be run.
    assertEquals([ids.length, stopReason], [17 - length, "length"]);
    assertEquals(session.position, 16);
  }
});

for (
  const [contextLength, sinkTokens] of [[32, undefined], [32, 0], [33, 16], [3, 1], [
    1,
    undefined,
  ]] as const
) {
  Deno.test(`generate() slides over a context of ${contextLength} with ${sinkTokens} sink tokens`, async () => {
    await using model = await tiny({}, { contextLength, backend: "reference" });
    const session = model.session();
    const prompt = randomIds(Math.ceil(contextLength / 2));
    const seen: { history: readonly number[]; next: number }[] = [];
    let history: readonly number[] = [];
    const options = {
      ...sinkTokens === undefined ? {} : { sinkTokens },
      overflow: "slide",
    } as const;
    const stream = session.generate(prompt, {
      ...options,
      temperature: 0,
      stopIds: [],
      maxTokens: 3 * contextLength + 5,
    });
    for await (const { id } of stream) {
      assert(session.position <= contextLength);
      seen.push({ history: session.history, next: id });
      // Where it slid, the start and the end of the tokens were kept.
      const sink = Math.min(sinkTokens ?? 4, Math.floor(contextLength / 2));
      if (session.position < history.length) {
        assertEquals(session.history.slice(0, sink), history.slice(0, sink));
        const end = session.history.slice(sink, -1);
        assertEquals(end, end.length > 0 ? history.slice(-end.length) : []);
      }
      history = session.history;
    }
    assertEquals(seen.length, 3 * contextLength + 5);
    // Every token is what a fresh session would say.
    for (const { history, next } of seen.slice(0, 90)) {
      using fresh = model.session();
      assertEquals(argmax(await fresh.prefill(history)), next);
    }
  });
}

// Ends that others bring about.

Deno.test("generate() ends by its signal, and the session goes on", async () => {
  await using model = await tiny();
  const expected = await run(model.session(), "the man", { maxTokens: 20 });
  const session = model.session();
  await assertRejects(
    () => run(session, "the", { signal: AbortSignal.abort(new Error("not now")) }),
    Error,
    "not now",
  );
  const controller = new AbortController();
  let result: GenerationResult | undefined;
  const ids: number[] = [];
  await assertRejects(
    async () => {
      const options = { temperature: 0, stopIds: [], signal: controller.signal };
      for await (
        const { id } of session.generate("the man", {
          ...options,
          onFinish: (it) => result = it,
        })
      ) {
        if (ids.push(id) === 3) controller.abort(new Error("enough"));
      }
    },
    Error,
    "enough",
  );
  assertEquals([result!.stopReason, result!.ids], ["abort", expected.ids.slice(0, 3)]);
  const again = await run(session, "the man", { maxTokens: 20 });
  assertEquals(again.ids, expected.ids);
  assert(again.reusedTokens > 0);
});

Deno.test("prefill() ends by its signal between chunks, and the session goes on", async () => {
  await using model = await tiny({ context: 1000 });
  const ids = randomIds(900);
  using session = model.session();
  await session.prefill(ids.slice(0, 10));
  const controller = new AbortController();
  const running = session.prefill(ids.slice(10), { signal: controller.signal });
  queueMicrotask(() => controller.abort(new Error("stop it")));
  await assertRejects(() => running, Error, "stop it");
  assertEquals(session.history, ids.slice(0, 10));
  using fresh = model.session();
  assertClose(await session.prefill(ids.slice(10, 30)), await fresh.prefill(ids.slice(0, 30)));
});

Deno.test("generate() can be left, and the session goes on", async () => {
  await using model = await tiny();
  const expected = await run(model.session(), "the man", { maxTokens: 20 });
  const session = model.session();
  let result: GenerationResult | undefined;
  for await (
    const { id } of session.generate("the man", {
      temperature: 0,
      onFinish: (it) => result = it,
    })
  ) {
    assertEquals(id, expected.ids[0]);
    break;
  }
  assertEquals([result!.stopReason, result!.ids], ["abort", expected.ids.slice(0, 1)]);
  assertEquals((await run(session, "the man", { maxTokens: 20 })).ids, expected.ids);
  // A stream that is never begun does nothing.
  session.generate("in the");
  assertEquals((await run(session, "the man", { maxTokens: 20 })).ids, expected.ids);
});

Deno.test("two texts at the same time in one session are refused, not mixed", async () => {
  await using model = await tiny();
  const expected = await run(model.session(), "the man", { maxTokens: 20 });
  const session = model.session();
  const results = await Promise.allSettled([
    run(session, "the man", { maxTokens: 20 }),
    run(session, "in the hat", { maxTokens: 20 }),
  ]);
  for (const it of results) {
    assert(it.status === "rejected" && it.reason instanceof InputError, "a text was mixed");
  }
  const stream = session.generate("the man", { temperature: 0 });
  await stream.next();
  await session.step(5);
  await assertRejects(() => stream.next(), InputError, "another call changed the session's tokens");
  assertEquals((await run(session, "the man", { maxTokens: 20 })).ids, expected.ids);
});

Deno.test("what has been disposed says so", async () => {
  const model = await tiny({}, { threads: 2 });
  const session = model.session(), other = model.session();
  await run(session, "the", { maxTokens: 3 });
  session.dispose();
  session.dispose();
  await assertRejects(() => session.step(1), InputError, "a session that has been disposed");
  await assertRejects(() => run(session, "the"), InputError, "a session that has been disposed");

  const third = model.session();
  await assertRejects(
    async () => {
      const stream = third.generate("the", { temperature: 0, stopIds: [] });
      for await (const _ of stream) third.dispose();
    },
    InputError,
    "a session that has been disposed",
  );
  const ids: number[] = [];
  let disposing: Promise<void> | undefined;
  await assertRejects(
    async () => {
      for await (const { id } of other.generate("the", { temperature: 0, stopIds: [] })) {
        if (ids.push(id) === 3) disposing = model.dispose();
      }
    },
    InputError,
    "Cannot run a model that has been disposed",
  );
  assertEquals(ids.length, 3);
  await disposing;
  await model.dispose();
  for (
    const call of [
      () => other.step(1),
      () => model.session().prefill([1]),
      () => model.logits({ ids: [1] }),
      () => model.embed(["the"]),
    ]
  ) await assertRejects<unknown>(call, InputError, "Cannot run a model that has been disposed");
});

Deno.test("dispose() waits for the run that has begun", async () => {
  for (let i = 0; i < 5; i++) {
    const model = await tiny({ context: 600 }, { threads: 2 });
    const running = model.session().prefill(randomIds(256));
    await Promise.resolve();
    await model.dispose();
    assertEquals((await running.catch((error) => error)) instanceof Error, false);
  }
});

Deno.test("a program that forgets dispose ends all the same", async () => {
  const folder = await Deno.makeTempDir();
  try {
    const model = `${folder}/tiny.gguf`;
    await Deno.writeFile(model, new Uint8Array(await (await tinyBlob()).arrayBuffer()));
    await Deno.writeTextFile(
      `${folder}/main.ts`,
      `import { loadModel } from ${JSON.stringify(new URL("../mod.ts", import.meta.url).href)};
      const model = await loadModel(${JSON.stringify(model)}, { threads: 2 });
      for await (const _ of model.session().generate("the", { maxTokens: 5 }));
      console.log("done");`,
    );
    const { stdout, success, signal } = await new Deno.Command(Deno.execPath(), {
      args: ["run", "--no-check", `--allow-read=${folder}`, `${folder}/main.ts`],
      signal: AbortSignal.timeout(60_000),
    }).output();
    assertEquals([new TextDecoder().decode(stdout), success, signal], ["done\n", true, null]);
  } finally {
    await Deno.remove(folder, { recursive: true });
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
    () => model.embed(["x"], { pooling: "max" as "mean" }),
    InputError,
    'Cannot embed with pooling "max": expected first, last, mean',
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
