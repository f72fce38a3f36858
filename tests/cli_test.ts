/** The command line as a user runs it: what goes to which stream, exit codes, mistakes. */

import {
  assert,
  assertAlmostEquals,
  assertEquals,
  assertMatch,
  assertStringIncludes,
} from "@std/assert";
import { loadModel } from "../mod.ts";
import { FIXTURES, ggufBytes } from "./fixtures.ts";
import { taskArgs } from "./task_args.ts";
import { CHAT_TEMPLATE, tinyContents, tinyGguf } from "./tiny_model.ts";

const ROOT = new URL("../", import.meta.url);
const COMMANDS = [
  ...["generate", "chat", "inspect", "score", "pull", "models", "quantize", "compare"],
  ...["embed", "fill", "classify", "rerank", "serve"],
];

interface Outcome {
  code: number;
  stdout: string;
  stderr: string;
}

async function start(args: readonly string[], stdin?: string | Uint8Array): Promise<Outcome> {
  const child = new Deno.Command(Deno.execPath(), {
    args: [...args],
    cwd: ROOT,
    env: { NO_COLOR: "1" },
    stdin: stdin === undefined ? "null" : "piped",
    stdout: "piped",
    stderr: "piped",
    signal: AbortSignal.timeout(60_000),
  }).spawn();
  const output = child.output();
  if (stdin !== undefined) {
    const bytes = typeof stdin === "string" ? new TextEncoder().encode(stdin) : stdin;
    await new Blob([bytes as Uint8Array<ArrayBuffer>]).stream().pipeTo(child.stdin).catch(() => {});
  }
  const { code, stdout, stderr } = await output;
  const text = new TextDecoder();
  return { code, stdout: text.decode(stdout), stderr: text.decode(stderr) };
}

/** Runs `deno task NAME …` without the task runner. */
function cli(name: string, args: readonly string[], stdin?: string | Uint8Array): Promise<Outcome> {
  return start([...taskArgs(name), ...args], stdin);
}

/** Files that all tests share, made when the first one asks. */
let folder: Promise<string> | undefined;
function files(): Promise<string> {
  return folder ??= (async () => {
    const path = await Deno.makeTempDir({ prefix: "sparrow_" });
    globalThis.addEventListener("unload", () => Deno.removeSync(path, { recursive: true }));
    const chat = { chatTemplate: CHAT_TEMPLATE, context: 96 };
    await Deno.writeFile(`${path}/tiny.gguf`, await tinyGguf(chat));
    await Deno.writeFile(`${path}/plain.gguf`, await tinyGguf({ tokenizer: "none" }));
    const mixed = tinyContents({ type: "Q4_0" });
    mixed.tensors[0] = {
      ...mixed.tensors[0]!,
      type: "Q5_1",
      data: new Uint8Array(mixed.tensors[0]!.shape[0]! * 24),
    };
    await Deno.writeFile(`${path}/mixed.gguf`, await ggufBytes(mixed));
    await Deno.writeFile(`${path}/cut.gguf`, (await tinyGguf()).subarray(0, 9000));
    await Deno.mkdir(`${path}/empty`);
    return path;
  })();
}

const FIELDS = [
  "model",
  "backend",
  "threads",
  "promptIds",
  "ids",
  "text",
  "stopReason",
  "loadMs",
  "firstTokenMs",
  "promptTokensPerSecond",
  "tokensPerSecond",
  "peakMemoryBytes",
];

Deno.test("generate writes the text to stdout and the rest to stderr", async () => {
  const model = `${await files()}/tiny.gguf`;
  const options = [
    "--model",
    model,
    "--seed",
    "3",
    "--max-tokens",
    "12",
    "--ignore-eos",
    "--threads",
    "2",
  ];
  const plain = await cli("generate", [...options, "the man"]);
  const json = await cli("generate", [...options, "--json", "the man"]);
  const report = JSON.parse(json.stdout);
  assertEquals([plain.code, json.code, json.stderr], [0, 0, ""]);
  assertEquals(json.stdout.split("\n").length, 2); // one line
  assertEquals(Object.keys(report), FIELDS);
  assertEquals(plain.stdout, report.text + "\n");
  assertMatch(
    plain.stderr,
    /^wasm, 2 threads: loaded in .*, ended by length \(--max-tokens 12\)\n$/,
  );
  assertEquals([report.model, report.backend, report.threads], [model, "wasm", 2]);
  assertEquals([report.ids.length, report.stopReason], [12, "length"]);
  for (const name of FIELDS.slice(7)) assert(report[name] > 0, `${name} is ${report[name]}`);
  await using loaded = await loadModel(model, { threads: 1 });
  assertEquals(report.promptIds, loaded.tokenizer.encode("the man"));
});

