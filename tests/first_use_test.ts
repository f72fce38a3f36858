/**
 * The first use, in an environment as bare as a container's: what reaches standard error, and which
 * permissions are enough.
 */

import { assert, assertEquals, assertMatch, assertStringIncludes } from "@std/assert";
import { hasTraces, quietly } from "../runtime/backends/webgpu/quietly.ts";
import { taskArgs } from "./task_args.ts";
import { tinyGguf } from "./tiny_model.ts";
import { hasWebgpu } from "./webgpu_adapter.ts";

const ROOT = new URL("../", import.meta.url);

/** What a program needs to find its modules, and nothing that a desktop sets. */
const BARE = Object.fromEntries(
  ["PATH", "HOME", "DENO_DIR", "SystemRoot"].flatMap((name) => {
    const value = Deno.env.get(name);
    return value === undefined ? [] : [[name, value]];
  }),
);

interface Outcome {
  code: number;
  stdout: string;
  stderr: string;
}

/** Runs `deno …` without a terminal and with no variables but `BARE`. */
async function bare(
  args: readonly string[],
  variables: Readonly<Record<string, string>> = {},
): Promise<Outcome> {
  const { code, stdout, stderr } = await new Deno.Command(Deno.execPath(), {
    args: [...args],
    cwd: ROOT,
    clearEnv: true,
    env: { ...BARE, NO_COLOR: "1", ...variables },
    stdin: "null",
    signal: AbortSignal.timeout(120_000),
  }).output();
  const text = new TextDecoder();
  return { code, stdout: text.decode(stdout), stderr: text.decode(stderr) };
}

