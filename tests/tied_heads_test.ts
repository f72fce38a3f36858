/**
 * Heads for words as different versions of Transformers save them: tied, tied without a factor, or
 * with a matrix and a bias of their own.
 */

import { assert, assertEquals } from "@std/assert";
import { loadModel, type Prompt } from "../mod.ts";
import { FIXTURES } from "./fixtures.ts";
import { difference } from "./golden_checks.ts";
import { assemble, tensorsOf, type Values } from "./tensor_files.ts";
import { withFolder } from "./tiny_model.ts";

type Tensors = Map<string, Values>;

/** Logits of a golden model after a change, and what was told. */
async function logitsOf(
  name: string,
  prompt: Prompt,
  fields: Record<string, unknown> = {},
  change: (tensors: Tensors) => void = () => {},
): Promise<{ logits: Float32Array; told: string[] }> {
  const folder = new URL(`golden/${name}/`, FIXTURES), told: string[] = [];
  const config = JSON.parse(await Deno.readTextFile(new URL("config.json", folder)));
  const tensors: Tensors = await tensorsOf(folder);
  change(tensors);
  let logits = new Float32Array();
  await withFolder({
    "config.json": JSON.stringify({ ...config, ...fields }),
    "model.safetensors": assemble(tensors),
  }, async (place) => {
    const onWarning = (message: string): void => void told.push(message);
    await using model = await loadModel(place, { backend: "reference", onWarning });
    logits = new Float32Array(await model.logits(prompt));
  });
  return { logits, told };
}

const PROMPT = { ids: [3, 4, 5, 1], decoderIds: [0, 7] };
const withoutHead = (tensors: Tensors): void => void tensors.delete("lm_head.weight");
const wordsAsHead = (tensors: Tensors): void =>
  void tensors.set("lm_head.weight", tensors.get("shared.weight")!);

for (
  const [name, version5] of [
    ["t5-v1.1", { tie_word_embeddings: true, scale_decoder_outputs: false }],
    ["mt5", { tie_word_embeddings: true, transformers_version: "5.18.0" }],
  ] as const
) {
  Deno.test(`${name} as Transformers 5 saves it: no factor, and its own head where it has one`, async () => {
    const own = await logitsOf(name, PROMPT);
    assertEquals(await logitsOf(name, PROMPT, version5), own);
    const words = await logitsOf(name, PROMPT, {}, wordsAsHead);
    assertEquals(await logitsOf(name, PROMPT, version5, withoutHead), words);
    assert(difference(own.logits, Array.from(words.logits)) > 0.1);
  });

  Deno.test(`${name} as Transformers 4 saves a tied one: the words under a factor`, async () => {
    const words = await logitsOf(name, PROMPT, {}, wordsAsHead);
    const version4 = { tie_word_embeddings: true, transformers_version: "4.57.1" };
    const tied = await logitsOf(name, PROMPT, version4, withoutHead);
    const { d_model } = JSON.parse(
      await Deno.readTextFile(new URL(`golden/${name}/config.json`, FIXTURES)),
    );
    const expected = Array.from(words.logits, (it) => it / Math.sqrt(d_model));
    assert(difference(tied.logits, expected) < 1e-4);
  });
}

Deno.test("t5-v1.0 as Transformers 5 saves it: the factor, and nothing to tell", async () => {
  const saved = await logitsOf("t5-v1.0", PROMPT, { scale_decoder_outputs: true });
  assertEquals(saved, await logitsOf("t5-v1.0", PROMPT));
  assertEquals(saved.told, []);
});

for (const [name, begin] of [["bert", "cls.predictions"], ["albert", "predictions"]] as const) {
  Deno.test(`${name} with a head that is not tied: its bias counts, and the other one does not`, async () => {
    const prompt = { ids: [2, 5, 7, 3] }, tied = await logitsOf(name, prompt);
    const untied = await logitsOf(name, prompt, { tie_word_embeddings: false }, (tensors) => {
      const { shape, values } = tensors.get(`${begin}.bias`)!;
      const bias = Float32Array.from(values, (it, i) => it + i);
      tensors.set(`${begin}.decoder.bias`, { shape, values: bias });
      const words = Array.from(tensors).find(([it]) => it.endsWith("word_embeddings.weight"))!;
      tensors.set(`${begin}.decoder.weight`, words[1]);
    });
    const vocab = tied.logits.length / prompt.ids.length;
    assert(difference(untied.logits, Array.from(tied.logits, (it, i) => it + i % vocab)) < 1e-4);
    assertEquals(untied.told, tied.told);
  });
}
