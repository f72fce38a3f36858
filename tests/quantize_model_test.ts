import { assert, assertEquals, assertRejects } from "@std/assert";
import { InputError, ModelError } from "../errors.ts";
import { ggmlType } from "../quant/ggml_types.ts";
import { quantizeRows } from "../quant/quantize.ts";
import { ownTexts } from "../quantize/calibration.ts";
import { compareModels } from "../quantize/compare.ts";
import { foldingScales } from "../quantize/fold.ts";
import { readImatrix } from "../quantize/imatrix.ts";
import { advance, layersOf, resolveForTexts, streamOf, sumProducts } from "../quantize/layers.ts";
import { addProducts, meanSquares, mirror, noProducts } from "../quantize/products.ts";
import {
  type QuantizeEstimate,
  quantizeModel,
  type QuantizeOptions,
} from "../quantize/quantize_model.ts";
import { startQuantizers } from "../quantize/wasm/pool.ts";
import { writeModel } from "../quantize/write.ts";
import type { GgufFile } from "../runtime/files/gguf.ts";
import { openModelFile } from "../runtime/files/open.ts";
import { openSource } from "../runtime/files/source.ts";
import { loadModel } from "../runtime/load.ts";
import { FIXTURES, normalNumbers, randomNumbers } from "./fixtures.ts";
import { weightedError } from "./quantize_rows.ts";
import { inFolder } from "./tiny_model.ts";

const STORIES = new URL("models/stories260K/stories260K.gguf", FIXTURES);
const QUIET = { onWarning: () => {} };

/** All matrices of the layers, and those outside too. */
const PURE = [{ pattern: /^(blk.*(attn_[qkvo]|ffn_(up|gate))|token_embd|output\.)/, type: "Q4_0" }];

function namesIn(path: string): string[] {
  return Array.from(Deno.readDirSync(path), (it) => it.name);
}

Deno.test("sections of a model give, one after another, what the whole model gives", async () => {
  const ids = [3, 14, 15, 9, 2, 6, 5];
  for (const fixture of ["llama", "qwen3", "mixtral", "gpt2", "pangu-alpha", "yuan1", "bert"]) {
    const folder = new URL(`golden/${fixture}/`, FIXTURES);
    const file = await openModelFile(folder);
    const model = await resolveForTexts(file), layers = layersOf(file.name, model);
    const texts = streamOf([ids, ids.slice(2)], model), exact = streamOf(texts.ids, model);
    for (const section of layers.sections) {
      const products = await sumProducts(layers, section, texts, exact, { backend: "reference" });
      for (const { weight, by } of section.multiplied) {
        const { columns, drift } = products.get(by)!;
        assertEquals(columns, model.weights.get(weight)!.shape.at(-1), section.name);
        assert(drift.every((it) => it === 0), "nothing was rounded");
      }
      await advance(layers, section, texts, { backend: "reference" });
      assertEquals(texts.results, exact.results);
    }
    await using whole = await loadModel(folder, { backend: "reference", weights: "f32", ...QUIET });
    for (const [i, text] of texts.ids.entries()) {
      const expected = await whole.logits(text), found = texts.results[i]!.get("logits");
      if (!found) {
        assertEquals(fixture, "bert");
        const { hidden } = await whole.encode(text);
        const own = texts.results[i]!.get("hidden")!;
        hidden.forEach((it, at) => assert(Math.abs(it - own[at]!) < 1e-5, fixture));
        continue;
      }
      assertEquals(found.length, expected.length);
      expected.forEach((it, at) => assert(Math.abs(it - found[at]!) < 1e-5, fixture));
    }
    file.close();
  }
});

Deno.test("addProducts: Σ x·xᵀ and mean squares, however the inputs are cut", () => {
  const columns = 7, inputs = normalNumbers(columns * 41, randomNumbers(1));
  const whole = noProducts(columns), pieces = noProducts(columns);
  addProducts(whole, inputs);
  for (let at = 0; at < inputs.length; at += 5 * columns) {
    addProducts(pieces, inputs.subarray(at, at + 5 * columns));
  }
  mirror(whole);
  mirror(pieces);
  assertEquals([whole.count, pieces.count], [41, 41]);
  for (let i = 0; i < columns; i++) {
    for (let j = 0; j < columns; j++) {
      let sum = 0;
      for (let t = 0; t < 41; t++) sum += inputs[t * columns + i]! * inputs[t * columns + j]!;
      for (const { sums } of [whole, pieces]) {
        assert(Math.abs(sums[i * columns + j]! - sum) < 1e-9);
      }
    }
    assert(Math.abs(meanSquares(whole)[i]! - whole.sums[i * 8]! / 41) < 1e-6);
  }
});

