/**
 * What configurations and tensors of model files are refused, told or taken silently: a setting that
 * would change the answer and is not understood is an error, and nothing is passed over in silence.
 */

import {
  assert,
  assertEquals,
  assertRejects,
  assertStringIncludes,
  assertThrows,
} from "@std/assert";
import { loadModel } from "../mod.ts";
import { ModelError } from "../errors.ts";
import { openModelFile } from "../runtime/files/open.ts";
import { findDefinition } from "../runtime/models/registry.ts";
import { FIXTURES, ggufBytes, safetensorsBytes } from "./fixtures.ts";
import { distance, IDS, setting, weightsOf, withSetting } from "./settings.ts";
import { assemble as assembleValues, disassemble } from "./tensor_files.ts";
import { tinyContents, withFolder } from "./tiny_model.ts";

interface Part {
  dtype: string;
  shape: number[];
  data: Uint8Array;
}
type Parts = Map<string, Part>;

/** The tensors of an architecture's model without biases of choice, for tests that change something. */
function partsOf(architecture: string): Parts {
  const bytes = weightsOf(architecture);
  const length = Number(new DataView(bytes.buffer).getBigUint64(0, true));
  const header = JSON.parse(new TextDecoder().decode(bytes.subarray(8, 8 + length)));
  delete header.__metadata__;
  return new Map(
    Object.entries(header as Record<string, { data_offsets: [number, number] } & Part>)
      .filter(([name]) => !name.endsWith(".bias") || architecture.startsWith("qwen2"))
      .map(([name, { dtype, shape, data_offsets: [begin, end] }]) => [
        name,
        { dtype, shape, data: bytes.slice(8 + length + begin, 8 + length + end) },
      ]),
  );
}

function assemble(parts: Parts): Uint8Array {
  const header: Record<string, unknown> = {};
  let at = 0;
  for (const [name, { dtype, shape, data }] of parts) {
    header[name] = { dtype, shape, data_offsets: [at, at + data.length] };
    at += data.length;
  }
  const data = new Uint8Array(at);
  at = 0;
  for (const part of parts.values()) {
    data.set(part.data, at);
    at += part.data.length;
  }
  return safetensorsBytes(header, data);
}

const floats = (values: ArrayLike<number>): Uint8Array =>
  new Uint8Array(Float32Array.from(values).buffer);

/** Logits of a changed model on the reference backend, and what was told. */
async function run(
  architecture: string,
  fields: Record<string, unknown> = {},
  change: (parts: Parts) => void = () => {},
): Promise<{ logits: Float32Array; warnings: readonly string[] }> {
  const parts = partsOf(architecture);
  change(parts);
  const config = { ...setting(architecture, "nothing else").config, ...fields };
  let result: { logits: Float32Array; warnings: readonly string[] } | undefined;
  await withSetting({ architecture, config }, { backend: "reference" }, async (model, warnings) => {
    result = { logits: await model.logits({ ids: IDS }), warnings };
  }, assemble(parts));
  return result!;
}

/** The message with which a changed model is refused. */
async function refusal(
  architecture: string,
  fields: Record<string, unknown>,
  change?: (parts: Parts) => void,
): Promise<string> {
  const { message } = await assertRejects(() => run(architecture, fields, change), ModelError);
  return message;
}

/** Without warnings and with the logits of the setting. */
function assertPlain(
  { logits, warnings }: { logits: Float32Array; warnings: readonly string[] },
  architecture: string,
  name = "nothing else",
): void {
  assertEquals(warnings, []);
  const off = distance(logits, setting(architecture, name).logits);
  assert(off <= 1e-4, `logits differ by ${off}`);
}

const HEAD = "lm_head.weight", EMBEDDING = "model.embed_tokens.weight";

