/**
 * The llama family: Llama 1, 2 and 3, Mistral, TinyLlama, SmolLM, Qwen2 and Qwen2.5 (biases on
 * queries, keys and values), Qwen3 (norms of queries and keys), and with experts (experts.ts)
 * Mixtral, Qwen2-MoE, Qwen3-MoE and OLMoE. Pre-norm decoder blocks with grouped-query attention,
 * rotary positions and SwiGLU (Touvron et al., arXiv:2302.13971).
 *
 * @module
 */

import { ModelError } from "../../errors.ts";
import { quote } from "../../escape.ts";
import { type ConfigReader, readConfig } from "../config.ts";
import type { Graph, Tensor } from "../graph.ts";
import type { ModelFile } from "../files/model_file.ts";
import { readVector, type WeightScope } from "../weights.ts";
import type { ComputedWeight, FileWeight, ModelConfig, ModelDefinition } from "./definition.ts";
import {
  type ExpertsConfig,
  expertsFromGguf,
  expertsFromJson,
  hasExperts,
  listExperts,
  mixExperts,
} from "./experts.ts";
import { cacheRows, causalSpans, positions, tokenIds } from "./inputs.ts";
import type { RunSizes } from "./program.ts";
import { type RopeScaling, ropeTable } from "./rope.ts";

/** Configuration of a llama-family model. */
export interface LlamaConfig extends ModelConfig {
  /** Query heads; a multiple of `kvHeads`. */
  readonly heads: number;
  /** Width of the feed-forward block. */
  readonly intermediateSize: number;
  /** Added to mean squares. */
  readonly rmsNormEps: number;
  /** Base of the rotary frequencies. */
  readonly ropeTheta: number;
  /** Elements of a head that rotate. */
  readonly rotaryDim: number;
  /** Pairs that rotate together: GGUF files of the llama architecture store permuted rows. */
  readonly ropePairing: "half" | "interleaved";
  /** Scaling of the rotary frequencies, if any. */
  readonly ropeScaling: RopeScaling | undefined;
  /** Whether the output head is the embedding table. */
  readonly tiedEmbeddings: boolean;
  /** Experts in place of feed-forward blocks, if any. */
  readonly experts?: ExpertsConfig;
}

/** File names of the weights: of a whole model, and of one layer. */
const NAMES = {
  safetensors: {
    embedding: "model.embed_tokens.weight",
    norm: "model.norm.weight",
    head: "lm_head.weight",
    layer: (i: number) => `model.layers.${i}.`,
    inLayer: {
      attentionNorm: "input_layernorm",
      q: "self_attn.q_proj",
      k: "self_attn.k_proj",
      v: "self_attn.v_proj",
      o: "self_attn.o_proj",
      qNorm: "self_attn.q_norm",
      kNorm: "self_attn.k_norm",
      mlpNorm: "post_attention_layernorm",
      gate: "mlp.gate_proj",
      up: "mlp.up_proj",
      down: "mlp.down_proj",
    },
  },
  gguf: {
    embedding: "token_embd.weight",
    norm: "output_norm.weight",
    head: "output.weight",
    layer: (i: number) => `blk.${i}.`,
    inLayer: {
      attentionNorm: "attn_norm",
      q: "attn_q",
      k: "attn_k",
      v: "attn_v",
      o: "attn_output",
      qNorm: "attn_q_norm",
      kNorm: "attn_k_norm",
      mlpNorm: "ffn_norm",
      gate: "ffn_gate",
      up: "ffn_up",
      down: "ffn_down",
    },
  },
};

/** Architectures with norms of queries and keys. */
const NORMED = ["qwen3", "qwen3_moe", "qwen3moe", "olmoe"];

/** The llama family. */
export const llama: ModelDefinition<LlamaConfig> = {
  parseConfig: (file) => file.format === "gguf" ? fromGguf(file) : fromJson(file),

  async weights(config, file, contextLength) {
    const entry = file.tensors.get("rope_freqs.weight");
    const factors = entry && await readVector(entry);
    return listWeights(config, file, contextLength, factors);
  },

  programs: (config) => ({
    decode: {
      ids: tokenIds,
      inputs: [positions, cacheRows, causalSpans(config.window)],
      record: (g, w, sizes) => recordDecoder(g, config, w, sizes),
    },
  }),
};