Deno.test("generate --logprobs shows how likely each token was", async () => {
  const model = `${await files()}/tiny.gguf`;
  const options = [
    "--model",
    model,
    "--temperature",
    "0",
    "-n",
    "6",
    "--ignore-eos",
    "--logprobs",
    "2",
  ];
  const [plain, json] = await Promise.all([
    cli("generate", [...options, "the man"]),
    cli("generate", [...options, "--json", "the man"]),
  ]);
  const { logprobs, ids, text, ...report } = JSON.parse(json.stdout);
  assertEquals([...Object.keys(report), "ids", "text"].sort(), FIELDS.toSorted());
  await using loaded = await loadModel(model);
  const expected = await loaded.complete("the man", {
    ...{ temperature: 0, maxTokens: 6, stopIds: [], logprobs: 2 },
  });
  assertEquals([ids, text], [expected.ids, expected.text]);
  type Row = NonNullable<typeof expected.logprobs>[number];
  assertEquals(logprobs.map((it: Row) => [it.id, it.text, it.bytes, it.top.length]), [
    ...expected.logprobs!.map((it) => [it.id, it.text, it.bytes, 2]),
  ]);
  const bytes = Uint8Array.from(logprobs.flatMap((it: Row) => it.bytes));
  assertEquals(new TextDecoder().decode(bytes), text);
  const lines = plain.stdout.trimEnd().split("\n");
  assertEquals(lines.length, 6);
  for (const [i, { id, text, logprob, top }] of (logprobs as Row[]).entries()) {
    assertAlmostEquals(logprob, expected.logprobs![i]!.logprob, 1e-4);
    const others = top.map((it) => `${it.id} ${JSON.stringify(it.text)} ${it.logprob.toFixed(4)}`);
    assertEquals(
      lines[i]!.trim().replaceAll(/ {2,}/g, "|"),
      `${logprob.toFixed(4)}|${id}|${JSON.stringify(text)}|of ${others.join(", ")}`,
    );
  }
  assertMatch(plain.stderr, /6 tokens at .*, ended by length/);
});

Deno.test("generate takes ids, stdin, stop strings and other prompts", async () => {
  const path = await files();
  const base = [
    "--model",
    `${path}/tiny.gguf`,
    "--temperature",
    "0",
    "--max-tokens",
    "20",
    "--threads",
    "1",
  ];
  const run = async (args: string[], stdin?: string | Uint8Array): Promise<string> => {
    const { code, stdout, stderr } = await cli("generate", [...base, ...args], stdin);
    assertEquals(code, 0, stderr);
    return stdout;
  };
  const [text, fromStdin, dashed, ids, stopped, none] = await Promise.all([
    run(["the man"]),
    run(["-"], "the man"),
    run(["--", "-the"]),
    run(["--ids", "1, 37 3 16"]),
    run(["--stop", "zzz", "--stop", ":", "the man"]),
    run(["--max-tokens=0", "the man"]),
  ]);
  assertEquals(fromStdin, text);
  assert(dashed.length > 1);
  assertMatch(ids!, /^\d+( \d+){0,19}\n$/);
  assertEquals(none, "\n");
  assert(text!.includes(":"), text);
  assertEquals(stopped, text!.slice(0, text!.indexOf(":")) + "\n");
  // A model without a tokenizer, by ids; the ids are those of --json.
  const plain = [
    "--model",
    `${path}/plain.gguf`,
    "--temperature",
    "0",
    "--max-tokens",
    "5",
    "--ids",
  ];
  const [bare, json] = await Promise.all([
    cli("generate", [...plain, "1,2"]),
    cli("generate", [...plain, "--json", "1,2"]),
  ]);
  const report = JSON.parse(json.stdout);
  assertEquals([report.promptIds, report.text], [[1, 2], ""]);
  assertEquals(bare.stdout, report.ids.join(" ") + "\n");
});

