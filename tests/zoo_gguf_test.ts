/**
 * GGUF files of GPT-2, BERT, Nomic's BERT and T5 mean what llama.cpp makes of them; what would change
 * their meaning is refused, and what means nothing is told.
 */

import { assert, assertAlmostEquals, assertEquals, assertRejects } from "@std/assert";
import { assertStringIncludes, assertThrows } from "@std/assert";
import { FormatError, loadModel, type LoadOptions, type Model, ModelError } from "../mod.ts";
import { decodeRows, LAYOUTS } from "../quant/formats.ts";
import { transcoder } from "../quant/transcode.ts";
import type { MetadataValue } from "../runtime/files/gguf_metadata.ts";
import { ggufBytes } from "./fixtures.ts";
import { type Contents, f32, f32Tensor, flag, text, u32 } from "./golden_gguf.ts";
import { hasWebgpu } from "./webgpu_adapter.ts";
import { QUERY, TEXTS, ZOO, type ZooArchitecture, zooContents } from "./zoo_gguf.ts";

interface Golden {
  name: string;
  /** Of each text, without tokens around it. */
  tokens: number[][];
  ids?: number[];
  /** An encoder's vector for the ids, of length 1. */
  vector?: number[];
  /** Of a decoder: the most likely tokens behind some places, with their probabilities. */
  places: number[];
  rows?: [id: number, probability: number][][];
  greedy: number[];
  /** How well texts answer a query, from 0 to 1. */
  ranks?: number[];
}

const { models: GOLDEN }: { models: Golden[] } = JSON.parse(
  await Deno.readTextFile(new URL("golden/llama_cpp_zoo.json", import.meta.url)),
);

const BACKENDS = ["reference", "wasm", "webgpu"] as const;

/** Loads a file of these contents, and collects what is told of it. */
async function load(
  contents: Contents,
  options: LoadOptions = {},
): Promise<{ model: Model; warnings: string[] }> {
  const warnings: string[] = [];
  const model = await loadModel(new Blob([await ggufBytes(contents)]), {
    backend: "reference",
    onWarning: (message) => warnings.push(message),
    ...options,
  });
  return { model, warnings };
}

function probabilities(row: Float32Array): number[] {
  const most = Math.max(...row), weights = Array.from(row, (it) => Math.exp(it - most));
  const sum = weights.reduce((a, b) => a + b);
  return weights.map((it) => it / sum);
}

/** llama.cpp rounds keys and values to 16 bits, and GELU is a table of such numbers there. */
const BOUND = 3e-3;
/** Where whole numbers are multiplied, activations are rounded to 8 bits. */
const ROUNDED = 2e-2;

for (const [name, [architecture, options]] of Object.entries(ZOO)) {
  const golden = GOLDEN.find((it) => it.name === name)!;
  const bound = options.type ? ROUNDED : BOUND;
  for (const backend of BACKENDS) {
    Deno.test({
      name: `GGUF as llama.cpp runs it: ${name} on ${backend}`,
      ignore: backend === "webgpu" && !hasWebgpu,
      async fn() {
        const { model, warnings } = await load(zooContents(architecture, options), { backend });
        await using _ = model;
        assertEquals(warnings, []);
        TEXTS.forEach((it, i) => {
          assertEquals(model.tokenizer.encode(it, { addSpecial: false }), golden.tokens[i], it);
        });
        if (golden.ranks) {
          const ranked = await model.rerank(...QUERY);
          for (const { index, probability } of ranked) {
            assertAlmostEquals(probability, golden.ranks[index]!, bound);
          }
        }
        if (golden.vector) {
          const { hidden } = await model.encode(golden.ids!);
          const found = pooled(hidden, POOLINGS[options.fields!.pooling_type!.value as number]!);
          golden.vector.forEach((it, i) => assertAlmostEquals(found[i]!, it, bound));
        }
        if (!golden.rows) return;
        const logits = await model.logits(golden.ids!), vocab = model.config.vocabSize;
        golden.places.forEach((place, i) => {
          const found = probabilities(logits.subarray(place * vocab, (place + 1) * vocab));
          golden.rows![i]!.forEach(([id, it]) => assertAlmostEquals(found[id]!, it, bound));
        });
        if (options.type) return; // a text of rounded numbers is another text
        const { ids } = await model.complete([1], {
          temperature: 0,
          maxTokens: golden.greedy.length,
          stopIds: [],
        });
        assertEquals(ids, golden.greedy);
      },
    });
  }
}

