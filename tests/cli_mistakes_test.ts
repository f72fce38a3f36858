/**
 * Every program of deno.json, and every part of the benchmark, with the mistakes that users make: one
 * line on stderr, the right exit code, no stack trace.
 */

import { assert, assertEquals, assertStringIncludes } from "@std/assert";
import { DEV_TASKS } from "../tools/dev.ts";
import { taskArgs, type Variables } from "./task_args.ts";
import { tinyGguf, withFolder } from "./tiny_model.ts";

const ROOT = new URL("../", import.meta.url);
const { tasks } = JSON.parse(await Deno.readTextFile(new URL("deno.json", ROOT)));

/** Arguments of `deno` for the programs that tasks run, by the name of the task. */
function programs(): Record<string, (variables: Variables) => string[]> {
  const found: Record<string, (variables: Variables) => string[]> = {};
  for (const [name, { command }] of Object.entries<{ command: string }>(tasks)) {
    // Behind tools/dev.ts are programs of ours and of Deno.
    const step = DEV_TASKS[name]?.steps[0];
    if (step?.startsWith("run ")) found[name] = () => step.split(" ");
    if (!command.includes("tools/dev.ts")) found[name] = (variables) => taskArgs(name, variables);
  }
  return found;
}

const PROGRAMS = programs();

/** The words after `bench`, which are programs as well. */
const BENCH = ["kernels", "model", "embed", "peers", "quality", "compare", "gpu"];

/** Models that are made for a task. */
const GOLDEN = "tests/golden/tasks/";

/** Those that read texts. */
const TEXTS = ["embed", "fill", "classify", "rerank"];

interface Call {
  /** The task, and a word of `bench`. */
  readonly program: string;
  /** What the user adds; `%` is a folder with `tiny.gguf`, `text` and `folder`. */
  readonly args: readonly string[];
  readonly code: number;
  /** A part of the line. */
  readonly line: string;
  /** Permissions instead of those of the task. */
  readonly permissions?: readonly string[];
  /** Where stdout goes. */
  readonly stdout?: string;
  readonly env?: Readonly<Record<string, string>>;
}

function command({ program, args, permissions, env }: Call, folder: string): string[] {
  const [task, ...words] = program.split(" ");
  const given = PROGRAMS[task!]!({ ...Deno.env.toObject(), ...env });
  const own = permissions
    ? [
      "run",
      "--no-prompt",
      ...permissions,
      ...given.slice(1).filter((it) => !/^(-A$|--allow)/.test(it)),
    ]
    : given;
  return [...own, ...words, ...args.map((it) => it.replace(/^%/, folder))];
}

async function runCall(call: Call, folder: string): Promise<void> {
  const name = `${call.program} ${call.args.join(" ")} ${call.permissions ? "(permissions)" : ""}`;
  const run = [Deno.execPath(), ...command(call, folder)];
  const [file, ...args] = call.stdout === undefined
    ? run
    : ["sh", "-c", `exec "$@" > ${call.stdout}`, "sh", ...run];
  const { code, stdout, stderr } = await new Deno.Command(file!, {
    args,
    cwd: ROOT,
    env: { NO_COLOR: "1", ...call.env },
    stdin: "null",
    stdout: "piped",
    stderr: "piped",
    signal: AbortSignal.timeout(60_000),
  }).output();
  const [out, error] = [stdout, stderr].map((it) => new TextDecoder().decode(it));
  assertStringIncludes(error!, call.line, name);
  assertEquals([code, out, error!.split("\n").length], [call.code, "", 2], `${name}: ${error}`);
  assert(!/Uncaught|^ {4}at /m.test(error!), error);
  const [task, word] = call.program.split(" ");
  assert(error!.startsWith(`${task === "kernels" ? "build" : task}: `), `${word}: ${error}`);
}

/** Runs two calls at a time. */
async function runCalls(calls: readonly Call[]): Promise<void> {
  const files = { "tiny.gguf": await tinyGguf({ context: 64 }), text: Uint8Array.of(65, 255) };
  await withFolder(files, async (path) => {
    await Deno.mkdir(`${path}/folder`);
    const queue = [...calls];
    const worker = async (): Promise<void> => {
      for (let call; (call = queue.shift());) await runCall(call, path);
    };
    await Promise.all([worker(), worker()]);
  });
}