Deno.test("generate repeats itself with a seed", async () => {
  const model = `${await files()}/tiny.gguf`;
  const text = async (seed: string): Promise<string> =>
    (await cli("generate", ["--model", model, "--seed", seed, "--max-tokens", "15", "the"])).stdout;
  const [a, b, c] = await Promise.all([text("7"), text("7"), text("8")]);
  assertEquals(a, b);
  assert(a !== c);
});

/** Wrong calls: arguments after the command, exit code, the line on stderr. `%` is the folder. */
const MISTAKES: [
  command: string,
  args: string[],
  code: number,
  line: string,
  stdin?: Uint8Array,
][] = [
  [
    "generate",
    ["--model", "%/tiny.gguf"],
    2,
    "generate: Cannot generate without a prompt: expected PROMPT, --file FILE or text",
  ],
  ["generate", ["--model", "%/tiny.gguf", "a", "b"], 2, "generate: Cannot generate from 2 prompts"],
  [
    "generate",
    ["--modle", "x", "a"],
    2,
    "generate: Cannot read option --modle: there is no such option",
  ],
  ["generate", ["--model", "%/tiny.gguf", "-x", "a"], 2, "Cannot read option -x"],
  ["generate", ["--model", "%/tiny.gguf", "--model", "%/b", "a"], 1, '/b": there is no such file'],
  ["generate", ["--model=", "a"], 2, "generate: Cannot read --model: it has no value"],
  ["generate", ["a", "--seed"], 2, "generate: Cannot read --seed: it has no value"],
  [
    "generate",
    ["--max-tokens", "many", "a"],
    2,
    'Cannot read --max-tokens: "many" is not a number',
  ],
  [
    "generate",
    ["--temperature", "-1", "a"],
    2,
    "Cannot generate with --temperature -1: expected a number from 0 to 100",
  ],
  [
    "generate",
    ["--model", "%/tiny.gguf", "--threads", "0", "a"],
    2,
    "Cannot load with --threads 0: expected a whole",
  ],
  [
    "generate",
    ["--model", "%/tiny.gguf", "--backend", "gpu", "a"],
    2,
    'Cannot use --backend "gpu": expected auto',
  ],
  [
    "generate",
    ["--model", "%/tiny.gguf", "--weights", "q4", "a"],
    2,
    'Cannot use --weights "q4": expected as-is, int4, int4m, int8, f32',
  ],
  [
    "generate",
    ["--model", "%/tiny.gguf", "--cache-type", "f8", "a"],
    2,
    'Cannot use --cache-type "f8": expected f32, f16, int8',
  ],
  [
    "generate",
    ["--model", "%/tiny.gguf", "--context", "2.5", "a"],
    2,
    "Cannot load with --context 2.5: expected a whole number",
  ],
  [
    "generate",
    ["--model", "%/tiny.gguf", "--context", "4", "the man"],
    2,
    "a prompt of 5 tokens: the context holds 4",
  ],
  [
    "generate",
    ["--model", "%/tiny.gguf", "--ids", "1,x"],
    2,
    'Cannot read token id "x": expected whole numbers',
  ],
  [
    "generate",
    ["--model", "%/tiny.gguf", "--ids", "1,99"],
    2,
    "Cannot process token id 99 at index 1",
  ],
  ["generate", ["--model", "%/tiny.gguf", "--ids", ""], 2, "Cannot process a prompt of no tokens"],
  [
    "generate",
    ["--model", "%/tiny.gguf", "-"],
    2,
    "Cannot read standard input: its 3 bytes are not UTF-8",
    Uint8Array.of(65, 255, 66),
  ],
  [
    "generate",
    ["--model", "%/plain.gguf", "the"],
    1,
    "it came without a tokenizer; use token ids (--ids), or",
  ],
  [
    "chat",
    ["--model", "%/plain.gguf"],
    1,
    "it came without a tokenizer; put the tokenizer's files",
  ],
  ["generate", ["--model", "%/none.gguf", "a"], 1, 'none.gguf": there is no such file'],
  ["generate", ["--model", "%/empty", "a"], 1, "found no files, expected one .gguf model"],
  ["generate", ["--model", "%/cut.gguf", "a"], 1, "cut.gguf"],
  [
    "generate",
    ["--model", "http://127.0.0.1:9/x.gguf", "a"],
    1,
    "Cannot fetch http://127.0.0.1:9/x.gguf from 127.0.0.1:9",
  ],
  ["chat", ["--model", "%/plain.gguf"], 1, "chat: Cannot read text with"],
  [
    "chat",
    ["--model", "%/tiny.gguf", "hello"],
    2,
    'chat: Cannot chat about "hello": type it at the prompt',
  ],
  ["inspect", ["%/tiny.gguf", "%/plain.gguf"], 2, "inspect: Cannot inspect 2 models: expected one"],
  ["inspect", ["%/tiny.gguf", "--context", "-5"], 2, "Cannot load with --context -5"],
  [
    "inspect",
    ["%/tiny.gguf", "--weights", "q4"],
    2,
    'Cannot use --weights "q4": expected as-is',
  ],
  ["inspect", ["%/cut.gguf"], 1, "inspect: "],
  [
    "score",
    ["--model", "%/tiny.gguf"],
    2,
    "score: Cannot score: expected one of --text, --file and --ids",
  ],
  [
    "score",
    ["--model", "%/tiny.gguf", "--text", "a", "--ids", "1"],
    2,
    "expected one of --text, --file and --ids",
  ],
  [
    "score",
    ["--model", "%/tiny.gguf", "--ids", "1"],
    2,
    "Cannot score 1 token: at least 2 are needed",
  ],
  [
    "score",
    ["--model", "%/plain.gguf", "--text", "the"],
    1,
    "it came without a tokenizer; use token ids (--ids), or",
  ],
];