/** What the numbers of `pooling_type` mean. */
const POOLINGS = ["none", "mean", "first", "last"];

/** The vector of a text with these states `[tokens, 64]`, of length 1. */
function pooled(hidden: Float32Array, pooling: string): number[] {
  const width = 64, rows = hidden.length / width;
  const row = (i: number): number[] => Array.from(hidden.subarray(i * width, (i + 1) * width));
  const vector = pooling === "mean"
    ? row(0).map((_, i) => {
      const column = Array.from({ length: rows }, (_, j) => row(j)[i]!);
      return column.reduce((a, b) => a + b) / rows;
    })
    : row(pooling === "first" ? 0 : rows - 1);
  const length = Math.hypot(...vector);
  return vector.map((it) => it / length);
}

Deno.test("GGUF as llama.cpp runs it: the expected values tell poolings and ropes apart", () => {
  const of = (name: string): string =>
    JSON.stringify(GOLDEN.find((it) => it.name === name)!.vector);
  const names = GOLDEN.filter((it) => it.vector).map((it) => it.name);
  assertEquals(new Set(names.map(of)).size, names.length);
});

const ENCODERS: readonly ZooArchitecture[] = ["bert", "nomic-bert", "t5encoder"];

for (const architecture of ENCODERS) {
  Deno.test(`GGUF encoder ${architecture}: embed pools as the file says`, async () => {
    for (const [type, pooling] of [[1, "mean"], [2, "first"], [3, "last"]] as const) {
      const contents = zooContents(architecture, { fields: { pooling_type: u32(type) } });
      const { model } = await load(contents, { backend: "wasm" });
      await using _ = model;
      const [own, named] = [
        await model.embed(["the thing"]),
        await model.embed(["the thing"], {
          pooling,
        }),
      ];
      assertEquals(own, named);
      const ids = model.tokenizer.encode("the thing");
      const { hidden } = await model.encode(ids);
      pooled(hidden, pooling).forEach((it, i) => assertAlmostEquals(own[0]![i]!, it, 1e-6));
    }
    const { model } = await load(zooContents(architecture));
    await using _ = model;
    assertEquals(await model.embed(["a"]), await model.embed(["a"], { pooling: "mean" }));
  });

  Deno.test(`GGUF encoder ${architecture}: it has no logits, and says so`, async () => {
    const { model } = await load(zooContents(architecture));
    await using _ = model;
    const { message } = await assertRejects(() => model.logits([2, 7, 3]), ModelError);
    assertStringIncludes(message, `an encoder of architecture "${architecture}" without a head`);
    assertStringIncludes(message, "use encode or embed");
    await assertRejects(() => model.complete("the thing"), ModelError);
  });
}

Deno.test("GGUF encoder bert: tokens around a text, segments, lengths", async () => {
  const { model } = await load(zooContents("bert"));
  await using _ = model;
  const ids = model.tokenizer.encode("the thing");
  assertEquals([ids[0], ids.at(-1)], [2, 3]);
  assertEquals(model.tokenizer.decode(ids), "the thing");
  assertEquals(model.accepts, ["ids", "prefixLength", "tokenTypeIds"]);
  const { hidden } = await model.encode({ ids, tokenTypeIds: ids.map(() => 0) });
  const { hidden: other } = await model.encode({ ids, tokenTypeIds: ids.map(() => 1) });
  assertEquals(hidden, (await model.encode(ids)).hidden);
  assert(hidden.some((it, i) => Math.abs(it - other[i]!) > 0.01));
  // It has learned as many positions as its table has.
  await assertRejects(() => load(zooContents("bert"), { contextLength: 257 }), Error, "256");
});

