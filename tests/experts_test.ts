/**
 * Mixtures of experts beyond the tables of cases and golden models: that weights of other experts
 * are not read, files that hold experts in other forms, and what is wrong with some.
 *
 * @module
 */

import { assert, assertEquals, assertRejects, assertThrows } from "@std/assert";
import { InputError, ModelError, ShapeError } from "../errors.ts";
import { compile, Graph, type Tensor } from "../graph.ts";
import { expertMatmulWasm } from "../kernels/expert_matmul/wasm.ts";
import { activationBytes, packedBytes } from "../kernels/pack/layouts.ts";
import { quantizeActivationsWasm } from "../kernels/quantize_activations/wasm.ts";
import type { TopExpertsAttributes } from "../kernels/ops.ts";
import { loadModel } from "../mod.ts";
import { LAYOUT_NAMES, LAYOUTS } from "../quant/formats.ts";
import type { GgufTensor } from "../runtime/files/gguf_write.ts";
import type { MetadataValue } from "../runtime/files/gguf_metadata.ts";
import type { ModelFile } from "../runtime/files/model_file.ts";
import { openModelFile } from "../runtime/files/open.ts";
import { findDefinition } from "../runtime/models/registry.ts";
import { resolveWeights } from "../runtime/models/weights.ts";
import { ggufBytes, normalNumbers, randomNumbers } from "./fixtures.ts";
import {
  Arena,
  BUILDS,
  packWeights,
  type Weights,
  weightsFrom,
  weightsOf,
  withSpecial,
} from "./kernel_arena.ts";

/** `chosen` experts' products, where the matrices of all of them begin at `address`. */
function multiply(
  arena: Arena,
  { layout, rows, cols }: Pick<Weights, "layout" | "rows" | "cols">,
  address: number,
  experts: number,
  chosen: readonly number[],
): Float32Array {
  const pairs = chosen.length, each = rows / experts;
  const x = normalNumbers(pairs * cols, randomNumbers(2));
  let input = arena.operand(arena.put(x), "f32", [pairs, cols]);
  if (LAYOUTS[layout].blockSize > 1) {
    const output = arena.operand(arena.alloc(activationBytes(pairs, cols)), "a8", [pairs, cols]);
    arena.run(quantizeActivationsWasm.encode([input], output, {}), 1);
    input = output;
  }
  const out = arena.alloc(4 * pairs * each);
  const step = expertMatmulWasm.encode(
    [
      input,
      arena.operand(address, layout, [rows, cols]),
      arena.operand(arena.put(Int32Array.from(chosen)), "i32", [pairs, 1]),
    ],
    arena.operand(out, "f32", [pairs, 1, each]),
    { experts },
  );
  arena.run(step, 2);
  return arena.floats(out, pairs * each).slice();
}

for (const build of BUILDS) {
  for (const layout of LAYOUT_NAMES) {
    Deno.test(`expertMatmul: only chosen experts are read, ${layout}, ${build} build`, () => {
      const arena = new Arena(build);
      const [rows, cols, experts] = [32, 70, 4000];
      const weights = weightsOf(layout, rows, cols, normalNumbers(rows * cols, randomNumbers(1)));
      for (const pairs of [1, 5, 70]) {
        arena.clear();
        const place = packWeights(arena, weights, 1);
        const alone = multiply(arena, weights, place, 1, Array(pairs).fill(0));
        assert(alone.every(Number.isFinite));
        // The last of many experts, before whom there is no memory: reading of it would trap.
        const before = (experts - 1) * packedBytes(layout, rows, cols);
        assert(before > place);
        const all = { ...weights, rows: rows * experts };
        const last = multiply(arena, all, place - before, experts, Array(pairs).fill(experts - 1));
        assertEquals(last, alone);
      }
    });

    Deno.test(`expertMatmul: NaN of a neighbour in the panel, ${layout}, ${build} build`, () => {
      const arena = new Arena(build);
      const [rows, cols, experts] = [21, 40, 3];
      const weights = weightsOf(
        layout,
        rows * experts,
        cols,
        normalNumbers(rows * experts * cols, randomNumbers(1)),
      );
      const poisoned = withSpecial(withSpecial(weights, rows - 1, NaN), 2 * rows, NaN);
      for (const pairs of [1, 5, 70]) {
        const chosen = Array(pairs).fill(1);
        arena.clear();
        const sound = multiply(arena, weights, packWeights(arena, weights, 1), experts, chosen);
        arena.clear();
        const place = packWeights(arena, weightsFrom(layout, 63, cols, poisoned.bytes), 1);
        const found = multiply(arena, poisoned, place, experts, chosen);
        found.forEach((value, i) => assert(Math.abs(value - sound[i]!) < 1e-4, `${i}: ${value}`));
      }
    });
  }
}

