/** Log-probabilities of generated tokens, and of texts that are scored: their values, texts and bytes. */

import { assert, assertAlmostEquals, assertEquals, assertRejects } from "@std/assert";
import {
  type GenerateOptions,
  type GenerationResult,
  InputError,
  loadModel,
  type Model,
  ModelError,
  type Token,
} from "../mod.ts";
import { FIXTURES } from "./fixtures.ts";
import { CHAT_TEMPLATE, tinyBlob, type TinyOptions } from "./tiny_model.ts";

async function tiny(options: TinyOptions = {}): Promise<Model> {
  const blob = await tinyBlob({ chatTemplate: CHAT_TEMPLATE, context: 128, ...options });
  return await loadModel(blob, { backend: "wasm", threads: 1 });
}

/** By the definition: log of exp(logit) over the sum of all. */
function logSoftmax(logits: Float32Array): number[] {
  const total = Math.log(logits.reduce((sum, it) => sum + Math.exp(it), 0));
  return Array.from(logits, (it) => it - total);
}

const textOf = (bytes: Iterable<number>): string =>
  new TextDecoder().decode(Uint8Array.from(bytes));

for (const tokenizer of ["spm", "bpe"] as const) {
  Deno.test(`logprobs are those of the model's own distribution: ${tokenizer}`, async () => {
    await using model = await tiny({ tokenizer });
    // None of the settings has a part in them.
    const settings: GenerateOptions[] = [
      { temperature: 0 },
      { temperature: 1.7, seed: 3, topK: 4 },
      { temperature: 1, seed: 4, repeatPenalty: 1.4, presencePenalty: 0.3, frequencyPenalty: 0.2 },
      { temperature: 1, seed: 5, logitBias: { 5: 3, 9: -Infinity } },
    ];
    for (const setting of settings) {
      const tokens: Token[] = [];
      const prompt = model.tokenizer.encode("the man");
      let result: GenerationResult | undefined;
      const options: GenerateOptions = { maxTokens: 12, stopIds: [], logprobs: 4, ...setting };
      const stream = model.session().generate(prompt, {
        ...options,
        onFinish: (it) => result = it,
      });
      for await (const token of stream) tokens.push(token);
      const ids = tokens.map(({ id }) => id);
      const all = await model.logits([...prompt, ...ids]), vocab = model.config.vocabSize;
      for (const [i, { id, logprob, top, bytes }] of tokens.entries()) {
        const row = prompt.length - 1 + i;
        const expected = logSoftmax(all.subarray(row * vocab, (row + 1) * vocab));
        assertAlmostEquals(logprob!, expected[id]!, 1e-4);
        const best = Array.from(expected.keys()).sort((a, b) => expected[b]! - expected[a]!);
        assertEquals(top!.map((it) => it.id), best.slice(0, 4));
        for (const it of top!) {
          assertAlmostEquals(it.logprob, expected[it.id]!, 1e-4);
          if (it.id === id) assertEquals([it.bytes, it.logprob], [bytes, logprob]);
        }
      }
      // The result has the same, and the bytes of all tokens are the text.
      const { logprobs, text } = result!;
      assertEquals(
        logprobs!.map(({ id, bytes, logprob, top }) => ({ id, bytes, logprob, top })),
        tokens.map(({ id, bytes, logprob, top }) => ({ id, bytes, logprob, top })) as never,
      );
      assertEquals(textOf(logprobs!.flatMap(({ bytes }) => bytes)), text);
      // The same tokens as without.
      const { logprobs: _, ...without } = options;
      const plain = await model.complete(prompt, without);
      assertEquals([plain.ids, plain.text, plain.logprobs], [ids, text, undefined]);
    }
  });
}

