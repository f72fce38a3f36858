/**
 * ChatGLM2-6B, ChatGLM3-6B and GLM-4: causal decoders with RMS norms, a gated feed-forward block, few
 * heads of keys and values, and rotary positions on the first part of each head (Zeng et al.,
 * arXiv:2406.12793). GLM-4 of April 2025 also normalizes what each block gives.
 *
 * @module
 */

import type { ModelFile } from "../files/model_file.ts";
import type { Graph, Tensor } from "../graph/graph.ts";
import { blocks } from "./blocks.ts";
import { type ModelDefinition, tellHeadless } from "./definition.ts";
import type { Warn } from "./fields.ts";
import { type GlmConfig, readGlmConfig } from "./glm_config.ts";
import { cacheRows, causalSpans, positions, tokenIds } from "./inputs.ts";
import { type Head, headOf } from "./llama_names.ts";
import type { RunSizes } from "./program.ts";
import { ropeTable } from "./rope.ts";
import { checkLimit } from "./rope_config.ts";
import { matrix, vector, type WeightSpec } from "./weight_spec.ts";
import type { WeightScope } from "./weights.ts";

/** ChatGLM2, ChatGLM3, GLM-4. */
export const glm: ModelDefinition<GlmConfig> = {
  parseConfig: (file, warn = () => {}) => readGlmConfig(file, warn),

  async weights(config, file, contextLength, warn = () => {}) {
    checkLimit(file, config.rope, contextLength);
    const names = namesOf(file), head = await findHead(config, file, names, warn);
    return listWeights(config, file, names, head, contextLength);
  },

  programs: (config) => ({
    decode: {
      ids: tokenIds,
      inputs: [positions, cacheRows, causalSpans()],
      record: (g, w, sizes) => recordDecoder(g, config, w, sizes),
    },
  }),
};

/** Names of tensors, without `.weight` and `.bias`. */
interface Names {
  readonly embedding: string;
  /** Begins the names in a layer; its number and a dot follow. */
  readonly layer: string;
  readonly attentionNorm: string;
  /** Rows of queries, then of keys, then of values. */
  readonly fused?: string;
  /** Queries, keys, values. */
  readonly apart?: readonly [string, string, string];
  readonly o: string;
  readonly mlpNorm: string;
  /** Rows of the gate, then of what it gates. */
  readonly up: string;
  readonly down: string;
  /** Norms of what attention gives, and of what the feed-forward block gives. */
  readonly postNorms?: readonly [string, string];
  readonly norm: string;
  readonly head: string;
}

const CHATGLM: Names = {
  embedding: "transformer.embedding.word_embeddings",
  layer: "transformer.encoder.layers.",
  attentionNorm: "input_layernorm",
  fused: "self_attention.query_key_value",
  o: "self_attention.dense",
  mlpNorm: "post_attention_layernorm",
  up: "mlp.dense_h_to_4h",
  down: "mlp.dense_4h_to_h",
  norm: "transformer.encoder.final_layernorm",
  head: "transformer.output_layer",
};

const TRANSFORMERS: Names = {
  embedding: "model.embed_tokens",
  layer: "model.layers.",
  attentionNorm: "input_layernorm",
  apart: ["self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"],
  o: "self_attn.o_proj",
  mlpNorm: "post_attention_layernorm",
  up: "mlp.gate_up_proj",
  down: "mlp.down_proj",
  postNorms: ["post_self_attn_layernorm", "post_mlp_layernorm"],
  norm: "model.norm",
  head: "lm_head",
};

const GGUF: Names = {
  embedding: "token_embd",
  layer: "blk.",
  attentionNorm: "attn_norm",
  fused: "attn_qkv",
  apart: ["attn_q", "attn_k", "attn_v"],
  o: "attn_output",
  mlpNorm: "ffn_norm",
  up: "ffn_up",
  down: "ffn_down",
  postNorms: ["post_attention_norm", "post_ffw_norm"],
  norm: "output_norm",
  head: "output",
};

/** The names that a file uses; those of Transformers' model without a head have no `model.`. */
function namesOf({ format, metadata, tensors }: ModelFile): Names {
  if (format === "gguf") return GGUF;
  if (metadata.model_type === "chatglm") return CHATGLM;
  if (!tensors.has("embed_tokens.weight")) return TRANSFORMERS;
  return { ...TRANSFORMERS, embedding: "embed_tokens", layer: "layers.", norm: "norm" };
}

/** Which tensors are the embedding table and the output head. */
async function findHead(
  config: GlmConfig,
  file: ModelFile,
  names: Names,
  warn: Warn,
): Promise<Head> {
  const embedding = `${names.embedding}.weight`, head = `${names.head}.weight`;
  if (names !== CHATGLM) return await headOf(config, file, { embedding, head }, warn);
  if (file.tensors.has(head)) return { embedding, head };
  tellHeadless(file, warn);
  return { embedding };
}

