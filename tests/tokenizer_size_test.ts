/** Tokenizers that have more tokens than their model has rows, or far fewer, are told at load. */

import { assert, assertEquals, assertRejects, assertStringIncludes } from "@std/assert";
import { InputError, loadModel } from "../mod.ts";
import { tokenizerFromJson } from "../runtime/text/tokenizer/tokenizer.ts";
import { tokenizerMismatch } from "../runtime/text/model_text.ts";
import { tinySafetensors, tinyVocabulary, withFolder } from "./tiny_model.ts";

/** A `tokenizer.json` with so many words, `w0` and so on, separated by blanks. */
function words(count: number): Record<string, unknown> {
  const vocab = Object.fromEntries(Array.from({ length: count }, (_, i) => [`w${i}`, i]));
  return {
    model: { type: "WordLevel", vocab, unk_token: "w0" },
    pre_tokenizer: { type: "WhitespaceSplit" },
  };
}

Deno.test("a tokenizer with more tokens than rows is told at load, with its first token too many", async () => {
  const rows = tinyVocabulary();
  for (const more of [0, 3]) {
    const files = { ...tinySafetensors(), "tokenizer.json": JSON.stringify(words(rows + more)) };
    await withFolder(files, async (folder) => {
      const told: string[] = [];
      await using model = await loadModel(folder, {
        backend: "reference",
        onWarning: (message) => void told.push(message),
      });
      assertEquals(told.length, more > 0 ? 1 : 0, `${told}`);
      if (more === 0) return;
      assertStringIncludes(told[0]!, `has ${rows + 3} tokens, but the model has rows for ${rows}`);
      assertStringIncludes(told[0]!, `one of the last 3 (from "w${rows}" on) is refused`);
      await model.complete(`w${rows - 1}`, { maxTokens: 1 });
      await assertRejects(() => model.complete(`w${rows}`, { maxTokens: 1 }), InputError);
    });
  }
});

Deno.test("rows that pad a vocabulary are told by nobody, a tokenizer of another size is", async () => {
  // Rows of published models and tokens of their tokenizers, with added ones.
  const published = {
    "ChatGLM2": [65024, 64797],
    "DeepSeek LLM": [102400, 100016],
    "GLM-4": [151552, 151343],
    "mT5": [250112, 250100],
    "Phi-2": [51200, 50295],
    "Qwen2.5 7B": [152064, 151665],
    "T5": [32128, 32100],
  } as const;
  const tokenizer = await tokenizerFromJson(words(2000));
  const sized = (vocabSize: number) => ({ ...tokenizer, vocabSize });
  for (const [name, [rows, tokens]] of Object.entries(published)) {
    assertEquals(tokenizerMismatch("m", sized(tokens), rows), [], name);
  }
  const [sentence, ...others] = tokenizerMismatch("m", sized(32000), 151936);
  assertEquals(others, []);
  assert(sentence!.includes("32000 tokens") && sentence!.includes("of another model"), sentence);
  assertEquals(tokenizerMismatch("m", sized(300), 1000), []);
});
