/** Mixtures of experts are rounded expert by expert, each by what it read itself. */

import { assert, assertEquals } from "@std/assert";
import { ownTexts } from "../quantize/calibration.ts";
import { compareModels } from "../quantize/compare.ts";
import { type ExpertSums, sumExperts, withOthers } from "../quantize/experts.ts";
import { readImatrix } from "../quantize/imatrix.ts";
import { layersOf, resolveForTexts, streamOf, sumProducts } from "../quantize/layers.ts";
import { noProducts } from "../quantize/products.ts";
import { quantizeModel } from "../quantize/quantize_model.ts";
import { writeModel } from "../quantize/write.ts";
import type { MetadataValue } from "../runtime/files/gguf.ts";
import { openModelFile } from "../runtime/files/open.ts";
import { loadModel } from "../runtime/load.ts";
import { normalNumbers, randomNumbers } from "./fixtures.ts";

const WIDTH = 64, EXPERTS = 6, INNER = 32, WORDS = 97, LAYERS = 2;

/** A random mixture of six experts, two for each token, whose channels differ in size. */
async function writeMixture(path: string): Promise<void> {
  const random = randomNumbers(11);
  const tensors: { name: string; shape: number[]; type: string; data: Uint8Array }[] = [];
  const add = (name: string, shape: number[], size: number): void => {
    const count = shape.reduce((product, it) => product * it, 1);
    const values = size === 0 ? new Float32Array(count).fill(1) : normalNumbers(count, random);
    if (size !== 0) values.forEach((it, i) => values[i] = size * it / Math.sqrt(shape.at(-1)!));
    tensors.push({ name, shape, type: "F32", data: new Uint8Array(values.buffer) });
  };
  add("token_embd.weight", [WORDS, WIDTH], 8);
  for (let i = 0; i < LAYERS; i++) {
    for (const norm of ["attn_norm", "ffn_norm"]) add(`blk.${i}.${norm}.weight`, [WIDTH], 0);
    for (const part of ["q", "k", "v", "output"]) {
      add(`blk.${i}.attn_${part}.weight`, [WIDTH, WIDTH], 1);
    }
    add(`blk.${i}.ffn_gate_inp.weight`, [EXPERTS, WIDTH], 2);
    for (const part of ["gate", "up"]) {
      add(`blk.${i}.ffn_${part}_exps.weight`, [EXPERTS, INNER, WIDTH], 2);
    }
    add(`blk.${i}.ffn_down_exps.weight`, [EXPERTS, WIDTH, INNER], 2);
  }
  add("output_norm.weight", [WIDTH], 0);
  add("output.weight", [WORDS, WIDTH], 3);
  const whole = (value: number): MetadataValue => ({ type: "u32", value });
  await writeModel(path, {
    fields: [
      ["general.architecture", { type: "string", value: "llama" }],
      ["llama.block_count", whole(LAYERS)],
      ["llama.context_length", whole(128)],
      ["llama.embedding_length", whole(WIDTH)],
      ["llama.feed_forward_length", whole(INNER)],
      ["llama.attention.head_count", whole(4)],
      ["llama.rope.dimension_count", whole(16)],
      ["llama.vocab_size", whole(WORDS)],
      ["llama.expert_count", whole(EXPERTS)],
      ["llama.expert_used_count", whole(2)],
      ["llama.attention.layer_norm_rms_epsilon", { type: "f32", value: 1e-5 }],
    ],
    tensors,
  });
}

const SMALL = [{ pattern: /_exps/, type: "Q4_0" }, {
  pattern: /attn_|embd|output\./,
  type: "Q8_0",
}];
const MATRICES = SMALL.map((it) => ({
  ...it,
  pattern: new RegExp(it.pattern.source.replace("attn_", "attn_[qkvo][.u]")),
}));