/** Names of a layer's tensors in GGUF, by their names in safetensors. */
const GGUF_NAMES: readonly (readonly [RegExp, string])[] = [
  [/^model\.embed_tokens/, "token_embd"],
  [/^model\.norm/, "output_norm"],
  [/^lm_head/, "output"],
  [/^model\.layers\.(\d+)\./, "blk.$1."],
  [/input_layernorm/, "attn_norm"],
  [/post_attention_layernorm/, "ffn_norm"],
  [/self_attn\.([qkv])_(proj|norm)/, "attn_$1_$2"],
  [/attn_(.)_proj/, "attn_$1"],
  [/self_attn\.o_proj/, "attn_output"],
  [/(mlp|block_sparse_moe)\.gate\./, "ffn_gate_inp."],
  [/mlp\.shared_expert_gate/, "ffn_gate_inp_shexp"],
  [/mlp\.shared_expert\.(\w+)_proj/, "ffn_$1_shexp"],
  [/\w+\.experts\.(\d+)\.(w1|gate_proj)/, "ffn_gate.$1"],
  [/\w+\.experts\.(\d+)\.(w2|down_proj)/, "ffn_down.$1"],
  [/\w+\.experts\.(\d+)\.(w3|up_proj)/, "ffn_up.$1"],
  [/mlp\.(\w+)_proj/, "ffn_$1"],
];

/** What a golden model is in GGUF. */
interface Form {
  readonly architecture: string;
  /** Whether rows of queries and keys are permuted, as files of the llama architecture have them. */
  readonly permuted?: true;
  /** Whether every expert has tensors of its own, as in old files. */
  readonly apart?: true;
}

/** A golden model as a GGUF file of f32. */
async function asGguf(file: ModelFile, form: Form): Promise<Blob> {
  const { metadata: config } = file, { architecture } = form;
  const count = (field: string): number => config[field] as number;
  const heads = count("num_attention_heads"),
    headDim = count("head_dim") ||
      count("hidden_size") / heads;
  const experts = (config.num_local_experts ?? config.num_experts) as number;
  const numbers: Record<string, number> = {
    context_length: count("max_position_embeddings"),
    embedding_length: count("hidden_size"),
    block_count: count("num_hidden_layers"),
    feed_forward_length: count("intermediate_size"),
    "attention.head_count": heads,
    "attention.head_count_kv": count("num_key_value_heads"),
    "attention.key_length": headDim,
    "rope.dimension_count": headDim,
    expert_count: experts,
    expert_used_count: count("num_experts_per_tok"),
    ...(architecture === "qwen3moe"
      ? { expert_feed_forward_length: count("moe_intermediate_size") }
      : {}),
  };
  const rope = config.rope_parameters as { rope_theta: number };
  const fields: [string, MetadataValue][] = [
    ["general.architecture", { type: "string", value: architecture }],
    ["attention.layer_norm_rms_epsilon", { type: "f32", value: count("rms_norm_eps") }],
    ["rope.freq_base", { type: "f32", value: rope.rope_theta }],
    ...Object.entries(numbers).map(([name, value]): [string, MetadataValue] => [
      name,
      { type: "u32", value },
    ]),
  ];
  const tensors = new Map<string, { shape: readonly number[]; parts: Uint8Array[] }>();
  for (const entry of file.tensors.values()) {
    let name = GGUF_NAMES.reduce((name, [from, to]) => name.replace(from, to), entry.name);
    let bytes = await entry.source.read(entry.offset, entry.bytes);
    if (form.permuted && /attn_[qk]\.weight/.test(name)) {
      bytes = permute(bytes, entry.shape, headDim);
    }
    if (!form.apart) name = name.replace(/ffn_(\w+)\.\d+\./, "ffn_$1_exps.");
    // The gate of the shared expert is a vector there.
    const shape = name.includes("inp_shexp") ? entry.shape.slice(1) : entry.shape;
    const known = tensors.get(name);
    if (known) known.parts.push(bytes);
    else tensors.set(name, { shape, parts: [bytes] });
  }
  return new Blob([
    await ggufBytes({
      fields: fields.map(([name, value]) => [
        name.startsWith("general.") ? name : `${architecture}.${name}`,
        value,
      ]),
      tensors: Array.from(tensors, ([name, { shape, parts }]): GgufTensor => ({
        name,
        shape: parts.length > 1 ? [experts, ...shape] : shape,
        type: "F32",
        data: parts,
      })),
    }),
  ]);
}

