/** The server through OpenAI's own client: what it answers, what it refuses, and who may ask. */

import { assert, assertEquals, assertStringIncludes } from "@std/assert";
import { InputError, type Model } from "../mod.ts";
import { handler, type ServedRequest, type ServeOptions } from "../serve/handler.ts";
import OpenAI, { APIError } from "./deps/openai.ts";
import { CHAT_TEMPLATE } from "./tiny_model.ts";
import { run, tiny, VOCAB } from "./tiny_sessions.ts";

const CHAT = { chatTemplate: CHAT_TEMPLATE, context: 300 };
const USER = [{ role: "user" as const, content: "the man" }];

type Handle = (request: Request) => Promise<Response>;

function clientOf(handle: Handle): OpenAI {
  return new OpenAI({
    apiKey: "a key",
    baseURL: "http://localhost/v1",
    maxRetries: 0,
    fetch: (url, init) => handle(new Request(url as string, init as RequestInit)),
  });
}

async function withServer(
  options: ServeOptions,
  body: (client: OpenAI, model: Model, handle: Handle) => Promise<void>,
): Promise<void> {
  await using model = await tiny(CHAT, { sequences: 2 });
  const handle = handler({ tiny: model }, options);
  await body(clientOf(handle), model, handle);
}

function post(path: string, body: unknown, headers: Record<string, string> = {}): Request {
  return new Request(`http://localhost${path}`, {
    method: "POST",
    headers,
    body: typeof body === "string" ? body : JSON.stringify(body),
  });
}

/** What a request is refused with. */
async function refusal(promise: Promise<unknown>): Promise<APIError> {
  const error = await promise.then(() => undefined, (it) => it);
  assert(error instanceof APIError, `expected a refusal, found ${error}`);
  return error;
}

Deno.test("a conversation is answered as the library answers it, whole and in pieces", async () => {
  await withServer({}, async (client, model) => {
    const ids = await model.chatPrompt(USER);
    const expected = await run(model.session(), ids, { maxTokens: 12, stopIds: undefined! });
    const request = { model: "tiny", messages: USER, max_tokens: 12, temperature: 0 };
    const whole = await client.chat.completions.create(request);
    assertEquals(whole.choices[0]!.message.content, expected.text);
    assertEquals(whole.choices[0]!.finish_reason, expected.stopReason as "length" | "stop");
    assertEquals(whole.usage?.prompt_tokens, ids.length);
    assertEquals(whole.usage?.completion_tokens, expected.ids.length);
    const stream = await client.chat.completions.create({
      ...request,
      stream: true,
      stream_options: { include_usage: true },
    });
    const events = await Array.fromAsync(stream);
    assertEquals(new Set(events.map(({ id }) => id)).size, 1);
    assertEquals(events[0]!.choices[0]!.delta, { role: "assistant", content: "" });
    const deltas = events.slice(1).map(({ choices }) => choices[0]?.delta);
    assertEquals(deltas.map((it) => it?.content ?? "").join(""), expected.text);
    assert(deltas.every((it) => it?.role === undefined));
    assertEquals(events.at(-2)!.choices[0]!.finish_reason, whole.choices[0]!.finish_reason);
    assertEquals(events.at(-1)!.choices, []);
    assertEquals(events.at(-1)!.usage?.total_tokens, whole.usage?.total_tokens);
  });
});

Deno.test("a last message of the assistant is gone on with", async () => {
  await withServer({}, async (client, model) => {
    const ids = await model.chatPrompt(USER);
    const begun = [...ids, ...model.tokenizer.encode("an end", { addSpecial: false })];
    const { text } = await run(model.session(), begun, { maxTokens: 6, stopIds: undefined! });
    const { choices } = await client.chat.completions.create({
      ...{ model: "tiny", max_tokens: 6, temperature: 0 },
      messages: [...USER, { role: "assistant", content: [{ type: "text", text: "an end" }] }],
    });
    assertEquals(choices[0]!.message.content, text);
  });
});

