/**
 * The first use, in an environment as bare as a container's: what reaches standard error, and which
 * permissions are enough.
 */

import { assertEquals, assertStringIncludes } from "@std/assert";
import { quietly } from "../runtime/webgpu/quietly.ts";
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
async function bare(args: readonly string[]): Promise<Outcome> {
  const { code, stdout, stderr } = await new Deno.Command(Deno.execPath(), {
    args: [...args],
    cwd: ROOT,
    clearEnv: true,
    env: { ...BARE, NO_COLOR: "1" },
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