function* listWeights(
  config: GlmConfig,
  { tensors }: ModelFile,
  names: Names,
  { embedding, head }: Head,
  contextLength: number,
): Iterable<WeightSpec> {
  const { hiddenSize: width, heads, kvHeads, headDim, intermediateSize: inner } = config;
  const { vocabSize, rotaryDim } = config, { theta, scaling, amplitude } = config.rope;
  yield matrix("wordTable", vocabSize, width, embedding);
  const queries = heads * headDim, keys = kvHeads * headDim;
  /** Some rows of a fused layer. */
  function* rowsOf(
    name: string,
    tensor: string,
    rows: number,
    [first, count]: readonly [number, number],
    biased: boolean,
  ): Iterable<WeightSpec> {
    const part = { rows: [[first, count]] } as const;
    const weight = { tensor: `${tensor}.weight`, fileShape: [rows, width], ...part };
    yield matrix(name, count, width, weight);
    const bias = { tensor: `${tensor}.bias`, fileShape: [rows], ...part };
    if (biased) yield vector(`${name}.bias`, count, bias);
  }
  for (let i = 0; i < config.layers; i++) {
    const layer = `${names.layer}${i}.`, fused = layer + names.fused;
    yield vector(`${i}.attentionNorm`, width, `${layer}${names.attentionNorm}.weight`);
    const isFused = names.fused !== undefined && tensors.has(`${fused}.weight`);
    const apart = isFused ? undefined : names.apart;
    let first = 0;
    for (const [part, name] of ["q", "k", "v"].entries()) {
      const rows = part === 0 ? queries : keys;
      yield* apart
        ? rowsOf(`${i}.${name}`, layer + apart[part], rows, [0, rows], config.queryBias)
        : rowsOf(`${i}.${name}`, fused, queries + 2 * keys, [first, rows], config.queryBias);
      first += rows;
    }
    yield matrix(`${i}.o`, width, queries, `${layer}${names.o}.weight`);
    yield vector(`${i}.mlpNorm`, width, `${layer}${names.mlpNorm}.weight`);
    const up = layer + names.up;
    yield* rowsOf(`${i}.gate`, up, 2 * inner, [0, inner], config.linearBias);
    yield* rowsOf(`${i}.up`, up, 2 * inner, [inner, inner], config.linearBias);
    yield matrix(`${i}.down`, width, inner, `${layer}${names.down}.weight`);
    if (config.postNorms) {
      for (const [part, name] of ["attentionPostNorm", "mlpPostNorm"].entries()) {
        yield vector(`${i}.${name}`, width, `${layer}${names.postNorms![part]}.weight`);
      }
    }
    if (!config.linearBias) continue;
    yield vector(`${i}.o.bias`, width, `${layer}${names.o}.bias`);
    yield vector(`${i}.down.bias`, width, `${layer}${names.down}.bias`);
  }
  yield vector("norm", width, `${names.norm}.weight`);
  if (head !== undefined) yield matrix("head", vocabSize, width, head);
  yield {
    name: "rope",
    role: "table",
    shape: [contextLength, rotaryDim],
    source: {
      values: () => ropeTable({ rotaryDim, theta, scaling, amplitude }, contextLength),
    },
  };
}

function recordDecoder(
  g: Graph,
  config: GlmConfig,
  w: WeightScope,
  { inputs, cacheRows, cacheType, wanted }: RunSizes,
): Record<string, Tensor> {
  const { heads, kvHeads, headDim, rmsNormEps: eps } = config;
  const { ids, positions, cacheRows: rows, spans } = inputs as Record<string, Tensor>;
  const { linear, rmsNorm, embed, attend } = blocks(g, w);
  const table = w.tensor("rope"); // [contextLength, rotaryDim]
  const rotate = (x: Tensor, heads: number): Tensor =>
    g.op("rope", [x, positions!, table], { heads, pairing: "interleaved" });
  /** The residual stream with what a block gives. */
  const join = (x: Tensor, given: Tensor, norm: string): Tensor =>
    g.op("add", [x, config.postNorms ? rmsNorm(given, norm, eps) : given]);

  let x = embed([ids!, "wordTable"]); // [tokens, hidden]
  for (let i = 0; i < config.layers; i++) {
    g.cut(`layer ${i}`, i);
    const a = rmsNorm(x, `${i}.attentionNorm`, eps);
    const mixed = attend({
      name: `${i}`,
      q: rotate(linear(a, `${i}.q`), heads),
      stored: { k: rotate(linear(a, `${i}.k`), kvHeads), v: linear(a, `${i}.v`), rows: rows! },
      shape: [cacheRows, kvHeads, headDim],
      cacheType,
      spans: spans!,
      heads,
      scale: headDim ** -0.5,
    });
    x = join(x, linear(mixed, `${i}.o`), `${i}.attentionPostNorm`);
    const m = rmsNorm(x, `${i}.mlpNorm`, eps);
    const inner = g.op("glu", [linear(m, `${i}.gate`), linear(m, `${i}.up`)], { kind: "silu" });
    x = join(x, linear(inner, `${i}.down`), `${i}.mlpPostNorm`);
  }
  g.cut("head");
  const hidden = rmsNorm(wanted(x), "norm", eps); // [rows, hidden]
  return { hidden, logits: linear(hidden, w.has("head") ? "head" : "wordTable") };
}