Deno.test({
  name: "quantizeModel: to nearest it is ggml's Q4_0, and GPTQ costs at most 0.6 of its divergence",
  async fn() {
    await inFolder(async (path) => {
      const options: QuantizeOptions = {
        ...{ tensors: PURE, verify: false, tokens: 4096, threads: 2, type: "Q4_0" },
      };
      const nearest = await quantizeModel(STORIES, path("nearest.gguf"), {
        ...options,
        method: "nearest",
      });
      const gptq = await quantizeModel(STORIES, path("gptq.gguf"), options);
      assertEquals(gptq.tensors, nearest.tensors);
      assertEquals([nearest.tokens, gptq.tokens], [0, 4096]);
      // Each tensor of the first is its source's, rounded; what is not planned has its own bytes.
      const [source, made] = [
        await openModelFile(STORIES),
        await openModelFile(path("nearest.gguf")),
      ];
      for (const { name, from, type } of nearest.tensors) {
        const [a, b] = [source.tensors.get(name)!, made.tensors.get(name)!];
        const bytes = await a.source.read(a.offset, a.bytes);
        const values = new Float32Array(bytes.slice().buffer);
        assertEquals(b.type, type);
        assertEquals(
          await b.source.read(b.offset, b.bytes),
          from === type ? bytes : quantizeRows(type, values, a.shape.at(-1)!),
          name,
        );
      }
      source.close();
      made.close();
      const load = { threads: 2, contextLength: 512, backend: "wasm" } as const;
      await using base = await loadModel(STORIES, { ...load, weights: "f32" });
      const texts = await ownTexts(base, {
        ...{ tokens: 2048, textTokens: 512, seed: 99, onProgress: () => {} },
      });
      const divergence = async (name: string): Promise<number> => {
        await using model = await loadModel(path(name), load);
        return (await compareModels(base, model, texts)).kl.mean;
      };
      const plain = await divergence("nearest.gguf"), ours = await divergence("gptq.gguf");
      assert(ours <= 0.6 * plain, `GPTQ ${ours}, to nearest ${plain}`);
      assertEquals(await divergenceOfItself(base, texts), 0);
    });
  },
});

async function divergenceOfItself(
  base: Parameters<typeof compareModels>[0],
  texts: readonly (readonly number[])[],
): Promise<number> {
  return (await compareModels(base, base, texts.slice(0, 1))).kl.max;
}

/** Stories with channels that are a hundred times larger behind norms, which changes no result. */
async function withOutliers(path: string): Promise<void> {
  const file = await openModelFile(STORIES) as GgufFile, channels = [3, 17, 41];
  const tensors = [];
  for (const { name, shape, source, offset, bytes } of file.tensors.values()) {
    const values = new Float32Array((await source.read(offset, bytes)).slice().buffer);
    const width = shape.at(-1)!;
    const isNorm = /(attn|ffn)_norm/.test(name), isBehind = /attn_[qkv]|ffn_(up|gate)/.test(name);
    for (let at = 0; at < values.length && (isNorm || isBehind); at += width) {
      for (const channel of channels) values[at + channel]! *= isNorm ? 100 : 1 / 100;
    }
    tensors.push({ name, shape, type: "F32", data: new Uint8Array(values.buffer) });
  }
  await writeModel(path, { fields: file.fields, tensors });
  file.close();
}

