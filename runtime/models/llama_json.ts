/**
 * The `config.json` of llama-family models. What a file does not say is what the configuration
 * classes of Transformers 5 say for its architecture.
 *
 * @module
 */

import { ModelError } from "../../errors.ts";
import { quote } from "../../escape.ts";
import { type ConfigReader, readConfig } from "../files/config.ts";
import type { ModelFile } from "../files/model_file.ts";
import { expertsFromJson } from "./experts.ts";
import { checkFields, type Warn } from "./fields.ts";
import { checkLlama, type LlamaConfig, NORMED } from "./llama_config.ts";
import { jsonFields } from "./llama_fields.ts";
import { ropeFromJson } from "./rope_config.ts";

/** What an architecture's fields are where the file has none. */
interface Defaults {
  readonly vocab: number;
  readonly hidden: number;
  readonly intermediate: number;
  readonly layers: number;
  readonly heads: number;
  /** As many as heads where absent. */
  readonly kvHeads?: number;
  /** The hidden size divided by the heads where absent. */
  readonly headDim?: number;
  readonly positions: number;
  readonly eps: number;
  readonly theta: number;
  /** Sliding window; none where absent. */
  readonly window?: number;
}

/** Most layers, of which each has an entry in lists; more than any file has. */
const MOST_LAYERS = 1 << 16;

const LLAMA = { vocab: 32000, hidden: 4096, intermediate: 11008, layers: 32, heads: 32 };
const MISTRAL = { ...LLAMA, intermediate: 14336, kvHeads: 8, positions: 131072 };
const QWEN = { vocab: 151936, positions: 32768, eps: 1e-6, theta: 1e4, window: 4096 };
const QWEN_DENSE = { ...QWEN, ...LLAMA, vocab: 151936, intermediate: 22016, kvHeads: 32 };
const QWEN_MOE = { ...QWEN, hidden: 2048, layers: 24 };

const DEFAULTS: Readonly<Record<string, Defaults>> = {
  llama: { ...LLAMA, positions: 2048, eps: 1e-6, theta: 1e4 },
  mistral: { ...MISTRAL, eps: 1e-6, theta: 1e4, window: 4096 },
  mixtral: { ...MISTRAL, eps: 1e-5, theta: 1e6 },
  olmoe: {
    ...{ vocab: 50304, hidden: 2048, intermediate: 2048, layers: 16, heads: 16 },
    ...{ positions: 4096, eps: 1e-5, theta: 1e4 },
  },
  qwen2: QWEN_DENSE,
  qwen3: { ...QWEN_DENSE, headDim: 128 },
  qwen2_moe: { ...QWEN_MOE, intermediate: 5632, heads: 16, kvHeads: 16 },
  qwen3_moe: { ...QWEN_MOE, intermediate: 6144, heads: 32, kvHeads: 4 },
};

/**
 * Reads the configuration of a safetensors model.
 *
 * @throws ModelError naming the field that is not supported
 */
export function llamaFromJson(file: ModelFile, warn: Warn): LlamaConfig {
  const config = readConfig(file);
  const architecture = config.text("model_type");
  const defaults = Object.hasOwn(DEFAULTS, architecture) ? DEFAULTS[architecture] : undefined;
  if (!defaults) {
    throw new ModelError(
      `Cannot load ${quote(file.name)}: field "model_type" is ${quote(architecture)}, expected ` +
        `one of ${Object.keys(DEFAULTS).join(", ")}`,
    );
  }
  refuseQuantized(file, config);
  checkFields(file, "", jsonFields(architecture), warn);
  const activation = config.text("hidden_act", "silu");
  if (!["silu", "swish"].includes(activation)) {
    throw new ModelError(
      `Cannot load ${quote(file.name)}: field "hidden_act" is ${quote(activation)}, expected ` +
        `"silu" or "swish", which are the same`,
    );
  }
  const heads = config.count("num_attention_heads", defaults.heads);
  const hiddenSize = config.count("hidden_size", defaults.hidden);
  const layers = config.count("num_hidden_layers", defaults.layers, MOST_LAYERS);
  const headDim = config.count(
    "head_dim",
    normLength(file) ?? defaults.headDim ?? hiddenSize / heads,
  );
  // Of these, null means something else than nothing.
  const kvHeads = file.metadata.num_key_value_heads === null ? heads : defaults.kvHeads ?? heads;
  const positions = config.count("max_position_embeddings", defaults.positions);
  const rope = ropeFromJson(file, config, defaults.theta, positions);
  const windows = windowsOf(file, config, architecture, layers, defaults.window, warn);
  const experts = expertsFromJson(file);
  return checkLlama(file, {
    architecture,
    layers,
    hiddenSize,
    intermediateSize: config.count("intermediate_size", defaults.intermediate),
    heads,
    kvHeads: config.count("num_key_value_heads", kvHeads),
    headDim,
    vocabSize: config.count("vocab_size", defaults.vocab),
    maxPositions: Math.min(positions, rope.limit?.positions ?? Infinity),
    rmsNormEps: config.number("rms_norm_eps", defaults.eps),
    rope,
    rotaryDim: headDim,
    ropePairing: "half",
    tiedEmbeddings: config.flag("tie_word_embeddings", false),
    biases: biasesOf(config, architecture),
    queryNorms: NORMED.includes(architecture),
    ...(windows ? { windows } : {}),
    ...(experts ? { experts } : {}),
  });
}