/** A folder with a model and a program that loads it with `options` and writes a few tokens. */
async function withProgram(
  options: string,
  task: (program: string, folder: string) => Promise<void>,
): Promise<void> {
  const folder = await Deno.makeTempDir({ prefix: "sparrow_" });
  try {
    await Deno.writeFile(`${folder}/tiny.gguf`, await tinyGguf());
    await Deno.writeTextFile(
      `${folder}/main.ts`,
      `import { loadModel } from "${new URL("mod.ts", ROOT)}";
      await using model = await loadModel("${folder}/tiny.gguf", { threads: 1, ${options} });
      let count = 0;
      for await (const _ of model.session().generate([1, 5], { maxTokens: 4, stopIds: [] })) count++;
      console.log(count);`,
    );
    await task(`${folder}/main.ts`, folder);
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
}

Deno.test("a program with all permissions hears nothing of displays and drivers", async () => {
  await withProgram("", async (program) => {
    const { code, stdout, stderr } = await bare(["run", "-A", program]);
    assertEquals([code, stdout, stderr], [0, "4\n", ""]);
  });
});

Deno.test({
  name: "a program that may only read hears nothing of them where nothing points to a GPU",
  ignore: Deno.build.os !== "linux" || hasTraces(),
  async fn() {
    await withProgram("", async (program) => {
      const { code, stdout, stderr } = await bare(["run", "--no-prompt", "--allow-read", program]);
      assertEquals([code, stdout, stderr], [0, "4\n", ""]);
    });
  },
});

Deno.test("what is wrong with a file is said before a GPU is looked for", async () => {
  await withProgram("", async (program, folder) => {
    await Deno.remove(`${folder}/tiny.gguf`);
    const { code, stderr } = await bare(["run", "--no-prompt", "--allow-read", program]);
    assertEquals([code, stderr.includes("XDG_RUNTIME_DIR")], [1, false], stderr);
    assertStringIncludes(stderr, "NotFoundError");
  });
});

Deno.test({
  name: "a program that may set one variable uses WebGPU without noise, and keeps its environment",
  ignore: !hasWebgpu,
  async fn() {
    await withProgram(`backend: "webgpu"`, async (program, folder) => {
      await Deno.writeTextFile(program, `\nconsole.log(Deno.env.has("XDG_RUNTIME_DIR"));`, {
        append: true,
      });
      const allow = [`--allow-read=${folder}`, "--allow-env=XDG_RUNTIME_DIR"];
      const { code, stdout, stderr } = await bare(["run", "--no-prompt", ...allow, program]);
      assertEquals([code, stdout, stderr], [0, "4\nfalse\n", ""]);
    });
  },
});

Deno.test("quietly() gives back the result, and the variable as it was", async () => {
  const name = "XDG_RUNTIME_DIR", before = Deno.env.get(name);
  try {
    for (const value of [undefined, "/run/user/7"]) {
      if (value === undefined) Deno.env.delete(name);
      else Deno.env.set(name, value);
      const seen = await quietly(() => Promise.resolve(Deno.env.get(name)));
      assertEquals(seen, value ?? (Deno.build.os === "linux" ? "/tmp" : undefined));
      assertEquals(Deno.env.get(name), value);
      let thrown: unknown;
      try {
        await quietly(() => {
          throw new Error("refused");
        });
      } catch (error) {
        thrown = error;
      }
      assertEquals((thrown as Error).message, "refused");
      assertEquals(Deno.env.get(name), value);
    }
  } finally {
    if (before !== undefined) Deno.env.set(name, before);
    else Deno.env.delete(name);
  }
});

Deno.test("reading is enough for a local file: nothing else is used, nothing is asked", async () => {
  const model = new URL("models/stories260K/stories260K.gguf", import.meta.url).pathname;
  // The noise of drivers is what another test is about.
  const variables = { XDG_RUNTIME_DIR: "/tmp" };
  const run = (command: string, ...args: string[]): Promise<Outcome> =>
    bare(
      ["run", "--no-prompt", `--allow-read=${model}`, "cli/main.ts", command, ...args],
      variables,
    );
  const text = await run("generate", "--model", model, "--seed", "3", "--max-tokens", "4", "Once");
  assertEquals(text.code, 0, text.stderr);
  assertMatch(text.stderr, /^wasm, \d+ threads?: loaded in [^\n]*\n$/);
  const json = await run("generate", "--model", model, "--json", "--max-tokens", "4", "Once");
  assertEquals([json.code, json.stderr], [0, ""]);
  assert(JSON.parse(json.stdout).peakMemoryBytes > 1e7);
  const score = await run("score", "--model", model, "--text", "Once upon a time");
  assertEquals([score.code, score.stderr], [0, ""]);
  const embed = await run("embed", "--model", model, "--text", "Once upon a time");
  assertEquals([embed.code, embed.stderr], [0, ""]);
  const inspect = await run("inspect", model);
  assertEquals([inspect.code, inspect.stderr], [0, ""]);
});

Deno.test("the README's narrowest command writes its text, the timings and nothing else", async () => {
  const readme = await Deno.readTextFile(new URL("README.md", ROOT));
  const found = /^deno (run --allow-read=model\.gguf .*?) "Once upon a time"$/ms.exec(readme)?.[1];
  const model = new URL("models/stories260K/stories260K.gguf", import.meta.url).pathname;
  const args = found!.replaceAll("model.gguf", model).split(/[\s\\]+/);
  const { code, stdout, stderr } = await bare([...args, "--max-tokens", "4", "Once upon a time"]);
  assertEquals(code, 0, stderr);
  assert(stdout.length > 5, stdout);
  assertMatch(stderr, /^wasm, \d+ threads?: loaded in [^\n]*\n$/);
});

Deno.test("a permission that is missing is one line that names its flag", async () => {
  const home = await Deno.makeTempDir({ prefix: "sparrow_" });
  try {
    const url = "http://127.0.0.1:9/m.gguf";
    for (
      const [allow, args, flag] of [
        [[], ["generate", "x"], "--allow-read"],
        [[], ["generate", "--file", "/nonexistent"], "--allow-read"],
        [[], ["inspect", "x.gguf"], "--allow-read"],
        [["-E"], ["models"], "--allow-read"],
        [["-R"], ["models"], "--allow-env"],
        [["-R"], ["pull", url], "--allow-env"],
        [["-R", "-E"], ["pull", "hf:org/repo"], "--allow-net"],
        [["-R", "-E", "-N"], ["pull", url], "--allow-write"],
      ] as const
    ) {
      const found = await bare(["run", "--no-prompt", ...allow, "cli/main.ts", ...args], {
        HOME: home,
        DENO_DIR: Deno.env.get("DENO_DIR") ?? `${Deno.env.get("HOME")}/.cache/deno`,
        XDG_RUNTIME_DIR: "/tmp",
      });
      const name = `${allow.join(" ")} ${args.join(" ")}: ${found.stderr}`;
      assert(found.code > 0, name);
      assertEquals([found.stdout, found.stderr.split("\n").length], ["", 2], name);
      assertStringIncludes(found.stderr, flag);
    }
  } finally {
    await Deno.remove(home, { recursive: true });
  }
});

Deno.test("the tasks of the commands ask for no more than they use", () => {
  const variables = { HOME: "/home/me", XDG_CACHE_HOME: "/c", SPARROW_CACHE: "/s" };
  const texts = ["embed", "fill", "classify", "rerank"];
  for (const name of ["generate", "chat", "inspect", "score", "pull", "models", ...texts]) {
    const flags = taskArgs(name, variables).filter((it) => it.startsWith("-"));
    assert(!flags.some((it) => /^(-A|--allow-(all|run|ffi|env|sys|import))$/.test(it)), name);
    // A conversation and vectors can be saved where the user wants it.
    const writes = flags.find((it) => it.startsWith("--allow-write"));
    if (name !== "chat" && name !== "embed") {
      const folders = writes!.replace("--allow-write=", "").split(",");
      for (const folder of folders) {
        assertMatch(folder, /^(\/s\/\w+|\/c\/sparrow|\/home\/me\/.cache\/sparrow|\/sparrow)$/);
      }
    }
    assertEquals(flags.includes("--allow-net"), name !== "models", name);
  }
});

Deno.test("a command gives up the network when its model is a local file", async () => {
  const program = (spec: string): string =>
    `import { locateModel } from "${new URL("cli/model_flags.ts", ROOT)}";
    const flags = { text: () => ${JSON.stringify(spec)}, on: () => false };
    await locateModel(flags as never, undefined as never);
    console.log(Deno.permissions.querySync({ name: "net", host: "example.com" }).state);`;
  const state = async (spec: string): Promise<string> => {
    const folder = await Deno.makeTempDir({ prefix: "sparrow_" });
    try {
      await Deno.writeTextFile(`${folder}/main.ts`, program(spec));
      const { stdout, stderr } = await bare(["run", "--no-prompt", "-N", `${folder}/main.ts`]);
      assertEquals(stderr, "");
      return stdout.trim();
    } finally {
      await Deno.remove(folder, { recursive: true });
    }
  };
  assertEquals(await state("model.gguf"), "prompt");
  assertEquals(await state("./https:/model.gguf"), "prompt");
  assertEquals(await state("https://example.com/folder/"), "granted");
});