Deno.test("GGUF encoder nomic-bert: longer texts than it was made for are told", async () => {
  const { model, warnings } = await load(zooContents("nomic-bert"), { contextLength: 300 });
  await using _ = model;
  assertEquals(warnings.length, 1);
  assertStringIncludes(warnings[0]!, "made for texts of up to 256 tokens");
  assertEquals((await model.encode(Array(290).fill(7))).hidden.length, 290 * 64);
});

for (const [architecture, prompt] of [["gpt2", "the thing"], ["t5", "the thing"]] as const) {
  Deno.test(`GGUF ${architecture}: texts, the same on every backend`, async () => {
    const found: string[] = [];
    for (const backend of BACKENDS) {
      if (backend === "webgpu" && !hasWebgpu) continue;
      const { model } = await load(zooContents(architecture), { backend });
      await using _ = model;
      const options = { temperature: 0, maxTokens: 16, stopIds: [] };
      const { text, ids } = await model.complete(prompt, options);
      assertEquals(ids.length, 16);
      assertEquals(model.tokenizer.decode(ids).trim(), text.trim());
      found.push(JSON.stringify(ids));
    }
    assertEquals(new Set(found).size, 1);
  });
}

/** Types of blocks that files have; all of them hold whole rows of 256. */
const TYPES = ["F16", "BF16", "Q4_0", "Q4_1", "Q5_0", "Q8_0", "Q4_K", "Q5_K", "Q6_K"];

for (const architecture of ["gpt2", "bert", "nomic-bert", "t5"] as const) {
  Deno.test(`GGUF ${architecture}: weights of every type are the numbers that they stand for`, async () => {
    for (const type of TYPES) {
      const contents = zooContents(architecture, { type, fused: true, width: 256 });
      shrink(contents, type);
      const { model, warnings } = await load(contents);
      await using _ = model;
      assertEquals(warnings, []);
      const plain = await load({ ...contents, tensors: contents.tensors.map(decoded) });
      await using other = plain.model;
      const prompt = { ids: [2, 9, 14, 21, 3], decoderIds: [0, 7, 8] };
      const { ids } = prompt, isT5 = architecture === "t5";
      const run = async (it: Model): Promise<Float32Array> =>
        isT5
          ? await it.logits(prompt)
          : architecture === "gpt2"
          ? await it.logits(ids)
          : (await it.encode(ids)).hidden;
      const [a, b] = [await run(model), await run(other)];
      const most = Math.max(...b.map(Math.abs));
      // Q4_K, Q5_K and Q6_K are rounded to the layout that runs.
      const bound = type.endsWith("_K") ? 0.05 : 1e-5;
      a.forEach((it, i) => assert(Math.abs(it - b[i]!) <= bound * most, `${type} ${it} ${b[i]}`));
    }
  });
}

/** Numbers of random blocks are made as small as a layer takes them: scales lie in their halves. */
function shrink({ tensors }: Contents, type: string): void {
  const halves: Record<string, readonly number[]> = { Q4_K: [0, 2], Q5_K: [0, 2], Q6_K: [208] };
  const bytesOf: Record<string, number> = { Q4_K: 144, Q5_K: 176, Q6_K: 210 };
  for (const tensor of tensors) {
    if (tensor.type !== type || !halves[type]) continue;
    const data = tensor.data as Uint8Array;
    for (let at = 0; at < data.length; at += bytesOf[type]!) {
      for (const half of halves[type]!) data[at + half + 1] = type === "Q6_K" ? 0x01 : 0x06;
    }
  }
}

/** A tensor as the numbers that it stands for. */
function decoded(tensor: Contents["tensors"][number]): Contents["tensors"][number] {
  const { name, shape, type, data } = tensor;
  if (type === "F32") return tensor;
  const columns = shape.at(-1)!;
  const bytes = transcoder(type, "f32", name).rows(data as Uint8Array, columns);
  return f32Tensor(name, shape, decodeRows(LAYOUTS.f32, bytes, columns));
}

