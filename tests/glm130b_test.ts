/**
 * GLM-130B beside its golden fixture: checkpoints that are divided among processes, whole and quantized
 * ones, and what is refused.
 */

import {
  assert,
  assertEquals,
  assertRejects,
  assertStringIncludes,
  assertThrows,
} from "@std/assert";
import { FormatError, InputError, loadModel, type LoadOptions, ModelError } from "../mod.ts";
import type { ModelFile, TensorEntry } from "../runtime/files/model_file.ts";
import { openModelFile } from "../runtime/files/open.ts";
import { openSource } from "../runtime/files/source.ts";
import { beside } from "../runtime/files/views.ts";
import { glm130b } from "../runtime/models/glm130b.ts";
import { readModelText } from "../runtime/text/model_text.ts";
import type { Tokenizer } from "../runtime/text/tokenizer/tokenizer.ts";
import { FIXTURES, normalNumbers, randomNumbers } from "./fixtures.ts";
import { assemble, tensorsOf, type Values } from "./tensor_files.ts";

const FOLDER = new URL("golden/glm-130b/", FIXTURES);
const CONFIG = JSON.parse(await Deno.readTextFile(new URL("config.json", FOLDER)));
const PARTS = await tensorsOf(FOLDER);
/** A prompt with a mask and a start token, and an answer. */
const IDS = [3, 14, 15, 9, 51, 54, 26, 5, 35, 8];

/** Runs `body` on a folder with such files; names may have a folder before them. */
async function withFiles(
  files: Readonly<Record<string, Uint8Array | string>>,
  body: (path: string) => Promise<void>,
): Promise<void> {
  const path = await Deno.makeTempDir({ prefix: "sparrow_" });
  try {
    for (const [name, content] of Object.entries(files)) {
      await Deno.mkdir(`${path}/${name}`.replace(/[^/]*$/, ""), { recursive: true });
      if (typeof content === "string") await Deno.writeTextFile(`${path}/${name}`, content);
      else await Deno.writeFile(`${path}/${name}`, content);
    }
    await body(path);
  } finally {
    await Deno.remove(path, { recursive: true });
  }
}

const json = (fields: Record<string, unknown> = {}): string =>
  JSON.stringify({ ...CONFIG, ...fields });

async function logitsOf(
  files: Readonly<Record<string, Uint8Array | string>>,
  options: LoadOptions = {},
): Promise<{ logits: Float32Array; warnings: string[] }> {
  const warnings: string[] = [];
  let logits: Float32Array | undefined;
  await withFiles(files, async (path) => {
    const onWarning = (it: string): void => void warnings.push(it);
    await using model = await loadModel(path, { backend: "reference", onWarning, ...options });
    logits = await model.logits(IDS);
  });
  return { logits: logits!, warnings };
}

/** The tensors of one rank, under their own names. */
function rankOf(rank: number): Map<string, Values> {
  const prefix = `mp_rank_0${rank}/`;
  return new Map(
    Array.from(PARTS).filter(([name]) => name.startsWith(prefix))
      .map(([name, values]) => [name.slice(prefix.length), values]),
  );
}

/** Both ranks' parts of every tensor put together, as the released conversion does. */
function whole(parts: readonly ReadonlyMap<string, Values>[]): Map<string, Values> {
  const [first, second] = parts as [Map<string, Values>, Map<string, Values>];
  return new Map(Array.from(first, ([name, a]): [string, Values] => {
    const b = second.get(name)!, [rows, columns = 1] = a.shape as [number, number?];
    const cut = (it: Values, from: number, to: number) =>
      it.values.slice(from * columns, to * columns);
    if (/layernorm|dense\.bias|dense_4h_to_h\.bias|inv_freq/.test(name)) return [name, a];
    const shape = [2 * rows, ...a.shape.slice(1)];
    const join = (...pieces: ArrayLike<number>[]): Float32Array =>
      Float32Array.from(pieces.flatMap((it) => Array.from(it)));
    if (/dense_h_to_4h/.test(name)) {
      const half = rows / 2;
      const pieces = [[0, half], [half, rows]].flatMap(([from, to]) =>
        [a, b].map((it) => cut(it, from!, to!))
      );
      return [name, { shape, values: join(...pieces) }];
    }
    if (/attention\.dense\.weight|dense_4h_to_h\.weight/.test(name)) {
      const pieces = Array.from(
        { length: rows },
        (_, row) => [a, b].map((it) => cut(it, row, row + 1)),
      );
      return [name, { shape: [rows, 2 * columns], values: join(...pieces.flat()) }];
    }
    return [name, { shape, values: join(a.values, b.values) }];
  }));
}

