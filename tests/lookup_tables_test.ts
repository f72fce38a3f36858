/**
 * Tables of words that are only looked up: in memory or in the file they give the same numbers to the
 * bit, and a file that changes under a model is an error and never another number.
 */

import { assert, assertEquals, assertRejects, assertStringIncludes } from "@std/assert";
import { loadModel, type LoadOptions, type Model, type Prompt, SourceError } from "../mod.ts";
import { SHAPES } from "../cli/shapes.ts";
import { ggmlType } from "../quant/ggml_types.ts";
import {
  bytesInFile,
  type TableChoice,
  withTablesInFile,
} from "../runtime/engine/lookup_tables.ts";
import { paperModel } from "../runtime/engine/paper_model.ts";
import { memoryNeeded, programGraphs } from "../runtime/engine/record.ts";
import { resolveModel } from "../runtime/engine/resolve.ts";
import { argmax } from "../runtime/generation/most_likely.ts";
import { FIXTURES, ggufBytes, randomBlocks, randomNumbers, safetensorsBytes } from "./fixtures.ts";
import { tinyBlob, tinyContents, tinyGguf, tinyVocabulary, withFolder } from "./tiny_model.ts";
import { hasWebgpu } from "./webgpu_adapter.ts";

const ON_CPU: readonly LoadOptions[] = [{ backend: "reference" }, { backend: "wasm", threads: 2 }];
/** Whole and divided. */
const ON_GPU: readonly LoadOptions[] = [{ backend: "webgpu" }, { backend: "webgpu", gpuLayers: 1 }];
/** Those of the models that a GPU runs here, too: it sees inputs and no tables. */
const GPU_MODELS = hasWebgpu ? ["chatglm6b-int4", "mt5"] : [];

/**
 * Golden models with such a table: a checkpoint of torch with whole numbers, which needs a mask; an
 * encoder and a decoder that share it; one in clusters of words; quantized, in activation order; an
 * encoder.
 */
const MODELS: Readonly<Record<string, Prompt>> = {
  "chatglm6b-int4": { ids: [25, 24, 88, 67, 91, 44, 127, 129, 45, 68] },
  "mt5": { ids: [162, 105, 76, 49, 1], decoderIds: [0, 157, 80, 56] },
  "transfo-xl-segments": { ids: [6, 81, 29, 32, 40, 32, 38, 71, 43, 34, 81, 68, 13] },
  "llama-gptq-actorder": { ids: [41, 14, 52, 126, 22, 12, 101, 87] },
  "nomic-bert": { ids: [2, 45, 17, 17, 9, 3] },
};

/** What a model says of a prompt: to the end, token by token, in two sessions at once, as a text. */
async function answersOf(model: Model, prompt: Prompt): Promise<ArrayLike<number>[]> {
  if (model.name.includes("nomic-bert")) {
    const texts = [prompt, { ids: prompt.ids.toReversed() }].map((it) => model.encode(it));
    return (await Promise.all(texts)).map(({ hidden }) => hidden);
  }
  using session = model.session(), other = model.session();
  const answers: ArrayLike<number>[] = [await model.logits(prompt)];
  const [first, second] = await Promise.all([session.prefill(prompt), other.prefill(prompt)]);
  answers.push(first, second);
  // One run with a token of each.
  answers.push(...await Promise.all([session.step(argmax(first)), other.step(7)]));
  using third = model.session();
  const options = { maxTokens: 6, stopIds: [], temperature: 1, seed: 3 };
  answers.push((await Array.fromAsync(third.generate(prompt, options))).map(({ id }) => id));
  return answers;
}

for (const [name, prompt] of Object.entries(MODELS)) {
  Deno.test(`a table in the file gives the numbers of one in memory: ${name}`, async () => {
    const folder = new URL(`golden/${name}/`, FIXTURES);
    const backends = [...ON_CPU, ...(GPU_MODELS.includes(name) ? ON_GPU : [])];
    for (const backend of backends) {
      const what = JSON.stringify(backend), told: string[] = [];
      const load = (lookupTables: "memory" | "file"): Promise<Model> =>
        loadModel(folder, {
          ...{ ...backend, lookupTables, sequences: 3 },
          onWarning: (message) => void told.push(message),
        });
      await using inMemory = await load("memory");
      await using inFile = await load("file");
      const bytes = (model: Model): number =>
        Object.values(model.placedBytes).reduce((a, b) => a + b, 0);
      assert(bytes(inFile) < bytes(inMemory), what);
      assertEquals(await answersOf(inFile, prompt), await answersOf(inMemory, prompt), what);
      assertEquals(told.filter((it) => it.includes("lookupTables")), [], what);
    }
  });
}

