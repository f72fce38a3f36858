/** Folders converted to GGUF give what the folders give, and what they cannot is told or refused. */

import { assert, assertEquals, assertRejects, assertStringIncludes } from "@std/assert";
import { loadModel, ModelError } from "../mod.ts";
import { FAMILIES } from "../quantize/convert/families.ts";
import { ggufTokenizer } from "../quantize/convert/tokenizer.ts";
import { encodeBf16 } from "../quant/floats.ts";
import { quantizeModel } from "../quantize/quantize_model.ts";
import { plainValue } from "../runtime/files/gguf_metadata.ts";
import type { ModelFile } from "../runtime/files/model_file.ts";
import { folderTokenizer } from "../runtime/text/model_text.ts";
import { tokenizerFromGguf } from "../runtime/text/tokenizer/gguf.ts";
import type { Tokenizer } from "../runtime/text/tokenizer/tokenizer.ts";
import { openModelFile } from "../runtime/files/open.ts";
import { logTotal } from "../runtime/generation/log_probabilities.ts";
import { folderFiles, TEXTS } from "./convert_models.ts";
import { concat, FIXTURES, safetensorsBytes } from "./fixtures.ts";
import { difference, type GoldenCase, promptOf } from "./golden_checks.ts";
import { disassemble } from "./tensor_files.ts";
import { withFolder } from "./tiny_model.ts";

// deno-lint-ignore no-explicit-any -- tokenizer.json
type Json = any;

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
        !/there is no tokenizer|words of more than|accents are stripped/.test(it)
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

/** A tokenizer's files as an open folder has them. */
function tokenizerFile(name: string, parts: Partial<ModelFile>): ModelFile {
  return { format: "safetensors", name, metadata: {}, tensors: new Map(), close() {}, ...parts };
}

/** The tokenizer of the fields that a folder's becomes, and what is told. */
async function converted(file: ModelFile): Promise<{ made: Tokenizer; notes: string }> {
  const own = await folderTokenizer(file);
  const { fields, notes } = await ggufTokenizer(file, own!.vocabSize);
  const entries = Object.entries(fields).map(([field, value]) => [field, plainValue(value)]);
  return { made: await tokenizerFromGguf(Object.fromEntries(entries)), notes: notes.join("\n") };
}

/** Texts that get other tokens by what was told. */
function isTold(text: string, notes: string): boolean {
  const [, most] = /words of more than (\d+)/.exec(notes) ?? [];
  return most !== undefined && text.split(/\s/).some((it) => it.length > Number(most)) ||
    notes.includes("normal form") && text !== text.normalize("NFC") ||
    notes.includes("begins with one") && /^[ \u2581]/.test(text) ||
    notes.includes("stand only as words") && text.includes("<");
}

const readJson = (name: string) =>
  JSON.parse(Deno.readTextFileSync(new URL(`tokenizers/${name}`, FIXTURES)));

for (const name of ["configurations.json", "configurations_random.json"]) {
  Deno.test(`convert: tokenizers of ${name} encode alike in GGUF, or are refused`, async () => {
    const kinds = new Map<string, number>();
    for (const { name: row, json, rows = [] } of readJson(name).cases) {
      const file = tokenizerFile(row, { tokenizerJson: json });
      const own = (await folderTokenizer(file))!;
      const result = await converted(file).catch((error) => {
        assert(error instanceof ModelError, `${row}: ${error}`);
      });
      if (!result) continue;
      const kind = json.model.type;
      kinds.set(kind, (kinds.get(kind) ?? 0) + 1);
      for (const { text } of rows) {
        if (text === undefined || isTold(text, result.notes)) continue;
        assertEquals(result.made.encode(text), own.encode(text), `${row}: ${JSON.stringify(text)}`);
      }
    }
    if (name === "configurations.json") assert(kinds.get("BPE")! >= 12 && kinds.has("WordPiece"));
  });
}

