/** `deno task serve` as a program: over sockets, under signals, with what it may and may not do. */

import { assert, assertEquals, assertMatch } from "@std/assert";
import OpenAI from "./deps/openai.ts";
import { taskArgs } from "./task_args.ts";
import { inFolder } from "./tiny_model.ts";

const ROOT = new URL("../", import.meta.url);

interface Running {
  readonly base: string;
  /** Asks it to end, once. */
  readonly end: () => void;
}

/** Runs the program until `body` ends, and takes the model that comes with Sparrow. */
async function withProgram(
  args: readonly string[],
  body: (running: Running) => Promise<void>,
): Promise<{ code: number; told: string }> {
  const process = new Deno.Command(Deno.execPath(), {
    args: [...taskArgs("serve"), "--port", "0", "--threads", "1", ...args],
    cwd: ROOT,
    env: { NO_COLOR: "1" },
    stdin: "null",
    stdout: "null",
    stderr: "piped",
    signal: AbortSignal.timeout(60_000),
  }).spawn();
  let text = "";
  const begun = Promise.withResolvers<string>();
  const reading = (async () => {
    for await (const chunk of process.stderr.pipeThrough(new TextDecoderStream())) {
      text += chunk;
      const [, base] = /answers at (http:\S+\/v1);/.exec(text) ?? [];
      if (base) begun.resolve(base);
    }
    begun.reject(new Error(`it ended: ${text}`));
  })();
  begun.promise.catch(() => {});
  let isAsked = false;
  const end = (): void => {
    if (!isAsked) process.kill("SIGTERM"); // a second time would end it at once
    isAsked = true;
  };
  try {
    await body({ base: await begun.promise, end });
  } finally {
    end();
  }
  const { code } = await process.status;
  await reading;
  return { code, told: text };
}

Deno.test("the program answers over a socket, tells requests, and ends by a signal", async () => {
  await inFolder(async (path) => {
    const { code, told } = await withProgram(["--log", path("log")], async ({ base }) => {
      const client = new OpenAI({ apiKey: "none", baseURL: base, maxRetries: 0 });
      const { data: [model] } = await client.models.list();
      assertEquals(model!.id, "model");
      const stream = await client.completions.create({
        ...{ model: "model", prompt: "春眠不觉晓，", max_tokens: 6, temperature: 0, stream: true },
      });
      let text = "";
      for await (const { choices: [choice] } of stream) text += choice!.text;
      assertEquals(text.length, 6);
    });
    assertEquals(code, 0, told);
    assertMatch(
      told,
      /^serve: "model" answers at http:\/\/127\.0\.0\.1:\d+\/v1; Ctrl-C ends it\n$/,
    );
    const lines = (await Deno.readTextFile(path("log"))).trim().split("\n");
    const requests = lines.map((line) => JSON.parse(line));
    assertEquals(requests.map(({ path, status }) => [path, status]), [
      ["/v1/models", 200],
      ["/v1/completions", 200],
    ]);
    assert(!lines.join().includes("春"), "the log tells what was said");
  });
});

Deno.test("a stream that has begun comes to its end when the program is ended", async () => {
  const { code } = await withProgram([], async ({ base, end }) => {
    const request = {
      prompt: "春眠不觉晓，",
      max_tokens: 60,
      stream: true,
      logit_bias: { 2: -100 },
    };
    const answer = await fetch(`${base}/completions`, {
      method: "POST",
      body: JSON.stringify(request),
    });
    const reader = answer.body!.pipeThrough(new TextDecoderStream()).getReader();
    let text = (await reader.read()).value!;
    end();
    for (let next; !(next = await reader.read()).done;) text += next.value;
    assertMatch(text, /"finish_reason":"(length|stop)"/);
    assert(text.endsWith("data: [DONE]\n\n"));
  });
  assertEquals(code, 0);
});

Deno.test("keys come from a file; a port that is taken is told before a model is loaded", async () => {
  await inFolder(async (path) => {
    await Deno.writeTextFile(path("keys"), "first-key\n\nsecond-key\n");
    await withProgram(["--api-key-file", path("keys"), "--name", "poems"], async ({ base }) => {
      const status = async (headers: HeadersInit): Promise<number> => {
        const answer = await fetch(`${base}/models/poems`, { headers });
        await answer.body?.cancel();
        return answer.status;
      };
      assertEquals(await status({}), 401);
      assertEquals(await status({ authorization: "Bearer second-key" }), 200);
      const port = new URL(base).port;
      const { code, stderr } = await new Deno.Command(Deno.execPath(), {
        args: [...taskArgs("serve"), "--port", port, "--model", "/there/is/no/such.gguf"],
        cwd: ROOT,
        env: { NO_COLOR: "1" },
      }).output();
      assertEquals(code, 1);
      assertMatch(
        new TextDecoder().decode(stderr),
        /^serve: Cannot listen at "127\.0\.0\.1", port \d+: another program uses this address\n$/,
      );
    });
  });
});