Deno.test("log-probabilities are the library's; their bytes join to the text, also in pieces", async () => {
  await withServer({}, async (client, model) => {
    const ids = await model.chatPrompt(USER);
    const { logprobs } = await run(model.session(), ids, {
      ...{ maxTokens: 8, logprobs: 3, stopIds: undefined! },
    });
    const request = {
      ...{ model: "tiny", messages: USER, max_tokens: 8, temperature: 0 },
      ...{ logprobs: true, top_logprobs: 3 },
    };
    const { choices: [choice] } = await client.chat.completions.create(request);
    const entries = choice!.logprobs!.content!;
    assertEquals(entries.map(({ logprob }) => logprob), logprobs!.map(({ logprob }) => logprob));
    assertEquals(entries.map(({ token }) => token), logprobs!.map(({ text }) => text));
    assert(entries.every(({ top_logprobs }) => top_logprobs.length === 3));
    const bytes = Uint8Array.from(entries.flatMap(({ bytes }) => bytes ?? []));
    assertEquals(new TextDecoder().decode(bytes), choice!.message.content);
    const stream = await client.chat.completions.create({ ...request, stream: true });
    const pieces = await Array.fromAsync(stream);
    const streamed = pieces.flatMap(({ choices }) => choices[0]!.logprobs?.content ?? []);
    assertEquals(streamed, entries);
  });
});

Deno.test("choices have seeds of their own, and a seed gives them again", async () => {
  await withServer({}, async (client) => {
    const request = { model: "tiny", prompt: "the man", max_tokens: 20, n: 3, seed: 7 };
    const [a, b] = [
      await client.completions.create(request),
      await client.completions.create(request),
    ];
    const texts = a.choices.map(({ text }) => text);
    assertEquals(b.choices.map(({ text }) => text), texts);
    assertEquals(new Set(texts).size, 3);
    const stream = await client.completions.create({ ...request, stream: true });
    const joined = ["", "", ""];
    for await (const { choices: [choice] } of stream) joined[choice!.index] += choice!.text;
    assertEquals(joined, texts);
  });
});

Deno.test("prompts are texts, ids or lists of them; echo puts them before the answer", async () => {
  await withServer({}, async (client, model) => {
    const ids = model.tokenizer.encode("the man");
    const request = { model: "tiny", max_tokens: 5, temperature: 0 };
    const one = await client.completions.create({ ...request, prompt: "the man" });
    const other = await client.completions.create({ ...request, prompt: ids });
    const both = await client.completions.create({
      ...{ ...request, echo: true },
      prompt: ["the man", "a thin man"],
    });
    assertEquals(other.choices[0]!.text, one.choices[0]!.text);
    assertEquals(both.choices[0]!.text, `the man${one.choices[0]!.text}`);
    assert(both.choices[1]!.text.startsWith("a thin man"));
    const logged = await client.completions.create({ ...request, prompt: ids, logprobs: 2 });
    const { tokens, text_offset: offsets } = logged.choices[0]!.logprobs!;
    assertEquals(offsets, tokens!.map((_, i) => tokens!.slice(0, i).join("").length));
  });
});

Deno.test("options reach the sampler: bans, stops, penalties, limits", async () => {
  await withServer({}, async (client, model) => {
    const request = { model: "tiny", prompt: "the man", max_tokens: 10, temperature: 0 };
    const { choices: [free] } = await client.completions.create(request);
    const { ids: [first] } = await run(model.session(), "the man", { maxTokens: 1 });
    const { choices: [other] } = await client.completions.create({
      ...request,
      logit_bias: { [first!]: -100 },
    });
    assert(other!.text !== free!.text);
    const stop = free!.text.slice(3, 5);
    const { choices: [cut] } = await client.completions.create({ ...request, stop });
    assertEquals(cut!.text, free!.text.slice(0, free!.text.indexOf(stop)));
    assertEquals(cut!.finish_reason, "stop");
    const { usage } = await client.completions.create({ ...request, max_tokens: 0 });
    assertEquals(usage?.completion_tokens, 0);
  });
});

