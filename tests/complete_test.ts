/** Whole answers: what `complete`, `chat` and `chatStream` give, value by value; prompts that do not fit. */

import { assert, assertEquals, assertRejects } from "@std/assert";
import { InputError, loadModel, type LoadOptions, type Model, ModelError } from "../mod.ts";
import { argmax } from "../runtime/generation/most_likely.ts";
import { CHAT_TEMPLATE, tinyBlob, type TinyOptions } from "./tiny_model.ts";
import { hasWebgpu } from "./webgpu_adapter.ts";

async function tiny(options: TinyOptions = {}, load: LoadOptions = {}): Promise<Model> {
  const blob = await tinyBlob({ chatTemplate: CHAT_TEMPLATE, context: 96, ...options });
  return await loadModel(blob, { backend: "wasm", threads: 1, ...load });
}

/** The most likely tokens after a prompt, one by one, from logits alone. */
async function greedy(model: Model, prompt: readonly number[], count: number): Promise<number[]> {
  using session = model.session();
  const ids = [argmax(await session.prefill(prompt))];
  while (ids.length < count) ids.push(argmax(await session.step(ids.at(-1)!)));
  return ids;
}

/** What ids add to the text of a prompt. */
function addedText(
  { tokenizer }: Model,
  prompt: readonly number[],
  ids: readonly number[],
): string {
  return tokenizer.decode([...prompt, ...ids]).slice(tokenizer.decode(prompt).length);
}

const GREEDY = { temperature: 0, maxTokens: 9, stopIds: [] } as const;

Deno.test("complete() gives the tokens, the text and what they cost", async () => {
  await using model = await tiny();
  const prompt = model.tokenizer.encode("the man");
  const ids = await greedy(model, prompt, 9), text = addedText(model, prompt, ids);
  const usage = {
    promptTokens: prompt.length,
    completionTokens: 9,
    totalTokens: prompt.length + 9,
  };
  const expected = {
    ...{ stopReason: "length", promptIds: prompt, reusedTokens: 0, ids, text },
    usage: { ...usage, cachedTokens: 0 },
  };
  using session = model.session();
  let finished: unknown;
  const onFinish = (it: unknown): void => {
    finished = it;
  };
  const { usage: cost, ...rest } = await session.complete("the man", { ...GREEDY, onFinish });
  assertEquals({ ...rest, usage: cost } as unknown, expected);
  assertEquals(finished, rest);
  // Again in the same session: the whole prompt but its last token is cached.
  const again = await session.complete("the man", GREEDY);
  const cachedTokens = prompt.length - 1;
  assertEquals(again as unknown, {
    ...expected,
    reusedTokens: cachedTokens,
    usage: { ...usage, cachedTokens },
  });
  // As ids and as a prompt; by the model itself; with a stop token, which is no part of the answer.
  assertEquals((await model.complete({ ids: prompt }, GREEDY)).ids, ids);
  const at = ids.findIndex((id, i) => i > 0 && ids.indexOf(id) === i);
  const stopped = await model.complete(prompt, { ...GREEDY, stopIds: [ids[at]!] });
  assertEquals([stopped.stopReason, stopped.ids], ["stop", ids.slice(0, at)]);
  assertEquals(stopped.usage.completionTokens, at);
  assertEquals(stopped.text, addedText(model, prompt, ids.slice(0, at)));
});