function recordDecoder(
  g: Graph,
  config: LlamaConfig,
  w: WeightScope,
  { inputs, cacheRows, cacheType, wanted }: RunSizes,
): Record<string, Tensor> {
  const { heads, kvHeads, headDim, rmsNormEps: eps, ropePairing: pairing } = config;
  const { ids, positions, cacheRows: rows, spans } = inputs as Record<string, Tensor>;
  const table = w.tensor("rope"); // [contextLength, rotaryDim]
  const cacheShape = [cacheRows, kvHeads, headDim] as const;

  const linear = (x: Tensor, name: string): Tensor => {
    const bias = w.has(`${name}.bias`) ? [w.tensor(`${name}.bias`)] : [];
    return g.op("matmul", [x, w.tensor(name), ...bias]);
  };
  const norm = (x: Tensor, name: string): Tensor =>
    w.has(name) ? g.op("rmsNorm", [x, w.tensor(name)], { eps }) : x;

  let x = g.op("embed", [ids!, w.tensor("embedding")]); // [tokens, hidden]
  for (let i = 0; i < config.layers; i++) {
    g.cut(`layer ${i}`, i);
    const keys = g.cache(`${i}.keys`, "keyCache", cacheShape, cacheType);
    const values = g.cache(`${i}.values`, "valueCache", cacheShape, cacheType);

    const a = norm(x, `${i}.attentionNorm`);
    let q = norm(linear(a, `${i}.q`), `${i}.qNorm`); // [tokens, heads * headDim]
    let k = norm(linear(a, `${i}.k`), `${i}.kNorm`); // [tokens, kvHeads * headDim]
    const v = linear(a, `${i}.v`); // [tokens, kvHeads * headDim]
    q = g.op("rope", [q, positions!, table], { heads, pairing });
    k = g.op("rope", [k, positions!, table], { heads: kvHeads, pairing });
    g.op("cacheStore", [keys, k, rows!]);
    g.op("cacheStore", [values, v, rows!]);
    const mixed = g.op("attention", [q, keys, values, spans!], { heads, scale: headDim ** -0.5 });
    x = g.op("add", [x, linear(mixed, `${i}.o`)]);

    const m = norm(x, `${i}.mlpNorm`);
    if (hasExperts(config.experts, i)) {
      x = g.op("add", [x, mixExperts(g, w, config.experts, i, m)]);
      continue;
    }
    const gated = g.op("glu", [linear(m, `${i}.gate`), linear(m, `${i}.up`)], { kind: "silu" }); // [tokens, intermediate]
    x = g.op("add", [x, linear(gated, `${i}.down`)]);
  }
  g.cut("head");
  const hidden = norm(wanted(x), "norm"); // [rows, hidden]
  return { hidden, logits: linear(hidden, w.has("head") ? "head" : "embedding") };
}

