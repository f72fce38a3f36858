/** Checkpoints of quantizers: what of them is refused, what is read without being said, what is told. */

import { assert, assertEquals, assertRejects, assertStringIncludes } from "@std/assert";
import { ModelError } from "../errors.ts";
import { resolveModel } from "../runtime/engine/resolve.ts";
import { memoryFolder } from "../runtime/files/folder.ts";
import type { ModelFile } from "../runtime/files/model_file.ts";
import { openModelFolder } from "../runtime/files/open.ts";
import { readQuantized } from "../runtime/models/quantized.ts";
import { matrix } from "../runtime/models/weight_spec.ts";
import { resolveWeights, type WeightsOption } from "../runtime/models/weights.ts";
import { FIXTURES } from "./fixtures.ts";
import {
  fileOf,
  type FileTensor,
  named,
  numbersOf,
  packMatrix,
  type PackOptions,
  quantizationConfig,
  readable,
  tensorOf,
} from "./packed_files.ts";

const GPTQ: PackOptions = { form: "gptq", bits: 4, rows: 32, columns: 64, groupSize: 32 };
const AWQ: PackOptions = { ...GPTQ, form: "awq" };
const COMPRESSED: PackOptions = { ...GPTQ, form: "compressed" };

/** What is said of a file with one matrix, after something in it is changed. */
async function refusal(
  options: PackOptions,
  change: (tensors: Record<string, FileTensor>, config: Record<string, unknown>) => void,
  weights: WeightsOption = "as-is",
): Promise<string> {
  const tensors = named({ m: packMatrix(options) }), config = quantizationConfig(options);
  change(tensors, config);
  const file = await fileOf(tensors, { quantization_config: config });
  const error = await assertRejects(async () => {
    const { file: read } = await readQuantized(file, () => {});
    const specs = [matrix("m", options.rows, options.columns, "m.weight")];
    await numbersOf(resolveWeights(specs, read, weights));
  }, ModelError);
  assert(!error.message.includes("undefined"), error.message);
  assertStringIncludes(error.message, "expected");
  return error.message;
}

Deno.test("quantized: settings that cannot be honoured are refused by field", async () => {
  const groups = (change: Record<string, unknown>, weights: Record<string, unknown> = {}) =>
  (
    _: unknown,
    config: Record<string, unknown>,
  ) => {
    const { config_groups: { group_0: group } } = config as { config_groups: { group_0: object } };
    Object.assign(group, change);
    Object.assign((group as { weights: object }).weights, weights);
  };
  const set = (fields: Record<string, unknown>) => (_: unknown, config: Record<string, unknown>) =>
    void Object.assign(config, fields);
  for (
    const [options, change, message] of [
      [GPTQ, set({ bits: 3 }), '"quantization_config.bits" is 3, expected 4 or 8'],
      [GPTQ, set({ bits: 2 }), '"quantization_config.bits" is 2, expected 4 or 8'],
      [GPTQ, set({ bits: null }), '"quantization_config.bits" is missing'],
      [GPTQ, set({ bits: "4" }), '"quantization_config.bits" is "4"'],
      [GPTQ, set({ group_size: 0 }), '"quantization_config.group_size" is 0'],
      [GPTQ, set({ group_size: 2.5 }), '"quantization_config.group_size" is 2.5'],
      [GPTQ, set({ sym: "yes" }), '"quantization_config.sym" is "yes"'],
      [
        GPTQ,
        set({ checkpoint_format: "marlin" }),
        'checkpoint_format" is "marlin", expected "gptq"',
      ],
      [GPTQ, set({ is_marlin_format: true }), '"quantization_config.is_marlin_format" is true'],
      [GPTQ, set({ pack_dtype: "int16" }), '"quantization_config.pack_dtype" is "int16"'],
      [GPTQ, set({ dynamic: [1] }), '"quantization_config.dynamic" is [1]'],
      [AWQ, set({ version: "gemv" }), '"quantization_config.version" is "gemv", expected "gemm"'],
      [AWQ, set({ version: "gemv_fast" }), '"quantization_config.version" is "gemv_fast"'],
      [AWQ, set({ version: "marlin" }), '"quantization_config.version" is "marlin"'],
      [AWQ, set({ version: "exllama" }), '"quantization_config.version" is "exllama"'],
      [AWQ, set({ backend: "llm-awq" }), '"quantization_config.backend" is "llm-awq"'],
      [AWQ, set({ bits: 8 }), '"quantization_config.bits" is 8, expected 4'],
      [COMPRESSED, set({ format: "int-quantized" }), 'format" is "int-quantized", expected "pack-'],
      [COMPRESSED, set({ config_groups: {} }), '"quantization_config.config_groups" is {}'],
      [COMPRESSED, set({ kv_cache_scheme: { num_bits: 8 } }), "kv_cache_scheme"],
      [COMPRESSED, set({ sparsity_config: { format: "sparse-24-bitmask" } }), "sparsity_config"],
      [COMPRESSED, set({ transform_config: { config_groups: { u: 1 } } }), "transform_config"],
      [COMPRESSED, groups({ input_activations: { num_bits: 8 } }), "group_0.input_activations"],
      [COMPRESSED, groups({ format: "nvfp4-pack-quantized" }), "group_0.format"],
      [COMPRESSED, groups({ weights: 3 }), "group_0.weights"],
      [COMPRESSED, groups({}, { type: "float" }), 'group_0.weights.type" is "float"'],
      [COMPRESSED, groups({}, { dynamic: true }), 'group_0.weights.dynamic" is true'],
      [COMPRESSED, groups({}, { num_bits: 3 }), 'group_0.weights.num_bits" is 3'],
      [COMPRESSED, groups({}, { strategy: "tensor" }), 'group_0.weights.strategy" is "tensor"'],
      [COMPRESSED, groups({}, { group_size: null }), "group_0.weights.group_size"],
    ] as const
  ) {
    const found = await refusal(options, change);
    assertStringIncludes(found, message);
    assertStringIncludes(found, "expected");
  }
});