Deno.test("convert: folders without tokenizer.json encode alike in GGUF, or are refused", async () => {
  const names: string[] = [];
  for (const { name, files, config, cases } of readJson("published.json").folders) {
    const bytes = Object.entries(files as Record<string, string>)
      .map(([file, text]) => [file, Uint8Array.fromBase64(text)] as const);
    const file = tokenizerFile(name, {
      tokenizerFiles: Object.fromEntries(bytes),
      tokenizerConfig: config,
    });
    const result = await converted(file).catch((error) => {
      assert(error instanceof ModelError, `${name}: ${error}`);
    });
    if (!result) continue;
    names.push(name);
    for (const { text, ids } of cases) {
      // Special tokens between stretches of text, where llama.cpp puts spaces.
      if (
        isTold(text, result.notes) || result.notes.includes("follows an added") ||
        result.notes.includes("beside them")
      ) {
        continue;
      }
      assertEquals(result.made.encode(text, { parseSpecial: true }), ids, `${name}: ${text}`);
    }
  }
  const converts = ["llama-legacy", "llama-new", "llama-noprefix", "llama-added"];
  assertEquals(names, [...converts, "bert", "bert-cased", "gpt2", "roberta", "qwen2"]);
});

/** What llama.cpp makes of the converted folders of convert_models.ts. */
interface Oracle {
  readonly name: string;
  readonly bos: number | null;
  readonly eos: number;
  readonly addBos: boolean;
  readonly addEos: boolean;
  readonly tokens: readonly number[][];
  readonly generated: readonly number[];
  readonly rows: readonly [id: number, probability: number][][];
}

const ORACLES: readonly Oracle[] = JSON.parse(
  Deno.readTextFileSync(new URL("golden/llama_cpp_convert.json", FIXTURES)),
).models;

/** llama.cpp rounds keys and values to 16 bits. */
const BOUND = 3e-3;

for (const oracle of ORACLES) {
  Deno.test(`convert a folder, ${oracle.name}: tokens and predictions are llama.cpp's`, async () => {
    await withFolder(await folderFiles(oracle.name), async (path) => {
      await convert(path, `${path}/model.gguf`);
      const load = { backend: "reference", onWarning: () => {} } as const;
      await using folder = await loadModel(path, load);
      await using file = await loadModel(`${path}/model.gguf`, load);
      for (const { tokenizer } of [folder, file]) {
        const encode = (text: string): number[] => tokenizer.encode(text, { addSpecial: false });
        assertEquals(TEXTS.map(encode), oracle.tokens);
      }
      const { ids } = file.tokenizer.surround([5]);
      assertEquals(ids.length, 1 + Number(oracle.addBos) + Number(oracle.addEos));
      if (oracle.addBos) assertEquals(ids[0], oracle.bos);
      if (oracle.addEos) assertEquals(ids.at(-1), oracle.eos);
      assert(file.tokenizer.eosIds.includes(oracle.eos));
      const all = [...oracle.tokens[0]!, ...oracle.generated];
      const vocab = file.config.vocabSize, first = oracle.tokens[0]!.length - 1;
      const [expected, logits] = [await folder.logits(all), await file.logits(all)];
      assert(difference(logits, Array.from(expected)) <= 1e-4);
      oracle.generated.forEach((id, i) => {
        const row = logits.subarray((first + i) * vocab, (first + i + 1) * vocab);
        assertEquals(row.indexOf(Math.max(...row)), id, `token ${i}`);
        const total = logTotal(row);
        for (const [id, probability] of oracle.rows[i] ?? []) {
          const off = Math.abs(Math.exp(row[id]! - total) - probability);
          assert(off <= BOUND, `token ${id} after ${i} is off by ${off}`);
        }
      });
    });
  });
}