Deno.test("GLM-130B in one file is what it is divided among processes, with or without latest", async () => {
  const ranks = [rankOf(0), rankOf(1)];
  const divided = Object.fromEntries(
    ranks.map((it, rank) => [`mp_rank_0${rank}_model_states.pt`, assemble(it)]),
  );
  const inside = Object.fromEntries(Object.entries(divided).map(([name, it]) => [`7/${name}`, it]));
  const config = { "config.json": json() };
  const expected = await logitsOf({ ...config, latest: "7\n", ...inside });
  assertEquals(expected.warnings, []);
  assertEquals(await logitsOf({ ...config, ...divided }), expected);
  const one = assemble(whole(ranks));
  assertEquals(await logitsOf({ ...config, "model.safetensors": one }), expected);
  assertEquals(await logitsOf({ ...config, "mp_rank_00_model_states.pt": one }), expected);
  await using original = await loadModel(FOLDER, { backend: "reference" });
  const logits = await original.logits(IDS);
  assert(logits.every((it, i) => Math.abs(it - expected.logits[i]!) < 1e-5));
});

const QUANTIZED = /(query_key_value|attention\.dense|dense_h_to_4h|dense_4h_to_h)\.weight$/;

/** Matrices in bytes with a scale for each row, as the released quantizer makes them of each part. */
function quantized(parts: ReadonlyMap<string, Values>): Map<string, Values> {
  return new Map(
    Array.from(parts).flatMap(([name, it]): [string, Values][] => {
      if (!QUANTIZED.test(name)) return [[name, it]];
      const [rows, columns] = it.shape as [number, number];
      const scales = Float32Array.from({ length: rows }, (_, row) =>
        new Float16Array([
          Math.max(...it.values.subarray(row * columns, (row + 1) * columns).map(Math.abs)) / 127,
        ])[0]!);
      const codes = Int8Array.from(
        it.values,
        (value, i) => Math.round(value / scales[Math.floor(i / columns)]!),
      );
      return [
        [name, { shape: it.shape, values: codes }],
        [`${name}_scale`, { shape: [rows], values: scales }],
      ];
    }),
  );
}

/** The numbers that they stand for. */
function restored(parts: ReadonlyMap<string, Values>): Map<string, Values> {
  return new Map(
    Array.from(parts).flatMap(([name, it]): [string, Values][] => {
      if (name.endsWith("_scale")) return [];
      const scales = parts.get(`${name}_scale`)?.values, columns = it.shape[1] ?? 1;
      if (!scales) return [[name, it]];
      const values = Float32Array.from(
        it.values,
        (code, i) => code * scales[Math.floor(i / columns)]!,
      );
      return [[name, { shape: it.shape, values }]];
    }),
  );
}

Deno.test("GLM-130B quantized in parts: every part has scales of its own", async () => {
  const ranks = [quantized(rankOf(0)), quantized(rankOf(1))];
  const files = {
    "config.json": json({ quantization_bit_width: 8 }),
    ...Object.fromEntries(
      ranks.map((it, rank) => [`mp_rank_0${rank}_model_states.pt`, assemble(it)]),
    ),
  };
  const expected = await logitsOf({
    "config.json": json(),
    "model.safetensors": assemble(whole(ranks.map(restored))),
  });
  for (const backend of ["reference", "wasm"] as const) {
    const found = await logitsOf(files, { backend, weights: "f32", threads: 1 });
    assertEquals(found.warnings, []);
    assert(found.logits.every((it, i) => Math.abs(it - expected.logits[i]!) < 1e-4));
  }
  // 24 columns of each part are no whole blocks, 32 are: these stay what they are.
  const { message } = await assertRejects(() => logitsOf(files), ModelError);
  assertStringIncludes(message, "24 columns of type Q8_0, expected a multiple of 32");
});

Deno.test("GLM-130B quantized in parts of whole blocks keeps its codes", async () => {
  const extents = { hidden_size: 64, inner_hidden_size: 64, num_attention_heads: 2, num_layers: 1 };
  const random = randomNumbers(9);
  const grown = [0, 1].map((rank) =>
    quantized(
      new Map(
        Array.from(rankOf(rank)).filter(([name]) => !/layers\.1|inv_freq/.test(name))
          .map(([name, { shape }]): [string, Values] => {
            const wider: Record<number, number> = { 48: 64, 24: 32, 72: 96, 40: 64, 20: 32 };
            const own = shape.map((it) => wider[it] ?? it);
            const count = own.reduce((product, it) => product * it, 1);
            const values = normalNumbers(count, random).map((it) => 0.3 * it);
            return [name, { shape: own, values }];
          }),
      ),
    )
  );
  const divided = Object.fromEntries(
    grown.map((it, rank) => [`mp_rank_0${rank}_model_states.pt`, assemble(it)]),
  );
  const expected = await logitsOf({
    "config.json": json(extents),
    "model.safetensors": assemble(whole(grown.map(restored))),
  });
  const files = { "config.json": json(extents), ...divided };
  const found = await logitsOf(files);
  assert(found.logits.every((it, i) => Math.abs(it - expected.logits[i]!) < 1e-3));
  await withFiles(files, async (path) => {
    await using model = await loadModel(path, { backend: "wasm", threads: 2, onWarning() {} });
    const logits = await model.logits(IDS);
    // Activations are rounded to 8 bits.
    assert(logits.every((it, i) => Math.abs(it - expected.logits[i]!) < 0.05));
  });
});