Deno.test("quantized: tensors that do not fit are refused by name", async () => {
  const without = (name: string) => (tensors: Record<string, FileTensor>) => {
    assert(delete tensors[name]);
  };
  const put = (
    name: string,
    dtype: "F16" | "I32" | "I64" | "I8",
    shape: readonly number[],
    ...values: number[]
  ) =>
  (tensors: Record<string, FileTensor>) => {
    const count = shape.reduce((product, it) => product * it, 1);
    const all = Array.from({ length: count }, (_, i) => values[i % values.length] ?? 0);
    tensors[name] = tensorOf(dtype, shape, all);
  };
  const ordered = { ...GPTQ, order: 3 }, first = (value: number) => [value, ...Array(63).fill(1)];
  for (
    const [options, change, message, weights] of [
      [GPTQ, without("m.qzeros"), 'tensor "m.qzeros" is missing'],
      [GPTQ, without("m.scales"), 'tensor "m.scales" is missing'],
      [GPTQ, without("m.qweight"), 'no tensor is called "NAME.qweight"'],
      [AWQ, without("m.qzeros"), 'tensor "m.qzeros" is missing'],
      [COMPRESSED, without("m.weight_scale"), 'tensor "m.weight_scale" is missing'],
      [COMPRESSED, without("m.weight_shape"), 'tensor "m.weight_shape" is missing'],
      [COMPRESSED, without("m.weight_zero_point"), 'tensor "m.weight_zero_point" is missing'],
      [
        GPTQ,
        put("m.qweight", "I32", [8, 40]),
        '"m.scales" is F16 [2, 32], expected F16 or BF16 or F32 [any, 40]',
      ],
      [GPTQ, put("m.qweight", "I32", [8]), '"m.qweight" is I32 [8], expected I32 [any, any]'],
      [GPTQ, put("m.qweight", "I8", [32, 32]), '"m.qweight" is I8'],
      [GPTQ, put("m.qweight", "I32", [6, 32]), '"m.g_idx" is I32 [64], expected I32 [48]'],
      [GPTQ, put("m.qzeros", "I32", [2, 8]), '"m.qzeros" is I32 [2, 8], expected I32 [2, 4]'],
      [GPTQ, put("m.scales", "F16", [3, 32]), '"m.qzeros" is I32 [2, 4], expected I32 [3, 4]'],
      [GPTQ, put("m.scales", "I32", [2, 32]), '"m.scales" is I32'],
      [GPTQ, put("m.weight", "F16", [32, 64]), 'it has tensor "m.weight" and "m.qweight"'],
      [
        ordered,
        put("m.g_idx", "I32", [64], ...first(2)),
        '"m.g_idx" has column 0 in group 2, expected 0 to 1',
      ],
      [ordered, put("m.g_idx", "I32", [64], ...first(-1)), '"m.g_idx" has column 0 in group -1'],
      [
        ordered,
        put("m.g_idx", "I32", [64], 0),
        '"m.g_idx" has no column in group 1, expected some in each of 2 groups',
      ],
      [ordered, put("m.g_idx", "I64", [64]), '"m.g_idx" is I64'],
      [
        GPTQ,
        put("m.scales", "F16", [2, 32], Infinity),
        "the scale of group 0 of row 0 is Infinity",
      ],
      [
        GPTQ,
        put("m.scales", "F16", [2, 32], 1, NaN),
        "the scale of group 0 of row 1 is NaN",
        "f32",
      ],
      [
        { ...GPTQ, symmetric: true },
        put("m.qzeros", "I32", [2, 4], 0x77787777),
        'row 4 is 9, expected 8, as its configuration says; load it with weights "int8"',
      ],
      [
        { ...AWQ, groupSize: 16 },
        put("m.scales", "F16", [2, 32]),
        '"m.qzeros" is I32 [4, 4], expected I32 [2, 4]',
      ],
      [
        COMPRESSED,
        put("m.weight_shape", "I64", [2], 32, 40),
        'tensor "m.weight_shape" says [32, 40]',
      ],
      [
        COMPRESSED,
        put("m.weight_shape", "I64", [2], 16, 64),
        'tensor "m.weight_shape" says [16, 64]',
      ],
      [
        COMPRESSED,
        put("m.weight_shape", "I64", [2], 32, -64),
        'tensor "m.weight_shape" says [32, -64]',
      ],
      [
        COMPRESSED,
        put("m.weight_packed", "I32", [32, 16]),
        '"m.weight_packed" is I32 [32, 16], expected I32 [32, 8]',
      ],
      [
        COMPRESSED,
        put("m.weight_scale", "F16", [32, 3]),
        '"m.weight_zero_point" is I32 [4, 2], expected I32 [4, 3]',
      ],
      [
        COMPRESSED,
        put("m.weight_zero_point", "I8", [32, 2], 100),
        "the zero of group 0 of row 0 is no number of 4 bits",
      ],
      [
        COMPRESSED,
        put("m.weight_zero_point", "I8", [2, 32], 100),
        '"m.weight_zero_point" is I8 [2, 32]',
      ],
    ] as [PackOptions, (tensors: Record<string, FileTensor>) => void, string, WeightsOption?][]
  ) {
    assertStringIncludes(await refusal(options, change, weights), message);
  }
  // Groups that the configuration does not know.
  const fewer = (_: unknown, config: Record<string, unknown>): void =>
    void (config.group_size = 64);
  assertStringIncludes(
    await refusal(GPTQ, fewer),
    '"m.scales" has scales of 2 groups, expected 1 for 64 columns in groups of 64',
  );
});