Deno.test("vectors are the library's, as numbers and as bytes", async () => {
  await withServer({}, async (client, model) => {
    const texts = ["the man", "an end"];
    const expected = await model.embed(texts);
    const request = { model: "tiny", input: texts };
    // The client asks for base64 where nothing is said.
    for (const form of ["float", undefined] as const) {
      const { data, usage } = await client.embeddings.create({
        ...request,
        ...(form && { encoding_format: form }),
      });
      data.forEach(({ embedding }, i) => assertEquals(Float32Array.from(embedding), expected[i]!));
      assert(usage.prompt_tokens > 2);
    }
    const { data: [short] } = await client.embeddings.create({ ...request, dimensions: 4 });
    assertEquals(short!.embedding.length, 4);
    assert(Math.abs(Math.hypot(...short!.embedding) - 1) < 1e-6);
    const error = await refusal(client.embeddings.create({ ...request, dimensions: 999 }));
    assertEquals(error.status, 400);
    assertStringIncludes(error.message, "999");
  });
});

/** Requests that would not be answered as asked, with what is to blame. */
const REFUSED: readonly (readonly [object, number, string, string?])[] = [
  [{ model: "other" }, 404, "model", "model_not_found"],
  [{ messages: undefined }, 400, "messages", "invalid_value"],
  [{ messages: [] }, 400, "messages"],
  [{ messages: [{ role: "king", content: "a" }] }, 400, "messages[0].role"],
  [{ messages: [{ role: "user" }] }, 400, "messages[0].content"],
  [{ messages: [{ role: "assistant", content: "a" }] }, 400, "messages"],
  [
    { messages: [{ role: "user", content: "the ".repeat(500) }] },
    400,
    "messages",
    "context_length_exceeded",
  ],
  [{ temperature: 3 }, 400, "temperature"],
  [{ top_p: 0 }, 400, "top_p"],
  [{ n: 0 }, 400, "n"],
  [{ top_logprobs: 3 }, 400, "top_logprobs"],
  [{ logprobs: true, top_logprobs: 21 }, 400, "top_logprobs"],
  [{ max_tokens: 3, max_completion_tokens: 4 }, 400, "max_tokens"],
  [{ logit_bias: { a: 1 } }, 400, "logit_bias.a"],
  [{ logit_bias: { [VOCAB]: 1 } }, 400, ""],
  [{ response_format: { type: "json_object" } }, 400, "response_format.type"],
  [{ tools: [{ type: "function", function: { name: "f" } }] }, 400, "tools"],
  [{ tool_choice: "required" }, 400, "tool_choice"],
  [{ reasoning_effort: "low" }, 400, "reasoning_effort", "unknown_field"],
  [{ audio: { voice: "a" } }, 400, "audio", "unknown_field"],
  [{ stream_options: { include_obfuscation: true } }, 400, "stream_options.include_obfuscation"],
];

Deno.test("what cannot be answered as asked is refused, by the field that is to blame", async () => {
  await withServer({}, async (client, _, handle) => {
    const request = { model: "tiny", messages: USER, max_tokens: 2 };
    for (const [change, status, param, code] of REFUSED) {
      const what = JSON.stringify(change).slice(0, 80);
      for (const stream of [false, true]) {
        const body = { ...request, ...change, stream };
        const error = await refusal(client.chat.completions.create(body as never));
        assertEquals([error.status, error.param ?? ""], [status, param], what);
        if (code !== undefined) assertEquals(error.code, code, what);
        assert(/Cannot [^\n]+/.test(error.message), error.message);
      }
    }
    const long = await refusal(
      client.completions.create({ model: "tiny", prompt: Array(400).fill(5) }),
    );
    assertStringIncludes(long.message, "400 tokens");
    const hopeless = await refusal(
      client.completions.create({ model: "tiny", prompt: "the man ".repeat(1 << 20) }),
    );
    assertStringIncludes(hopeless.message, "8388608 characters");
    assertEquals(hopeless.code, "context_length_exceeded");
    assertStringIncludes(long.message, "300");
    for (const body of ["", "{", "[]", "3", "null", '{"model": "tiny"', "\u0000"]) {
      const answer = await handle(post("/v1/completions", body));
      assertEquals(answer.status, 400, body);
      assertEquals((await answer.json()).error.type, "invalid_request_error");
    }
  });
});

Deno.test("fields that change nothing are named in a header", async () => {
  await withServer({}, async (_, __, handle) => {
    const body = { prompt: "a", max_tokens: 1, user: "me", store: true, metadata: null };
    const answer = await handle(post("/v1/completions", body));
    assertEquals(answer.status, 200);
    assertEquals(answer.headers.get("x-sparrow-ignored"), "user, store");
  });
});

