/** Conversations: lines, blocks and pastes as messages, commands, and files. */

import {
  assert,
  assertEquals,
  assertMatch,
  assertNotEquals,
  assertRejects,
  assertStringIncludes,
  assertThrows,
} from "@std/assert";
import { writeSyntheticFolder } from "../bench/synthetic_folder.ts";
import { fromJson, textOf, toJson } from "../cli/chat/conversation.ts";
import { readLines } from "../cli/chat/input.ts";
import { PasteSplitter } from "../cli/chat/keys.ts";
import { type Message, MessageLines } from "../cli/chat/messages.ts";
import { FormatError, InputError } from "../mod.ts";
import { taskCommand } from "./task_args.ts";
import { CHAT_TEMPLATE, tinyGguf, withFolder } from "./tiny_model.ts";

const ROOT = new URL("../", import.meta.url);

async function run(
  name: string,
  args: readonly string[],
  stdin: string,
): Promise<{ code: number; stdout: string; stderr: string }> {
  const [file, ...own] = taskCommand(name);
  const child = new Deno.Command(file!, {
    args: [...own, ...args],
    cwd: ROOT,
    env: { NO_COLOR: "1" },
    stdin: "piped",
    stdout: "piped",
    stderr: "piped",
    signal: AbortSignal.timeout(60_000),
  }).spawn();
  const output = child.output();
  await new Blob([stdin]).stream().pipeTo(child.stdin).catch(() => {});
  const { code, stdout, stderr } = await output;
  const [out, error] = [stdout, stderr].map((it) => new TextDecoder().decode(it));
  return { code, stdout: out!, stderr: error! };
}

Deno.test("lines are messages, and so are blocks and pasted lines", () => {
  const lines = new MessageLines();
  const literal = (text: string): Message => ({ text, literal: true });
  assertEquals(lines.push("/help"), { text: "/help", literal: false });
  assertEquals(lines.push(""), { text: "", literal: false });
  const block: [string, Message | undefined][] = [
    ['"""', undefined],
    ["/help", undefined],
    ["", undefined],
    ['  b"""', literal("/help\n\n  b")],
    ['"""one line"""', literal("one line")],
    ['"""begun', undefined],
    ['"""', literal("begun")],
    ['a """quoted""" word', { text: 'a """quoted""" word', literal: false }],
  ];
  for (const [line, message] of block) assertEquals(lines.push(line), message, line);
  assertEquals([lines.push("a", true), lines.push('"""', true)], [undefined, undefined]);
  assertEquals([lines.isOpen, lines.isBlock], [true, false]);
  assertEquals(lines.push("b"), literal('a\n"""\nb'));
  assertEquals([lines.push('"""'), lines.push('x"""', true)], [undefined, undefined]);
  assertEquals(lines.push('"""'), literal('x"""')); // pasted quotes end nothing
  lines.push('"""');
  lines.clear();
  assertEquals([lines.isOpen, lines.isBlock, lines.end()], [false, false, undefined]);
});

Deno.test("keys and pastes are told apart, wherever what the terminal sends is cut", () => {
  const sent =
    "a\x1b[D\x1b[200~x\r\ny\rz\x1b]52;c;Zg==\x07\x1b[201~\x1b[A春\x1b\x1b[200~\x1b[201~b";
  const bytes = new TextEncoder().encode(sent);
  const expected = [["keys", "a\x1b[D"], ["paste", "x\ny\nz]52;c;Zg=="], ["keys", "\x1b[A春\x1bb"]];
  for (let size = 1; size <= bytes.length; size++) {
    const events: [string, string][] = [];
    const take = (kind: string) => (text: string) => {
      if (events.at(-1)?.[0] === kind) events.at(-1)![1] += text;
      else events.push([kind, text]);
    };
    const splitter = new PasteSplitter(take("keys"), take("paste"));
    for (let at = 0; at < bytes.length; at += size) splitter.push(bytes.subarray(at, at + size));
    assertEquals(events, expected as typeof events, `pieces of ${size}`);
  }
});