Deno.test("mistakes end with one line and an exit code", async () => {
  const path = await files();
  const queue = [...MISTAKES];
  const worker = async (): Promise<void> => {
    for (let row; (row = queue.shift());) {
      const [command, args, code, line, stdin] = row;
      const outcome = await cli(command, args.map((it) => it.replace(/^%/, path)), stdin);
      const call = `${command} ${args.join(" ")}`;
      assertStringIncludes(outcome.stderr, line, call);
      assertEquals(outcome.stderr.split("\n").length, 2, `${call}: ${outcome.stderr}`);
      assertEquals([outcome.code, outcome.stdout], [code, ""], call);
    }
  };
  await Promise.all([worker(), worker()]);
});

Deno.test("a missing default model or permission is one line too", async () => {
  const path = await files();
  const { code, stderr } = await start([
    "run",
    "--no-prompt",
    "cli/main.ts",
    "generate",
    "--model",
    `${path}/tiny.gguf`,
    "a",
  ]);
  assertEquals([code, stderr.split("\n").length], [1, 2], stderr);
  assertStringIncludes(stderr, "--allow-read");
  try {
    await Deno.stat(new URL("models/default/model.gguf", ROOT));
  } catch {
    const { code, stdout, stderr } = await cli("generate", ["a"]);
    assertEquals([code, stdout, stderr.split("\n").length], [1, "", 2], stderr);
    assertStringIncludes(stderr, "on the command line with --model");
  }
});

Deno.test("every command explains itself", async () => {
  await Promise.all(COMMANDS.map(async (command) => {
    const { code, stdout, stderr } = await cli(command, ["--help"]);
    assertEquals([code, stderr], [0, ""], command);
    assertMatch(stdout, new RegExp(`^Usage: deno task ${command} `));
    assertStringIncludes(stdout, "Exit codes: 0 done, 1 failed, 2 wrong usage");
    const unknown = await cli(command, ["--no-such-flag"]);
    assertEquals([unknown.code, unknown.stdout, unknown.stderr.split("\n").length], [2, "", 2]);
    assertStringIncludes(unknown.stderr, "--no-such-flag");
  }));
  const main = taskArgs("generate").slice(0, -1);
  for (const [args, code] of [[["--help"], 0], [["help"], 0], [[], 2], [["sing"], 2]] as const) {
    const { code: found, stdout, stderr } = await start([...main, ...args]);
    assertEquals(found, code, args.join());
    for (const name of COMMANDS) {
      assertMatch(code === 0 ? stdout : stderr, RegExp(`^  ${name} `, "m"));
    }
    assertEquals(code === 0 ? stderr : stdout, "");
  }
});