/** Settings that would change what is computed. */
const REFUSED: readonly (readonly [ZooArchitecture, string, MetadataValue])[] = [
  ["gpt2", "attention.causal", flag(false)],
  ["gpt2", "attention.head_count_kv", u32(2)],
  ["gpt2", "attention.key_length", u32(8)],
  ["gpt2", "attention.scale", f32(0.7)],
  ["gpt2", "attention.max_alibi_bias", f32(8)],
  ["gpt2", "attention.clamp_kqv", f32(8)],
  ["gpt2", "expert_count", u32(4)],
  ["gpt2", "final_logit_softcapping", f32(30)],
  ["gpt2", "hidden_activation", text("relu")],
  ["gpt2", "attention.head_count", u32(5)],
  ["bert", "attention.causal", flag(true)],
  ["bert", "attention.max_alibi_bias", f32(8)],
  ["bert", "pooling_type", u32(9)],
  ["bert", "moe_every_n_layers", u32(2)],
  ["nomic-bert", "moe_every_n_layers", u32(2)],
  ["nomic-bert", "rope.dimension_count", u32(8)],
  ["nomic-bert", "rope.scaling.type", text("mrope")],
  ["nomic-bert", "rope.freq_base", f32(0)],
  ["t5", "attention.value_length", u32(8)],
  ["t5", "attention.scale", f32(0.25)],
  ["t5", "attention.relative_buckets_count", u32(7)],
  ["t5", "attention.relative_buckets_count", u32(16)],
  ["t5", "decoder_block_count", u32(3)],
  ["t5encoder", "attention.causal", flag(true)],
];

for (const [architecture, field, value] of REFUSED) {
  Deno.test(`GGUF settings: ${architecture}.${field} ${value.value} is refused`, async () => {
    const contents = zooContents(architecture, { fields: { [field]: value } });
    const { message } = await assertRejects(() => load(contents), ModelError);
    assertStringIncludes(message, "Cannot ");
    const names = [field, "dec.blk.2", "attn_rel_b", "buckets", "rope base"];
    assert(names.some((it) => message.includes(it)), message);
  });
}

Deno.test("GGUF settings: what means nothing is told, what changes nothing is not", async () => {
  const told: readonly (readonly [ZooArchitecture, string, MetadataValue])[] = [
    ["gpt2", "rope.freq_base", f32(10000)],
    ["bert", "attention.sliding_window", u32(64)],
    ["t5encoder", "decoder_block_count", u32(2)],
  ];
  for (const [architecture, field, value] of told) {
    const { model, warnings } = await load(
      zooContents(architecture, { fields: { [field]: value } }),
    );
    await model.dispose();
    assertEquals(warnings.length, 1);
    assertStringIncludes(warnings[0]!, `"${architecture}.${field}"`);
  }
  const { model, warnings } = await load(zooContents("gpt2", {
    fields: {
      "attention.causal": flag(true),
      "attention.head_count_kv": u32(4),
      "attention.key_length": u32(16),
      "attention.scale": f32(0.25),
      "tensor_data_layout": text("x"),
      "pooling_type": u32(0),
    },
  }));
  await model.dispose();
  assertEquals(warnings, []);
});

Deno.test("GGUF bert: labels of a classifier, and as many as it has", async () => {
  const labels = (...value: string[]): MetadataValue => ({ type: "array", items: "string", value });
  const contents = zooContents("bert", {
    scores: { dense: true, labels: 3 },
    fields: { "classifier.output_labels": labels("good", "bad", "so so") },
  });
  const { model, warnings } = await load(contents);
  await using _ = model;
  assertEquals(warnings, []);
  const { kind, labels: found } = await model.classify("the thing");
  assertEquals(kind, "single-label");
  assertEquals(found.map(({ label }) => label).toSorted(), ["bad", "good", "so so"]);
  await assertRejects(() => model.rerank(...QUERY), ModelError, "3 scores");
  contents.fields.set("bert.classifier.output_labels", labels("good", "bad"));
  await assertRejects(() => load(contents), ModelError, "bert.classifier.output_labels");
});