Deno.test("routes that there are not, and other methods, are told what there is", async () => {
  await withServer({}, async (client, _, handle) => {
    const wrong = await handle(new Request("http://localhost/v1/chat/completions"));
    assertEquals([wrong.status, wrong.headers.get("allow")], [405, "POST"]);
    const none = await handle(post("/v1/audio/speech", {}));
    assertEquals(none.status, 404);
    assertStringIncludes((await none.json()).error.message, "POST /v1/chat/completions");
    assertEquals((await client.models.list()).data.map(({ id }) => id), ["tiny"]);
    assertEquals((await client.models.retrieve("tiny")).object, "model");
    assertEquals((await refusal(client.models.retrieve("other"))).status, 404);
  });
});

Deno.test("only those who may ask are answered: hosts, origins, keys", async () => {
  const options = { apiKeys: ["secret", "another"], origins: ["https://chat.example"] };
  await withServer(options, async (_, __, handle) => {
    const status = async (url: string, headers: Record<string, string> = {}): Promise<number> => {
      const answer = await handle(new Request(url, { headers }));
      await answer.body?.cancel();
      return answer.status;
    };
    const key = { authorization: "Bearer secret" }, list = "http://localhost/v1/models";
    assertEquals(await status(list), 401);
    assertEquals(await status(list, { authorization: "Bearer secre" }), 401);
    assertEquals(await status(list, { authorization: "Basic secret" }), 401);
    assertEquals(await status(list, key), 200);
    assertEquals(await status(list, { authorization: "bearer another" }), 200);
    assertEquals(await status("http://localhost/metrics"), 401);
    assertEquals(await status("http://localhost/health"), 200);
    for (const host of ["evil.example", "localhost.evil.example", "10.0.0.1"]) {
      assertEquals(await status(`http://${host}/v1/models`, key), 403, host);
    }
    for (const host of ["127.0.0.1:8080", "[::1]", "localhost:1"]) {
      assertEquals(await status(`http://${host}/v1/models`, key), 200, host);
    }
    assertEquals(await status(list, { ...key, origin: "https://evil.example" }), 403);
    assertEquals(await status(list, { ...key, origin: "null" }), 403);
    assertEquals(await status(list, { ...key, origin: "https://chat.example" }), 200);
    const asked = await handle(
      new Request(list, {
        method: "OPTIONS",
        headers: { "origin": "https://chat.example", "access-control-request-method": "GET" },
      }),
    );
    assertEquals(asked.status, 204);
    assertEquals(asked.headers.get("access-control-allow-origin"), "https://chat.example");
  });
});

Deno.test("bodies that are too large are refused before they are read", async () => {
  await withServer({ maxBodyBytes: 200 }, async (_, __, handle) => {
    const answer = await handle(post("/v1/completions", { prompt: "a".repeat(300) }));
    assertEquals(answer.status, 413);
    assertEquals((await answer.json()).error.code, "body_too_large");
  });
});

Deno.test("more requests than may wait are told to come again; the others get their own text", async () => {
  await withServer({ queue: 2 }, async (client, _, handle) => {
    const request = { model: "tiny", prompt: "the man", max_tokens: 30, temperature: 0 };
    const alone = (await client.completions.create(request)).choices[0]!.text;
    const answers = await Promise.all(
      Array.from({ length: 8 }, () => handle(post("/v1/completions", request))),
    );
    const good = answers.filter(({ status }) => status === 200);
    const refused = answers.filter(({ status }) => status === 429);
    assertEquals([good.length, refused.length], [4, 4]); // two run, two wait
    assertEquals(refused[0]!.headers.get("retry-after"), "1");
    for (const answer of good) assertEquals((await answer.json()).choices[0].text, alone);
    assertEquals((await refused[0]!.json()).error.code, "queue_full");
    // More choices than there are sequences wait for one another.
    const { choices } = await client.completions.create({ ...request, n: 4 });
    assertEquals(choices.map(({ text }) => text), Array(4).fill(alone));
    const many = await refusal(client.completions.create({ ...request, n: 5 }));
    assertEquals(many.status, 429);
  });
});