/** Where queries of each head are normalized, the length of a head, which no other tensor tells. */
function normLength(file: ModelFile): number | undefined {
  if (file.metadata.model_type !== "qwen3") return undefined;
  const name = "layers.0.self_attn.q_norm.weight";
  return (file.tensors.get(`model.${name}`) ?? file.tensors.get(name))?.shape[0];
}

/** Which matrices have biases; tensors of others are not used. */
function biasesOf(config: ConfigReader, architecture: string): readonly string[] {
  const inputs = ["q", "k", "v"];
  switch (architecture) {
    case "qwen2":
      return inputs;
    case "qwen2_moe":
      return config.flag("qkv_bias", true) ? inputs : [];
    case "mistral":
    case "mixtral":
      return [];
  }
  const attention = config.flag("attention_bias", false) ? [...inputs, "o"] : [];
  const hasOthers = architecture === "llama" && config.flag("mlp_bias", false);
  return hasOthers ? [...attention, "gate", "up", "down"] : attention;
}

/** Layers whose tokens see only the last ones: which, and how many tokens. */
function windowsOf(
  file: ModelFile,
  config: ConfigReader,
  architecture: string,
  layers: number,
  standard: number | undefined,
  warn: Warn,
): readonly (number | undefined)[] | undefined {
  const isQwen = architecture.startsWith("qwen");
  const hasWindow = isQwen
    ? config.flag("use_sliding_window", false)
    : ["mistral", "mixtral"].includes(architecture);
  const isNull = file.metadata.sliding_window === null;
  const window = hasWindow && !isNull ? config.whole("sliding_window", standard ?? 0) : 0;
  if (window > 0 && !isQwen && config.get("use_sliding_window") === false) {
    warn(
      `${quote(file.name)} has a sliding window of ${window} tokens: field "use_sliding_window" ` +
        `has no effect in this architecture`,
    );
  }
  const types = config.get("layer_types");
  const fail = (found: string, expected: string): never => {
    throw new ModelError(
      `Cannot load ${quote(file.name)}: field "layer_types" ${found}, expected ${expected}`,
    );
  };
  // A corrupt number of layers has no tensors.
  const count = Math.min(layers, file.tensors.size);
  /** Layers that slide where `layer_types` does not tell. */
  const slides = slidingLayers(config, architecture, count);
  if (types !== undefined) {
    if (!Array.isArray(types) || types.length < count) {
      return fail(`is ${quote(types, 60)}`, `a list of ${layers} names`);
    }
    const other = types.find((it) => it !== "full_attention" && it !== "sliding_attention");
    if (other !== undefined) {
      fail(`names ${quote(other)}`, `"full_attention" or "sliding_attention"`);
    }
    const sliding = types.map((it) => it === "sliding_attention");
    if (window === 0 && sliding.includes(true)) {
      fail(`names "sliding_attention"`, "a sliding window to go with it, which is not in use");
    }
    // These architectures have one kind of layer, whatever the list says.
    const readsTypes = ["qwen2", "qwen2_moe", "qwen3"].includes(architecture);
    if (!readsTypes && window > 0 && sliding.includes(false)) {
      fail(`names "full_attention"`, `"sliding_attention" for every layer of ${architecture}`);
    }
    slides.splice(0, count, ...sliding.slice(0, count));
  }
  if (window === 0 || !slides.includes(true)) return undefined;
  return slides.map((it) => it ? window : undefined);
}

function slidingLayers(config: ConfigReader, architecture: string, layers: number): boolean[] {
  const border = config.whole("max_window_layers", 28);
  return Array.from({ length: layers }, (_, layer) => {
    if (architecture === "qwen2" || architecture === "qwen3") return layer >= border;
    if (architecture === "qwen2_moe") return layer % 2 === 0 && layer < border;
    return true;
  });
}

/** Throws where the weights are packed by a quantizer whose files cannot be read. */
function refuseQuantized(file: ModelFile, config: ConfigReader): void {
  for (const field of ["quantization_config", "compression_config", "quantization"]) {
    const value = config.get(field);
    if (value === undefined || typeof value === "object" && Object.keys(value!).length === 0) {
      continue;
    }
    const { quant_method: method, bits, load_in_4bit, load_in_8bit } = value as Record<
      string,
      unknown
    >;
    // Written by programs that were asked for nothing.
    if (method === "bitsandbytes" && load_in_4bit !== true && load_in_8bit !== true) continue;
    const kind = method !== undefined ? quote(method) : bits === undefined ? "" : `${bits} bits`;
    throw new ModelError(
      `Cannot load ${quote(file.name)}: its weights are quantized (field ${quote(field)}` +
        `${kind && `: ${kind}`}), which is not supported in safetensors files; use the model ` +
        `before quantization, or as a GGUF file`,
    );
  }
}
