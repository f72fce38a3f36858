/** Folders converted to GGUF give what the folders give, and what they cannot is told or refused. */

import { assert, assertEquals, assertStringIncludes } from "@std/assert";
import { loadModel } from "../mod.ts";
import { quantizeModel } from "../quantize/quantize_model.ts";
import { FIXTURES } from "./fixtures.ts";
import { difference, type GoldenCase, promptOf } from "./golden_checks.ts";
import { withFolder } from "./tiny_model.ts";

/** Golden folders, and what is told of them, but for their tokenizers. */
const FOLDERS: Readonly<Record<string, readonly string[]>> = {
  llama: [],
  "llama-bias": [],
  "llama-linear": [],
  "llama-yarn": [],
  "llama3-rope": [],
  mixtral: [],
  "mixtral-narrow": [],
  "mistral-window": ["2 of 2 layers see the last 7 tokens alone"],
  qwen2: [],
  "qwen2-moe": [],
  "qwen2-moe-step": ["some layers have no experts"],
  qwen3: [],
  "qwen3-moe": [],
  "qwen3-moe-dense": ["some layers have no experts"],
  gpt2: [],
  bert: ['"bert.pooler.dense.weight"'],
  distilbert: ['"vocab_transform.weight"'],
  roberta: ['"lm_head.dense.weight"'],
  "tasks/bert-sentence": ['"pooler.dense.weight"', "mean and 1 further steps"],
  "tasks/bert-classify": [],
  "tasks/roberta-rerank": [],
  "llama-gptq": ["was quantized before (GPTQ"],
  "llama-gptq-actorder": ["was quantized before (GPTQ"],
  "llama-awq": ["was quantized before (AWQ"],
};

const folderOf = (name: string): URL => new URL(`golden/${name}/`, FIXTURES);

/** Converts a folder; the sentences that were told. */
async function convert(from: URL | string, to: string, type = "F32"): Promise<string[]> {
  const told: string[] = [];
  await quantizeModel(from, to, { type, force: true, onWarning: (it) => told.push(it) });
  return told;
}

/** Token ids that a model is compared on, up to 7 of them: the window of one has 7. */
async function idsOf(name: string, vocabSize: number): Promise<number[][]> {
  try {
    const url = new URL("expected.json", folderOf(name));
    const { cases } = JSON.parse(await Deno.readTextFile(url)) as { cases: GoldenCase[] };
    const prompts = cases.flatMap(({ inputs }) =>
      (inputs.input_ids ?? []).map((_: unknown, row: number) => promptOf(inputs, row).prompt.ids)
    );
    if (prompts.length > 0) return prompts.map((ids) => ids.slice(0, 7));
  } catch {
    // It has no cases of that kind.
  }
  return [[1, 5, 9, 12, 3, 30, 8].map((id) => id % vocabSize)];
}

for (const [name, told] of Object.entries(FOLDERS)) {
  Deno.test(`convert ${name}: the GGUF file gives what the folder gives`, () =>
    withFolder({}, async (path) => {
      const sentences = await convert(folderOf(name), `${path}/model.gguf`);
      const load = { backend: "reference", onWarning: () => {} } as const;
      await using folder = await loadModel(folderOf(name), load);
      await using file = await loadModel(`${path}/model.gguf`, {
        ...load,
        onWarning: (message) => assertStringIncludes(message, "expert_weights_norm"),
      });
      const others = sentences.filter((it) =>
        !/there is no tokenizer|words of more than 100 characters/.test(it)
      );
      assertEquals(others.length, told.length, others.join("\n"));
      told.forEach((it, i) => assertStringIncludes(others[i]!, it));
      for (const ids of await idsOf(name, folder.config.vocabSize)) {
        const isDecoder = !folder.accepts.includes("tokenTypeIds") && name !== "roberta" &&
          !/bert/.test(name);
        const [expected, found] = isDecoder
          ? [await folder.logits(ids), await file.logits(ids)]
          : [(await folder.encode({ ids })).hidden, (await file.encode({ ids })).hidden];
        const max = difference(found, Array.from(expected));
        assert(max <= 1e-4, `${ids}: ${max}`);
      }
    }));
}
