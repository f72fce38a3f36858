/** Checkpoints of GPTQ, AWQ and compressed-tensors: every number that layouts hold. */

import { assert, assertEquals, assertRejects, assertStringIncludes } from "@std/assert";
import { ModelError } from "../errors.ts";
import { loadModel } from "../mod.ts";
import { decodeRows, encodeRows, type LayoutName, LAYOUTS } from "../quant/formats.ts";
import { matrix, vector, type WeightSpec } from "../runtime/models/weight_spec.ts";
import { resolveWeights, type WeightsOption } from "../runtime/models/weights.ts";
import { normalNumbers, randomNumbers } from "./fixtures.ts";
import {
  fileOf,
  type FileTensor,
  named,
  numbersOf,
  packMatrix,
  type PackOptions,
  quantizationConfig,
  readable,
  safetensorsOf,
  tensorOf,
} from "./packed_files.ts";
import { withFolder } from "./tiny_model.ts";
import { dict, pickle, tensor, torchZip } from "./torch_files.ts";

/** Rows with their columns in another order. */
function reordered(values: Float32Array, order: ArrayLike<number>): Float32Array {
  const columns = order.length;
  return values.map((_, at) => values[at - at % columns + order[at % columns]!]!);
}

/** Columns by their group. */
function orderOf(groups: Int32Array): number[] {
  return Array.from(groups.keys()).sort((a, b) => groups[a]! - groups[b]! || a - b);
}

/** The layout that keeps a matrix, by what is known of it. */
function keeping({ bits, symmetric, groupSize = 32, scaleType }: PackOptions): LayoutName {
  if (groupSize % 32 !== 0 || scaleType === "F32") return "f32";
  if (bits === 4) return symmetric ? "int4" : "int8";
  return symmetric ? "int8" : "f32";
}

const SHAPES = [
  { rows: 32, columns: 128, groupSize: 16 },
  { rows: 48, columns: 128, groupSize: 32 },
  { rows: 32, columns: 256, groupSize: 128 },
  { rows: 32, columns: 160, groupSize: 64 },
  { rows: 32, columns: 72 },
];

const VARIANTS: readonly Partial<PackOptions>[] = [
  {},
  { symmetric: true },
  { scaleType: "BF16" },
  { scaleType: "F32" },
  { scaleType: "F32", symmetric: true },
];

/** All that is tried of a form. */
function* casesOf(form: PackOptions["form"]): Iterable<PackOptions> {
  for (const bits of form === "awq" ? [4] as const : [4, 8] as const) {
    for (const shape of SHAPES) {
      for (const variant of VARIANTS) {
        const orders = form === "awq" || shape.groupSize === undefined
          ? [undefined]
          : [undefined, 5];
        for (const order of orders) {
          yield { form, bits, ...shape, ...variant, ...(order !== undefined && { order }) };
        }
      }
    }
  }
}