Deno.test("quantizeModel: with outliers AWQ and GPTQ recover what rounding to nearest loses", async () => {
  await inFolder(async (path) => {
    await withOutliers(path("source.gguf"));
    const load = { threads: 2, contextLength: 256, backend: "wasm" } as const;
    await using base = await loadModel(path("source.gguf"), { ...load, weights: "f32" });
    const texts = await ownTexts(base, {
      ...{ tokens: 500, textTokens: 250, seed: 99, onProgress: () => {} },
    });
    const divergences: Record<string, number> = {};
    for (const method of ["nearest", "awq", "gptq"] as const) {
      const made = path(`${method}.gguf`);
      await quantizeModel(path("source.gguf"), made, {
        ...{ method, tokens: 600, verify: false, type: "Q4_0" },
      });
      await using model = await loadModel(made, load);
      divergences[method] = (await compareModels(base, model, texts)).kl.mean;
    }
    const { nearest, awq, gptq } = divergences;
    assert(
      nearest! > 1 && awq! < 0.1 * nearest! && gptq! < 0.1 * nearest!,
      JSON.stringify(divergences),
    );
  });
});

Deno.test("foldingScales: what is larger than others is scaled, and else nothing", async () => {
  using pool = await startQuantizers({ threads: 2 });
  const columns = 64, rows = 100, values = normalNumbers(rows * columns, randomNumbers(4));
  const bytes = new Uint8Array(values.buffer), source = await openSource(bytes);
  const shape = [rows, columns], about = { source, offset: 0, bytes: bytes.length };
  const entry = { name: "x", type: "F32", shape, ...about } as const;
  const matrices = ["Q4_0", "Q4_1"].map((type) => ({ type, entry }));
  const equal = new Float32Array(columns).fill(1);
  const none = await foldingScales(pool, matrices, equal) ?? equal;
  assert(none.every((it) => Math.abs(it - 1) < 0.01));
  const sizes = equal.map((it, j) => j === 5 ? 1e4 : it);
  const scales = (await foldingScales(pool, matrices, sizes))!;
  // What is lost, by the definition of the types, is less with the scales than without.
  const lost = (scales: Float32Array): number => {
    const importances = sizes.map((it, j) => it / scales[j]! ** 2);
    const scaled = values.map((it, i) => it * scales[i % columns]!);
    const decoded = new Float32Array(values.length);
    ggmlType("Q4_0")!.decode(quantizeRows("Q4_0", scaled, columns, { importances }), decoded);
    return weightedError(scaled, decoded, importances);
  };
  const found = [scales[5]! / scales[4]!, lost(scales) / lost(equal)];
  assert(found[0]! > 1.5 && found[1]! < 0.9, `${found}`);
  const zero = equal.map((it, j) => j === 5 ? 0 : it);
  assertEquals(await foldingScales(pool, matrices, zero), undefined);
});

Deno.test("quantizeModel: what it will take is told once, before any tensor is made", async () => {
  await inFolder(async (path) => {
    const told: (QuantizeEstimate | string)[] = [];
    const estimates: QuantizeEstimate[] = [];
    const run = async (options: QuantizeOptions): Promise<void> => {
      await quantizeModel(STORIES, path("a.gguf"), {
        ...{ ...QUIET, ...options, force: true, threads: 1 },
        onEstimate: (it) => void (told.push(it), estimates.push(it)),
        onProgress: ({ phase, name }) => phase === "quantize" && told.push(name),
      });
    };
    await run({ method: "nearest", type: "Q4_0" });
    await run({ method: "gptq", type: "Q4_0", tokens: 50, verify: false });
    assertEquals([typeof told[0], estimates.length], ["object", 2]);
    const [nearest, gptq] = estimates;
    const size = Deno.statSync(path("a.gguf")).size;
    for (const { tensors, bytes, seconds, memory } of estimates) {
      assert(tensors > 30 && bytes < size && bytes > 0.8 * size);
      assert(seconds > 0 && seconds < 3600 && memory > 1e7 && memory < 1e9);
    }
    assert(nearest!.memory < gptq!.memory);
  });
});

