/**
 * Quantized files of every type and method, with what this library reads and writes with them, for
 * `read.mjs` beside it, which compares llama.cpp with that:
 *
 *   deno run -A --no-lock tests/llama_cpp/write.ts FOLDER [MODEL.gguf …]
 *   npm install node-llama-cpp && node tests/llama_cpp/read.mjs FOLDER
 *
 * Where none is named they are made of the models of the tests, of the default model and of tiny ones
 * with random weights. The second program ends with 1 where there is a fault.
 *
 * @module
 */

import { QUANTIZED_TYPES } from "../../quant/quantize.ts";
import { type QuantizeMethod, quantizeModel } from "../../quantize/quantize_model.ts";
import { loadModel } from "../../runtime/load.ts";
import type { Model } from "../../runtime/model.ts";
import { FIXTURES } from "../fixtures.ts";
import { tinyGguf } from "../tiny_model.ts";

/** Tokens that are written after each prompt. */
const WRITTEN = 24;
/** How many of the likeliest tokens are kept for each place. */
const LIKELIEST = 8;

/** Bytes from which on a source takes long. */
const LARGE = 4e6;

const TEXTS = [
  "Once upon a time there was",
  "Hello, world!  Two blanks,\n\na line\tand a tab.",
  "It's 1234567 o'clock — don’t you'd think?",
  "麻雀在树上。Спичка. ñandú 🐦",
  "<s>not special</s> <|im_end|>",
  " leading and trailing ",
];

/** What a file is to give. */
interface Expected {
  readonly file: string;
  readonly texts: readonly { readonly text: string; readonly ids: readonly number[] }[];
  /** A prompt, and what follows it by the reference backend. */
  readonly prompt: readonly number[];
  readonly written: readonly number[];
  /** For each place of prompt and text, the likeliest tokens with their log-probabilities. */
  readonly likeliest: Readonly<
    Record<"reference" | "wasm", readonly (readonly [number, number])[][]>
  >;
}

/** Matrices of layers, which get a type even where the source has fewer bits. */
const MATRICES = /^blk\..*(attn_(q|k|v|output)|ffn_(gate|up|down))\.weight$/;

/** Ways of making files: each type to nearest and by GPTQ, one type by every method. */
function ways(isLarge: boolean): [type: string, method: QuantizeMethod][] {
  const nearest = QUANTIZED_TYPES.map((it): [string, QuantizeMethod] => [it, "nearest"]);
  if (isLarge) return [...nearest, ["Q4_0", "gptq"], ["Q4_K", "gptq"]];
  const gptq = QUANTIZED_TYPES.map((it): [string, QuantizeMethod] => [it, "gptq"]);
  return [...nearest, ...gptq, ["Q4_0", "importance"], ["Q4_0", "awq"]];
}

async function likeliest(model: Model, ids: readonly number[]): Promise<[number, number][][]> {
  const logits = await model.logits(ids), { vocabSize } = model.config; // [tokens, vocab]
  return ids.map((_, t) => {
    const row = logits.subarray(t * vocabSize, (t + 1) * vocabSize);
    const most = row.reduce((a, b) => Math.max(a, b));
    const total = most + Math.log(row.reduce((sum, it) => sum + Math.exp(it - most), 0));
    return Array.from(row.keys()).sort((a, b) => row[b]! - row[a]!).slice(0, LIKELIEST)
      .map((id): [number, number] => [id, row[id]! - total]);
  });
}

async function expectedOf(folder: string, file: string): Promise<Expected> {
  const quiet = { onWarning: () => {}, contextLength: 64 };
  await using reference = await loadModel(`${folder}/${file}`, { ...quiet, backend: "reference" });
  await using wasm = await loadModel(`${folder}/${file}`, { ...quiet, backend: "wasm" });
  const { tokenizer } = reference;
  const texts = TEXTS.flatMap((text) => {
    try {
      return [{ text, ids: tokenizer.encode(text, { addSpecial: false }) }];
    } catch {
      return []; // a vocabulary without bytes does not spell everything
    }
  });
  const prompt = tokenizer.encode(TEXTS[0]!).slice(0, 16);
  const written = [];
  using session = wasm.session();
  for await (const { id } of session.generate(prompt, { temperature: 0, maxTokens: WRITTEN })) {
    written.push(id);
  }
  const ids = [...prompt, ...written];
  return {
    ...{ file, texts, prompt, written },
    likeliest: { reference: await likeliest(reference, ids), wasm: await likeliest(wasm, ids) },
  };
}

if (import.meta.main) {
  const [folder, ...named] = Deno.args;
  if (folder === undefined) throw new Error("expected a folder");
  const shape = { hidden: 256, heads: 32, kvHeads: 8, intermediate: 512, layers: 2, context: 512 };
  const bytes = { ...shape, tokenizer: "bpe" } as const, tiny = { llama: bytes, qwen2: bytes };
  const sources = named.length > 0 ? named : [
    new URL("models/stories260K/stories260K.gguf", FIXTURES).pathname,
    new URL("../../models/default/model.gguf", import.meta.url).pathname,
  ];
  if (named.length === 0) {
    for (const [architecture, options] of Object.entries(tiny)) {
      const path = `${folder}/tiny-${architecture}.gguf`;
      const file = await tinyGguf({ ...options, architecture: architecture as "llama" });
      await Deno.writeFile(path, file);
      sources.push(path);
    }
  }
  const expected: Expected[] = [];
  for (const source of sources) {
    const name = source.split("/").at(-1)!.replace(/\.gguf$/, "");
    const isLarge = (await Deno.stat(source)).size > LARGE;
    for (const [type, method] of ways(isLarge)) {
      const file = `${name}-${type}-${method}.gguf`;
      await quantizeModel(source, `${folder}/${file}`, {
        ...{ type, method, tokens: 128, verify: false, force: true, onWarning: () => {} },
        ...(isLarge && { tensors: [{ pattern: MATRICES, type }] }),
      }).catch((error) => console.log(`${file}: ${error.message}`));
      if (!await Deno.stat(`${folder}/${file}`).catch(() => undefined)) continue;
      expected.push(await expectedOf(folder, file));
      console.log(file);
      await Deno.writeTextFile(`${folder}/expected.json`, JSON.stringify(expected));
    }
  }
}