Deno.test("beside() reads parts of rows from wherever they are asked for", async () => {
  const random = randomNumbers(5),
    bytes = (count: number): Uint8Array<ArrayBuffer> =>
      Uint8Array.from({ length: count }, () => Math.floor(random() * 256));
  const rows = 7, columns = 64, own = 2 * 34; // bytes of a row of each part
  const parts = [bytes(10 + rows * own), bytes(10 + rows * own), bytes(10 + rows * own)];
  const entries = await Promise.all(parts.map(async (it, i): Promise<TensorEntry> => ({
    ...{ name: `part ${i}`, shape: [rows, columns], type: "Q8_0" },
    ...{ source: await openSource(it), offset: 10, bytes: rows * own },
  })));
  const joined = beside(entries);
  assertEquals([joined.shape, joined.bytes], [[rows, 3 * columns], rows * 3 * own]);
  const all = Array.from(
    { length: rows },
    (_, row) => parts.map((it) => Array.from(it.subarray(10 + row * own, 10 + (row + 1) * own))),
  ).flat(2);
  for (let i = 0; i < 200; i++) {
    const start = Math.floor(random() * all.length);
    const length = Math.floor(random() * (all.length - start + 1));
    const read = await joined.source.read(joined.offset + start, length);
    assertEquals(Array.from(read), all.slice(start, start + length));
  }
  assertThrows(
    () => beside(entries.map((it) => ({ ...it, shape: [rows, 63] }))),
    ModelError,
    "63 columns",
  );
});

Deno.test("what training leaves beside a model's file is not looked at", async () => {
  const bytes = assemble(whole([rankOf(0), rankOf(1)])), config = { "config.json": json() };
  const expected = await logitsOf({ ...config, "model.safetensors": bytes });
  const left = { latest: "global_step7", "global_step7/mp_rank_00_model_states.pt": "no tensors" };
  assertEquals(await logitsOf({ ...config, ...left, "pytorch_model.bin": bytes }), expected);
  const beside = { "mp_rank_00_model_states.pt": "no tensors", latest: "gone" };
  assertEquals(await logitsOf({ ...config, ...beside, "pytorch_model.bin": bytes }), expected);
});

Deno.test("a checkpoint that lacks a process's part is refused", async () => {
  const part = assemble(rankOf(0)), config = { "config.json": json() };
  const name = (rank: number): string => `mp_rank_0${rank}_model_states.pt`;
  const cases = [
    [{ [name(0)]: part, [name(2)]: part }, FormatError, name(1)],
    [{ [name(1)]: part }, FormatError, name(0)],
    [{ latest: "7", [`7/${name(1)}`]: part }, FormatError, name(0)],
    [{ latest: "../7", [`7/${name(0)}`]: part }, FormatError, '"../7"'],
    [{ latest: "", [name(0)]: part }, ModelError, "expected"],
    [{ latest: "" }, FormatError, "expected the name of a folder"],
    [{ latest: "8", [`7/${name(0)}`]: part }, Error, '"8"'],
    [{ latest: "7", "7/other": "x" }, ModelError, "found config.json, latest"],
    // One of two is taken for the whole, and has too few rows.
    [{ [name(0)]: part }, ModelError, "has shape [30, 48], expected [60, 48]"],
  ] as const;
  for (const [files, kind, named] of cases) {
    await withFiles({ ...config, ...files }, async (path) => {
      const { message } = await assertRejects(() => loadModel(path), kind);
      assertStringIncludes(message, named);
    });
  }
});