Deno.test("quantizeModel: the same seed gives the same bytes; figures are in the file", async () => {
  await inFolder(async (path) => {
    const options = { tokens: 256, seed: 5, threads: 1, type: "Q4_1" };
    const first = await quantizeModel(STORIES, path("a.gguf"), options);
    await quantizeModel(STORIES, path("b.gguf"), options);
    assertEquals(Deno.readFileSync(path("a.gguf")), Deno.readFileSync(path("b.gguf")));
    assertEquals(Deno.statSync(path("a.gguf")).size, first.bytes);
    const file = await openModelFile(path("a.gguf"));
    const { metadata } = file;
    assertEquals(metadata["sparrow.quantize.method"], "gptq");
    assertEquals(metadata["sparrow.quantize.tokens"], 256);
    assertEquals(metadata["general.file_type"], 3);
    const { kl, sameTop } = first.comparison!;
    assertEquals(metadata["sparrow.quantize.kl_mean"], Math.fround(kl.mean));
    assertEquals(metadata["sparrow.quantize.same_top"], Math.fround(sameTop));
    file.close();
    // What its own model wrote, given as ids.
    const texts = [[1, 403, 407], Array.from({ length: 600 }, (_, i) => i % 512)];
    const given = await quantizeModel(STORIES, path("c.gguf"), {
      ...{ calibration: texts, tokens: 500, method: "importance", verify: false, type: "Q4_0" },
    });
    assertEquals(given.tokens, 500);
    assertEquals(namesIn(path("")).sort(), ["a.gguf", "b.gguf", "c.gguf"]);
  });
});

Deno.test("quantizeModel: tables of words keep more bits, odd rows get a type that holds them", async () => {
  await inFolder(async (path) => {
    const { tensors } = await quantizeModel(STORIES, path("a.gguf"), {
      ...{ method: "nearest", type: "Q4_K" },
    });
    const of = (name: string) => tensors.find((it) => it.name === name)!;
    assertEquals(of("token_embd.weight").type, "Q8_0"); // Q6_K needs rows of 256
    assertEquals(of("blk.0.attn_q.weight").type, "Q5_0");
    assertEquals(of("blk.0.ffn_down.weight").type, "F16"); // 172
    assertEquals(of("blk.0.attn_norm.weight").type, "F32");
    // Already rounded: never to more bits, and to fewer only what was asked for.
    const again = await quantizeModel(path("a.gguf"), path("b.gguf"), {
      ...{ method: "nearest", type: "Q8_0" },
    });
    for (const { name, from, type } of again.tensors) {
      assertEquals(type, name.includes("ffn_down") ? "F16" : from, name);
    }
  });
});

Deno.test("quantizeModel: importance files are written and read, and say what llama.cpp's say", async () => {
  await inFolder(async (path) => {
    const options = {
      ...{ tokens: 300, method: "importance", verify: false, type: "Q4_0" } as const,
    };
    await quantizeModel(STORIES, path("own.gguf"), { ...options, saveImatrix: path("i.gguf") });
    const importances = await readImatrix(path("i.gguf"));
    const { matrices, meanSquares } = importances.get("blk.2.ffn_up.weight")!;
    assertEquals([matrices, meanSquares.length], [1, 64]);
    assertEquals(meanSquares, importances.get("blk.2.ffn_gate.weight")!.meanSquares);
    const file = await openModelFile(path("i.gguf"));
    assertEquals(file.metadata["general.type"], "imatrix");
    assertEquals(file.tensors.get("blk.2.ffn_up.weight.in_sum2")!.shape, [1, 64]);
    assertEquals(file.tensors.get("blk.2.ffn_up.weight.counts")!.shape, [1, 1]);
    file.close();
    const given = await quantizeModel(STORIES, path("given.gguf"), {
      ...{ imatrix: path("i.gguf"), type: "Q4_0" },
    });
    assertEquals([given.method, given.tokens], ["importance", 0]);
    assertEquals(given.uncovered, ["token_embd.weight"]);
    // The first layer's inputs met no rounding but that of the table of words.
    const bytes = async (name: string) => {
      const made = await openModelFile(path(name)), it = made.tensors.get("blk.0.attn_q.weight")!;
      const found = await it.source.read(it.offset, it.bytes);
      made.close();
      return found;
    };
    const [own, other] = [await bytes("own.gguf"), await bytes("given.gguf")];
    const same = own.filter((it, i) => it === other[i]).length;
    assert(same > 0.8 * own.length, `${same} of ${own.length}`);
    const refused = (options: QuantizeOptions, message: string) =>
      assertRejects(() => quantizeModel(STORIES, path("x.gguf"), options), Error, message);
    await refused({ imatrix: path("i.gguf"), method: "gptq" }, "importance");
    await refused({ saveImatrix: path("j.gguf"), method: "nearest" }, "no text is read");
    await refused({ calibration: [[1, 2, 3]], method: "nearest" }, "no text is read");
    await refused({ calibration: [[1, 2, 3]], imatrix: path("i.gguf") }, "and an imatrix");
    await refused({ saveImatrix: path("i.gguf") }, "it exists");
    await refused({ imatrix: STORIES }, "it has none");
    assertEquals(namesIn(path("")).sort(), ["given.gguf", "i.gguf", "own.gguf"]);
  });
});