/** A model whose table of words, of 256 columns, is of some type; everything else is f32. */
async function withTable(type: string): Promise<Uint8Array<ArrayBuffer>> {
  const contents = tinyContents({ hidden: 256, layers: 1 });
  const blocks = tinyVocabulary() * 256 / ggmlType(type)!.blockSize;
  const data = randomBlocks(type, blocks, randomNumbers(5));
  const tensors = contents.tensors.map((it) =>
    it.name === "token_embd.weight" ? { ...it, type, data } : it
  );
  return await ggufBytes({ ...contents, tensors });
}

Deno.test("rows of every type are the file's own numbers", async () => {
  const ids = Array.from({ length: tinyVocabulary() }, (_, id) => id);
  const types = ["F32", "F16", "BF16", "Q8_0", "Q4_0", "Q4_1", "Q5_0", "Q5_1", "IQ4_NL"];
  for (const type of [...types, "Q2_K", "Q3_K", "Q4_K", "Q5_K", "Q6_K"]) {
    await withFolder({ "m.gguf": await withTable(type) }, async (folder) => {
      const load = (options: LoadOptions): Promise<Model> =>
        loadModel(`${folder}/m.gguf`, { backend: "wasm", threads: 1, ...options });
      await using inFile = await load({ lookupTables: "file", wordTables: "f32" });
      await using asFloats = await load({ wordTables: "f32" });
      const logits = await inFile.logits(ids);
      assertEquals(logits, await asFloats.logits(ids), type);
      if (["Q2_K", "Q3_K"].includes(type)) return; // whose layout rounds
      await using asIs = await load({});
      assertEquals(logits, await asIs.logits(ids), type);
    });
  }
});

const CHANGES: Readonly<Record<string, (path: string, bytes: Uint8Array) => void>> = {
  "written in its place": (path, bytes) => {
    Deno.writeFileSync(path, bytes.toReversed());
    // Where a file system counts seconds, writing at once leaves no trace.
    Deno.utimeSync(path, new Date(), new Date(Date.now() + 5000));
  },
  "cut": (path, bytes) => Deno.truncateSync(path, bytes.length >> 1),
  "emptied": (path) => Deno.truncateSync(path, 0),
  "longer": (path) => Deno.writeFileSync(path, Uint8Array.of(0), { append: true }),
};

for (const [what, change] of Object.entries(CHANGES)) {
  Deno.test(`a file with a table that is ${what} is an error in the next run`, async () => {
    const bytes = await tinyGguf();
    await withFolder({ "model.gguf": bytes }, async (folder) => {
      const path = `${folder}/model.gguf`;
      await using model = await loadModel(path, {
        backend: "wasm",
        threads: 1,
        lookupTables: "file",
      });
      using session = model.session();
      await session.prefill([3, 4]);
      change(path, bytes);
      const runs = [
        () => session.step(5),
        () => model.logits([3, 4]),
        () => model.complete([3, 4], { maxTokens: 2 }),
      ];
      for (const run of runs) {
        const { message } = await assertRejects(async () => await run(), SourceError);
        assertStringIncludes(message, "model.gguf");
      }
      assertEquals(session.position, 2);
    });
  });
}

Deno.test("a file with a table that is deleted, or has lost its name, is read all the same", async () => {
  const bytes = await tinyGguf(), other = await tinyGguf({ seed: 2 });
  await withFolder({ "model.gguf": bytes, "other.gguf": other }, async (folder) => {
    const path = `${folder}/model.gguf`;
    const options = { backend: "wasm", threads: 1, lookupTables: "file" } as const;
    await using model = await loadModel(path, options);
    const logits = await model.logits([3, 4, 5]);
    Deno.renameSync(`${folder}/other.gguf`, path);
    assertEquals(await model.logits([3, 4, 5]), logits);
    Deno.removeSync(path);
    assertEquals(await model.logits([3, 4, 5]), logits);
  });
});

Deno.test("what keeps a table from staying in the file is told", async () => {
  await withFolder({ "tied.gguf": await tinyGguf({ tied: true }) }, async (folder) => {
    for (
      const [source, reason] of [
        [`${folder}/tied.gguf`, "its table of words is its output head, too"],
        [await tinyBlob(), "its table of words lies in no local file row by row"],
      ] as const
    ) {
      const told: string[] = [];
      await using _model = await loadModel(source, {
        ...{ backend: "reference", lookupTables: "file" },
        onWarning: (message) => void told.push(message),
      });
      assertEquals(told.length, 1);
      assertStringIncludes(told[0]!, `lookupTables "file" has no effect on `);
      assertStringIncludes(told[0]!, reason);
    }
  });
});