Deno.test("a closed pipe ends generate quietly", async () => {
  const model = `${await files()}/tiny.gguf`;
  const endless = [
    ...taskArgs("generate"),
    "--model",
    model,
    "--slide",
    "--ignore-eos",
    "-n",
    "-1",
    "the",
  ];
  const { code, stdout, stderr } = await new Deno.Command("sh", {
    args: ["-c", '{ "$@"; echo "code $?" >&2; } | head -c 5', "sh", Deno.execPath(), ...endless],
    cwd: ROOT,
    signal: AbortSignal.timeout(60_000),
  }).output();
  assertEquals([code, stdout.length, new TextDecoder().decode(stderr)], [0, 5, "code 0\n"]);
});

Deno.test("score adds up", async () => {
  const model = `${await files()}/tiny.gguf`;
  const args = ["--model", model, "--text", "the man in the hat"];
  const [json, plain, stdin] = await Promise.all([
    cli("score", [...args, "--json"]),
    cli("score", args),
    cli("score", ["--model", model, "--text", "-", "--json"], "the man in the hat"),
  ]);
  assertEquals([json.code, plain.code, json.stderr], [0, 0, ""]);
  const report = JSON.parse(json.stdout);
  assertEquals(Object.keys(report), [
    "model",
    "backend",
    "ids",
    "tokens",
    "logProbabilities",
    "totalLogProbability",
    "perplexity",
  ]);
  assertEquals(JSON.parse(stdin.stdout).logProbabilities, report.logProbabilities);
  const { ids, logProbabilities } = report;
  assertEquals([logProbabilities.length, report.tokens.length], [ids.length - 1, ids.length]);
  await using loaded = await loadModel(model, { backend: "reference" });
  const logits = await loaded.logits({ ids });
  const vocab = loaded.config.vocabSize;
  let total = 0;
  for (let i = 1; i < ids.length; i++) {
    const row = logits.subarray((i - 1) * vocab, i * vocab);
    const sum = row.reduce((a, it) => a + Math.exp(it), 0);
    assertAlmostEquals(logProbabilities[i - 1], row[ids[i]]! - Math.log(sum), 1e-3);
    total += logProbabilities[i - 1];
  }
  assertAlmostEquals(report.totalLogProbability, total, 1e-9);
  assertAlmostEquals(report.perplexity, Math.exp(-total / (ids.length - 1)), 1e-9);
  assertStringIncludes(plain.stdout, `total ${total.toFixed(4)} over ${ids.length - 1} tokens`);
  assertEquals(plain.stdout.trim().split("\n").length, ids.length);
});

Deno.test("inspect tells layouts, what is rounded, and the memory", async () => {
  const path = await files();
  const [plain, tensors, json, rounded] = await Promise.all([
    cli("inspect", [`${path}/mixed.gguf`]),
    cli("inspect", [`${path}/mixed.gguf`, "--tensors"]),
    cli("inspect", [`${path}/mixed.gguf`, "--json", "--context", "10"]),
    cli("inspect", ["--model", `${path}/tiny.gguf`, "--weights", "int8"]),
  ]);
  assertEquals([plain.code, plain.stderr], [0, ""]);
  for (
    const line of [
      "(gguf)",
      'general.architecture: "llama"',
      "1 × Q5_1 stored as int5m, exactly",
      "15 × Q4_0 stored as int4, exactly",
      "5 × F32 stored as f32, exactly",
      "Memory: ",
      "caches of 64 tokens 16.4 kB",
    ]
  ) assertStringIncludes(plain.stdout, line);
  assertMatch(tensors.stdout, /token_embd\.weight {2}\[43, 32\] {2}Q5_1 → int5m/);
  assertStringIncludes(rounded.stdout, "16 × F32 stored as int8, rounded");
  const report = JSON.parse(json.stdout);
  assertEquals(report.memory.contextLength, 10);
  // Keys and values, layers, heads …; kernels store rows in groups of 8.
  assertEquals(report.memory.cacheBytes, 2 * 2 * 2 * 8 * 16 * 4);
  assertEquals(report.memory.totalBytes, report.memory.cacheBytes + report.memory.weightBytes);
  assertEquals(report.tensors.length, 21);
  assertEquals(report.config.layers, 2);
});