/** Rows of each head in the order in which pairs that rotate together are neighbours. */
function permute(bytes: Uint8Array, [rows]: readonly number[], headDim: number): Uint8Array {
  const stride = bytes.length / rows!, half = headDim / 2;
  const out = new Uint8Array(bytes.length);
  for (let row = 0; row < rows!; row++) {
    const at = row % headDim;
    const from = row - at + (at % 2) * half + (at >> 1);
    out.set(bytes.subarray(from * stride, (from + 1) * stride), row * stride);
  }
  return out;
}

const FORMS: Readonly<Record<string, readonly Form[]>> = {
  "mixtral-narrow": [
    { architecture: "llama", permuted: true },
    { architecture: "llama", permuted: true, apart: true },
  ],
  "qwen2-moe-step": [{ architecture: "qwen2moe" }],
  "qwen3-moe-dense": [{ architecture: "qwen3moe" }],
  olmoe: [{ architecture: "olmoe" }],
};

for (const [name, forms] of Object.entries(FORMS)) {
  for (const form of forms) {
    Deno.test(`${name} as GGUF${form.apart ? ", experts apart" : ""}`, async () => {
      const folder = new URL(`golden/${name}/`, import.meta.url);
      const { cases } = JSON.parse(await Deno.readTextFile(new URL("expected.json", folder)));
      const file = await openModelFile(folder);
      const gguf = await asGguf(file, form);
      file.close();
      const { inputs, outputs } = cases[0];
      const expected: number[] = outputs.logits[0].flat();
      for (const backend of ["reference", "wasm"] as const) {
        await using model = await loadModel(gguf, { backend, threads: 2 });
        const logits = await model.logits({ ids: inputs.input_ids[0] });
        logits.forEach((value, i) =>
          assert(Math.abs(value - expected[i]!) < 1e-3, `${backend} ${i}`)
        );
      }
    });
  }
}

for (const weights of ["int8", "int4"] as const) {
  Deno.test(`experts: ${weights} weights meet activations of int8`, async () => {
    for (const name of Object.keys(FORMS)) {
      const folder = new URL(`golden/${name}/`, import.meta.url);
      const rows: Float32Array[] = [];
      for (const backend of ["reference", "wasm"] as const) {
        await using model = await loadModel(folder, { backend, threads: 2, weights });
        rows.push(await model.logits({ ids: [5, 9, 33, 21, 60, 2, 17, 45, 50, 11, 30, 64] }));
      }
      const [exact, found] = rows;
      const size = exact!.reduce((sum, it) => sum + it ** 2, 0);
      const off = exact!.reduce((sum, it, i) => sum + (it - found![i]!) ** 2, 0);
      // Other experts would be as far off as the logits are large.
      assert(Math.sqrt(off / size) < 0.1, `${name}: off by ${Math.sqrt(off / size)}`);
    }
  });
}

Deno.test("experts: numbers of experts that there are not are refused", async () => {
  const g = new Graph();
  const chosen = g.input("chosen", [2, 1], "i32");
  const x = g.input("x", [2, 4]);
  g.output("y", g.op("expertMatmul", [x, g.matrix("w", [6, 4]), chosen], { experts: 3 }));
  await using program = await compile(g, {
    backend: "reference",
    weights: { w: Float32Array.from({ length: 24 }, (_, i) => i >> 3) },
  });
  const run = (...chosen: number[]) =>
    program.run({ x: new Float32Array(8).fill(1), chosen: Int32Array.from(chosen) });
  assertEquals((await run(2, 0)).y, Float32Array.of(8, 8, 0, 0));
  await assertRejects(
    () => run(0, 3),
    InputError,
    'input "chosen" has index 3, expected a whole number from -1 to 2',
  );
  await assertRejects(() => run(0, -2), InputError, "index -2");
  assertEquals((await run(-1, 1)).y, Float32Array.of(0, 0, 4, 4));
});