Deno.test("a session that was saved with a table in memory goes on with one in the file", async () => {
  await withFolder({ "model.gguf": await tinyGguf() }, async (folder) => {
    const load = (lookupTables: "memory" | "file"): Promise<Model> =>
      loadModel(`${folder}/model.gguf`, { backend: "wasm", threads: 1, lookupTables });
    await using inMemory = await load("memory");
    await using inFile = await load("file");
    using session = inMemory.session();
    await session.prefill([3, 4, 5]);
    using restored = await inFile.restore(await session.save());
    assertEquals(await restored.step(6), await session.step(6));
  });
});

/** Bytes of a shape's tables that stay in its files, and of its weights in memory. */
async function held(
  name: string,
  { wordTables, ...choice }: Partial<TableChoice & Pick<LoadOptions, "wordTables">>,
): Promise<[inFile: number, weights: number]> {
  const file = await paperModel(SHAPES[name]!.config, name);
  const resolved = await resolveModel(file, wordTables ? { wordTables } : {}, () => {});
  const model = withTablesInFile(resolved, { isHosted: true, ...choice });
  const graphs = programGraphs(model.programs, model.weights, model.sizes);
  return [bytesInFile(model), memoryNeeded(graphs).weightBytes];
}

Deno.test("by itself the large table of a decoder on the processor stays in the file", async () => {
  const table = 130528 * 4096 * 2;
  const [, whole] = await held("chatglm-6b-int4", { lookupTables: "memory" });
  assertEquals(await held("chatglm-6b-int4", {}), [table, whole - table]);
  assertEquals((await held("chatglm-6b-int4", { isHosted: false }))[0], 0);
  const forced = { isHosted: false, lookupTables: "file" } as const;
  assertEquals((await held("chatglm-6b-int4", forced))[0], table);
  // Numbers that do not depend on whether the file is local: those that a layout keeps, no others.
  const reproducible = { reproducible: true };
  assertEquals((await held("chatglm-6b-int4", reproducible))[0], table);
  for (const [more, bytes] of [[{}, 0], [{ lookupTables: "file" }, table]] as const) {
    const options = { ...reproducible, wordTables: "int8", ...more } as const;
    assertEquals((await held("chatglm-6b-int4", options))[0], bytes);
  }
  // What is the head too, what an encoder reads, what is small.
  for (const name of ["gpt-3", "t5-v1.1-xxl", "yuan-13b"]) {
    const [inFile] = await held(name, {});
    assertEquals(inFile, 0, name);
  }
});

Deno.test("loading leaves a large table in the file where nobody says otherwise", async () => {
  const hidden = 512, vocab = 2 ** 18; // 256 MiB of F16
  const matrices = ["q", "k", "v", "o"].map((name) => `self_attn.${name}_proj`);
  matrices.push("mlp.gate_proj", "mlp.up_proj", "mlp.down_proj");
  const shapes: Record<string, number[]> = {
    "model.embed_tokens": [vocab, hidden],
    "lm_head": [vocab, hidden],
    "model.norm": [hidden],
    "model.layers.0.input_layernorm": [hidden],
    "model.layers.0.post_attention_layernorm": [hidden],
    ...Object.fromEntries(matrices.map((it) => [`model.layers.0.${it}`, [hidden, hidden]])),
  };
  let at = 0;
  const header = Object.fromEntries(
    Object.entries(shapes).map(([name, shape]) => {
      const begin = at;
      at += 2 * shape.reduce((a, b) => a * b);
      return [`${name}.weight`, { dtype: "F16", shape, data_offsets: [begin, at] }];
    }),
  );
  const config = {
    ...{ model_type: "llama", hidden_size: hidden, intermediate_size: hidden, vocab_size: vocab },
    ...{ num_hidden_layers: 1, num_attention_heads: 8, max_position_embeddings: 16 },
    ...{ tie_word_embeddings: false, rms_norm_eps: 1e-5 },
  };
  const files = {
    "config.json": JSON.stringify(config),
    "model.safetensors": safetensorsBytes(header, 0),
  };
  await withFolder(files, async (folder) => {
    const path = `${folder}/model.safetensors`, { size } = await Deno.stat(path);
    await Deno.truncate(path, size + at); // zeros that take no room on the disk
    await using model = await loadModel(folder, { backend: "wasm", threads: 2 });
    assertEquals((await model.logits([vocab - 1])).length, vocab);
    // The head is there, and no second table as large.
    const bytes = model.placedBytes.wasm!;
    assert(bytes > 2 ** 28 && bytes < 2 ** 28 + 2 ** 24, `${bytes}`);
  });
});