Deno.test("bytes of tokens join to the text: characters spread over tokens, special tokens", async () => {
  await using model = await tiny({ tokenizer: "bpe", controls: [257] });
  // A sparrow in four tokens, a control token between, letters.
  const wanted = [...new TextEncoder().encode("🐦")].concat(257, 0x61, 0xe6);
  const { logprobs, text } = await model.complete("the", {
    constraint: { next: () => ({ required: wanted }), accept: () => {} },
    ...{ maxTokens: wanted.length, stopIds: [], logprobs: 0 },
  });
  assertEquals(text, "🐦a\ufffd");
  assertEquals(logprobs!.map(({ bytes }) => bytes), [
    ...[[0xf0], [0x9f], [0x90], [0xa6], [], [0x61], [0xe6]],
  ]);
  assertEquals(logprobs!.map((it) => it.text).join("|"), "<F0>|<9F>|<90>|<A6>|the|a|<E6>");
  assertEquals(textOf(logprobs!.flatMap(({ bytes }) => bytes)), text);
  assertEquals(logprobs!.map(({ top }) => top), wanted.map(() => []));
});

Deno.test("logprobs where a stop string cuts the text, and without a tokenizer", async () => {
  await using model = await tiny();
  const options = { temperature: 0, maxTokens: 12, stopIds: [], logprobs: 1 } as const;
  const free = await model.complete("the man", options);
  const stop = free.text.slice(4, 6);
  const cut = await model.complete("the man", { ...options, stop: [stop] });
  assertEquals(cut.stopReason, "stop");
  assertEquals(cut.text, free.text.slice(0, free.text.indexOf(stop)));
  const whole = textOf(cut.logprobs!.flatMap(({ bytes }) => bytes));
  assert(whole.startsWith(cut.text + stop) && free.text.startsWith(whole));
  assertEquals(cut.logprobs, free.logprobs!.slice(0, cut.ids.length));
  await using bare = await tiny({ tokenizer: "none" });
  const { ids, logprobs } = await bare.complete([1, 2], options);
  assertEquals(
    logprobs!.map(({ id, text, bytes }) => [id, text, bytes]),
    ids.map((id) => [
      ...[id, "", []],
    ]),
  );
  assert(logprobs!.every(({ id, logprob, top }) => top[0]!.id === id && logprob < 0));
});

Deno.test("logprobs out of bounds are refused", async () => {
  await using model = await tiny();
  for (const logprobs of [-1, 129, 1.5, true]) {
    await assertRejects(
      () => model.complete("the", { logprobs: logprobs as number }),
      InputError,
      `Cannot generate with logprobs ${logprobs}: expected a whole number from 0 to 128`,
    );
  }
});

Deno.test("score() refuses a model that reads a prompt in both directions", async () => {
  const folder = new URL("golden/chatglm6b/", FIXTURES);
  await using model = await loadModel(folder, { backend: "reference" });
  await assertRejects(
    () => model.score([3, 4, 5, 126, 129, 6]),
    ModelError,
    "it reads a prompt in both directions",
  );
});

Deno.test("score() gives the values of the definition", async () => {
  await using model = await tiny();
  const { tokenizer, config: { vocabSize } } = model;
  const text = "the man in a den.";
  const { ids, texts, logProbabilities, totalLogProbability, perplexity } = await model.score(text);
  assertEquals(ids, tokenizer.encode(text));
  assertEquals(texts.join(""), tokenizer.decode(ids, { skipSpecial: false }));
  const all = await model.logits(ids);
  const expected = ids.slice(1).map((id, i) =>
    logSoftmax(all.subarray(i * vocabSize, (i + 1) * vocabSize))[id]!
  );
  assertEquals(logProbabilities.length, expected.length);
  expected.forEach((value, i) => assertAlmostEquals(logProbabilities[i]!, value, 1e-5));
  const total = expected.reduce((sum, it) => sum + it, 0);
  assertAlmostEquals(totalLogProbability, total, 1e-4);
  assertAlmostEquals(perplexity, Math.exp(-total / expected.length), 1e-3);
  assertEquals((await model.score(ids)).logProbabilities, logProbabilities);
  // What generation says of its tokens is what scoring says of the same text.
  const answer = await model.complete(ids, { maxTokens: 8, seed: 1, stopIds: [], logprobs: 0 });
  const scored = await model.score([...ids, ...answer.ids]);
  answer.logprobs!.forEach(({ logprob }, i) =>
    assertAlmostEquals(logprob, scored.logProbabilities[ids.length - 1 + i]!, 1e-4)
  );
  await assertRejects(() => model.score([1]), InputError, "expected at least 2");
  await assertRejects(
    () => model.score(new Array(129).fill(3)),
    InputError,
    "Cannot score 129 tokens: the context holds 128",
  );
});