Deno.test("a conversation comes back from its file, and other files are refused", () => {
  const messages = [
    { role: "user", content: "a\nb" },
    { role: "assistant", content: '"c" €' },
  ];
  for (const system of [undefined, "be brief"]) {
    assertEquals(fromJson(toJson({ system, messages }), "f"), { system, messages });
  }
  const user = { role: "user", content: "a" };
  const refusals: [unknown, string][] = [
    ["no", "it is not JSON"],
    [[], "it has no list of messages"],
    [{ messages: {} }, "it has no list of messages"],
    [{ messages: [null] }, "message 0 is null"],
    [{ messages: [{ role: "user" }] }, "message 0 is"],
    [{ messages: [user] }, "the last question has no answer"],
    [{ messages: [user, user] }, 'found a message of "user" where assistant follows'],
    [{ messages: [{ role: "assistant", content: "" }] }, "where user follows"],
  ];
  for (const [value, message] of refusals) {
    const text = value === "no" ? "no" : JSON.stringify(value);
    const error = assertThrows(() => fromJson(text, "f"), FormatError);
    assertStringIncludes(error.message, message);
  }
  assertEquals(
    textOf([
      ...messages,
      { role: "user", content: "d" },
      { role: "assistant", content: "e\n" },
      user,
    ]),
    'a\nb"c" €\nde\na',
  );
});

Deno.test("lines of a pipe may be cut anywhere, and have to be text", async () => {
  const text = "one\r\n二\n\n three";
  const bytes = new TextEncoder().encode(text);
  for (const size of [1, 2, 7, 100]) {
    const pieces = Array.from(
      { length: Math.ceil(bytes.length / size) },
      (_, i) => bytes.slice(i * size, (i + 1) * size),
    );
    const lines = await Array.fromAsync(readLines(ReadableStream.from(pieces)));
    assertEquals(lines, ["one", "二", "", " three"]);
  }
  for (const pieces of [[Uint8Array.of(65, 10, 255, 10)], [Uint8Array.of(65, 10, 0xe4)]]) {
    await assertRejects(
      () => Array.fromAsync(readLines(ReadableStream.from(pieces))),
      InputError,
      "it is not UTF-8",
    );
  }
});