function* listWeights(
  config: LlamaConfig,
  file: ModelFile,
  contextLength: number,
  factors: Float32Array | undefined,
): Iterable<FileWeight | ComputedWeight> {
  const { hiddenSize, intermediateSize, heads, kvHeads, headDim, vocabSize, rotaryDim } = config;
  const names = NAMES[file.format];
  yield { name: "embedding", shape: [vocabSize, hiddenSize], tensor: names.embedding };
  yield { name: "norm", shape: [hiddenSize], tensor: names.norm };
  if (!config.tiedEmbeddings) {
    yield { name: "head", shape: [vocabSize, hiddenSize], tensor: names.head };
  }
  const shapes: Record<keyof typeof names.inLayer, readonly number[]> = {
    attentionNorm: [hiddenSize],
    q: [heads * headDim, hiddenSize],
    k: [kvHeads * headDim, hiddenSize],
    v: [kvHeads * headDim, hiddenSize],
    o: [hiddenSize, heads * headDim],
    qNorm: [headDim],
    kNorm: [headDim],
    mlpNorm: [hiddenSize],
    gate: [intermediateSize, hiddenSize],
    up: [intermediateSize, hiddenSize],
    down: [hiddenSize, intermediateSize],
  };
  const { architecture, experts } = config;
  if (architecture === "olmoe") { // normalizes over all heads at once
    shapes.qNorm = [heads * headDim];
    shapes.kNorm = [kvHeads * headDim];
  }
  for (let i = 0; i < config.layers; i++) {
    const sparse = hasExperts(experts, i);
    if (sparse) yield* listExperts(file, experts, config, i, names.layer(i));
    for (const [name, shape] of Object.entries(shapes)) {
      if (sparse && ["gate", "up", "down"].includes(name)) continue;
      const path = names.layer(i) + names.inLayer[name as keyof typeof shapes];
      // Where an architecture leaves query and key norms or biases open, the file tells.
      const optional = (name === "qNorm" || name === "kNorm") && !NORMED.includes(architecture);
      if (!optional || file.tensors.has(`${path}.weight`)) {
        yield { name: `${i}.${name}`, shape, tensor: `${path}.weight` };
      }
      const biased = architecture.startsWith("qwen2") && ["q", "k", "v"].includes(name);
      if (shape.length === 2 && (biased || file.tensors.has(`${path}.bias`))) {
        yield { name: `${i}.${name}.bias`, shape: [shape[0]!], tensor: `${path}.bias` };
      }
    }
  }
  const { ropeTheta: theta, ropeScaling: scaling } = config;
  yield {
    name: "rope",
    shape: [contextLength, rotaryDim],
    values: () => ropeTable({ rotaryDim, theta, scaling, factors }, contextLength),
  };
}

function fromJson(file: ModelFile): LlamaConfig {
  const config = readConfig(file);
  const architecture = config.text("model_type");
  const heads = config.count("num_attention_heads");
  const hiddenSize = config.count("hidden_size");
  const activation = config.text("hidden_act", "silu");
  if (activation !== "silu") {
    throw new ModelError(
      `Cannot load ${quote(file.name)}: field "hidden_act" is ${quote(activation)}, ` +
        `expected "silu"`,
    );
  }
  const rope = config.fields(config.has("rope_parameters") ? "rope_parameters" : "rope_scaling");
  const headDim = config.count("head_dim", hiddenSize / heads);
  const window = config.has("sliding_window") && config.get("use_sliding_window") !== false;
  const experts = expertsFromJson(file);
  return checkHeads(file, {
    architecture,
    layers: config.count("num_hidden_layers"),
    hiddenSize,
    intermediateSize: config.count("intermediate_size"),
    heads,
    kvHeads: config.count("num_key_value_heads", heads),
    headDim,
    vocabSize: config.count("vocab_size"),
    maxPositions: config.count("max_position_embeddings", 2048),
    rmsNormEps: config.number("rms_norm_eps", 1e-6),
    ropeTheta: rope.number("rope_theta", config.number("rope_theta", 10000)),
    rotaryDim: headDim,
    ropePairing: "half",
    ropeScaling: scalingFromJson(file, rope, config),
    tiedEmbeddings: tied(file, config.get("tie_word_embeddings")),
    ...(window ? { window: config.count("sliding_window") } : {}),
    ...(experts ? { experts } : {}),
  });
}

function scalingFromJson(
  file: ModelFile,
  rope: ConfigReader,
  config: ConfigReader,
): RopeScaling | undefined {
  const type = rope.text("rope_type", rope.text("type", "default"));
  const original = (): number =>
    rope.count(
      "original_max_position_embeddings",
      config.count("original_max_position_embeddings", config.count("max_position_embeddings")),
    );
  switch (type) {
    case "default":
      return undefined;
    case "linear":
      return { type, factor: rope.number("factor") };
    case "llama3":
      return {
        type,
        factor: rope.number("factor"),
        lowFreqFactor: rope.number("low_freq_factor"),
        highFreqFactor: rope.number("high_freq_factor"),
        originalPositions: original(),
      };
    case "yarn":
      return yarn(
        rope.number("factor"),
        original(),
        rope.number("beta_fast", 32),
        rope.number("beta_slow", 1),
        rope.has("attention_factor") ? rope.number("attention_factor") : undefined,
      );
  }
  throw new ModelError(
    `Cannot load ${quote(file.name)}: rope type is ${quote(type)}, ` +
      `expected default, linear, llama3 or yarn`,
  );
}

