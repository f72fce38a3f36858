/**
 * Models of the GLM family beside their golden fixtures: heads that are not there, the forms of GLM-4,
 * and what `rope_ratio` means.
 */

import {
  assert,
  assertEquals,
  assertNotEquals,
  assertRejects,
  assertStringIncludes,
} from "@std/assert";
import { loadModel, ModelError } from "../mod.ts";
import { openModelFile } from "../runtime/files/open.ts";
import { glm } from "../runtime/models/glm.ts";
import { readVector } from "../runtime/models/weights.ts";
import { FIXTURES } from "./fixtures.ts";
import { assemble, tensorsOf } from "./tensor_files.ts";
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

/** What the first form of GLM-4 calls the tensors of Transformers' form. */
const FIRST_NAMES: Readonly<Record<string, string>> = {
  "model.embed_tokens": "embedding.word_embeddings",
  "model.layers": "encoder.layers",
  "self_attn.o_proj": "self_attention.dense",
  "mlp.gate_up_proj": "mlp.dense_h_to_4h",
  "mlp.down_proj": "mlp.dense_4h_to_h",
  "model.norm": "encoder.final_layernorm",
  "lm_head": "output_layer",
};

Deno.test("GLM-4 in the form of its first release is the model that it is in Transformers' form", async () => {
  const tensors = await tensorsOf(new URL("golden/glm/", FIXTURES)),
    first: typeof tensors = new Map();
  for (const [name, tensor] of tensors) {
    const [, layer, part, kind] = /^(.*)\.self_attn\.([qkv])_proj\.(\w+)$/.exec(name) ?? [];
    if (part && part !== "q") continue;
    const from = Object.keys(FIRST_NAMES).filter((it) => name.includes(it));
    const long = part ? `${layer}.self_attention.query_key_value.${kind}` : name;
    const other = from.concat(part ? ["model.layers"] : [])
      .reduce((it, key) => it.replace(key, FIRST_NAMES[key]!), long);
    const parts = part
      ? ["q", "k", "v"].map((it) => tensors.get(`${layer}.self_attn.${it}_proj.${kind}`)!)
      : [tensor];
    const values = Float32Array.from(parts.flatMap((it) => Array.from(it.values)));
    const rows = parts.reduce((sum, it) => sum + it.shape[0]!, 0);
    first.set(`transformer.${other}`, { shape: [rows, ...tensor.shape.slice(1)], values });
  }
  const config = {
    ...{ model_type: "chatglm", num_layers: 2, num_hidden_layers: 2, padded_vocab_size: 67 },
    ...{ hidden_size: 36, ffn_hidden_size: 50, kv_channels: 12, num_attention_heads: 6 },
    ...{ multi_query_attention: true, multi_query_group_num: 3, layernorm_epsilon: 1.5625e-7 },
    ...{ add_qkv_bias: true, add_bias_linear: false, rope_ratio: 5, seq_length: 64 },
    ...{ rmsnorm: true, post_layer_norm: true, apply_query_key_layer_scaling: true },
    ...{ attention_softmax_in_fp32: true, original_rope: true, attn_implementation: "sdpa" },
    ...{ apply_residual_connection_post_layernorm: false, fp32_residual_connection: false },
    ...{ bias_dropout_fusion: true, classifier_dropout: null, tie_word_embeddings: false },
    ...{ eos_token_id: [1, 2, 3], pad_token_id: 0, use_cache: true, torch_dtype: "float32" },
  };
  const ids = Array.from({ length: 30 }, (_, i) => (i * 11 + 5) % 67);
  const files = {
    "config.json": JSON.stringify(config),
    "model.safetensors": assemble(first),
  };
  await using expected = await loadModel(new URL("golden/glm/", FIXTURES), {
    backend: "reference",
  });
  await withFolder(files, async (path) => {
    const warnings: string[] = [];
    await using model = await loadModel(path, {
      backend: "reference",
      onWarning: (message) => warnings.push(message),
    });
    assertEquals(await model.logits(ids), await expected.logits(ids));
    assertEquals(warnings, []);
  });
});

Deno.test("rope_ratio divides the positions of a ChatGLM2, and multiplies the base of others", async () => {
  const ids = Array.from({ length: 12 }, (_, i) => 3 * i + 4);
  const logits = async (fields: Record<string, unknown>): Promise<Float32Array> => {
    let result: Float32Array | undefined;
    await withFolder(await golden("chatglm2", fields), async (path) => {
      await using model = await loadModel(path, { backend: "reference" });
      result = await model.logits(ids);
    });
    return result!;
  };
  const plain = await logits({});
  assertEquals(await logits({ rope_ratio: 1, _name_or_path: "THUDM/chatglm2-6b" }), plain);
  const divided = await logits({ rope_ratio: 4, _name_or_path: "THUDM/chatglm2-6b-32k" });
  const based = await logits({ rope_ratio: 4 });
  assertNotEquals(divided, plain);
  assertNotEquals(based, plain);
  assertNotEquals(based, divided);
  const read = await Deno.readTextFile(new URL("golden/chatglm2/config.json", FIXTURES));
  const config = (fields: Record<string, unknown>) =>
    glm.parseConfig({
      ...{ format: "safetensors", name: "x", tensors: new Map(), close() {} },
      metadata: { ...JSON.parse(read), ...fields },
    });
  const { rope } = config({ rope_ratio: 50, _name_or_path: "THUDM/chatglm3-6b-32k" });
  assertEquals(rope, { theta: 500000 });
  const longer = config({ rope_ratio: 4, _name_or_path: "THUDM/chatglm2-6b-32k" }).rope;
  assertEquals(longer, { theta: 10000, scaling: { type: "linear", factor: 4 } });
});

const REFUSED:
  readonly (readonly [name: string, fields: Record<string, unknown>, named: string])[] = [
    ["glm", { hidden_act: "gelu" }, '"hidden_act"'],
    ["glm", { quantization_config: { quant_method: "gptq", bits: 4 } }, '"quantization_config"'],
    [
      "glm4",
      { rope_parameters: { rope_type: "default", mrope_section: [1, 1, 1] } },
      "mrope_section",
    ],
    ["glm4", { layer_types: ["sliding_attention", "full_attention"] }, '"layer_types"'],
    ["glm4", { partial_rotary_factor: 0.25, rope_parameters: null }, "3 elements of which rotate"],
    ["glm4", { rope_parameters: { partial_rotary_factor: 2 } }, "24 elements of which rotate"],
    ["glm4", { num_key_value_heads: 4 }, "in 4 groups"],
    ["chatglm2", { rmsnorm: false }, '"rmsnorm"'],
    ["chatglm2", { apply_residual_connection_post_layernorm: true }, '"apply_residual'],
    ["chatglm2", { rope_ratio: -1 }, "rope base -10000"],
  ];

for (const [name, fields, named] of REFUSED) {
  Deno.test(`${name} with ${JSON.stringify(fields)} is refused`, async () => {
    await withFolder(await golden(name, fields), async (path) => {
      const { message } = await assertRejects(() => loadModel(path), ModelError);
      assertStringIncludes(message, named);
    });
  });
}