const NAMES = Object.keys(PROGRAMS).flatMap((name) =>
  name === "bench" ? BENCH.map((word) => `bench ${word}`) : [name]
);

Deno.test("every program is walked", () => {
  const known = ["generate", "chat", "inspect", "score", "pull", "models", "build", "bench"];
  const others = ["readme", "synthetic", "page", "kernels", "quantize", "compare", "serve"];
  const unknown = Object.keys(PROGRAMS).filter((it) =>
    ![...known, ...others, ...TEXTS].includes(it)
  );
  assertEquals(unknown, [], "a program without mistakes of its own in this file");
});

Deno.test("a flag that there is not is one line, for every program", async () => {
  await runCalls(NAMES.map((program) => ({
    ...{ program, args: ["--no-such-flag"], code: 2 },
    line: "--no-such-flag",
  })));
});

Deno.test("--help needs no permission and does nothing else, for every program", async () => {
  for (const program of NAMES) {
    const call = { program, args: ["--help"], code: 0, line: "", permissions: [] };
    const { code, stdout, stderr } = await new Deno.Command(Deno.execPath(), {
      args: command(call, ""),
      cwd: ROOT,
      env: { NO_COLOR: "1" },
    }).output();
    const [out, error] = [stdout, stderr].map((it) => new TextDecoder().decode(it));
    assertEquals([code, error], [0, ""], program);
    assert(out!.startsWith("Usage: "), program);
  }
});

Deno.test({
  name: "a full disk behind stdout is one line, for every program",
  ignore: Deno.build.os !== "linux",
  fn: () =>
    runCalls(
      NAMES.filter((it) => !["build", "kernels"].includes(it)).map((program) => ({
        ...{ program, args: ["--help"], code: 1, stdout: "/dev/full" },
        line: "Cannot write to standard output: no space left on device",
      })),
    ),
});

Deno.test({
  name: "a full disk behind results is one line",
  ignore: Deno.build.os !== "linux",
  fn: () =>
    runCalls(
      [
        ["generate", "-m", "%/tiny.gguf", "-n", "3", "the man"],
        ["generate", "-m", "%/tiny.gguf", "-n", "3", "--json", "the man"],
        ["inspect", "%/tiny.gguf"],
        ["score", "-m", "%/tiny.gguf", "--text", "the man"],
        ["embed", "-m", "%/tiny.gguf", "--text", "the man"],
        ["embed", "-m", "%/tiny.gguf", "--text", "the man", "--npy", "-"],
        ["fill", "-m", `${GOLDEN}bert-mask`, "a [MASK]"],
        ["classify", "-m", `${GOLDEN}bert-classify`, "a"],
        ["rerank", "-m", `${GOLDEN}roberta-rerank`, "a", "b"],
        ["page", "--port", "0"],
      ].map(([program, ...args]) => ({
        ...{ program: program!, args, code: 1, stdout: "/dev/full" },
        line: "Cannot write to standard output: no space left on device",
      })).filter(({ program }) => program !== "page"),
    ), // which notes a missing bundle before
});