function fromGguf(file: ModelFile): LlamaConfig {
  const architecture = readConfig(file).text("general.architecture");
  const config = readConfig(file, `${architecture}.`);
  const heads = config.count("attention.head_count");
  const hiddenSize = config.count("embedding_length");
  const headDim = config.count("attention.key_length", hiddenSize / heads);
  const embedding = file.tensors.get(NAMES.gguf.embedding);
  if (!embedding) {
    throw new ModelError(
      `Cannot load ${quote(file.name)}: tensor ${quote(NAMES.gguf.embedding)} ` +
        `is missing; the file is ` +
        `incomplete or of another architecture`,
    );
  }
  const scaling = config.text("rope.scaling.type", "none");
  const factor = config.number("rope.scaling.factor", 1);
  const maxPositions = config.count("context_length", 2048);
  const experts = expertsFromGguf(file);
  if (!["none", "linear", "yarn"].includes(scaling)) {
    throw new ModelError(
      `Cannot load ${quote(file.name)}: field ` +
        `${quote(`${architecture}.rope.scaling.type`)} is ${
          quote(scaling)
        }, expected none, linear or yarn`,
    );
  }
  return checkHeads(file, {
    architecture,
    layers: config.count("block_count"),
    hiddenSize,
    intermediateSize: config.count("feed_forward_length"),
    heads,
    kvHeads: config.count("attention.head_count_kv", heads),
    headDim,
    vocabSize: config.count("vocab_size", embedding.shape[0]),
    maxPositions,
    rmsNormEps: config.number("attention.layer_norm_rms_epsilon"),
    ropeTheta: config.number("rope.freq_base", 10000),
    rotaryDim: config.count("rope.dimension_count", headDim),
    ropePairing: architecture === "llama" ? "interleaved" : "half",
    ropeScaling: scaling === "linear"
      ? { type: "linear", factor }
      : scaling === "yarn"
      ? yarn(factor, config.count("rope.scaling.original_context_length", maxPositions), 32, 1)
      : undefined,
    tiedEmbeddings: tied(file, undefined),
    ...(config.has("attention.sliding_window")
      ? { window: config.count("attention.sliding_window") }
      : {}),
    ...(experts ? { experts } : {}),
  });
}

function yarn(
  factor: number,
  originalPositions: number,
  betaFast: number,
  betaSlow: number,
  attentionFactor: number = factor > 1 ? 0.1 * Math.log(factor) + 1 : 1,
): RopeScaling {
  return { type: "yarn", factor, originalPositions, betaFast, betaSlow, attentionFactor };
}

/** Tied by configuration, or because there is no other head. */
function tied(file: ModelFile, flag: unknown): boolean {
  return flag === true || !file.tensors.has(NAMES[file.format].head);
}

function checkHeads(file: ModelFile, config: LlamaConfig): LlamaConfig {
  const { heads, kvHeads, headDim, rotaryDim, ropeTheta, rmsNormEps } = config;
  const factor = config.ropeScaling?.factor ?? 1;
  if (!(ropeTheta > 0 && factor > 0 && rmsNormEps >= 0)) {
    throw new ModelError(
      `Cannot load ${quote(file.name)}: ` +
        `rope base ${ropeTheta}, rope factor ${factor}, norm epsilon ` +
        `${rmsNormEps}, expected positive numbers`,
    );
  }
  if (!Number.isInteger(headDim) || heads % kvHeads !== 0 || rotaryDim % 2 || rotaryDim > headDim) {
    throw new ModelError(
      `Cannot load ${quote(file.name)}: ${heads} heads, ${kvHeads} key/value heads, head length ` +
        `${headDim}, rotary length ${rotaryDim}, expected groups of equal size and an even ` +
        `rotary length within a head`,
    );
  }
  return config;
}