Deno.test("GGUF bert: a model that was made for ranking and has no scores is told", async () => {
  const { model, warnings } = await load(zooContents("bert", { fields: { pooling_type: u32(4) } }));
  await using _ = model;
  assertEquals(warnings.length, 1);
  assertStringIncludes(warnings[0]!, `made for ranking (pooling_type 4) and has no tensor`);
  await assertRejects(() => model.rerank(...QUERY), ModelError);
});

Deno.test("GGUF bert: two texts go together as RoBERTa has them where its tokens say so", async () => {
  const contents = zooContents("t5");
  for (
    const [key, value] of Object.entries({
      bos_token_id: u32(0),
      seperator_token_id: u32(1),
      add_bos_token: flag(true),
    })
  ) contents.fields.set(`tokenizer.ggml.${key}`, value);
  const { model } = await load(contents);
  await using _ = model;
  assertEquals(model.tokenizer.surround([5], [6]).ids, [0, 5, 1, 1, 6, 1]);
  const { model: plain } = await load(zooContents("t5"));
  await using _plain = plain;
  assertThrows(() => plain.tokenizer.surround([5], [6]), Error, "pair of texts");
});

Deno.test("GGUF tensors: missing ones, misshapen ones, more layers, scales beside weights", async () => {
  const without = (name: string, architecture: ZooArchitecture): Contents => {
    const contents = zooContents(architecture);
    return { ...contents, tensors: contents.tensors.filter((it) => it.name !== name) };
  };
  const missing = [
    ["gpt2", "token_embd.weight"],
    ["gpt2", "blk.1.attn_qkv.weight"],
    ["bert", "blk.0.attn_output_norm.bias"],
    ["nomic-bert", "blk.1.ffn_gate.weight"],
    ["t5", "dec.blk.0.attn_rel_b.weight"],
    ["t5", "enc.output_norm.weight"],
    ["t5encoder", "enc.blk.0.attn_o.weight"],
  ] as const;
  for (const [architecture, name] of missing) {
    const { message } = await assertRejects(() => load(without(name, architecture)), ModelError);
    const instead = name.replace("attn_qkv", "attn_q");
    assert(message.includes(name) || message.includes(instead), message);
  }
  const longer = zooContents("bert");
  longer.fields.set("bert.block_count", u32(1));
  const { model, warnings } = await load(longer);
  await model.dispose();
  assertStringIncludes(warnings.join(), "has 2 layers, of which 1 are used: block_count is 1");
  const scaled = zooContents("bert");
  scaled.tensors.push(f32Tensor("blk.0.attn_q.scale", [1], Float32Array.of(2)));
  await assertRejects(() => load(scaled), ModelError, "scales beside them");
});

Deno.test("GGUF architectures that do not run are named, with those that do", async () => {
  for (const name of ["jina-bert-v2", "nomic-bert-moe", "roberta", "distilbert", "mt5"]) {
    const contents = zooContents("bert");
    contents.fields.set("general.architecture", text(name));
    const { message } = await assertRejects(() => load(contents), ModelError);
    assertStringIncludes(message, name);
    assert(/expected one of .*nomic-bert.*t5encoder|not from gguf/.test(message), message);
  }
});

Deno.test("GGUF numbers that make no sense are refused or change nothing", async () => {
  const before = Deno.memoryUsage().rss;
  let refused = 0;
  for (const architecture of ["gpt2", "bert", "nomic-bert", "t5"] as const) {
    const names = Array.from(zooContents(architecture).fields)
      .filter(([key, { type }]) => key.startsWith(`${architecture}.`) && type === "u32");
    for (const [key] of names) {
      for (const value of [0, 2 ** 30, 2 ** 31 - 1, 2 ** 32 - 1]) {
        const contents = zooContents(architecture);
        contents.fields.set(key, u32(value));
        try {
          const { model } = await load(contents, { backend: "wasm", threads: 1 });
          await model.dispose();
        } catch (error) {
          assert(error instanceof ModelError || error instanceof FormatError, `${key}: ${error}`);
          refused++;
        }
      }
    }
  }
  assert(refused > 80, `${refused}`);
  assert(Deno.memoryUsage().rss - before < 2 ** 29);
});