for (const form of ["gptq", "gptq_v2", "awq", "compressed"] as const) {
  Deno.test(`quantized: ${form}: layouts hold the very numbers, or say that they round`, async () => {
    for (const options of casesOf(form)) {
      const { rows, columns, groupSize = columns } = options;
      const packed = packMatrix(options), what = JSON.stringify(options);
      const file = await readable(
        await fileOf(named({ m: packed }), { quantization_config: quantizationConfig(options) }),
      );
      // Groups of uneven length do not fill blocks when their columns are mixed.
      const isUneven = options.order !== undefined && columns % groupSize !== 0;
      const own = isUneven && groupSize % 32 !== 0 ? "f32" : keeping(options);
      for (const option of ["as-is", "int4", "int4m", "int8", "f32"] as const) {
        const specs = [
          matrix("m", rows, columns, "m.weight"),
          matrix("half", 16, columns, {
            tensor: "m.weight",
            fileShape: [rows, columns],
            rows: [[16, 16]],
          }),
        ];
        const weights = resolveWeights(specs, file, option);
        const { layout, exact, order, tensors, obstacle } = weights.get("m")!;
        assertEquals(layout, option === "as-is" ? own : option, what);
        assertEquals(tensors.toSorted(), Object.keys(named({ m: packed })).sort());
        const isKept = layout === "f32" || layout === own ||
          layout === "int8" && own === "int4" || layout === "int4m" && own === "int4";
        assertEquals(exact, isKept, `${what} ${option}`);
        assertEquals(obstacle !== undefined, option === "as-is" && own === "f32", what);
        const numbers = await numbersOf(weights);
        const keepsCodes = isKept || layout === "int4m" && own === "int8" && options.bits === 4;
        const isOrdered = options.order !== undefined && keepsCodes && layout !== "f32";
        assertEquals(order, isOrdered ? "m.order" : undefined, `${what} ${option}`);
        const columnsInOrder = isOrdered ? orderOf(packed.groups) : Array(columns).keys().toArray();
        if (isOrdered) assertEquals(Array.from(numbers["m.order"]!), columnsInOrder);
        const expected = reordered(packed.values, columnsInOrder);
        if (isKept) assertEquals(numbers.m, expected, `${what} ${option}`);
        else if (keepsCodes) {
          // A minimum of 11 bits.
          expected.forEach((it, i) =>
            assert(Math.abs(numbers.m![i]! - it) < 2 / 64 * 16 / 2048, what)
          );
        } else {
          const rounded = encodeRows(LAYOUTS[layout], packed.values, columns);
          assertEquals(numbers.m, decodeRows(LAYOUTS[layout], rounded, columns), what);
        }
        assertEquals(numbers.half, numbers.m!.subarray(16 * columns, 32 * columns));
      }
      file.close();
    }
  });
}

Deno.test("quantized: stacked, transposed and computed weights are made of packed matrices", async () => {
  const of = (seed: number, more: Partial<PackOptions> = {}): PackOptions => ({
    ...{ form: "gptq", bits: 4, rows: 32, columns: 64, groupSize: 32, order: seed, seed },
    ...more,
  });
  const one = packMatrix(of(1)), two = packMatrix(of(2)), same = packMatrix(of(1, { seed: 3 }));
  const file = await readable(
    await fileOf(
      { ...named({ one, two, same }), plain: tensorOf("F32", [32, 64], one.values) },
      { quantization_config: quantizationConfig(of(1)) },
    ),
  );
  const stack = (name: string, ...tensor: string[]): WeightSpec =>
    matrix(name, 32 * tensor.length, 64, { tensor });
  const weights = resolveWeights(
    [
      stack("0.mixed", "one.weight", "two.weight"),
      stack("0.same", "one.weight", "same.weight"),
      matrix("0.turned", 32, 64, { tensor: "one.weight", transposed: true }),
      matrix("1.later", 32, 64, "same.weight"),
      vector("0.flat", 64, { tensor: "one.weight", fileShape: [32, 64], rows: [[3, 1]] }),
      {
        ...{ name: "0.computed", role: "table", shape: [32, 64] },
        source: {
          uses: [{ name: "two.weight", shape: [32, 64] }],
          values: (read) => read("two.weight"),
        },
      },
    ],
    file,
    "as-is",
  );
  const numbers = await numbersOf(weights), order = orderOf(one.groups);
  const joined = (...all: Float32Array[]): number[] => all.flatMap((it) => Array.from(it));
  // Different orders cannot be one's.
  assertEquals(weights.get("0.mixed")!.layout, "f32");
  assertStringIncludes(weights.get("0.mixed")!.obstacle!, "different orders");
  assertEquals(Array.from(numbers["0.mixed"]!), joined(one.values, two.values));
  assertEquals(weights.get("0.same")!.layout, "int8");
  assertEquals(
    Array.from(numbers["0.same"]!),
    joined(reordered(one.values, order), reordered(same.values, order)),
  );
  assertEquals(numbers["0.turned"], reordered(one.values, order));
  assertEquals(numbers["0.flat"], one.values.slice(3 * 64, 4 * 64));
  assertEquals(numbers["0.computed"], two.values);
  // Weights of a layer share an order; a layer has its own.
  assertEquals(weights.get("0.turned")!.order, "0.same.order");
  assertEquals(weights.get("1.later")!.order, "1.later.order");
  // Plain and packed parts are no one weight.
  const parts = [stack("0.both", "one.weight", "plain")];
  const error = await assertRejects(
    async () => await Promise.resolve(resolveWeights(parts, file, "as-is")),
    ModelError,
  );
  assertStringIncludes(error.message, 'tensor "plain" is of type F32, expected I32');
});