Deno.test("missing permissions are one line that names them", async () => {
  const read = ["--allow-read"];
  const rows: [program: string, args: string[], line: string, permissions: string[], code?: 2][] = [
    ["generate", ["-m", "%/tiny.gguf", "a"], "--allow-read", []],
    ["generate", ["a"], "--allow-read", []],
    ["generate", ["--file", "%/text"], "--allow-read", []],
    ["generate", ["-m", "http://127.0.0.1:59999/x/", "a"], "--allow-net", read],
    ["chat", [], "--allow-read", []],
    ["inspect", ["%/tiny.gguf"], "--allow-read", []],
    ["inspect", ["http://127.0.0.1:59999/x.gguf"], "--allow-net", read],
    ["score", ["-m", "%/tiny.gguf", "--text", "a b"], "--allow-read", []],
    ["quantize", ["%/tiny.gguf", "%/x.gguf"], "--allow-read", []],
    ["compare", ["%/tiny.gguf", "%/tiny.gguf"], "--allow-read", []],
    ["embed", ["%/text"], "--allow-read", []],
    ["embed", ["--text", "a", "-m", "%/tiny.gguf", "--npy", "%/x.npy"], "--allow-write", read],
    ["fill", ["a [MASK]", "-m", "%/tiny.gguf"], "--allow-read", []],
    ["classify", ["a", "-m", "%/tiny.gguf"], "--allow-read", []],
    ["rerank", ["a", "b", "-m", "%/tiny.gguf"], "--allow-read", []],
    ["serve", ["-m", "%/tiny.gguf", "--port", "0"], "--allow-net", read],
    ["serve", ["--api-key-file", "%/text"], "--allow-read", []],
    ["pull", ["hf:a/b"], "--allow-env", [], 2],
    ["models", [], "--allow-env", [], 2],
    ["synthetic", ["%/out.gguf"], "--allow-write", []],
    ["page", ["--port", "0"], "--allow-net", read],
    ["build", [], "--allow-", []],
    ["readme", [], "--allow-read", []],
    ["bench model", ["-m", "%/tiny.gguf"], "--allow-", []],
    ["bench compare", ["%/tiny.gguf"], "--allow-read", []],
    ["bench embed", ["--layers", "1"], "--allow-", []],
    ["bench peers", ["-m", "%/tiny.gguf"], "--allow-", []],
    ["bench gpu", ["--out", "%/out.json"], "--allow-write", []],
  ];
  await runCalls(rows.map(([program, args, line, permissions, code = 1]) => ({
    ...{ program, args, line, permissions, code },
  })));
});

