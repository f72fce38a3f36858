/** The server through Ollama's own client: the same texts, and its errors as that client reads them. */

import { assert, assertEquals, assertRejects } from "@std/assert";
import type { Model } from "../mod.ts";
import { handler } from "../serve/handler.ts";
import { Ollama } from "./deps/ollama.ts";
import { CHAT_TEMPLATE } from "./tiny_model.ts";
import { run, tiny } from "./tiny_sessions.ts";

const USER = [{ role: "user", content: "the man" }];
/** What makes texts the library's own at temperature 0. */
const GREEDY = { temperature: 0, repeat_penalty: 1, num_predict: 12 };

async function withClient(
  body: (
    client: Ollama,
    model: Model,
    ask: (path: string, body: object) => Promise<Response>,
  ) => Promise<void>,
): Promise<void> {
  await using model = await tiny({ chatTemplate: CHAT_TEMPLATE, context: 300 }, { sequences: 2 });
  const handle = handler({ tiny: model });
  const client = new Ollama({
    host: "http://localhost",
    fetch: (url, init) => handle(new Request(url, init)),
  });
  const ask = (path: string, it: object): Promise<Response> =>
    handle(new Request(`http://localhost${path}`, { method: "POST", body: JSON.stringify(it) }));
  await body(client, model, ask);
}

Deno.test("conversations and prompts are answered as the library does, whole and in pieces", async () => {
  await withClient(async (client, model) => {
    const ids = await model.chatPrompt(USER);
    const expected = await run(model.session(), ids, { maxTokens: 12, stopIds: undefined! });
    const request = { model: "tiny", messages: USER, options: GREEDY };
    const whole = await client.chat(request);
    assertEquals(whole.message, { role: "assistant", content: expected.text });
    assertEquals(whole.done_reason, expected.stopReason);
    assertEquals([whole.prompt_eval_count, whole.eval_count], [ids.length, expected.ids.length]);
    const pieces = await Array.fromAsync(await client.chat({ ...request, stream: true }));
    assertEquals(pieces.map(({ message }) => message.content).join(""), expected.text);
    assertEquals(pieces.map(({ done }) => done), pieces.map((_, i) => i === pieces.length - 1));
    // A prompt is a message, unless it is raw.
    const prompt = { model: "tiny", prompt: "the man", options: GREEDY };
    assertEquals((await client.generate(prompt)).response, expected.text);
    const raw = await run(model.session(), "the man", { maxTokens: 12, stopIds: undefined! });
    assertEquals((await client.generate({ ...prompt, raw: true })).response, raw.text);
  });
});

Deno.test("seeds, bans of options and log-probabilities reach the sampler", async () => {
  await withClient(async (client) => {
    const request = { model: "tiny", prompt: "the man", raw: true };
    const options = { temperature: 1, seed: 5, num_predict: 10 };
    const [a, b] = [
      await client.generate({ ...request, options }),
      await client.generate({ ...request, options }),
    ];
    assertEquals(a.response, b.response);
    const logged = await client.generate({ ...request, options, logprobs: true, top_logprobs: 2 });
    assertEquals(logged.logprobs!.map(({ token }) => token).join("").length > 0, true);
    assert(logged.logprobs!.every(({ top_logprobs }) => top_logprobs!.length === 2));
  });
});

Deno.test("vectors and models are told", async () => {
  await withClient(async (client, model) => {
    const texts = ["the man", "an end"], expected = await model.embed(texts);
    const { embeddings } = await client.embed({ model: "tiny", input: texts });
    assertEquals(embeddings.map((it) => Float32Array.from(it)), expected);
    assertEquals((await client.list()).models.map(({ name }) => name), ["tiny"]);
    assertEquals((await client.ps()).models.length, 1);
    assertEquals((await client.show({ model: "tiny" })).details.family, "llama");
    assert((await client.version()).version.length > 0);
  });
});

Deno.test("what cannot be answered as asked is refused in the client's own form", async () => {
  const refused: readonly (readonly [object, string])[] = [
    [{ model: "other" }, 'no model "other"'],
    [{ messages: [{ role: "user", content: "the ".repeat(500) }] }, "tokens"],
    [{ format: "json" }, "format"],
    [{ tools: [{ type: "function", function: { name: "f" } }] }, "tools"],
    [{ think: true }, "think"],
    [{ options: { num_ctx: 8192 } }, "loaded with 300"],
    [{ options: { mirostat: 2 } }, "options"],
    [{ template: "{{ .Prompt }}" }, "template"],
  ];
  await withClient(async (client, _, ask) => {
    for (const [change, text] of refused) {
      for (const stream of [false, true]) {
        const request = { model: "tiny", messages: USER, stream, ...change };
        await assertRejects(() => client.chat(request as never), Error, text);
      }
    }
    const answer = await ask("/api/chat", { model: "tiny", messages: USER, think: true });
    assertEquals([answer.status, Object.keys(await answer.json())], [400, ["error"]]);
    const options = { num_thread: 4 };
    const kept = await ask("/api/embed", { model: "tiny", input: "a", keep_alive: "5m", options });
    assertEquals(kept.headers.get("x-sparrow-ignored"), "keep_alive, options.num_thread");
    await kept.body?.cancel();
  });
});