type ModelOptions = Omit<PackOptions, "rows" | "columns"> & { readonly experts?: number };

/** A model of the llama family, of plain numbers and of packed ones; with experts as Mixtral has them. */
function modelOf({ experts = 0, ...options }: ModelOptions): {
  plain: Record<string, FileTensor>;
  packed: Record<string, FileTensor>;
  config: Record<string, unknown>;
} {
  const config = {
    ...{ model_type: "qwen2", hidden_size: 64, intermediate_size: 96, num_hidden_layers: 2 },
    ...{ num_attention_heads: 4, num_key_value_heads: 2, vocab_size: 48, rms_norm_eps: 1e-5 },
    ...{ max_position_embeddings: 64, tie_word_embeddings: false, torch_dtype: "float32" },
    ...(experts > 0 && { model_type: "mixtral", num_local_experts: experts }),
  };
  const random = randomNumbers(3), plain: Record<string, FileTensor> = {};
  const packed: Record<string, FileTensor> = {};
  let seed = 10;
  const numbers = (name: string, shape: readonly number[], scale: number, center = 0): void => {
    const count = shape.reduce((product, it) => product * it, 1);
    const values = normalNumbers(count, random).map((it) => center + scale * it);
    plain[name] = packed[name] = tensorOf("F32", shape, values);
  };
  const linear = (name: string, rows: number, columns: number): void => {
    const own = { rows, columns, seed: seed++ };
    const order = options.order === undefined ? {} : { order: options.order + seed };
    const it = packMatrix({
      scale: (x) => (1 + x) / (options.bits === 4 ? 80 : 1280),
      ...options,
      ...own,
      ...order,
    });
    plain[`${name}.weight`] = tensorOf("F32", [rows, columns], it.values);
    Object.assign(packed, named({ [name]: it }));
  };
  numbers("model.embed_tokens.weight", [48, 64], 1);
  numbers("model.norm.weight", [64], 0.1, 1);
  linear("lm_head", 48, 64);
  for (let i = 0; i < 2; i++) {
    const layer = `model.layers.${i}.`;
    numbers(`${layer}input_layernorm.weight`, [64], 0.1, 1);
    numbers(`${layer}post_attention_layernorm.weight`, [64], 0.1, 1);
    for (const [name, rows] of [["q", 64], ["k", 32], ["v", 32]] as const) {
      linear(`${layer}self_attn.${name}_proj`, rows, 64);
      if (experts === 0) numbers(`${layer}self_attn.${name}_proj.bias`, [rows], 0.3);
    }
    linear(`${layer}self_attn.o_proj`, 64, 64);
    if (experts > 0) numbers(`${layer}block_sparse_moe.gate.weight`, [experts, 64], 0.3);
    for (let e = 0; e < Math.max(experts, 1); e++) {
      const path = `${layer}${experts > 0 ? `block_sparse_moe.experts.${e}.` : "mlp."}`;
      const [gate, up, down] = experts > 0
        ? ["w1", "w3", "w2"]
        : ["gate_proj", "up_proj", "down_proj"];
      linear(`${path}${gate}`, 96, 64);
      linear(`${path}${up}`, 96, 64);
      linear(`${path}${down}`, 64, 96);
    }
  }
  return { plain, packed, config };
}

/** Logits of a few tokens. */
async function logitsOf(
  tensors: Readonly<Record<string, FileTensor>>,
  config: Record<string, unknown>,
  options: Parameters<typeof loadModel>[1],
): Promise<Float32Array> {
  const directory = await Deno.makeTempDir();
  try {
    await Deno.writeTextFile(`${directory}/config.json`, JSON.stringify(config));
    await Deno.writeFile(`${directory}/model.safetensors`, safetensorsOf(tensors));
    await using model = await loadModel(directory, { onWarning: () => {}, ...options });
    return await model.logits({ ids: [3, 1, 4, 1, 5, 9, 2, 6] });
  } finally {
    await Deno.remove(directory, { recursive: true });
  }
}

