/** What a program learns while a prompt is read, and before the weights of a model are there. */

import { assert, assertEquals, assertRejects } from "@std/assert";
import { InputError, loadModel, type PromptProgress } from "../mod.ts";
import { tinyBlob } from "./tiny_model.ts";

const LONG = Array.from({ length: 700 }, (_, i) => i % 40);

Deno.test("onPrompt tells how far a long prompt has come, from its beginning to its end", async () => {
  await using model = await loadModel(await tinyBlob({ context: 1024 }), {
    backend: "wasm",
    threads: 1,
  });
  const session = model.session();
  const told: PromptProgress[] = [];
  const options = { maxTokens: 1, onPrompt: (it: PromptProgress) => void told.push(it) };
  for await (const _ of session.generate(LONG, options)) assert(told.at(-1)!.done === 700);
  assertEquals(told, [0, 256, 512, 700].map((done) => ({ done, total: 700 })));

  // What is cached is done from the beginning.
  told.length = 0;
  for await (const _ of session.generate([...LONG, 3, 4], options));
  assertEquals(told, [700, 702].map((done) => ({ done, total: 702 })));
  told.length = 0;
  for await (const _ of session.generate([...LONG.slice(0, 650)], options));
  assertEquals(told, [649, 650].map((done) => ({ done, total: 650 })));
});

Deno.test("prefill() tells its progress in tokens of the whole sequence", async () => {
  await using model = await loadModel(await tinyBlob({ context: 1024 }), {
    backend: "wasm",
    threads: 1,
  });
  const session = model.session();
  await session.prefill([1, 2, 3]);
  const told: PromptProgress[] = [];
  await session.prefill(LONG.slice(0, 300), { onProgress: (it) => void told.push(it) });
  assertEquals(told, [259, 303].map((done) => ({ done, total: 303 })));
});

Deno.test("an error of onPrompt ends generation with that error, and the session goes on", async () => {
  await using model = await loadModel(await tinyBlob({ context: 1024 }), {
    backend: "wasm",
    threads: 1,
  });
  const session = model.session();
  for (const at of [0, 256, 700]) {
    session.reset();
    const onPrompt = ({ done }: PromptProgress): void => {
      if (done === at) throw new RangeError(`at ${at}`);
    };
    const run = async (): Promise<void> => {
      for await (const _ of session.generate(LONG, { maxTokens: 2, onPrompt }));
    };
    await assertRejects(run, RangeError, `at ${at}`);
    let count = 0;
    for await (const _ of session.generate(LONG, { maxTokens: 2, stopIds: [] })) count++;
    assertEquals([count, model.backend], [2, "wasm"]);
  }
});

Deno.test("onOpened knows the model before its weights, and what it throws ends loading", async () => {
  const blob = await tinyBlob({ chatTemplate: "{{ messages }}" });
  let seen: unknown;
  await using model = await loadModel(blob, {
    backend: "wasm",
    threads: 1,
    contextLength: 32,
    onOpened: async ({ config, contextLength, tokenizer, hasChatTemplate }) => {
      await Promise.resolve();
      seen = [config.layers, contextLength, tokenizer!.vocabSize, hasChatTemplate];
    },
  });
  assertEquals(seen, [2, 32, model.tokenizer.vocabSize, true]);
  assertEquals(model.hasChatTemplate, true);
  const refuse = (): void => {
    throw new InputError("not this one");
  };
  const options = { backend: "wasm", threads: 1, onOpened: refuse } as const;
  await assertRejects(() => loadModel(blob, options), InputError, "not this one");
  const plain = await tinyBlob({ tokenizer: "none" });
  await loadModel(plain, {
    backend: "wasm",
    threads: 1,
    onOpened: ({ tokenizer, hasChatTemplate }) => void (seen = [tokenizer, hasChatTemplate]),
  }).then((it) => it.dispose());
  assertEquals(seen, [undefined, false]);
});
