/**
 * Numbers in a configuration that make no sense: of every golden model, each number in turn is made
 * zero, negative, a fraction and huge. Either the model loads, where the number says nothing of the
 * weights, or its file is named in an error, before anything of that size is made.
 */

import { assert } from "@std/assert";
import { FormatError, loadModel, ModelError } from "../mod.ts";
import { FIXTURES } from "./fixtures.ts";

const MODELS = [
  ...["bert", "chatglm2", "chatglm6b", "distilbert", "ernie", "glm4", "gpt2", "llama"],
  ...["glm-130b", "marian", "mixtral", "nomic-bert"],
  ...["opt-narrow", "pangu-alpha", "qwen3-moe", "roberta", "switch", "t5-v1.1", "yuan1"],
  ...["albert", "transfo-xl"],
];
const NUMBERS = [2 ** 30, 2 ** 31 - 1, 2 ** 53, 0, -1, 0.5];
/** More than any of these models takes, and far less than what the numbers announce. */
const MOST_BYTES = 2 ** 29;

async function copyFiles(from: URL, to: string): Promise<void> {
  for await (const { name, isDirectory } of Deno.readDir(from)) {
    if (!isDirectory) await Deno.copyFile(new URL(name, from), `${to}/${name}`);
    else {
      await Deno.mkdir(`${to}/${name}`);
      await copyFiles(new URL(`${name}/`, from), `${to}/${name}`);
    }
  }
}

for (const model of MODELS) {
  Deno.test(`loadModel() refuses or ignores numbers that make no sense: ${model}`, async () => {
    const folder = new URL(`golden/${model}/`, FIXTURES);
    const config = JSON.parse(await Deno.readTextFile(new URL("config.json", folder)));
    const edited = await Deno.makeTempDir();
    await copyFiles(folder, edited);
    const before = Deno.memoryUsage().rss;
    let refused = 0;
    for (const [field, value] of Object.entries(config)) {
      if (typeof value !== "number") continue;
      for (const number of NUMBERS) {
        const text = JSON.stringify({ ...config, [field]: number });
        await Deno.writeTextFile(`${edited}/config.json`, text);
        try {
          await using _ = await loadModel(edited, { backend: "wasm", threads: 1, onWarning() {} });
        } catch (error) {
          const isTyped = error instanceof ModelError || error instanceof FormatError;
          assert(isTyped, `${field} ${number}: ${error}`);
          refused++;
        }
      }
    }
    await Deno.remove(edited, { recursive: true });
    assert(refused > 10, `${refused} were refused`);
    assert(Deno.memoryUsage().rss - before < MOST_BYTES);
  });
}