function furthest(a: Float32Array, b: Float32Array): number {
  assertEquals(a.length, b.length);
  return a.reduce((most, it, i) => {
    const off = Math.abs(it - b[i]!);
    return off <= most ? most : off; // NaN counts as the largest
  }, 0);
}

for (
  const options of [
    { form: "gptq", bits: 4, groupSize: 32, symmetric: true },
    { form: "gptq", bits: 4, groupSize: 32, order: 100 },
    { form: "gptq_v2", bits: 8, groupSize: 32, symmetric: true, order: 100 },
    { form: "gptq", bits: 8 },
    { form: "awq", bits: 4, groupSize: 16 },
    { form: "compressed", bits: 4, groupSize: 32, order: 200 },
    { form: "awq", bits: 4, groupSize: 32, experts: 4 },
    { form: "gptq", bits: 4, groupSize: 32, order: 100, experts: 4 },
    { form: "compressed", bits: 4, scaleType: "BF16", symmetric: true },
  ] as const
) {
  Deno.test(`quantized: a model gives the logits of its numbers, ${JSON.stringify(options)}`, async () => {
    const { plain, packed, config } = modelOf(options);
    const expected = await logitsOf(plain, config, { backend: "reference" });
    const quantization = quantizationConfig({ ...options, rows: 0, columns: 0 });
    const fields = { ...config, quantization_config: quantization };
    for (
      const [backend, weights, bound] of [
        ["reference", "as-is", 1e-6],
        ["reference", "f32", 0],
        ["wasm", "f32", 1e-4], // where no activation is rounded to 8 bits
        ["wasm", "as-is", 0.1],
      ] as [string, WeightsOption, number][]
    ) {
      const logits = await logitsOf(packed, fields, {
        backend: backend as "wasm",
        weights,
        threads: 2,
      });
      const off = furthest(logits, expected);
      assert(off <= bound, `${backend} ${weights}: ${off}, at most ${bound} expected`);
    }
  });
}

Deno.test("quantized: torch files are read alike, and sessions of such models are saved", async () => {
  const options = { form: "gptq", bits: 4, groupSize: 32, order: 7 } as const;
  const { packed, config } = modelOf(options);
  const quantization = quantizationConfig({ ...options, rows: 0, columns: 0 });
  const kinds: Record<string, string> = { F32: "Float", F16: "Half", I32: "Int" };
  const state: Record<string, Uint8Array> = {}, storages: Record<string, Uint8Array> = {};
  for (const [name, { dtype, shape, data }] of Object.entries(packed)) {
    const key = `${Object.keys(storages).length}`;
    const strides = shape.map((_, i) => shape.slice(i + 1).reduce((a, b) => a * b, 1));
    const count = shape.reduce((a, b) => a * b, 1);
    state[name] = tensor({ kind: kinds[dtype]!, key, count, shape, strides });
    storages[key] = data;
  }
  const fields = JSON.stringify({ ...config, quantization_config: quantization });
  const ids = [3, 1, 4, 1, 5], load = { backend: "reference" } as const;
  let expected: Float32Array | undefined, saved: Uint8Array | undefined;
  for (
    const [name, bytes] of [
      ["model.safetensors", safetensorsOf(packed)],
      ["pytorch_model.bin", torchZip(pickle(dict(state)), storages)],
      ["model.safetensors", safetensorsOf(packed)],
    ] as const
  ) {
    await withFolder({ "config.json": fields, [name]: bytes }, async (folder) => {
      await using model = await loadModel(folder, load);
      using session = saved ? await model.restore(saved) : model.session();
      if (!saved) await session.prefill({ ids });
      const logits = await session.step(9);
      expected ??= logits;
      assertEquals(logits, expected, name);
      using other = model.session();
      await other.prefill({ ids });
      saved = await other.save();
    });
  }
});