Deno.test("quantized: what the configuration leaves out, and matrices with settings of their own", async () => {
  const a = packMatrix({ ...GPTQ, seed: 4 });
  const b = packMatrix({ ...GPTQ, bits: 8, groupSize: 64, symmetric: true, seed: 5 });
  const specs = [matrix("a", 32, 64, "a.weight"), matrix("b", 32, 64, "b.weight")];
  const check = async (file: ModelFile, layouts: readonly string[]): Promise<void> => {
    const weights = resolveWeights(specs, await readable(file), "as-is");
    assertEquals(["a", "b"].map((it) => weights.get(it)!.layout), layouts);
    const numbers = await numbersOf(weights);
    assertEquals([numbers.a, numbers.b], [a.values, b.values]);
    file.close();
  };
  // Bits and groups are those of the tensors where patterns change some.
  const config = quantizationConfig(GPTQ);
  const dynamic = { "-:.*head": {}, "+:^b": { bits: 8, group_size: 64, sym: true } };
  await check(await fileOf(named({ a, b }), { quantization_config: { ...config, dynamic } }), [
    ...["int8", "f32"], // the file does not say of which matrix zeros are even
  ]);
  // In a file of its own, as older programs write it.
  const plain = { a: { ...a }, b: packMatrix({ ...GPTQ, seed: 6 }) };
  const { quant_method: _, ...old } = config;
  const file = await fileOf(named(plain), {}, { "quantize_config.json": old });
  assertEquals(file.metadata.quantization_config, { quant_method: "gptq", ...old });
  const numbers = await numbersOf(resolveWeights(specs, await readable(file), "as-is"));
  assertEquals([numbers.a, numbers.b], [plain.a.values, plain.b.values]);
  const awq = packMatrix(AWQ),
    words = { zero_point: true, q_group_size: 32, w_bit: 4, version: "GEMM" };
  const older = await fileOf(named({ a: awq }), {}, { "quant_config.json": words });
  const [spec] = specs;
  const found = await numbersOf(resolveWeights([spec!], await readable(older), "as-is"));
  assertEquals(found.a, awq.values);
});