Deno.test("convert: what cannot be is refused by its name, and nothing is left behind", () =>
  withFolder({}, async (path) => {
    const to = `${path}/out.gguf`;
    const refused = async (from: URL | string, ...says: string[]): Promise<void> => {
      const error = await assertRejects(() => convert(from, to), ModelError);
      says.forEach((it) => assertStringIncludes(error.message, it));
      await assertRejects(() => Deno.stat(to), Deno.errors.NotFound);
    };
    await refused(folderOf("t5-v1.0"), '"t5"', "expected one of bert, distilbert, gpt2, llama");
    const files = await folderFiles("qwen2");
    const withTokenizer = (change: (json: Json) => void, body: (path: string) => Promise<void>) => {
      const { tokenizerFiles: _, ...rest } = { tokenizerFiles: 0, ...files };
      const json: Json = {
        added_tokens: [],
        pre_tokenizer: { type: "ByteLevel", add_prefix_space: false },
        decoder: { type: "ByteLevel" },
        model: {
          type: "BPE",
          vocab: JSON.parse(new TextDecoder().decode(files["vocab.json"] as Uint8Array)),
          merges: [],
        },
      };
      change(json);
      return withFolder({ ...rest as typeof files, "tokenizer.json": JSON.stringify(json) }, body);
    };
    await withTokenizer(() => {}, async (from) => {
      await convert(from, to);
      await Deno.remove(to);
    });
    await withTokenizer((json) => {
      const pattern = { Regex: "\\p{Lu}?\\p{Ll}+" };
      json.pre_tokenizer = {
        type: "Sequence",
        pretokenizers: [{ type: "Split", pattern, behavior: "Isolated" }, {
          ...{ type: "ByteLevel", add_prefix_space: false, use_regex: false },
        }],
      };
    }, (from) => refused(from, "{Lu}?", "a way that llama.cpp has a name for"));
    await withTokenizer(
      (json) => json.normalizer = { type: "Lowercase" },
      (from) => refused(from, '"Lowercase"'),
    );
  }));

Deno.test("convert: floats become what was asked for, vectors are f32", async () => {
  const bytes = await folderFiles("llama");
  const tensors = disassemble(bytes["model.safetensors"] as Uint8Array<ArrayBuffer>);
  const header: Record<string, unknown> = {}, pieces: Uint8Array[] = [];
  let at = 0;
  for (const [name, { shape, values }] of tensors) {
    const piece = new Uint8Array(2 * values.length);
    encodeBf16(piece, values as Float32Array);
    header[name] = { dtype: "BF16", shape, data_offsets: [at, at + piece.length] };
    at += piece.length;
    pieces.push(piece);
  }
  const narrow = { ...bytes, "model.safetensors": safetensorsBytes(header, concat(pieces)) };
  await withFolder(narrow, async (path) => {
    const load = { backend: "reference", onWarning: () => {} } as const;
    await using folder = await loadModel(path, load);
    const expected = await folder.logits([3, 4, 5, 9]);
    for (const [type, bound] of [["F32", 1e-6], ["BF16", 1e-6], ["F16", 2e-2]] as const) {
      await convert(path, `${path}/out.gguf`, type);
      const file = await openModelFile(`${path}/out.gguf`);
      const types = Array.from(file.tensors.values(), (it) => [it.shape.length, it.type]);
      assert(types.every(([extents, found]) => found === (extents === 1 ? "F32" : type)));
      file.close();
      await using model = await loadModel(`${path}/out.gguf`, load);
      assert(difference(await model.logits([3, 4, 5, 9]), Array.from(expected)) <= bound, type);
    }
  });
});

Deno.test("README lists the families that are converted", async () => {
  const readme = await Deno.readTextFile(new URL("../README.md", import.meta.url));
  const [, list = ""] = /This is done for `model_type`([^.]*)\./.exec(readme) ?? [];
  assertEquals(Array.from(list.matchAll(/`(\w+)`/g), ([, it]) => it), Object.keys(FAMILIES).sort());
});
