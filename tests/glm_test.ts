/** Models of the GLM family beside their golden fixtures: heads that are not there. */

import { assert, assertEquals } from "@std/assert";
import { loadModel } from "../mod.ts";
import { openModelFile } from "../runtime/files/open.ts";
import { readVector } from "../runtime/models/weights.ts";
import { FIXTURES } from "./fixtures.ts";
import { withFolder } from "./tiny_model.ts";

/** The files of a golden model with fields added to its configuration. */
async function golden(
  name: string,
  fields: Readonly<Record<string, unknown>> = {},
): Promise<{ "config.json": string; "model.safetensors": Uint8Array }> {
  const folder = new URL(`golden/${name}/`, FIXTURES);
  const config = JSON.parse(await Deno.readTextFile(new URL("config.json", folder)));
  return {
    "config.json": JSON.stringify({ ...config, ...fields }),
    "model.safetensors": await Deno.readFile(new URL("model.safetensors", folder)),
  };
}

/** A safetensors file in which a tensor has another name, which is as long. */
function renamed(bytes: Uint8Array, from: string, to: string): Uint8Array {
  assertEquals(to.length, from.length);
  const length = Number(new DataView(bytes.buffer).getBigUint64(0, true));
  const header = new TextDecoder().decode(bytes.subarray(8, 8 + length));
  const copy = bytes.slice();
  copy.set(new TextEncoder().encode(header.replace(`"${from}"`, `"${to}"`)), 8);
  return copy;
}

const HEADS = [
  ["chatglm6b", "lm_head.weight", "transformer.word_embeddings.weight"],
  ["chatglm2", "transformer.output_layer.weight", "transformer.embedding.word_embeddings.weight"],
] as const;

for (const [name, head, embedding] of HEADS) {
  for (const tied of [true, false]) {
    const isTold = name === "chatglm2" || !tied;
    Deno.test(`${name} without a head, tie_word_embeddings ${tied}: ${isTold ? "told" : "tied"}`, async () => {
      const files = await golden(name, { tie_word_embeddings: tied });
      const other = head.replace("weight", "nobody");
      const weights = renamed(files["model.safetensors"], head, other);
      await withFolder({ ...files, "model.safetensors": weights }, async (path) => {
        const warnings: string[] = [];
        await using model = await loadModel(path, {
          backend: "reference",
          onWarning: (message) => warnings.push(message),
        });
        const about = warnings.filter((it) => it.includes("has no output head"));
        assertEquals(about.length, isTold ? 1 : 0, warnings.join("\n"));
        assert(warnings.some((it) => it.includes(other)));
        const { bosId, maskIds = [] } = model.config as { bosId?: number; maskIds?: number[] };
        const ids = [5, ...maskIds.slice(0, 1), bosId ?? 6, 9];
        const { hidden } = await model.encode(ids), logits = await model.logits(ids);
        const file = await openModelFile(path);
        const table = await readVector(file.tensors.get(embedding)!);
        file.close();
        const { hiddenSize: width, vocabSize } = model.config;
        logits.forEach((value, i) => {
          const row = Math.floor(i / vocabSize) * width, word = i % vocabSize * width;
          let product = 0;
          for (let k = 0; k < width; k++) product += hidden[row + k]! * table[word + k]!;
          assert(Math.abs(value - product) < 1e-4, `${i}: ${value}, not ${product}`);
        });
      });
    });
  }
}