Deno.test("files, folders, ports and values that are wrong are one line, for every program", async () => {
  using taken = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  const port = String((taken.addr as Deno.NetAddr).port);
  const tiny = ["-m", "%/tiny.gguf"];
  const rows: [program: string, args: string[], code: number, line: string][] = [
    ["generate", ["--file", "%/nope"], 1, '/nope": there is no such file or folder'],
    ["generate", ["--file", "%/folder"], 1, '/folder": it is a folder'],
    ["generate", ["--file", "%/text"], 2, "2 bytes are not UTF-8, expected text"],
    ["generate", ["--file", "%/text", "a"], 2, "it is given twice, by itself and with --file"],
    ["generate", ["-m", "%/folder", "a"], 1, "found no files, expected one .gguf model"],
    ["generate", ["-m", "%/text/x", "a"], 1, "/text/x"],
    ["generate", [...tiny, "-n", "-5", "a"], 2, "--max-tokens -5: expected a whole number from 0"],
    ["generate", [...tiny, "-n", "1.5", "a"], 2, "--max-tokens 1.5: expected a whole number"],
    ["generate", [...tiny, "-t", "x", "a"], 2, '--threads: "x" is not a number'],
    ["generate", [...tiny, "-c", "3", "the man"], 2, "shorten the prompt or raise --context"],
    ["generate", [...tiny, "--ids", "1,4300"], 2, "token id 4300 at index 1: expected a whole"],
    ["generate", [...tiny, "--ids", "1,two"], 2, 'Cannot read token id "two"'],
    ["generate", [...tiny, "--ids", "1,,2"], 2, 'Cannot read token id ""'],
    ["generate", ["-m", "Org/repo:Q4_0", "a"], 1, 'on a hub write "hf:Org/repo:Q4_0"'],
    ["generate", ["-m", "hf.co/Org/repo", "a"], 1, 'on a hub write "hf:Org/repo"'],
    ["generate", [...tiny, "--bakend", "wasm", "a"], 2, "(did you mean --backend?)"],
    ["generate", ["--offline", "-m", "http://127.0.0.1:59999/x/", "a"], 2, "with --offline"],
    ["chat", ["-m", "%/nope"], 1, '/nope": there is no such file; check the path'],
    ["chat", [...tiny, "--system", "x"], 2, "it came without a chat template"],
    ["chat", [...tiny, "-n", "-5"], 2, "--max-tokens -5"],
    ["inspect", ["%/nope"], 1, '/nope": there is no such file'],
    ["inspect", ["%/text"], 1, "/text"],
    ["inspect", ["%/tiny.gguf", "-c", "0"], 2, "Cannot load with --context 0"],
    ["inspect", ["%/tiny.gguf", "-m", "%/tiny.gguf"], 2, "Cannot inspect 2 models"],
    ["quantize", ["%/tiny.gguf", "%/nope/x.gguf"], 1, "Cannot write"],
    ["quantize", ["%/nope.gguf", "%/x.gguf"], 1, '/nope.gguf": there is no such file'],
    ["quantize", ["%/tiny.gguf", "%/text"], 2, "it exists; give another name, or force (--force)"],
    ["quantize", ["%/tiny.gguf", "%/folder"], 2, '/folder": it is a folder'],
    ["quantize", ["%/text", "%/x.gguf"], 1, "expected a GGUF, safetensors or torch file"],
    ["quantize", ["%/tiny.gguf", "%/x.gguf", "--imatrix", "%/tiny.gguf"], 1, "it has none"],
    ["quantize", ["%/tiny.gguf", "%/x.gguf", "--target-size", "9 apples"], 2, "as in 700000"],
    ["quantize", ["%/tiny.gguf", "%/x.gguf", "--target-bpw", "0.5"], 2, "to 0.5 bits per weight"],
    [
      "quantize",
      ["%/tiny.gguf", "%/x.gguf", "--target-bpw", "5", "--type", "q4_0"],
      2,
      "each says",
    ],
    ["compare", ["%/tiny.gguf", "%/nope.gguf"], 1, '/nope.gguf": there is no such file'],
    ["score", [...tiny, "--file", "%/nope"], 1, '/nope": there is no such file or folder'],
    ["score", [...tiny, "--ids", "1,4300"], 2, "Cannot process token id 4300"],
    ["score", [...tiny, "-c", "3", "--text", "the man"], 2, "raise --context"],
    [
      "score",
      ["-m", `${GOLDEN}bert-mask`, "--text", "the cat"],
      1,
      "it reads texts and writes none",
    ],
    [
      "generate",
      ["-m", `${GOLDEN}bert-mask`, "the cat"],
      1,
      "use it to embed, fill masks, classify",
    ],
    ["embed", ["%/nope"], 1, '/nope": there is no such file or folder'],
    ["embed", ["%/text"], 2, "2 bytes are not UTF-8, expected text"],
    ["embed", ["%/text", "--text", "a"], 2, "expected one of FILE, --file and --text"],
    ["embed", ["%/text", "%/text"], 2, "expected one of FILE, --file and --text"],
    ["embed", [...tiny], 2, "without texts: expected FILE with one text a line, --file FILE or"],
    ["embed", [...tiny, "--text", "a", "--normalize", "--no-normalize"], 2, "give one of them"],
    ["embed", [...tiny, "--text", "a", "--pooling", "meam"], 2, "(did you mean mean?)"],
    ["embed", [...tiny, "--text", "a", "--prompt-name", "query"], 2, "has no prompts; use prefix"],
    ["embed", [...tiny, "-c", "3", "--text", "the man"], 2, "use --truncate to read its beginning"],
    [
      "embed",
      [...tiny, "--text", "a", "--npy", "%/nope/x"],
      1,
      '/nope/x": there is no such folder',
    ],
    ["embed", [...tiny, "--text", "a", "--npy", "%/folder"], 2, "it is a folder"],
    ["embed", [...tiny, "--text", "a", "--npy", "/dev/null"], 2, "it is a device or a pipe"],
    ["embed", [...tiny, "--text", "a", "--dimensions", "0"], 2, "a whole number from 1"],
    [
      "embed",
      [...tiny, "--text", "a", "--dimensions", "9999"],
      2,
      "with --dimensions 9999: vectors of",
    ],
    [
      "embed",
      [...tiny, "--text", "a", "--prefix", "x", "--prompt-name", "y"],
      2,
      'with --prefix "x" and --prompt-name "y": give one',
    ],
    ["fill", [...tiny, "a [MASK]"], 1, "it has logits of the next word, hidden states"],
    ["fill", [...tiny, "a", "b"], 2, "Cannot fill 2 texts: expected one; put it in quotes"],
    ["fill", [...tiny, "--top", "0", "a"], 2, "--top 0: expected a whole number from 1"],
    ["fill", ["-m", `${GOLDEN}bert-mask`, "the cat"], 2, "write [MASK] where a word is missing"],
    [
      "fill",
      ["-m", `${GOLDEN}bert-mask`, "-c", "3", "the [MASK]"],
      2,
      "and the model reads 3; shorten",
    ],
    ["classify", [...tiny, "a"], 1, "and not a classifier of texts"],
    ["classify", [...tiny], 2, "without a text: expected TEXT"],
    ["classify", ["-m", `${GOLDEN}bert-classify`, "-c", "3", "the cat"], 2, "use --truncate"],
    ["rerank", [...tiny], 2, "Cannot rerank without a query"],
    ["rerank", [...tiny, "a"], 2, "without texts: expected TEXT after QUERY"],
    ["rerank", [...tiny, "a", "b"], 1, "and not a classifier of texts"],
    ["rerank", ["-m", `${GOLDEN}bert-classify`, "a", "b"], 1, "gives 3 scores for a pair"],
    ["pull", ["x"], 1, 'model "x"'],
    ["pull", ["hf:a"], 2, 'Cannot use model "hf:a"'],
    [
      "pull",
      ["hf:a/b", "--connections", "0"],
      2,
      "--connections 0: expected a whole number from 1",
    ],
    ["models", ["--remove", "x"], 2, "Cannot remove"],
    ["models", ["x"], 2, 'Cannot list "x"'],
    ["synthetic", ["%/nope/x"], 1, '/nope/x": there is no such file or folder'],
    ["synthetic", ["%/folder"], 1, '/folder": it is a folder'],
    ["synthetic", [], 2, "expected one OUT"],
    ["synthetic", ["--size", "16m", "%/x"], 2, "(did you mean 1m?)"],
    ["synthetic", ["--type", "Q9", "%/x"], 2, '--type "Q9": expected Q4_0'],
    ["synthetic", ["--seed", "-1", "%/x"], 2, "--seed -1: expected a whole number from 0"],
    ["page", ["--port", port], 1, `port ${port}: another program uses this address`],
    ["page", ["--port", "99999"], 2, "--port 99999: expected a whole number from 0 to 65535"],
    ["page", ["--port", "http"], 2, '--port: "http" is not a number'],
    ["page", ["x"], 2, 'Cannot serve "x"'],
    ["build", ["x"], 2, 'Cannot read "x"'],
    ["kernels", ["x"], 2, 'Cannot read "x"'],
    ["readme", ["x"], 2, "expected no arguments"],
    ["bench modle", [], 2, "(did you mean model?)"],
    ["bench model", [], 2, "--model names no model"],
    ["bench model", ["-m", "%/nope"], 1, '/nope": there is no such file'],
    ["bench model", [...tiny, "--threads", "0"], 2, "no list of whole numbers from 1"],
    ["bench model", [...tiny, "--runs", "0"], 2, "--runs 0: expected a whole number from 1"],
    ["bench model", [...tiny, "--weights", "q4"], 2, '--weights "q4": expected as-is'],
    ["bench model", [...tiny, "x"], 2, 'Cannot measure "x"'],
    ["bench kernels", ["--filter", "/[/"], 2, 'Cannot use --filter "/[/"'],
    ["bench kernels", ["--filter", "no such kernel"], 2, "no row matches"],
    ["bench kernels", ["--backend", "wsm"], 2, 'backend "wsm": expected wasm'],
    ["quantize", ["%/tiny.gguf"], 2, "Cannot quantize"],
    ["quantize", ["%/nope", "%/out.gguf"], 1, '/nope": there is no such file'],
    ["quantize", ["--type", "q9", "%/tiny.gguf", "%/out.gguf"], 2, "q9"],
    ["quantize", ["%/tiny.gguf", "%/tiny.gguf"], 2, "it exists; give another name"],
    ["serve", ["%/tiny.gguf"], 2, "name a model with --model"],
    ["serve", ["-m", "%/nope", "--port", "0"], 1, '/nope": there is no such file'],
    ["serve", [...tiny, "--port", "70000"], 2, "--port 70000: expected"],
    [
      "serve",
      [...tiny, "--host", "0.0.0.0"],
      2,
      "give --api-key or --api-key-file, or say --no-auth",
    ],
    ["serve", [...tiny, "--host", "256.0.0.1", "--no-auth"], 1, "Cannot listen at"],
    ["serve", [...tiny, "--api-key", "a b"], 2, "with a key that has blanks"],
    ["serve", [...tiny, "--api-key-file", "%/nope"], 1, '/nope": there is no such file'],
    ["serve", [...tiny, "--log", "%/folder"], 1, '/folder": it is a folder'],
    ["serve", [...tiny, "--sequences", "0", "--port", "0"], 2, "--sequences 0: expected"],
    ["compare", ["%/tiny.gguf"], 2, "Cannot compare"],
    ["compare", ["%/nope", "%/tiny.gguf"], 1, '/nope": there is no such file'],
    ["compare", ["--tokens", "0", "%/tiny.gguf", "%/tiny.gguf"], 2, "--tokens 0: expected"],
    ["bench compare", ["%/nope"], 1, '/nope": there is no such file or folder'],
    ["bench compare", ["%/text"], 1, "found no ratios, expected"],
    ["bench embed", ["--weights", "q4"], 2, 'Cannot measure weights "q4": expected f32, f16'],
    ["bench embed", ["--layers", "0"], 2, "--layers"],
    ["bench quality", [], 2, "no model"],
    ["bench quality", ["%/nope.gguf"], 1, "no such file"],
    ["bench quality", ["%/tiny.gguf", "--types", "q9"], 2, '"q9" is none of'],
    ["bench peers", ["--peers", "nobody"], 2, 'Cannot compare with "nobody"'],
    ["bench peers", ["-m", "%/nope"], 1, '/nope": there is no such file or folder'],
    ["bench gpu", ["--model", "%/nope"], 1, '/nope": there is no such file or folder'],
    ["bench gpu", ["--parts", "x"], 2, '--parts "x": expected parity'],
    ["bench gpu", ["--out", "%/nope/x"], 1, '/nope/x": there is no such file or folder'],
    ["bench gpu", ["--parts", "models", "--dir", "%/nope"], 1, "/nope"],
  ];
  const walked = new Set(rows.map(([program]) => program));
  assertEquals(NAMES.filter((it) => !walked.has(it)), [], "programs without mistakes here");
  await runCalls(rows.map(([program, args, code, line]) => ({ program, args, code, line })));
});