Deno.test("chat() and chatStream() answer what the template makes of the messages", async () => {
  await using model = await tiny();
  const messages = [{ role: "user", content: "the man <s>" }];
  const { tokenizer } = model;
  const prompt = tokenizer.encode([
    { text: "<s>", trusted: true },
    { text: "user: the man <s>. assistant:", trusted: false },
  ], { addSpecial: false });
  assertEquals(prompt.filter((id) => id === 1).length, 1); // what a message spells stays text
  const ids = await greedy(model, prompt, 9), text = addedText(model, prompt, ids);
  using session = model.session();
  const answer = await session.chat(messages, GREEDY);
  assertEquals(answer.promptIds, prompt);
  assertEquals([answer.ids, answer.text, answer.stopReason], [ids, text, "length"]);
  assertEquals(answer.message, { role: "assistant", content: text });
  assertEquals(answer.usage, {
    ...{ promptTokens: prompt.length, cachedTokens: 0 },
    ...{ completionTokens: 9, totalTokens: prompt.length + 9 },
  });
  const streamed: { id: number; text: string }[] = [];
  for await (const token of model.session().chatStream(messages, GREEDY)) streamed.push(token);
  assertEquals(streamed.map(({ id }) => id), ids);
  assertEquals(streamed.map((it) => it.text).join(""), text);
  assertEquals((await model.chat(messages, GREEDY)).text, text);
  // Options of the template and of generation, in one object.
  await using filled = await tiny({ chatTemplate: "{{ messages[0].content }}{{ more }}" });
  const variables = { more: ", he" };
  const other = await filled.chat(messages, { ...GREEDY, logprobs: 1, variables });
  const own = tokenizer.encode("the man <s>, he", { addSpecial: false });
  assertEquals(other.promptIds, own);
  assertEquals(other.ids, await greedy(filled, own, 9));
  assertEquals(other.logprobs!.map(({ top }) => top[0]!.id), other.ids);
  await using bare = await tiny({ chatTemplate: undefined as unknown as string });
  await assertRejects(() => bare.chat(messages), ModelError, "without a chat template");
  const stream = bare.session().chatStream(messages);
  await assertRejects(() => stream.next(), ModelError, "without a chat template");
});

Deno.test("a prompt that does not fit is an error with both lengths, wherever it is given", async () => {
  await using model = await tiny({}, { contextLength: 16 });
  const ids = new Array<number>(17).fill(5), text = "b".repeat(40);
  const count = model.tokenizer.encode(text).length;
  const messages = [{ role: "user", content: text }];
  const asked = (await model.chatPrompt(messages)).length;
  using session = model.session();
  const rows: [number, () => Promise<unknown>][] = [
    [17, () => session.generate(ids).next()],
    [17, () => session.generate({ ids }, { overflow: "slide" }).next()],
    [count, () => session.generate(text).next()],
    [17, () => session.complete(ids, { logprobs: 1 })],
    [count, () => model.complete(text)],
    [asked, () => model.chat(messages)],
    [asked, () => session.chatStream(messages).next()],
    [17, () => session.prefill(ids)],
    [17, () => session.logits(ids)],
    [17, () => model.logits(ids)],
    [17, () => model.encode({ ids })],
    [count, () => model.embed(["b", text])],
    [17, () => model.score(ids)],
    [count, () => model.score(text)],
  ];
  for (const [length, run] of rows) {
    const { message } = await assertRejects(run, InputError);
    assert(/\b16\b/.test(message) && message.includes(` ${length} tokens`), `${run}: ${message}`);
  }
  // What is appended does not push anything out either.
  await session.prefill(ids.slice(0, 10));
  for (const run of [() => session.prefill(ids.slice(0, 7)), () => session.logits(ids.slice(9))]) {
    const { message } = await assertRejects(run, InputError);
    assert(/7|8/.test(message) && /\b10\b/.test(message) && /\b16\b/.test(message), message);
  }
  assertEquals(session.history, ids.slice(0, 10));
  assertEquals((await session.complete(ids.slice(0, 16), GREEDY)).ids.length, 1);
});

Deno.test({
  name: "stop strings while tokens are chosen ahead on the GPU",
  ignore: !hasWebgpu,
  fn: async () => {
    for (const tokenizer of ["spm", "bpe"] as const) {
      await using gpu = await tiny({ tokenizer }, { backend: "webgpu" });
      await using cpu = await tiny({ tokenizer });
      for (const settings of [{ temperature: 0 }, { temperature: 1, seed: 5 }]) {
        const options = { ...settings, maxTokens: 60, stopIds: [] };
        const free = await cpu.complete("the man", options);
        assertEquals((await gpu.complete("the man", options)).text, free.text);
        // Early and late, within a token and over some.
        for (const [start, length] of [[0, 1], [3, 2], [9, 5], [20, 1], [30, 9]] as const) {
          const stop = ["~never~", free.text.slice(start, start + length)];
          const expected = await cpu.complete("the man", { ...options, stop });
          assertEquals(expected.text, free.text.slice(0, free.text.indexOf(stop[1]!)));
          using session = gpu.session();
          const found = await session.complete("the man", { ...options, stop });
          assertEquals(found, expected);
          // What had run ahead is forgotten, and the session goes on.
          assertEquals(session.history, [...found.promptIds, ...found.ids.slice(0, -1)]);
          assertEquals((await session.complete("the man", options)).ids, free.ids);
        }
      }
    }
  },
});