Deno.test("GLM-130B refuses settings that it cannot honour, and prompts without a blank", async () => {
  const settings = [
    [{ position_encoding_2d: true }, "position_encoding_2d"],
    [{ no_glu: true }, "no_glu"],
    [{ layernorm_order: "pre" }, "layernorm_order"],
    [{ num_attention_heads: 3 }, "3 is divided among 2 processes"],
    [{ num_attention_heads: 16 }, "heads of an even length"],
    [{ inner_hidden_size: 41 }, "41 is divided among 2 processes"],
    [{ num_layers: 3 }, "transformer.layers.2."],
  ] as const;
  const ranks = Object.fromEntries(
    [0, 1].map((rank) => [`mp_rank_0${rank}_model_states.pt`, assemble(rankOf(rank))]),
  );
  for (const [fields, named] of settings) {
    await withFiles({ ...ranks, "config.json": json(fields) }, async (path) => {
      const { message } = await assertRejects(() => loadModel(path), ModelError);
      assertStringIncludes(message, named);
    });
  }
  await using model = await loadModel(FOLDER, { backend: "reference" });
  for (const ids of [[1, 2, 3], [1, 54, 2], [54, 51], [1, 51, 2]]) {
    const { message } = await assertRejects(() => model.logits(ids), InputError);
    assertStringIncludes(
      message,
      "needs one of the mask tokens 50 ([MASK], a few words), 52 ([sMASK], a sentence), 51 ([gMASK], " +
        "the text goes on), and the start token 54 (<sop>) behind it",
    );
  }
});

Deno.test("a configuration that says only what it is has the published model's extents", async () => {
  const parse = (fields: Record<string, unknown>) =>
    glm130b.parseConfig({
      ...{ format: "torch", name: "x", tensors: new Map(), close() {} },
      metadata: { model_type: "glm-130b", ...fields },
    } as ModelFile);
  const { layers, hiddenSize, heads, headDim, intermediateSize, vocabSize, maxPositions, ...rest } =
    parse({});
  assertEquals([layers, hiddenSize, heads, headDim], [70, 12288, 96, 128]);
  assertEquals([intermediateSize, vocabSize, maxPositions], [32768, 150528, 2048]);
  assertEquals([rest.bosId, rest.maskIds, rest.ranks], [150004, [150000, 150002, 150001], 1]);
  const file = await openModelFile(FOLDER);
  assertEquals(glm130b.parseConfig(file).ranks, 2);
  file.close();
});

Deno.test("GLM-130B reads ice_text.model as ChatGLM-6B does, whose text ends in a blank", async () => {
  const { folders } = JSON.parse(
    await Deno.readTextFile(new URL("tokenizers/published.json", FIXTURES)),
  ) as { folders: { name: string; files: Record<string, string>; config: object }[] };
  const { files, config } = folders.find((it) => it.name === "chatglm-6b")!;
  const tokenizerFiles = {
    "ice_text.model": Uint8Array.from(atob(files["ice_text.model"]!), (it) => it.charCodeAt(0)),
  };
  const file = (model: string, tokenizerConfig: object): ModelFile => ({
    ...{ format: "torch", name: "x", metadata: { model_type: model }, tensors: new Map() },
    ...{ tokenizerFiles, tokenizerConfig: { ...tokenizerConfig }, close() {} },
  });
  const chatglm = (await readModelText(file("chatglm", config)))!.tokenizer;
  const { tokenizer, chatTemplate } = (await readModelText(file("glm-130b", {})))!;
  const ids = tokenizer.encode("a b\n");
  assertEquals(ids.map((it) => tokenizer.idToToken(it)).slice(-2), ["[gMASK]", "<sop>"]);
  const tokens = (of: Tokenizer, ids: readonly number[]) => ids.map((it) => of.idToToken(it));
  assertEquals(tokens(tokenizer, ids), tokens(chatglm, chatglm.encode("a b\n")));
  // A mask in the text is the blank; what does not end with it is ended.
  for (
    const [text, end] of [
      ["a b [gMASK]", ["[gMASK]", "<sop>"]],
      ["a [MASK]", ["[MASK]", "<sop>"]],
      ["[sMASK] b [MASK] a", ["▁a", "</s>", "<sop>"]],
    ] as const
  ) {
    const ids = tokenizer.encode(text, { parseSpecial: true });
    assertEquals(tokens(tokenizer, ids.slice(-end.length)), [...end], text);
    assertEquals(
      ids.filter((it) => it === tokenizer.tokenToId("[gMASK]")).length,
      text.includes("g") ? 1 : 0,
    );
    const bare = tokenizer.encode(text, { parseSpecial: true, addSpecial: false });
    assertEquals(bare, ids.slice(0, bare.length));
  }
  // Without `parseSpecial` it is text like any other, and goes on.
  assertEquals(tokens(tokenizer, tokenizer.encode("[MASK]").slice(-2)), ["[gMASK]", "<sop>"]);
  assertEquals(chatTemplate, undefined);
});