Deno.test({
  name: "a file and a folder that may not be read are one line",
  ignore: Deno.build.os === "windows" || Deno.uid() === 0, // root reads everything
  fn: async () =>
    await withFolder({ "secret.gguf": await tinyGguf(), text: "a" }, async (path) => {
      await Deno.mkdir(`${path}/hub`);
      for (const name of ["secret.gguf", "text", "hub"]) await Deno.chmod(`${path}/${name}`, 0);
      const rows: [string, string[], string][] = [
        ["generate", ["-m", "%/secret.gguf", "a"], "secret.gguf"],
        ["generate", ["-m", "%/hub", "a"], "hub"],
        ["generate", ["--file", "%/text"], '/text": the system does not permit it'],
        ["inspect", ["%/secret.gguf"], "secret.gguf"],
        ["models", [], 'Cannot list the folder "'],
        ["synthetic", ["%/hub/x"], '/hub/x": the system does not permit it'],
      ];
      try {
        for (const [program, args, line] of rows) {
          await runCall({ program, args, code: 1, line, env: { SPARROW_CACHE: path } }, path);
        }
      } finally {
        await Deno.chmod(`${path}/hub`, 0o700);
      }
    }),
});

Deno.test("a cache that cannot be used is one line", async () => {
  await withFolder({ text: "no folder" }, async (path) => {
    const place = { HF_ENDPOINT: "http://127.0.0.1:9", SPARROW_CACHE: `${path}/text/cache` };
    const rows: [string, string[]][] = [
      ["pull", ["hf:a/b"]],
      ["generate", ["-m", "hf:a/b", "x"]],
    ];
    for (const [program, args] of rows) {
      await runCall(
        { program, args, code: 1, line: "check the cache directory", env: place },
        path,
      );
    }
  });
});