Deno.test("a prompt goes on from the idle text that begins alike, with the same answer", async () => {
  await withServer({}, async (client) => {
    const ask = async (prompt: string): Promise<[string, number]> => {
      const { choices, usage } = await client.completions.create({
        ...{ model: "tiny", prompt, max_tokens: 4, temperature: 0 },
      });
      return [choices[0]!.text, usage!.prompt_tokens_details!.cached_tokens!];
    };
    const long = "the man in the thin inn ", other = "an end an end an end ";
    const [text, none] = await ask(long);
    assertEquals(none, 0);
    await ask(other);
    const [again, most] = await ask(long);
    assertEquals(again, text);
    assert(most > 10, `${most} tokens were cached`);
    const [, still] = await ask(`${other}the`);
    assert(still > 10, `${still} tokens were cached`);
  });
});

Deno.test("a client that is gone leaves its place, in a stream and before an answer", async () => {
  const told: ServedRequest[] = [];
  await withServer({ onRequest: (it) => void told.push(it) }, async (client, _, handle) => {
    const endless = { prompt: "the man", max_tokens: 290, logit_bias: { 2: -100 } };
    for (let i = 0; i < 6; i++) { // more than there is room for
      const answer = await handle(post("/v1/completions", { ...endless, stream: true }));
      const reader = answer.body!.getReader();
      await reader.read();
      await reader.cancel();
    }
    const aborts = Array.from({ length: 4 }, () => new AbortController());
    const answers = aborts.map(({ signal }) =>
      handle(new Request(post("/v1/completions", endless), { signal }))
    );
    for (const abort of aborts) abort.abort();
    for (const answer of answers) assertEquals((await answer).status, 499);
    const after = await client.completions.create({ model: "tiny", prompt: "a", max_tokens: 1 });
    assertEquals(after.choices.length, 1);
  });
  assert(told.every(({ status }) => status === 200 || status === 499));
});

Deno.test("answers end in time: a limit, a reader that reads nothing, an end of the server", async () => {
  const endless = { prompt: "the man", max_tokens: 290, logit_bias: { 2: -100 } };
  await withServer({ timeoutMs: 1 }, async (_, __, handle) => {
    const answer = await handle(post("/v1/completions", endless));
    assertEquals(answer.status, 504);
    assertEquals((await answer.json()).error.type, "timeout_error");
  });
  const stalled = Promise.withResolvers<void>();
  const onRequest = ({ status }: ServedRequest): void => void (status === 408 && stalled.resolve());
  await withServer({ stallMs: 20, onRequest }, async (client, _, handle) => {
    const answer = await handle(post("/v1/completions", { ...endless, stream: true }));
    await stalled.promise;
    assertEquals(await answer.text().then(() => "all", (error) => error.type), "timeout_error");
    await client.completions.create({ model: "tiny", prompt: "a", max_tokens: 1, n: 2 });
  });
  const ending = new AbortController();
  await withServer({ signal: ending.signal }, async (_, __, handle) => {
    const answer = await handle(post("/v1/completions", { ...endless, stream: true }));
    ending.abort(new InputError("the end"));
    const events = (await answer.text()).trim().split("\n\n");
    assertStringIncludes(events.at(-1)!, "the end");
    assertEquals((await handle(new Request("http://localhost/ready"))).status, 400);
  });
});

Deno.test("metrics count requests by route and tokens by kind", async () => {
  await withServer({}, async (client, _, handle) => {
    await client.completions.create({ model: "tiny", prompt: "a", max_tokens: 3, temperature: 0 });
    await refusal(client.models.retrieve("other"));
    await (await handle(post("/made/up", {}))).body?.cancel();
    const text = await (await handle(new Request("http://localhost/metrics"))).text();
    assertStringIncludes(text, 'sparrow_requests_total{route="/v1/completions",status="200"} 1');
    assertStringIncludes(text, 'route="/v1/models/:name{.+}",status="404"} 1');
    assertStringIncludes(text, 'sparrow_tokens_total{model="tiny",kind="generated"} 3');
    assert(!text.includes("/made/up"));
  });
});