Deno.test("config: a checkpoint without head has names without model.", async () => {
  const strip = (parts: Parts): void => {
    for (const [name, part] of Array.from(parts)) {
      parts.delete(name);
      if (name !== HEAD) parts.set(name.replace(/^model\./, ""), part);
    }
  };
  for (const architecture of ["qwen2", "qwen3_moe"]) {
    const tied = { tie_word_embeddings: true };
    const whole = await run(architecture, tied, (parts) => parts.delete(HEAD));
    const base = await run(architecture, tied, strip);
    assertEquals(base, whole);
    assertEquals(base.warnings, []);
  }
  const { warnings } = await run("qwen2", {}, strip);
  assertEquals(warnings.length, 1);
  assertStringIncludes(warnings[0]!, "has no output head, and its embeddings are not tied");
});

Deno.test("config: a head that is missing is missed", async () => {
  const message = await refusal("qwen2", {}, (parts) => parts.delete(HEAD));
  assertStringIncludes(message, 'tensor "lm_head.weight" is missing');
});

Deno.test("config: embeddings are tied unless the file has another head", async () => {
  const tied = { tie_word_embeddings: true };
  const other = await run("llama", tied);
  assertEquals(other.warnings.length, 1);
  assertStringIncludes(other.warnings[0]!, `tensor "${HEAD}" differs`);
  assertPlain({ ...other, warnings: [] }, "llama");
  const expected = await run("llama", tied, (parts) => parts.delete(HEAD));
  assertEquals(expected.warnings, []);
  assert(distance(expected.logits, setting("llama", "nothing else").logits) > 0.1);
  const same = (parts: Parts): void => void parts.set(HEAD, parts.get(EMBEDDING)!);
  assertEquals(await run("llama", tied, same), expected);
  const only = (parts: Parts): void => {
    same(parts);
    parts.delete(EMBEDDING);
  };
  assertEquals(await run("llama", tied, only), expected);
});

Deno.test("config: layers and tensors that are not used are told, and inspect lists them", async () => {
  const fewer = await run("llama", { num_hidden_layers: 2 });
  assertEquals(fewer.warnings, [
    '"/model.safetensors" has 4 layers, of which 2 are used: num_hidden_layers is 2',
  ]);
  const vector = { dtype: "F32", shape: [4], data: floats([1, 2, 3, 4]) };
  const extra = await run("llama", {}, (parts) => {
    parts.set("model.layers.0.extra.weight", vector);
    parts.set("model.layers.0.self_attn.rotary_emb.inv_freq", vector);
    parts.set("rotary_emb.inv_freq", vector);
    parts.set("transformer.h.0.attn.bias", vector);
    parts.set("h.1.attn.masked_bias", vector);
  });
  assertEquals(extra.warnings, [
    '"/model.safetensors" has tensors that are not used: "model.layers.0.extra.weight"',
  ]);
  assertPlain({ ...extra, warnings: [] }, "llama");
  // Biases that the configuration does not name, as the original ignores them.
  const biases = await run(
    "llama",
    {},
    (parts) =>
      parts.set("model.layers.1.self_attn.q_proj.bias", {
        dtype: "F32",
        shape: [16],
        data: floats(Array(16).fill(1)),
      }),
  );
  assertPlain({ ...biases, warnings: [] }, "llama");
  assertStringIncludes(biases.warnings[0]!, "self_attn.q_proj.bias");
  const config = { ...setting("llama", "nothing else").config, num_hidden_layers: 3, foo: 1 };
  const files = {
    "config.json": JSON.stringify(config),
    "model.safetensors": assemble(partsOf("llama")),
  };
  await withFolder(files, async (path) => {
    const { stdout } = await new Deno.Command(Deno.execPath(), {
      args: ["run", "-A", "cli/main.ts", "inspect", "--json", path],
      cwd: new URL("..", import.meta.url),
    }).output();
    const { warnings } = JSON.parse(new TextDecoder().decode(stdout));
    assertEquals(warnings.length, 2);
    assertStringIncludes(warnings[0], '"foo"');
    assertStringIncludes(warnings[1], "has 4 layers, of which 3 are used");
  });
});

