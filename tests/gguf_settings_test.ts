/** GGUF metadata means what llama.cpp makes of it, and what it makes nothing of is told or refused. */

import { assert, assertEquals, assertRejects, assertStringIncludes } from "@std/assert";
import { loadModel } from "../mod.ts";
import { ModelError } from "../errors.ts";
import type { MetadataValue } from "../runtime/files/gguf_metadata.ts";
import { ggufBytes } from "./fixtures.ts";
import { type Contents, contentsOf, IDS, MODELS, PLACES } from "./gguf_settings.ts";

interface Golden {
  architecture: string;
  name: string;
  /** Of some tokens: the most likely next ones and their probabilities. */
  rows: [id: number, probability: number][][];
}

const { models: GOLDEN }: { models: Golden[] } = JSON.parse(
  await Deno.readTextFile(new URL("golden/llama_cpp.json", import.meta.url)),
);

async function run(
  contents: Contents,
): Promise<{ logits: Float32Array; warnings: readonly string[] }> {
  const warnings: string[] = [];
  await using model = await loadModel(new Blob([await ggufBytes(contents)]), {
    backend: "reference",
    onWarning: (message) => warnings.push(message),
  });
  return { logits: await model.logits({ ids: [...IDS] }), warnings };
}

function probabilities(logits: Float32Array, place: number): number[] {
  const vocab = logits.length / IDS.length;
  const row = Array.from(logits.subarray(place * vocab, (place + 1) * vocab));
  const most = Math.max(...row), weights = row.map((it) => Math.exp(it - most));
  const sum = weights.reduce((a, b) => a + b);
  return weights.map((it) => it / sum);
}

/** llama.cpp rounds keys and values to 16 bits. */
const BOUND = 3e-3;

/** Fields of which llama.cpp makes nothing in these architectures. */
const TOLD: Readonly<Record<string, readonly string[]>> = {
  "window": ["attention.sliding_window"],
  "window and pattern": ["attention.sliding_window", "attention.sliding_window_pattern"],
  "yarn, betas": ["rope.scaling.yarn_beta_fast"],
};

for (const [architecture, name] of MODELS) {
  Deno.test(`GGUF settings: ${architecture}, ${name}`, async () => {
    const golden = GOLDEN.find((it) => it.architecture === architecture && it.name === name)!;
    const { logits, warnings } = await run(contentsOf(architecture, name));
    PLACES.forEach((place, i) => {
      const found = probabilities(logits, place);
      for (const [id, probability] of golden.rows[i]!) {
        const off = Math.abs(found[id]! - probability);
        assert(off <= BOUND, `token ${id} after ${place} is off by ${off}`);
      }
    });
    const told = TOLD[name]?.map((field) => `"${architecture}.${field}"`).join(", ");
    assertEquals(warnings.length, told ? 1 : 0, warnings.join("\n"));
    if (told) assert(warnings[0]!.endsWith(`mean nothing to this architecture: ${told}`));
  });
}

Deno.test("GGUF settings: the expected values tell settings apart", () => {
  const of = (name: string): string =>
    JSON.stringify(GOLDEN.find((it) => it.architecture === "llama" && it.name === name)!.rows);
  assertEquals(of("window"), of("nothing else"));
  assertEquals(of("factor without type"), of("both factors"));
  const distinct = ["nothing else", "scale_linear", "both factors", "attn_factor", "yarn"];
  const more = ["yarn, attn_factor", "longrope, short", "longrope, long"];
  assertEquals(new Set([...distinct, ...more].map(of)).size, 8);
});

const REFUSED: Readonly<Record<string, MetadataValue>> = {
  "attention.causal": { type: "bool", value: false },
  "attention.clamp_kqv": { type: "f32", value: 8 },
  "attention.max_alibi_bias": { type: "f32", value: 8 },
  "attention.scale": { type: "f32", value: 0.7 },
  "attention.value_length": { type: "u32", value: 4 },
  "attn_logit_softcapping": { type: "f32", value: 50 },
  "final_logit_softcapping": { type: "f32", value: 30 },
  "logit_scale": { type: "f32", value: 0.0625 },
  "residual_scale": { type: "f32", value: 0.22 },
  "embedding_scale": { type: "f32", value: 12 },
  "use_parallel_residual": { type: "bool", value: true },
  "expert_weights_scale": { type: "f32", value: 2.5 },
  "expert_gating_func": { type: "u32", value: 2 },
  "nextn_predict_layers": { type: "u32", value: 1 },
  "rope.scaling.type": { type: "string", value: "mrope" },
  "rope.dimension_sections": { type: "array", items: "i32", value: [2, 1, 1, 0] },
  "attention.head_count_kv": { type: "array", items: "u32", value: [2, 1] },
  "feed_forward_length": { type: "array", items: "u32", value: [64, 32] },
};

for (const [field, value] of Object.entries(REFUSED)) {
  Deno.test(`GGUF settings: ${field} ${JSON.stringify(value.value)} is refused`, async () => {
    const contents = contentsOf("llama", "nothing else");
    contents.fields.set(`llama.${field}`, value);
    const { message } = await assertRejects(() => run(contents), ModelError);
    assertStringIncludes(message, field);
  });
}

Deno.test("GGUF settings: values that change nothing are taken silently", async () => {
  const contents = contentsOf("llama", "nothing else");
  const plain = await run(contents);
  for (
    const [field, value] of Object.entries(
      {
        "attention.causal": { type: "bool", value: true },
        "attention.clamp_kqv": { type: "f32", value: 0 },
        "attention.scale": { type: "f32", value: Math.fround(8 ** -0.5) },
        "attention.value_length": { type: "u32", value: 8 },
        "logit_scale": { type: "f32", value: 1 },
        "expert_weights_scale": { type: "f32", value: 1 },
        "nextn_predict_layers": { type: "u32", value: 0 },
        "rope.scaling.attn_factor": { type: "f32", value: 1 },
        "rope.dimension_count": { type: "u32", value: 8 },
        "pooling_type": { type: "u32", value: 3 },
      } satisfies Record<string, MetadataValue>,
    )
  ) contents.fields.set(`llama.${field}`, value);
  assertEquals(await run(contents), plain);
});

Deno.test("GGUF settings: a bias of the head, and weights that are not what they seem", async () => {
  const contents = contentsOf("qwen2", "nothing else");
  const plain = await run(contents);
  const vocab = plain.logits.length / IDS.length;
  const bias = Float32Array.from({ length: vocab }, (_, i) => i % 5);
  const add = (name: string, values: Float32Array): void =>
    void contents.tensors.push({
      name,
      shape: [values.length],
      type: "F32",
      data: new Uint8Array(values.buffer),
    });
  add("output.bias", bias);
  const { logits } = await run(contents);
  logits.forEach((value, i) => {
    assert(Math.abs(value - plain.logits[i]! - bias[i % vocab]!) < 1e-4);
  });
  add("blk.0.attn_q.scale", Float32Array.of(2));
  const { message } = await assertRejects(() => run(contents), ModelError);
  assertStringIncludes(message, 'weights with scales beside them (tensor "blk.0.attn_q.scale")');
});

Deno.test("GGUF settings: fewer blocks than layers are told", async () => {
  const contents = contentsOf("qwen3", "nothing else");
  contents.fields.set("qwen3.block_count", { type: "u32", value: 1 });
  const { warnings } = await run(contents);
  assertEquals(warnings.length, 1);
  assertStringIncludes(warnings[0]!, "has 2 layers, of which 1 are used: block_count is 1");
});
