/**
 * Hostile text through every entrance: metadata, configurations, tokenizers, templates, names of files
 * and tensors, answers of servers, arguments. Whatever it is, a message is one readable line, and a
 * terminal obeys none of it.
 */

import { assert, assertEquals, assertMatch, assertNotMatch } from "@std/assert";
import { loadModel, type LoadOptions, SparrowError } from "../mod.ts";
import type { MetadataValue } from "../runtime/files/gguf_metadata.ts";
import { openModelFile } from "../runtime/files/open.ts";
import { openSource } from "../runtime/files/source.ts";
import { ggufBytes, safetensorsBytes } from "./fixtures.ts";
import { ignore, spawnOnTerminal } from "./pseudo_terminal.ts";
import {
  tinyContents,
  tinyGguf,
  type TinyOptions,
  tinySafetensors,
  withFolder,
} from "./tiny_model.ts";

const SMALL: TinyOptions = {
  layers: 1,
  hidden: 16,
  heads: 2,
  kvHeads: 1,
  intermediate: 16,
  context: 32,
};

/** What no message and no output of a command holds, but for line breaks between lines of output. */
const UNSAFE = /[\p{Cc}\p{Cf}\p{Cs}\p{Zl}\p{Zp}\p{Default_Ignorable_Code_Point}]/u;

/** Sets the clipboard, the title and the colour, turns the line around, hides, breaks the line. */
const EVIL = "x\x1b]52;c;Zg==\x07\x1b]0;t\x07\x1b[31m\r\n\u202e\u200b\u2028\x9b2J\x00\x7f";

