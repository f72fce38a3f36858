/** How generation ends: by a token, a string, a count, the context, a signal, or a reader who leaves. */

import { assert, assertEquals, assertRejects } from "@std/assert";
import { type GenerationResult, InputError, loadModel, type Session } from "../mod.ts";
import { argmax } from "../runtime/generation/most_likely.ts";
import { ggufBytes } from "./fixtures.ts";
import { tinyBlob, tinyContents } from "./tiny_model.ts";
import { assertClose, randomIds, run, tiny } from "./tiny_sessions.ts";

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

Deno.test("a text that was aborted ends by its reason, whatever the session did since", async () => {
  await using model = await tiny();
  const changes: ((session: Session) => unknown)[] = [
    (session) => session.step(5),
    (session) => session.reset(),
    (session) => run(session, "in the hat", { maxTokens: 2 }),
  ];
  for (const change of changes) {
    using session = model.session();
    const controller = new AbortController(), reason = new Error("enough");
    const options = { temperature: 0, stopIds: [], signal: controller.signal };
    const stream = session.generate("the man", options);
    await stream.next();
    controller.abort(reason);
    await change(session);
    assertEquals(await stream.next().catch((error) => error), reason);
  }
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

Deno.test("timers and signals have their turn between two tokens, on every backend", async () => {
  for (const backend of ["wasm", "reference"] as const) {
    await using model = await loadModel(await tinyBlob(), { backend, threads: 1 });
    using session = model.session();
    let fired = false, tokens = 0;
    setTimeout(() => fired = true, 20);
    const stream = session.generate("the", { maxTokens: 20_000, stopIds: [], overflow: "slide" });
    for await (const _ of stream) {
      tokens++;
      if (fired) break;
    }
    assert(fired && tokens < 20_000, `${backend}: ${tokens} tokens`);
    const signal = AbortSignal.timeout(20), texts = Array(5000).fill("the");
    await assertRejects(() => model.embed(texts, { signal }), DOMException, undefined, backend);
  }
});