Deno.test("config: what Python writes, names of one function, and windows of nothing load", async () => {
  const config = JSON.stringify(setting("llama", "nothing else").config).replace(
    "{",
    '{"initializer_range": NaN, "router_z_loss_coef": Infinity, "attention_dropout": -Infinity, ' +
      '"name_or_path": "NaN or \\"Infinity\\"", ',
  );
  await withFolder(
    { "config.json": config, "model.safetensors": assemble(partsOf("llama")) },
    async (path) => {
      await using model = await loadModel(path, { backend: "reference" });
      const logits = await model.logits({ ids: IDS });
      assertPlain({ logits, warnings: [] }, "llama");
    },
  );
  const zero = { sliding_window: 0 };
  assertPlain(await run("mistral", zero), "mistral");
  assertPlain(await run("qwen2", { ...zero, use_sliding_window: true }), "qwen2");
  const message = await refusal("llama", { rope_theta: "Infinity" });
  assertStringIncludes(message, '"rope_theta" is "Infinity"');
});

Deno.test("config: a Qwen3 without head_dim has that of its norms", async () => {
  assertPlain(await run("qwen3", { head_dim: undefined }), "qwen3");
});

Deno.test("config: numbers of 64 bits load", async () => {
  const widen = (part: Part): void => {
    part.dtype = "F64";
    part.data = new Uint8Array(Float64Array.from(new Float32Array(part.data.buffer)).buffer);
  };
  const all = (parts: Parts): void => parts.forEach(widen);
  for (const it of ["llama", "qwen2_moe"]) assertPlain(await run(it, {}, all), it);
  const parts = partsOf("qwen3");
  all(parts);
  const { config, logits } = setting("qwen3", "nothing else");
  for (const options of [{ threads: 2 }, { weights: "int8" }] as const) {
    await withSetting(
      { architecture: "qwen3", config },
      { backend: "wasm", ...options },
      async (model) => {
        const off = distance(await model.logits({ ids: IDS }), logits);
        assert(off <= ("weights" in options ? 1 : 1e-3), `logits differ by ${off}`);
      },
      assemble(parts),
    );
  }
  const message = await refusal("llama", {}, (parts) => {
    const norm = parts.get("model.norm.weight")!;
    widen(norm);
    new Float64Array(norm.data.buffer)[3] = 1e300;
  });
  assertStringIncludes(message, 'tensor "model.norm.weight"');
  const contents = tinyContents();
  const plain = await ggufLogits(contents);
  for (const tensor of contents.tensors) {
    const values = new Float32Array((tensor.data as Uint8Array).slice().buffer);
    Object.assign(tensor, {
      type: "F64",
      data: new Uint8Array(Float64Array.from(values).buffer),
    });
  }
  assertEquals((await ggufLogits(contents)).logits, plain.logits);
});

/** Fields that would change the answer, of some architecture. */
const REFUSED: readonly (readonly [architecture: string, field: string, value: unknown])[] = [
  ["llama", "attn_logit_softcapping", 30],
  ["llama", "final_logit_softcapping", 30],
  ["llama", "residual_multiplier", 0.22],
  ["llama", "embedding_multiplier", 12],
  ["llama", "logits_scaling", 8],
  ["llama", "attention_multiplier", 0.01],
  ["llama", "partial_rotary_factor", 0.5],
  ["llama", "is_causal", false],
  ["llama", "use_bidirectional_attention", true],
  ["llama", "num_local_experts", 8],
  ["llama", "hidden_act", "gelu"],
  ["llama", "layer_types", ["sliding_attention", ...Array(3).fill("full_attention")]],
  ["llama", "rope_scaling", { rope_type: "mrope", mrope_section: [1, 1, 2] }],
  ["llama", "rope_scaling", { rope_type: "linear", factor: 2, new_factor: 3 }],
  ["llama", "rope_parameters", { full_attention: { rope_theta: 10000 } }],
  ["llama", "rope_parameters", { rope_type: "proportional", rope_theta: 10000 }],
  ["llama", "rope_scaling", { rope_type: "yarn" }],
  ["llama", "rope_scaling", { rope_type: "longrope", short_factor: "1" }],
  ["olmoe", "clip_qkv", 8],
  ["olmoe", "num_local_experts", 3],
  ["mistral", "attention_bias", true],
  ["mixtral", "routed_scaling_factor", 2.5],
  ["qwen2", "mlp_bias", true],
  ["qwen2", "layer_types", Array(4).fill("sliding_attention")],
  ["qwen2", "layer_types", Array(4).fill("linear_attention")],
  ["qwen3", "norm_topk_prob", true],
  ["qwen3_moe", "n_shared_experts", 1],
  ["qwen2_moe", "scoring_func", "sigmoid"],
];