Deno.test("chat says what encoders and models that translate are for, and fails where a message does", async () => {
  const folder = await Deno.makeTempDir({ prefix: "sparrow_" });
  try {
    const config = {
      ...{ model_type: "t5", vocab_size: 300, d_model: 16, d_ff: 16, d_kv: 8, num_heads: 2 },
      ...{ num_layers: 1, eos_token_id: 1, pad_token_id: 0, n_positions: 32 },
    };
    await writeSyntheticFolder(`${folder}/t5`, config);
    const options = ["-m", `${folder}/t5`, "-n", "4", "--temperature", "0", "--ignore-eos"];
    const once = await run("chat", options, "of\n");
    assertMatch(once.stderr, /architecture "t5", which turns one text into another.*generate/s);
    assertEquals(once.code, 0);
    // Nothing of the first message is in the second one's text.
    const twice = await run("chat", options, "the cat\nof\n");
    assertEquals([twice.stdout.split("\n")[1], twice.code], [once.stdout.split("\n")[0], 0]);
    const long = await run("chat", options, `${"long ".repeat(20)}\nof\n`);
    assertStringIncludes(long.stderr, "the context holds 32");
    assertEquals([long.stdout, long.code], [once.stdout, 1]);
    const system = await run("chat", [...options, "--system", "a"], "");
    assertStringIncludes(system.stderr, "only turns one text into another");
    assertEquals(system.code, 2);
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
  const bert = await run("chat", ["-m", "tests/golden/tasks/bert-mask"], "the cat\n");
  assertMatch(
    bert.stderr,
    /chat: Cannot chat with .*reads texts and writes none; use "deno task embed"/,
  );
  assertEquals([bert.stdout, bert.code], ["", 1]);
});

Deno.test("chat runs commands, tells unknown ones, and saves and loads what was said", async () => {
  const model = await tinyGguf({ chatTemplate: CHAT_TEMPLATE, context: 512 });
  await withFolder({ "tiny.gguf": model, other: "work" }, async (path) => {
    const options = ["-m", `${path}/tiny.gguf`, "-n", "8", "--ignore-eos", "-s", "3"];
    const first = await run(
      "chat",
      options,
      [
        "/regenerate",
        "hi",
        "/regenerate",
        "/rgenerate",
        " /usr is a message",
        '"""',
        "/two",
        'lines"""',
        "/system be brief",
        "/system",
        `/save ${path}/saved.json`,
        `/save ${path}/saved.json`,
        `/save ${path}/other`,
        `/save ${path}/nope/x`,
        "/save",
        "/exit now",
        "/exit",
        "hi",
      ].join("\n"),
    );
    assertEquals(first.code, 0, first.stderr);
    assertEquals(first.stderr.trimEnd().split("\n"), [
      "Cannot answer again: there is no answer yet",
      'There is no command "/rgenerate" (did you mean /regenerate?); /help lists them, and a line ' +
      "that begins with a blank is a message",
      "The instructions are changed.",
      "be brief",
      `Saved 6 messages to "${path}/saved.json".`,
      `Saved 6 messages to "${path}/saved.json".`,
      `Cannot save to "${path}/other": it exists and is no conversation`,
      `Cannot save to "${path}/nope/x": there is no such file or folder`,
      "Cannot run /save without a file: expected /save FILE",
      'Cannot run /exit with "now": it takes nothing',
    ]);
    assertEquals(await Deno.readTextFile(`${path}/other`), "work");
    const { messages } = JSON.parse(await Deno.readTextFile(`${path}/saved.json`));
    const [system, ...said] = messages;
    assertEquals(system, { role: "system", content: "be brief" });
    assertEquals(said.filter((_: unknown, i: number) => i % 2 === 0), [
      { role: "user", content: "hi" },
      { role: "user", content: "/usr is a message" },
      { role: "user", content: "/two\nlines" },
    ]);
    // Four answers came out; the one that was asked for again is another one, and the one that stays.
    const answers = said.filter((_: unknown, i: number) => i % 2 === 1)
      .map(({ content }: { content: string }) => content);
    assert(first.stdout.endsWith(answers.join("\n") + "\n"), first.stdout);
    const replaced = first.stdout.slice(0, -(answers.join("\n").length + 2));
    assertNotEquals(replaced, answers[0]);
    assertEquals(replaced.length > 0, true);

    const loads = [`/load ${path}/saved.json`, "hi", `/load ${path}/other`, `/load ${path}/nope`];
    const again = await run(
      "chat",
      options,
      ["/reset", ...loads, `/save ${path}/more.json`].join("\n"),
    );
    assertEquals(again.stderr.trimEnd().split("\n"), [
      "The conversation is forgotten.",
      `Loaded 6 messages from "${path}/saved.json".`,
      `Cannot load the conversation "${path}/other": it is not JSON, expected what /save writes: ` +
      '{"messages": [{"role": "user", "content": "…"}, …]}',
      `Cannot load "${path}/nope": there is no such file or folder`,
      `Saved 8 messages to "${path}/more.json".`,
    ]);
    const more = JSON.parse(await Deno.readTextFile(`${path}/more.json`)).messages;
    assertEquals(more.slice(0, 7), messages);
  });
});

Deno.test("chat with a model without a template continues what is written, turn by turn", async () => {
  await withFolder({ "tiny.gguf": await tinyGguf({ context: 256 }) }, async (path) => {
    const options = ["-m", `${path}/tiny.gguf`, "-n", "6", "--ignore-eos", "--temperature", "0"];
    const lines = ["the man", "in the hat", "/system x", `/save ${path}/c.json`];
    const { code, stdout, stderr } = await run("chat", options, lines.join("\n"));
    assertEquals(code, 0, stderr);
    const notes = stderr.trimEnd().split("\n");
    assertMatch(notes[0]!, /^chat: this model came without a chat template: it continues .*hf:\S+/);
    assertEquals(notes[0]!.match(/hf:\S+/g)?.length, 3);
    assertEquals(notes[1], "Cannot give instructions: the model came without a chat template");
    const { messages } = JSON.parse(await Deno.readTextFile(`${path}/c.json`));
    assertEquals(messages.length, 4);
    assertEquals(stdout, `${messages[1].content}\n${messages[3].content}\n`);
    for (const at of [1, 3]) {
      const alone = await run("generate", options, textOf(messages.slice(0, at)));
      assertEquals(alone.stdout, `${messages[at].content}\n`);
    }
  });
});

Deno.test("a model that only continues leaves room in its context for the next turns", async () => {
  await withFolder({ "tiny.gguf": await tinyGguf({ context: 64 }) }, async (path) => {
    const options = ["-m", `${path}/tiny.gguf`, "--ignore-eos", "--seed", "1"];
    const { code, stderr } = await run("chat", options, "the man\nthe hat\nthe rat");
    assertEquals(code, 0, stderr);
    const notes = stderr.trimEnd().split("\n").slice(1);
    assertEquals(notes, Array(3).fill("chat: the answer was cut after 16 tokens (--max-tokens)"));
  });
});