Deno.test("quantizeModel: what cannot be is refused, and nothing is left behind", async () => {
  await inFolder(async (path) => {
    const before = Deno.readFileSync(STORIES);
    const refused = async (
      options: QuantizeOptions,
      type: typeof InputError | typeof ModelError,
      message: string,
      source: string | URL = STORIES,
      to = path("x.gguf"),
    ): Promise<void> => {
      await assertRejects(() => quantizeModel(source, to, options), type, message);
    };
    await refused({ type: "Q3_K" }, InputError, "Q3_K");
    await refused({ method: "magic" as never }, InputError, "magic");
    await refused({ tensors: [{ pattern: /nothing/, type: "Q8_0" }] }, ModelError, "nothing");
    await refused({ tensors: [{ pattern: /norm/, type: "Q8_0" }] }, ModelError, "it is no matrix");
    await refused({ tensors: [{ pattern: /ffn_down/, type: "Q8_0" }] }, ModelError, "rows of 172");
    await refused({ tensors: [{ pattern: "x" as never, type: "Q8_0" }] }, InputError, "RegExp");
    await refused({ calibration: [] }, InputError, "no texts");
    await refused({ calibration: [[1, 512]] }, InputError, "512");
    await refused({}, ModelError, '"model_type" is "marian"', new URL("golden/marian/", FIXTURES));
    await refused({}, InputError, "it is a folder", STORIES, path(""));
    Deno.writeTextFileSync(path("there.gguf"), "mine");
    await refused({}, InputError, "it exists", STORIES, path("there.gguf"));
    assertEquals(Deno.readTextFileSync(path("there.gguf")), "mine");
    // Ended wherever it is.
    for (const phase of ["calibrate", "quantize", "verify"]) {
      const stop = new AbortController(), reason = new Error("enough");
      const made = quantizeModel(STORIES, path("x.gguf"), {
        ...{ tokens: 600, signal: stop.signal, type: "Q4_0" },
        onProgress: (it) => {
          if (it.phase === phase && it.done > 0) stop.abort(reason);
        },
      });
      assertEquals(await made.catch((error) => error), reason, phase);
    }
    assertEquals(namesIn(path("")), ["there.gguf"]);
    assertEquals(Deno.readFileSync(STORIES), before);
  });
});

Deno.test("compareModels: another vocabulary, and no text, are refused", async () => {
  await using a = await loadModel(STORIES, { ...QUIET, backend: "reference" });
  const llama = new URL("golden/llama/", FIXTURES);
  await using b = await loadModel(llama, { ...QUIET, backend: "reference" });
  await assertRejects(() => compareModels(a, b, [[1, 2]]), InputError, "vocabularies of 512");
  await assertRejects(() => compareModels(a, a, [[1]]), InputError, "at least two tokens");
  assert(ggmlType("Q4_0"));
});

Deno.test("ownTexts: the same texts, however many are written side by side", async () => {
  const load = { contextLength: 64, onWarning: () => {} } as const;
  const wanted = { tokens: 220, textTokens: 60, seed: 3, onProgress: () => {} };
  const found = [];
  for (const atOnce of [1, 3]) {
    await using model = await loadModel(STORIES, { ...load, sequences: atOnce });
    found.push(await ownTexts(model, { ...wanted, atOnce }));
  }
  assertEquals(found[0]!.map((it) => it.length), [60, 60, 60, 40]);
  assertEquals(found[1], found[0]);
});