/** One readable line, in English. */
function checkText(text: string, what: string): void {
  assertNotMatch(text, UNSAFE, what);
  assert(text.length <= 4000, `${what}: ${text.length} characters`);
  assertNotMatch(text, /\[object |\b(an?|the) (an?|the) /, what);
  // A range check whose text contradicts itself.
  const [, found, least] = /is (\d+), expected [a-z ]*at least (\d+)\b/.exec(text) ?? [];
  assert(found === undefined || Number(found) < Number(least), `${what}: ${text}`);
}

/** A typed error whose text is safe, with its stack and what it was made from. */
function checkError(error: unknown, what: string): void {
  if (!(error instanceof SparrowError)) throw new Error(`${what}: ${error}`, { cause: error });
  checkText(error.message, what);
  assertNotMatch(Deno.inspect(error, { colors: false }).replaceAll("\n", ""), UNSAFE, what);
}

/** Loads a model and uses all that its files tell; says whether that went well. */
async function use(
  source: string | Blob,
  what: string,
  options: LoadOptions = {},
): Promise<boolean> {
  const onWarning = (text: string) => checkText(text, `a warning of ${what}`);
  try {
    await using model = await loadModel(source, { backend: "reference", onWarning, ...options });
    if (model.hasTokenizer) model.tokenizer.decode(model.tokenizer.encode(`the ${EVIL}`));
    if (model.hasChatTemplate) await model.chatPrompt([{ role: EVIL, content: EVIL }]);
    using session = model.session();
    for await (const _ of session.generate([1], { maxTokens: 2, temperature: 0 })) { /* enough */ }
    return true;
  } catch (error) {
    checkError(error, what);
    return false;
  }
}

Deno.test("GGUF: no field, key, tensor name or type reaches a message as it is", async () => {
  const evil: MetadataValue = { type: "string", value: EVIL };
  const values: MetadataValue[] = [
    evil,
    { type: "array", items: "string", value: [EVIL, "a", EVIL] },
    { type: "array", items: "array", value: [{ type: "array", items: "string", value: [EVIL] }] },
    { type: "u32", value: 2 ** 31 },
    { type: "i32", value: -1 },
    { type: "f32", value: NaN },
    { type: "bool", value: true },
  ];
  const more = [
    "rope.scaling.type",
    "rope.scaling.factor",
    "attention.key_length",
    "vocab_size",
    "expert_count",
    "attention.sliding_window",
  ]
    .map((key) => `llama.${key}`)
    .concat([
      "general.name",
      "general.alignment",
      "split.count",
      "tokenizer.chat_template",
      "tokenizer.ggml.pre",
      "tokenizer.ggml.eos_token_id",
      EVIL,
    ]);
  let failed = 0;
  for (const tokenizer of ["spm", "bpe"] as const) {
    const { fields } = tinyContents({ ...SMALL, tokenizer });
    for (const key of [...fields.keys(), ...more]) {
      for (const value of values) {
        const contents = tinyContents({ ...SMALL, tokenizer });
        contents.fields.set(key, value);
        // The writer refuses some itself.
        const bytes = await ggufBytes(contents).catch((error) => void checkError(error, key));
        if (!bytes) continue;
        const blob = new File([bytes], `${EVIL}.gguf`);
        if (!await use(blob, `${key} = ${JSON.stringify(value.value)}`)) failed++;
      }
    }
  }
  assert(failed > 100, `${failed} failed`);
  for (const index of tinyContents(SMALL).tensors.keys()) {
    const contents = tinyContents(SMALL);
    contents.tensors[index] = { ...contents.tensors[index], name: EVIL };
    await use(new File([await ggufBytes(contents)], EVIL), `tensor ${index}`);
  }
});

/** Every value in JSON, with a function that puts another in its place. */
function* places(
  json: unknown,
  put: (value: unknown) => unknown,
  path = "",
): Generator<{ path: string; put(value: unknown): unknown }> {
  yield { path, put };
  if (typeof json !== "object" || json === null) return;
  for (const [key, value] of Object.entries(json)) {
    const inner = (other: unknown) =>
      put(Array.isArray(json) ? json.with(Number(key), other) : { ...json, [key]: other });
    yield* places(value, inner, `${path}.${key}`);
  }
}

/** What JSON can have in the place of anything. */
const JSON_VALUES: readonly unknown[] = [
  EVIL,
  `${EVIL}\ud800`,
  [EVIL],
  { [EVIL]: EVIL, type: EVIL },
  { type: "Sequence", normalizers: [{ type: EVIL }] },
  2 ** 31,
  -1,
  0.5,
  null,
  true,
];

Deno.test("config.json: no field reaches a message as it is", async () => {
  const files = tinySafetensors({ ...SMALL, architecture: "qwen2" });
  const config = JSON.parse(new TextDecoder().decode(files["config.json"]));
  const more = {
    hidden_act: "silu",
    rope_scaling: { rope_type: "linear", factor: 2 },
    sliding_window: 8,
    layer_types: ["full_attention"],
    torch_dtype: "float32",
    architectures: ["Qwen2ForCausalLM"],
    num_experts: 1,
    attention_bias: false,
    quantization_config: { quant_method: "gptq" },
    head_dim: 8,
    eos_token_id: 2,
  };
  let failed = 0;
  await withFolder(files, async (path) => {
    for (const { path: place, put } of places({ ...config, ...more }, (it) => it)) {
      for (const value of JSON_VALUES) {
        await Deno.writeTextFile(`${path}/config.json`, JSON.stringify(put(value)));
        if (!await use(path, `config.json${place} = ${JSON.stringify(value)}`)) failed++;
      }
    }
  });
  assert(failed > 50, `${failed} failed`);
});

Deno.test("tokenizer.json and templates: nothing of them reaches a message as it is", async () => {
  const tokenizer = {
    added_tokens: [{
      id: 3,
      content: "<s>",
      special: true,
      normalized: false,
      lstrip: false,
      rstrip: false,
      single_word: false,
    }],
    normalizer: {
      type: "Sequence",
      normalizers: [{ type: "NFC" }, { type: "Replace", pattern: { String: " " }, content: "▁" }],
    },
    pre_tokenizer: {
      type: "Split",
      pattern: { Regex: "\\s+" },
      behavior: "Isolated",
      invert: false,
    },
    post_processor: {
      type: "TemplateProcessing",
      single: [{ SpecialToken: { id: "<s>", type_id: 0 } }, { Sequence: { id: "A", type_id: 0 } }],
      pair: [],
      special_tokens: { "<s>": { id: "<s>", ids: [3], tokens: ["<s>"] } },
    },
    decoder: {
      type: "Sequence",
      decoders: [{ type: "Replace", pattern: { String: "▁" }, content: " " }, { type: "Fuse" }],
    },
    model: {
      type: "BPE",
      vocab: { t: 0, h: 1, th: 2 },
      merges: [["t", "h"]],
      unk_token: "t",
      byte_fallback: false,
    },
  };
  const templates = [
    `{{ raise_exception(${JSON.stringify(EVIL)}) }}`,
    `{{ messages | nothing }}`,
    `{{ '${EVIL}' | nothing }}`,
    `{{ ${EVIL} }}`,
    `{% ${EVIL}`,
    `{{ messages['${EVIL.replace(/[\r\n]/g, "")}'].b.c }}`,
    `{% include '${EVIL.replace(/[\r\n]/g, "")}' %}`,
    EVIL,
    [{ name: EVIL, template: "{{ 1 }}" }],
    [{ name: "default", template: EVIL + "{{" }],
    [{ name: EVIL, template: 7 }],
    { [EVIL]: EVIL },
  ];
  let failed = 0;
  await withFolder(tinySafetensors({ ...SMALL, architecture: "qwen2" }), async (path) => {
    for (const { path: place, put } of places(tokenizer, (it) => it)) {
      for (const value of JSON_VALUES) {
        await Deno.writeTextFile(`${path}/tokenizer.json`, JSON.stringify(put(value)));
        if (!await use(path, `tokenizer.json${place} = ${JSON.stringify(value)}`)) failed++;
      }
    }
    await Deno.writeTextFile(`${path}/tokenizer.json`, JSON.stringify(tokenizer));
    for (const template of templates) {
      const config = { chat_template: template, bos_token: EVIL, eos_token: { content: EVIL } };
      await Deno.writeTextFile(`${path}/tokenizer_config.json`, JSON.stringify(config));
      if (!await use(path, `template ${JSON.stringify(template)}`)) failed++;
    }
  });
  assert(failed > 100, `${failed} failed`);
});

Deno.test("files: no name, header or broken JSON reaches a message as it is", async () => {
  const attempt = async (what: string, open: () => Promise<{ close(): void }>): Promise<void> => {
    try {
      (await open()).close();
    } catch (error) {
      return checkError(error, what);
    }
    throw new Error(`${what} was opened`);
  };
  const name = EVIL.replaceAll("\0", "");
  await withFolder({ [`${name}.gguf`]: "no", [`${name}2.gguf`]: "no" }, async (path) => {
    for (const file of [`/${name}.gguf`, "", `/${name}`, `/${name}.gguf/x`, `/\0${name}`]) {
      await attempt(`path ${file}`, () => openModelFile(path + file));
      await attempt(
        `URL ${file}`,
        () => openModelFile(new URL(`file://${path}${encodeURI(file)}`)),
      );
    }
    await Deno.mkdir(`${path}/${name}`);
    await attempt("a folder", () => openModelFile(`${path}/${name}`));
    await attempt("a folder as a file", () => openSource(`${path}/${name}`));
  });
  for (
    const location of [
      `${EVIL}://x`,
      `ftp://u:pw@h/${EVIL}?sig=1`,
      `http://${EVIL}`,
      "%",
      "file://%zz/%zz",
    ]
  ) {
    await attempt(`location ${location}`, () => openModelFile(location));
  }
  const siblings = { "config.json": new TextEncoder().encode("{}") };
  const open = (bytes: Uint8Array, more: Record<string, Uint8Array> = siblings) =>
    openModelFile(new File([bytes.slice()], `${EVIL}.safetensors`), { siblings: more });
  const entry = { dtype: "F32", shape: [1], data_offsets: [0, 4] };
  const headers: Record<string, unknown>[] = [
    { [EVIL]: { ...entry, dtype: EVIL, shape: [2], data_offsets: [0, 5] } },
    { [EVIL]: { ...entry, dtype: 5 } },
    { [EVIL]: EVIL },
    { [EVIL]: { ...entry, shape: Array(1e5).fill(1), data_offsets: [0, 8] } },
    { [EVIL]: { ...entry, data_offsets: [4, 8] } },
    { [EVIL]: entry, [`${EVIL}2`]: entry },
  ];
  for (const header of headers) {
    await attempt(JSON.stringify(header).slice(0, 200), () => open(safetensorsBytes(header, 4)));
  }
  const json = (text: string) => ({ "config.json": new TextEncoder().encode(text) });
  for (const text of [EVIL, `{"${EVIL}`, `{"a": ${EVIL}}`, "[]", "7", "[".repeat(1e5)]) {
    await attempt(text.slice(0, 99), () => open(safetensorsBytes({ a: entry }, 4), json(text)));
  }
});

/** A server that answers everything with these bytes. */
function serveBytes(answer: Uint8Array): { url: string } & AsyncDisposable {
  const listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  const done = (async () => {
    for await (const connection of listener) {
      await connection.read(new Uint8Array(4096)).catch(() => {});
      await connection.write(answer).catch(() => {});
      connection.close();
    }
  })();
  return {
    url: `http://user:s3cr3t@127.0.0.1:${
      (listener.addr as Deno.NetAddr).port
    }/m.gguf?X-Amz-Signature=s3cr3t`,
    async [Symbol.asyncDispose]() {
      listener.close();
      await done.catch(() => {});
    },
  };
}

Deno.test("servers: no status, header or body reaches a message as it is, nor does a secret", async () => {
  const answers = [
    `HTTP/1.1 500 ${EVIL}\r\n\r\n`,
    "HTTP/1.1 500 \x9b31m\u00ad\r\n\r\n",
    "HTTP/1.1 206 OK\r\nContent-Range: bytes \x9b31m\r\nContent-Length: 0\r\n\r\n",
    "HTTP/1.1 200 OK\r\nContent-Encoding: \x9b31m\r\nContent-Length: 4\r\n\r\nGGUF",
    `HTTP/1.1 206 OK\r\nContent-Range: bytes 0-3/${2 ** 50}\r\nContent-Length: 4\r\n\r\nGGUF`,
    `HTTP/1.1 200 OK\r\nContent-Length: ${2 ** 52}\r\n\r\nGGUF`,
    "HTTP/1.1 302 Found\r\nLocation: http://user:s3cr3t@127.0.0.1:1/?X-Amz-Signature=s3cr3t\r\nContent-Length: 0\r\n\r\n",
    "HTTP/1.1 302 Found\r\nLocation: /\x9b31m?X-Amz-Signature=s3cr3t\r\nContent-Length: 0\r\n\r\n",
    `${EVIL}\r\n\r\n`,
    "",
  ];
  for (const answer of answers) {
    await using server = serveBytes(Uint8Array.from(answer, (it) => it.charCodeAt(0)));
    try {
      (await openModelFile(server.url)).close();
    } catch (error) {
      checkError(error, JSON.stringify(answer));
      assert(!Deno.inspect(error).includes("s3cr3t"), Deno.inspect(error));
      continue;
    }
    throw new Error(`${JSON.stringify(answer)} was opened`);
  }
});

/** Models that are made for a task. */
const GOLDEN = "tests/golden/tasks";

/** Runs a command; its two outputs. */
async function run(...args: string[]): Promise<{ out: string; err: string; code: number }> {
  const { stdout, stderr, code } = await new Deno.Command(Deno.execPath(), {
    args: ["run", "-A", "cli/main.ts", ...args],
    cwd: new URL("../", import.meta.url),
    stdin: "null",
    env: { NO_COLOR: "1" },
  }).output();
  const text = (bytes: Uint8Array) => new TextDecoder().decode(bytes);
  return { out: text(stdout), err: text(stderr), code };
}

/** A model that writes nothing but control codes, and says them in every name. */
async function evilModel(refuses = true): Promise<Uint8Array<ArrayBuffer>> {
  const chatTemplate = `{{ raise_exception(${JSON.stringify(EVIL)}) }}`;
  const contents = tinyContents({ ...SMALL, ...(refuses ? { chatTemplate } : {}) });
  const tokens = contents.fields.get("tokenizer.ggml.tokens")!.value as string[];
  const codes = ["\x1b", "]52;c;Zg==\x07", "\x1b[31m", "\x9b2J"];
  const value = tokens.map((token, i) => i < 3 ? token : `${codes[i % 4]}${i}`);
  contents.fields.set("tokenizer.ggml.tokens", { type: "array", items: "string", value });
  contents.fields.set(EVIL, { type: "string", value: EVIL });
  contents.fields.set("general.name", { type: "string", value: EVIL });
  contents.tensors.push({ name: EVIL, shape: [1], type: "F32", data: new Uint8Array(4) });
  return await ggufBytes(contents);
}

Deno.test("commands: no output holds what a terminal obeys, but for a model's text in a pipe", async () => {
  const name = `${EVIL.replaceAll("\0", "")}.gguf`;
  await withFolder({ [name]: await evilModel(), "m.gguf": await tinyGguf(SMALL) }, async (path) => {
    const evil = `${path}/${name}`;
    const url = `https://user:s3cr3t@127.0.0.1:1/m.bin?X-Amz-Signature=s3cr3t${
      EVIL.replaceAll("\0", "")
    }`;
    const calls = [
      ["inspect", evil],
      ["inspect", "--tensors", evil],
      ["inspect", "--json", evil],
      ["inspect", `${path}/none${name}`],
      ["inspect", url],
      ["inspect", path],
      ["score", "--model", evil, "--ids", "1,5,6,7"],
      ["score", "--json", "--model", evil, "--ids", "1,5,6,7"],
      ["embed", "--model", evil, "--text", EVIL.replaceAll("\0", "")],
      ["embed", "--model", evil, "--text", "a", "--npy", `${path}/none/${name}`],
      ["embed", "--model", evil, "--text", "a", "--prompt-name", name],
      ["fill", "--model", evil, `[MASK] ${name}`],
      ["fill", "--model", `${GOLDEN}/bert-mask`, `[MASK] ${name}`, "--top", "90"],
      ["classify", "--model", evil, name],
      ["classify", "--model", `${GOLDEN}/bert-classify`, name, "--json", "--truncate"],
      ["rerank", "--model", `${GOLDEN}/roberta-rerank`, name, name, "--truncate"],
      ["rerank", "--json", "--model", `${GOLDEN}/roberta-rerank`, name, name, "--truncate"],
      ["generate", "--json", "--model", evil, "--ids", "1", "--max-tokens", "4"],
      ["generate", "--model", url, "a"],
      ["generate", `--${name}`, "a"],
      ["generate", "--model", `${path}/m.gguf`, "--backend", name, "a"],
      ["generate", "--model", `${path}/m.gguf`, "--temperature", name, "a"],
      ["generate", "--model", `${path}/m.gguf`, "--ids", name],
      ["chat", "--model", evil],
      ["pull", name],
      ["pull", url],
      ["models", "--remove", name],
      [name],
    ];
    for (const args of calls) {
      const { out, err } = await run(...args);
      for (const line of `${out}\n${err}`.split("\n")) assertNotMatch(line, UNSAFE, args.join(" "));
      assert(!`${out}${err}`.includes("s3cr3t"), `${args.join(" ")}: ${out}${err}`);
      assertNotMatch(`${out}${err}`, /\[object |\n +at .*\.ts:/, args.join(" "));
    }
    // Text of the model is nobody's business but the reader's, where it is no terminal.
    const piped = await run(
      "generate",
      "--model",
      evil,
      "--ids",
      "1",
      "--max-tokens",
      "1",
      "--json",
    );
    const { text } = JSON.parse(piped.out);
    const plainly = await run(
      "generate",
      "--model",
      evil,
      "--max-tokens",
      "6",
      "--temperature",
      "0",
      "",
    );
    assertEquals(piped.code, 0, piped.err);
    assert(typeof text === "string");
    assertEquals(plainly.code, 0, plainly.err);
    assertMatch(plainly.out, /\p{Cc}\d/u);
  });
});

/** What a command shows on a terminal, without the codes of its own: deleted lines and marked pastes. */
async function onTerminal(...args: string[]): Promise<string> {
  const child = spawnOnTerminal([Deno.execPath(), "run", "-A", "cli/main.ts", ...args]);
  const input = child.stdin.getWriter();
  let shown = "", asked = false;
  for await (const piece of child.stdout.pipeThrough(new TextDecoderStream())) {
    shown += piece;
    if (args[0] !== "chat") continue;
    // A question, and when it is answered the end of the input.
    if (!asked && shown.includes("> ")) {
      asked = true;
      await input.write(new TextEncoder().encode("hello\r"));
    } else if (/[␛�][^]*> /.test(shown)) {
      await input.write(Uint8Array.of(4)).catch(() => {});
    }
  }
  await child.status;
  await input.close().catch(() => {});
  // deno-lint-ignore no-control-regex
  return shown.replace(/\x1b\[(2K|\?2004[hl]|\d*[GJDC]|0?J)|[\r\n\t\x08\x07]/g, "");
}

Deno.test({
  name:
    "terminal: a model's text and names are shown, not obeyed, also where tokens cut codes in two",
  ignore,
  async fn() {
    await withFolder(
      { "m.gguf": await evilModel(), "plain.gguf": await evilModel(false) },
      async (path) => {
        const model = ["--model", `${path}/m.gguf`, "--max-tokens", "8", "--temperature", "0"];
        const shown = await onTerminal("generate", ...model, "");
        assertMatch(shown, /[␛�]/);
        assertNotMatch(shown, /\p{Cc}/u);
        const scored = await onTerminal("score", "--model", `${path}/m.gguf`, "--ids", "1,5,6,7");
        assertMatch(scored, /\\u00[19]b/);
        assertNotMatch(scored, /\p{Cc}/u);
        const talk = await onTerminal("chat", ...model.with(1, `${path}/plain.gguf`));
        assertMatch(talk, /[␛�]/);
        assertNotMatch(talk, /\p{Cc}/u);
      },
    );
  },
});