Deno.test("topExperts: a capacity needs the starts of sequences, and a whole number", () => {
  const g = new Graph({ tokens: 4 });
  const scores = g.input("scores", ["tokens", 3]), starts = g.input("starts", ["tokens"], "i32");
  assertEquals(g.op("topExperts", [scores, starts], { count: 1, capacity: 2 }).shape, [4, 1]);
  const wrong: [Tensor[], TopExpertsAttributes, string][] = [
    [[scores], { count: 1, capacity: 2 }, "it has 1 inputs, expected 2"],
    [[scores, starts], { count: 1 }, "it has 2 inputs, expected 1"],
    [[scores, starts], { count: 1, capacity: -1 }, "capacity is -1, expected a whole number"],
    [[scores, starts], { count: 1, capacity: 1.5 }, "capacity is 1.5"],
    [[scores, g.input("four", [4], "i32")], { count: 1, capacity: 1 }, "expected one for each row"],
    [[scores, scores], { count: 1, capacity: 1 }, "expected i32 dense of rank 1"],
  ];
  for (const [inputs, attrs, message] of wrong) {
    assertThrows(() => g.op("topExperts", inputs, attrs), ShapeError, message);
  }
});

Deno.test("experts: the router keeps its precision whatever layout matrices shall have", async () => {
  const folder = new URL("golden/qwen2-moe-step/", import.meta.url);
  const file = await openModelFile(folder);
  const definition = await findDefinition(file);
  const config = definition.parseConfig(file);
  const weights = resolveWeights(await definition.weights(config, file, 16), file, "int4");
  const layouts = ["router", "sharedGate", "experts.gate", "experts.down", "shared.up"].map((it) =>
    weights.get(`1.${it}`)!.layout
  );
  assertEquals(layouts, ["f32", "f32", "int4", "int4", "int4"]);
  assert(!weights.has("0.router") && weights.has("0.gate"));
  file.close();
});

/** A golden model's file with some metadata replaced and some tensors left out. */
async function changed(
  name: string,
  metadata: Record<string, unknown>,
  without?: string,
): Promise<ModelFile> {
  const file = await openModelFile(new URL(`golden/${name}/`, import.meta.url));
  const tensors = new Map(file.tensors);
  if (without !== undefined) tensors.delete(without);
  return {
    ...file,
    metadata: { ...file.metadata, ...metadata },
    tensors,
    close: () => file.close(),
  };
}

const expert = "model.layers.1.mlp.experts.3.up_proj.weight";

for (
  const [title, name, metadata, without, message] of [
    ["an expert is missing", "olmoe", {}, expert, `tensor "${expert}" is missing`],
    ["fewer experts than a token gets", "olmoe", { num_experts: 1 }, "", "2 of 1 experts"],
    ["experts without end", "olmoe", { num_experts: 2 ** 31 - 1 }, "", "expected at most 4096"],
    ["no number of experts", "olmoe", { num_experts: "many" }, "", `field "num_experts" is "many"`],
    [
      "experts of another width",
      "mixtral-narrow",
      { intermediate_size: 23 },
      "",
      "expected [23, 36]",
    ],
    ["layers by name", "qwen3-moe-dense", { mlp_only_layers: "all" }, "", "mlp_only_layers"],
    ["clipped activations", "olmoe", { clip_qkv: 8 }, "", `field "clip_qkv" is 8`],
  ] as const
) {
  Deno.test(`experts: ${title}`, async () => {
    const file = await changed(name, metadata, without);
    const resolve = async (): Promise<void> => {
      const definition = await findDefinition(file);
      const config = definition.parseConfig(file);
      resolveWeights(await definition.weights(config, file, 16), file, "as-is");
    };
    await assertRejects(resolve, ModelError, message);
    file.close();
  });
}

Deno.test("experts: tensors of one weight have one type", async () => {
  const file = await changed("olmoe", {});
  const entry = file.tensors.get(expert)!;
  const tensors = new Map(file.tensors).set(expert, { ...entry, type: "F16" });
  const definition = await findDefinition(file);
  const specs = await definition.weights(definition.parseConfig(file), file, 16);
  await assertRejects(
    async () => await resolveWeights(specs, { ...file, tensors }, "as-is"),
    ModelError,
    `tensor "${expert}" is of type F16, expected F32`,
  );
  file.close();
});