Deno.test("inspect shows a model that cannot run, and says why", async () => {
  const path = await files();
  const contents = tinyContents();
  contents.fields.set("general.architecture", { type: "string", value: "gpt99" });
  await Deno.writeFile(`${path}/other.gguf`, await ggufBytes(contents));
  const { code, stdout, stderr } = await cli("inspect", [`${path}/other.gguf`]);
  assertEquals(code, 0);
  assertStringIncludes(stdout, "21 × F32 (not used)");
  assertStringIncludes(stderr, 'field "general.architecture" is "gpt99", expected one of ');
  assertStringIncludes(stderr, "llama");
});

Deno.test("chat answers the lines of a pipe in turn", async () => {
  const model = `${await files()}/tiny.gguf`;
  const options = ["--model", model, "--temperature", "0", "--max-tokens", "8", "--ignore-eos"];
  const { code, stdout, stderr } = await cli(
    "chat",
    options,
    "hi\n\nhi\n/reset\nhi\n/what\n/exit\nhi\n",
  );
  assertEquals(code, 0, stderr);
  const [first, second, third, ...rest] = stdout.split("\n");
  assertEquals(rest, [""]);
  assertEquals(third, first); // forgotten in between
  assert(second !== first, "the second answer does not know the first");
  assertEquals(
    stderr,
    'The conversation is forgotten.\nThere is no command "/what"; /help lists them, and a line that ' +
      "begins with a blank is a message\n",
  );
  // The end of the input ends the program, and the last line is answered; a conversation that
  // outgrows the context is told, and fails.
  const long = await cli(
    "chat",
    [...options, "--context", "48"],
    "the man in the hat and the\nhi\nhi",
  );
  assertEquals(long.code, 1, long.stderr);
  assertStringIncludes(long.stderr, "the context holds 48");
  assertStringIncludes(long.stderr, "/reset forgets the conversation");
});

Deno.test({
  name: "chat: Ctrl-C stops the answer and not the program",
  ignore: Deno.build.os === "windows",
  async fn(): Promise<void> {
    const model = `${await files()}/tiny.gguf`;
    const child = new Deno.Command(Deno.execPath(), {
      args: [
        ...taskArgs("chat"),
        "--model",
        model,
        ..."--seed 1 --slide --ignore-eos --max-tokens -1".split(" "),
      ],
      cwd: ROOT,
      stdin: "piped",
      stdout: "piped",
      stderr: "piped",
      signal: AbortSignal.timeout(60_000),
    }).spawn();
    const errors = new Response(child.stderr).text();
    const input = child.stdin.getWriter();
    const output = child.stdout.pipeThrough(new TextDecoderStream()).getReader();
    let text = "";
    const until = async (done: () => boolean): Promise<void> => {
      while (!done()) {
        const { value, done: ended } = await output.read();
        assert(!ended, `chat ended after ${JSON.stringify(text)}`);
        text += value;
      }
    };
    for (let turn = 0; turn < 2; turn++) {
      await input.write(new TextEncoder().encode("/reset\nhi\n"));
      text = "";
      await until(() => text.length > 40); // an answer that would never end
      child.kill("SIGINT");
      await until(() => text.endsWith(" …\n"));
    }
    child.kill("SIGINT"); // at the prompt it ends the program
    assertEquals(await child.status, { success: true, code: 0, signal: null });
    const told =
      /^The conversation is forgotten.\nchat: interrupted after \d+ tokens at [\d.]+\/s\n$/;
    assertMatch((await errors).replace(/^(.*\n.*\n)(?:.*\n.*\n)$/, "$1"), told);
    await output.cancel();
    await input.close().catch(() => {});
  },
});

Deno.test({
  name: "generate continues stories260K as llama.cpp does, on 1, 2 and 3 threads",
  async fn(): Promise<void> {
    const folder = new URL("models/stories260K/", FIXTURES);
    const { promptText, greedyIds, greedyText } = JSON.parse(
      await Deno.readTextFile(new URL("expected.json", folder)),
    );
    const model = new URL("stories260K.gguf", folder).pathname;
    for (const threads of ["1", "2", "3"]) {
      const options = ["--model", model, "--temperature", "0", "--max-tokens", "150"];
      const { code, stdout, stderr } = await cli("generate", [
        ...options,
        "--threads",
        threads,
        "--json",
        promptText,
      ]);
      assertEquals(code, 0, stderr);
      const report = JSON.parse(stdout);
      assertEquals([report.threads, report.ids], [Number(threads), greedyIds.slice(0, 150)]);
      assert(greedyText.startsWith(report.text), report.text);
    }
  },
});