for (const [architecture, field, value] of REFUSED) {
  Deno.test(`config: ${architecture} with ${field} ${JSON.stringify(value)} is refused`, async () => {
    assertStringIncludes(await refusal(architecture, { [field]: value }), field);
  });
}

Deno.test("config: settings that say what is so anyway are taken silently", async () => {
  assertPlain(
    await run("llama", {
      ...{ attn_logit_softcapping: null, final_logit_softcapping: 0, residual_multiplier: 1.0 },
      ...{ partial_rotary_factor: 1.0, is_causal: true, num_local_experts: 0, clip_qkv: null },
      ...{ layer_types: Array(4).fill("full_attention"), attention_bias: false },
      ...{ quantization_config: null, pretraining_tp: 2, torch_dtype: "bfloat16" },
      quantization: {},
    }),
    "llama",
  );
  const bitsandbytes = { quant_method: "bitsandbytes", load_in_4bit: false, load_in_8bit: false };
  assertPlain(await run("qwen2", { quantization_config: bitsandbytes }), "qwen2");
});

Deno.test("config: weights that a quantizer packed are refused by its name", async () => {
  for (const method of ["bitsandbytes", "fp8", "mxfp4", "hqq", "aqlm"]) {
    const quantization = { quant_method: method, load_in_4bit: true };
    const message = await refusal("llama", { quantization_config: quantization });
    assertStringIncludes(message, `quantized (field "quantization_config": "${method}")`);
  }
  const gptq = { quant_method: "gptq", bits: 4, group_size: 32 };
  assertStringIncludes(
    await refusal("llama", { quantization_config: gptq }),
    'quantized (field "quantization_config": "gptq"), but no tensor is called "NAME.qweight"',
  );
  assertStringIncludes(await refusal("llama", { quantization: { bits: 4 } }), "4 bits");
  const q = "model.layers.0.self_attn.q_proj", experts = "model.layers.0.mlp.experts";
  for (
    const [name, kind] of [
      [`${q}.qweight`, "GPTQ or AWQ"],
      [`${q}.weight_scale_inv`, "FP8"],
      [`${q}.weight_packed`, "compressed-tensors"],
      [`${q}.weight.absmax`, "bitsandbytes"],
      [`${q}.scales`, "MLX"],
      [`${q}.lora_A.weight`, "LoRA"],
      [`${experts}.gate_up_proj`, "experts fused"],
      ["model.layers.0.self_attn.qkv_proj.weight", "queries, keys and values fused"],
    ] as const
  ) {
    const message = await refusal("llama", {}, (parts) => {
      parts.set(name, { dtype: "F32", shape: [1], data: floats([1]) });
    });
    assertStringIncludes(message, kind);
    assertStringIncludes(message, name);
  }
});

Deno.test("config: ropes that change with the length are held to where they do not", async () => {
  for (const [name, positions] of [["dynamic", 64], ["longrope", 48]] as const) {
    const it = setting("llama", name);
    await withSetting(it, { backend: "reference" }, (model) => {
      assertEquals(model.contextLength, positions);
      return Promise.resolve();
    });
    const tooLong = (): Promise<void> =>
      withSetting(
        it,
        { backend: "reference", contextLength: positions + 1 },
        () => Promise.resolve(),
      );
    const { message } = await assertRejects(tooLong, ModelError);
    assertStringIncludes(message, `rope type "${name}" is supported up to ${positions} positions`);
  }
});

