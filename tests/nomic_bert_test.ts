/** Nomic's BERT from config.json: both forms of it, what is refused, and encoders of T5 alone. */

import { assert, assertEquals, assertRejects, assertStringIncludes } from "@std/assert";
import { InputError, loadModel, type LoadOptions, type Model, ModelError } from "../mod.ts";
import { FIXTURES, safetensorsBytes } from "./fixtures.ts";
import { assemble, disassemble, type Values } from "./tensor_files.ts";
import { withFolder } from "./tiny_model.ts";

const FOLDER = new URL("golden/nomic-bert/", FIXTURES);
const CONFIG = JSON.parse(await Deno.readTextFile(new URL("config.json", FOLDER)));
const WEIGHTS = await Deno.readFile(new URL("model.safetensors", FOLDER));
const IDS = [5, 17, 23, 99, 40, 8, 61];

/** Loads the golden weights under another configuration, and collects what is told of them. */
async function withConfig(
  config: object,
  body: (model: Model, warnings: string[]) => Promise<void>,
  options: LoadOptions = {},
  weights: Uint8Array = WEIGHTS,
): Promise<void> {
  const warnings: string[] = [];
  const files = { "config.json": JSON.stringify(config), "model.safetensors": weights };
  await withFolder(files, async (path) => {
    await using model = await loadModel(path, {
      backend: "reference",
      onWarning: (message) => warnings.push(message),
      ...options,
    });
    await body(model, warnings);
  });
}

async function hiddenOf(config: object): Promise<Float32Array> {
  let hidden = new Float32Array();
  await withConfig(config, async (model, warnings) => {
    assertEquals(warnings, []);
    hidden = (await model.encode(IDS)).hidden as Float32Array<ArrayBuffer>;
  });
  return hidden;
}

Deno.test("nomic_bert: the form of Transformers 5 is the same model", async () => {
  const native = {
    architectures: ["NomicBertModel"],
    model_type: "nomic_bert",
    vocab_size: CONFIG.vocab_size,
    hidden_size: CONFIG.n_embd,
    num_hidden_layers: CONFIG.n_layer,
    num_attention_heads: CONFIG.n_head,
    head_dim: CONFIG.n_embd / CONFIG.n_head,
    intermediate_size: CONFIG.n_inner,
    hidden_act: "silu",
    layer_norm_eps: CONFIG.layer_norm_epsilon,
    max_position_embeddings: 64,
    type_vocab_size: 2,
    classifier_dropout: null,
    attention_probs_dropout_prob: 0,
    rope_parameters: { rope_type: "default", rope_theta: CONFIG.rotary_emb_base },
  };
  assertEquals(await hiddenOf(native), await hiddenOf(CONFIG));
  // Its own base is 1000.
  assertEquals(await hiddenOf({ ...native, rope_parameters: null }), await hiddenOf(CONFIG));
  const other = await hiddenOf({ ...CONFIG, rotary_emb_base: 10 });
  const plain = await hiddenOf(CONFIG);
  assert(other.some((it, i) => Math.abs(it - plain[i]!) > 0.01));
});

Deno.test("nomic_bert: texts end where angles would grow, and are told to be long elsewhere", async () => {
  const { message } = await assertRejects(
    () => withConfig(CONFIG, () => Promise.resolve(), { contextLength: 65 }),
    InputError,
  );
  assertStringIncludes(message, `rope type "dynamic" is supported up to 64 positions`);
  await withConfig({ ...CONFIG, rotary_scaling_factor: null }, async (model, warnings) => {
    assertEquals(warnings.length, 1);
    assertStringIncludes(warnings[0]!, "made for texts of up to 64 tokens");
    assertEquals((await model.encode(Array(65).fill(9))).hidden.length, 65 * 32);
  }, { contextLength: 65 });
});

Deno.test("nomic_bert: biases are there where the configuration says so", async () => {
  await assertRejects(
    () => withConfig({ ...CONFIG, mlp_fc2_bias: true }, () => Promise.resolve()),
    ModelError,
    `"encoder.layers.0.mlp.fc2.bias" is missing`,
  );
  // With biases of zero it is the same model; with others it is not.
  const biases = ["attn.Wqkv", "attn.out_proj", "mlp.fc11", "mlp.fc12", "mlp.fc2"];
  const { n_embd: width, n_inner: inner } = CONFIG;
  const lengths = [3 * width, width, inner, inner, width];
  const config = { ...CONFIG, qkv_proj_bias: true, mlp_fc1_bias: true, mlp_fc2_bias: true };
  const plain = await hiddenOf(CONFIG);
  for (const value of [0, 0.5]) {
    const weights = extended(
      WEIGHTS,
      [0, 1].flatMap((layer) =>
        biases.map((it, i) => ({
          name: `encoder.layers.${layer}.${it}.bias`,
          values: new Float32Array(lengths[i]!).map((_, k) => k % 2 ? value : 0),
        }))
      ),
    );
    await withConfig(
      config,
      async (model, warnings) => {
        assertEquals(warnings, []);
        const { hidden } = await model.encode(IDS);
        const off = Math.max(...hidden.map((it, i) => Math.abs(it - plain[i]!)));
        assert(value === 0 ? off === 0 : off > 0.1, `${value}: ${off}`);
      },
      {},
      weights,
    );
  }
});