Deno.test("quantized: resolving tells what takes the room of f32, and unknown fields", async () => {
  const folder = new URL("golden/llama-gptq-g16/", FIXTURES);
  const file = await openModelFolder(memoryFolder("m/", {
    "config.json": await Deno.readFile(new URL("config.json", folder)),
    "model.safetensors": await Deno.readFile(new URL("model.safetensors", folder)),
  }));
  const { quantization_config: fields } = file.metadata;
  const metadata = { ...file.metadata, quantization_config: { ...fields as object, fresh: 1 } };
  const warnings: string[] = [];
  const resolved = await resolveModel({ ...file, metadata }, {}, (it) => warnings.push(it));
  assertEquals(
    resolved.quantization,
    "GPTQ, 14 matrices, 4 bits, groups of 16 columns, with zeros",
  );
  assertEquals(warnings.length, 2);
  assertStringIncludes(
    warnings[0]!,
    'mean nothing to this architecture: "quantization_config.fresh"',
  );
  assertStringIncludes(warnings[1]!, "14 quantized matrices that no layout of integers keeps");
  assertStringIncludes(warnings[1]!, "its groups of 16 columns do not fill blocks of 32");
});

Deno.test("quantized: inspect tells method, bits, groups, and the layout of every tensor", async () => {
  const inspect = async (...args: string[]): Promise<string> => {
    const { stdout } = await new Deno.Command(Deno.execPath(), {
      args: ["run", "-A", "cli/main.ts", "inspect", ...args],
      cwd: new URL("../", import.meta.url),
      env: { NO_COLOR: "1" },
    }).output();
    return new TextDecoder().decode(stdout);
  };
  const [whole, order, narrow, rounded, json] = await Promise.all([
    inspect("tests/golden/llama-gptq"),
    inspect("tests/golden/llama-gptq-actorder", "--tensors"),
    inspect("tests/golden/llama-gptq-g16", "--tensors"),
    inspect("tests/golden/llama-awq", "--weights", "int4m"),
    inspect("tests/golden/llama-awq", "--json"),
  ]);
  assertStringIncludes(
    whole!,
    "Quantization: GPTQ, 14 matrices, 4 bits, groups of 32 columns, symmetric\n",
  );
  assertStringIncludes(whole!, "42 × I32 stored as int4, exactly");
  assertStringIncludes(order!, "with zeros, 14 in activation order\n");
  assertStringIncludes(order!, "model.layers.0.self_attn.q_proj.qweight  [8, 64]  I32 → int8  ");
  assertStringIncludes(narrow!, "→ f32 (its groups of 16 columns do not fill blocks of 32)");
  assertStringIncludes(rounded!, "28 × I32 stored as int4m, rounded");
  const { quantization, tensors } = JSON.parse(json!);
  assertEquals(quantization, "AWQ, 14 matrices, 4 bits, groups of 32 columns, with zeros");
  const codes = tensors.filter(({ name }: { name: string }) => name.endsWith(".qweight"));
  assertEquals(codes.length, 14);
  for (const { layout, exact } of codes) assertEquals([layout, exact], ["int8", true]);
});