Deno.test("experts: each is rounded by its own inputs, and one that none came to is told", async () => {
  const folder = await Deno.makeTempDir(), path = (name: string) => `${folder}/${name}.gguf`;
  try {
    await writeMixture(path("source"));
    // Sums: what all experts of a layer read together is what every token gave to two of them.
    const file = await openModelFile(path("source"));
    const model = await resolveForTexts(file), layers = layersOf(file.name, model);
    const section = layers.sections.find(({ multiplied }) => multiplied.some((it) => it.experts))!;
    const ids = [Array.from({ length: 60 }, (_, i) => (7 * i * i) % WORDS)];
    const [texts, exact] = [streamOf(ids, model), streamOf(ids, model)];
    for (const it of layers.sections) {
      if (it === section) break;
      await sumProducts(layers, it, texts, exact, { backend: "reference" });
      exact.results.forEach((results, i) =>
        results.forEach((value, name) => texts.results[i]!.set(name, value))
      );
    }
    const all = await sumProducts(layers, section, texts, exact, { backend: "reference" });
    for (const part of ["gate", "down"]) {
      const { by, experts, weight } = section.multiplied.find((it) =>
        it.weight.endsWith(`experts.${part}`)
      )!;
      assertEquals([experts!.count, experts!.perToken], [EXPERTS, 2]);
      const columns = model.weights.get(weight)!.shape.at(-1)!, found: ExpertSums[] = [];
      const about = { by, columns, experts: experts! };
      const where = { backend: "reference" } as const;
      for await (const [e, sums] of sumExperts(layers, section, about, texts, exact, where)) {
        found[e] = sums;
      }
      const whole = all.get(by)!, times = part === "gate" ? 2 : 1; // one row for both experts
      assertEquals(found.reduce((n, it) => n + it.products.count, 0), 120);
      assertEquals(found.reduce((n, it) => n + it.count, 0), 120);
      whole.sums.forEach((sum, i) => {
        const parts = found.reduce((total, it) => total + it.products.sums[i]!, 0);
        assert(Math.abs(parts - times * sum) < 1e-6 * (1 + Math.abs(sum)));
      });
      assert(
        found.every((it) => it.products.drift.every((off) => off === 0)),
        "nothing was rounded",
      );
      const none = { ...found[0]!, products: noProducts(columns) };
      const borrowed = withOthers(none, whole);
      assertEquals(borrowed.sums[0], whole.sums[0]! * (columns / 4 / whole.count));
    }
    file.close();
    // Files: GPTQ by expert, and what it says of experts that it has not seen.
    const load = { contextLength: 128, threads: 2, backend: "wasm", onWarning: () => {} } as const;
    await using base = await loadModel(path("source"), { ...load, weights: "f32" });
    const read = await ownTexts(base, {
      ...{ tokens: 1500, textTokens: 100, seed: 9, onProgress: () => {} },
    });
    const divergence = async (name: string): Promise<number> => {
      await using made = await loadModel(path(name), load);
      return (await compareModels(base, made, read)).kl.mean;
    };
    const options = { tokens: 2000, verify: false, tensors: MATRICES, type: "Q4_0" } as const;
    const gptq = await quantizeModel(path("source"), path("gptq"), {
      ...options,
      saveImatrix: path("imatrix"),
    });
    assertEquals(gptq.unreached, []);
    assertEquals(gptq.tensors.find((it) => it.name.includes("gate_inp"))!.type, "F32");
    await quantizeModel(path("source"), path("nearest"), { ...options, method: "nearest" });
    const [ours, nearest] = [await divergence("gptq"), await divergence("nearest")];
    assert(ours < 0.7 * nearest, `GPTQ ${ours}, to nearest ${nearest}`);
    const { matrices, meanSquares } = (await readImatrix(path("imatrix")))
      .get("blk.1.ffn_down_exps.weight")!;
    assertEquals([matrices, meanSquares.length], [EXPERTS, EXPERTS * INNER]);
    const few = await quantizeModel(path("source"), path("few"), {
      ...options,
      calibration: [[5, 80]],
    });
    const { experts, of } = few.unreached.find((it) => it.name === "blk.1.ffn_up_exps.weight")!;
    assert(
      of === EXPERTS && experts.length >= 2 && experts.length < EXPERTS,
      `${experts} of ${of}`,
    );
    const little = await divergence("few");
    assert(little < 2 * nearest, `on two tokens ${little}, to nearest ${nearest}`);
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
});