Deno.test("config: ropes whose numbers do not fit together are refused", async () => {
  const longrope = { rope_type: "longrope", short_factor: [1, 2, 3], long_factor: [1, 2, 3] };
  const message = await refusal("llama", { rope_scaling: longrope });
  assertStringIncludes(message, "3 divisors of rotary frequencies, expected 4");
  assertStringIncludes(await refusal("llama", { rope_scaling: { factor: 2 } }), "a rope_type that");
  const yarn = { rope_type: "yarn", factor: 4, beta_fast: -1 };
  assertStringIncludes(await refusal("llama", { rope_scaling: yarn }), "rotary positions");
});

Deno.test("config: experts of Qwen may be none", async () => {
  const message = await refusal("mixtral", { num_local_experts: 0 });
  assertStringIncludes(message, "num_local_experts");
  // Its blocks are dense, which the file has not.
  assertStringIncludes(await refusal("qwen3_moe", { num_experts: 0 }), "mlp.gate_proj.weight");
});

/** Logits of a GGUF model in memory, and what was told. */
async function ggufLogits(
  contents: ReturnType<typeof tinyContents>,
): Promise<{ logits: Float32Array; warnings: string[] }> {
  const warnings: string[] = [];
  await using model = await loadModel(new Blob([await ggufBytes(contents)]), {
    backend: "reference",
    onWarning: (message) => warnings.push(message),
  });
  return { logits: await model.logits({ ids: IDS }), warnings };
}

Deno.test("config: a context longer than a model was made for is told", async () => {
  const blob = new Blob([await ggufBytes(tinyContents({ context: 64 }))]);
  for (const [contextLength, told] of [[64, 0], [65, 1]] as const) {
    const warnings: string[] = [];
    const onWarning = (message: string): void => void warnings.push(message);
    await using _ = await loadModel(blob, { backend: "reference", contextLength, onWarning });
    assertEquals(warnings.length, told, warnings.join());
    if (told) assertStringIncludes(warnings[0]!, "up to 64 tokens: with contextLength 65");
  }
});
Deno.test("config: an encoder that is a decoder, and sees only what came before, is refused", async () => {
  for (const name of ["bert", "roberta", "ernie", "nomic-bert"]) {
    const file = await openModelFile(new URL(`golden/${name}/`, FIXTURES));
    const definition = await findDefinition(file);
    for (const field of ["is_decoder", "add_cross_attention"]) {
      for (const value of [false, null]) {
        definition.parseConfig({ ...file, metadata: { ...file.metadata, [field]: value } });
      }
      const metadata = { ...file.metadata, [field]: true };
      assertThrows(
        () => definition.parseConfig({ ...file, metadata }),
        ModelError,
        `field "${field}" is true, which is not supported and would change the results`,
      );
    }
    file.close();
  }
});

Deno.test("config: a decoder that begins with no word is refused", async () => {
  for (const name of ["t5-v1.0", "switch", "marian"]) {
    const file = await openModelFile(new URL(`golden/${name}/`, FIXTURES));
    const definition = await findDefinition(file), vocab = file.metadata.vocab_size as number;
    const start = (id: number): unknown =>
      definition.parseConfig({
        ...file,
        metadata: { ...file.metadata, decoder_start_token_id: id },
      });
    start(vocab - 1);
    const message = `decoder_start_token_id is ${vocab}, expected a word`;
    assertThrows(() => start(vocab), ModelError, message);
    file.close();
  }
});

Deno.test("a leading extent of one changes nothing, also where a weight is some rows of a tensor", async () => {
  for (const name of ["nomic-bert", "gpt2"]) {
    const folder = new URL(`golden/${name}/`, FIXTURES);
    const config = await Deno.readTextFile(new URL("config.json", folder));
    const weights = await Deno.readFile(new URL("model.safetensors", folder));
    const longer = new Map(disassemble(weights));
    for (const [tensor, part] of Array.from(longer)) {
      longer.set(tensor, { ...part, shape: [1, ...part.shape] });
    }
    const hidden: Float32Array[] = [];
    for (const bytes of [weights, assembleValues(longer)]) {
      await withFolder({ "config.json": config, "model.safetensors": bytes }, async (path) => {
        await using model = await loadModel(path, { backend: "reference" });
        hidden.push((await model.encode([1, 2, 3, 4])).hidden);
      });
    }
    assertEquals(hidden[0], hidden[1], name);
  }
});