/** A safetensors file with more tensors. */
function extended(
  file: Uint8Array,
  more: readonly { name: string; values: Float32Array }[],
): Uint8Array {
  const length = Number(new DataView(file.buffer, file.byteOffset).getBigUint64(0, true));
  const header = JSON.parse(new TextDecoder().decode(file.subarray(8, 8 + length)));
  const data = [file.subarray(8 + length)];
  let at = data[0]!.length;
  for (const { name, values } of more) {
    const end = at + values.byteLength;
    header[name] = { dtype: "F32", shape: [values.length], data_offsets: [at, end] };
    data.push(new Uint8Array(values.buffer));
    at = end;
  }
  const all = new Uint8Array(at);
  data.reduce((offset, it) => (all.set(it, offset), offset + it.length), 0);
  return safetensorsBytes(header, all);
}

for (
  const [field, value] of Object.entries({
    activation_function: "gelu",
    prenorm: true,
    causal: true,
    parallel_block: true,
    use_rms_norm: true,
    rotary_emb_fraction: 0.5,
    rotary_emb_interleaved: true,
    rotary_emb_scale_base: 512,
    scale_attn_weights: false,
    moe_every_n_layers: 2,
    num_experts: 8,
    rotary_emb_base: 0,
    n_head: 5,
  })
) {
  Deno.test(`nomic_bert: ${field} ${JSON.stringify(value)} is refused`, async () => {
    const { message } = await assertRejects(
      () => withConfig({ ...CONFIG, [field]: value }, () => Promise.resolve()),
      ModelError,
    );
    const names = { rotary_emb_base: "rope base of 0", n_head: "5 heads" };
    assertStringIncludes(message, names[field as keyof typeof names] ?? `"${field}"`);
  });
}

Deno.test("t5: an encoder that was saved alone gives the states of the whole model's", async () => {
  const folder = new URL("golden/t5-v1.0/", FIXTURES);
  const config = JSON.parse(await Deno.readTextFile(new URL("config.json", folder)));
  const whole = await Deno.readFile(new URL("model.safetensors", folder));
  const length = Number(new DataView(whole.buffer).getBigUint64(0, true));
  const header = JSON.parse(new TextDecoder().decode(whole.subarray(8, 8 + length)));
  const names = Object.keys(header).filter((it) =>
    it.startsWith("encoder.") || it === "shared.weight"
  );
  const pieces = names.map((name) => {
    const [begin, end] = header[name].data_offsets;
    return {
      name,
      shape: header[name].shape,
      data: whole.subarray(8 + length + begin, 8 + length + end),
    };
  });
  const alone: Record<string, unknown> = {};
  const data = new Uint8Array(pieces.reduce((sum, it) => sum + it.data.length, 0));
  let at = 0;
  for (const it of pieces) {
    alone[it.name] = { dtype: "F32", shape: it.shape, data_offsets: [at, at + it.data.length] };
    data.set(it.data, at);
    at += it.data.length;
  }
  await using original = await loadModel(folder, { backend: "reference" });
  const ids = [9, 14, 21, 33, 8, 1], expected = await original.encode(ids);
  await withConfig(
    { ...config, architectures: ["T5EncoderModel"] },
    async (model, warnings) => {
      assertEquals(warnings, []);
      assertEquals(await model.encode(ids), expected);
      await assertRejects(() => model.logits(ids), ModelError, "without a head");
    },
    {},
    safetensorsBytes(alone, data),
  );
});

Deno.test("nomic_bert: the head for masked words has biases where the first layers have them", async () => {
  const folder = new URL("golden/nomic-bert-masked/", FIXTURES);
  const native = JSON.parse(await Deno.readTextFile(new URL("config.json", folder)));
  const tensors = disassemble(await Deno.readFile(new URL("model.safetensors", folder)));
  const logitsOf = async (config: object, parts: typeof tensors): Promise<Float32Array> => {
    let logits = new Float32Array();
    await withConfig(
      config,
      async (model) => {
        logits = (await model.logits(IDS)) as Float32Array<ArrayBuffer>;
      },
      {},
      assemble(parts),
    );
    return logits;
  };
  const biases = ["cls.predictions.transform.dense.bias", "cls.predictions.bias"];
  const plain = new Map(tensors), published = new Map<string, Values>();
  for (const name of biases) {
    const { shape, values } = tensors.get(name)!;
    plain.set(name, { shape, values: new Float32Array(values.length) });
  }
  for (const [name, part] of tensors) {
    if (!biases.includes(name)) published.set(name.replace(/^nomic_bert\./, "bert."), part);
  }
  const config = { ...CONFIG, vocab_size: native.vocab_size };
  assertEquals(await logitsOf(config, published), await logitsOf(native, plain));
  const biased = new Map([...published, ...biases.map((it) => [it, tensors.get(it)!] as const)]);
  for (const layer of [0, 1]) {
    for (const it of ["fc11", "fc12"]) {
      const values = new Float32Array(CONFIG.n_inner);
      biased.set(`bert.encoder.layers.${layer}.mlp.${it}.bias`, { shape: [values.length], values });
    }
  }
  const withBiases = await logitsOf({ ...config, mlp_fc1_bias: true }, biased);
  assertEquals(withBiases, await logitsOf(native, tensors));
});
