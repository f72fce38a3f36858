/**
 * The GGUF metadata of llama-family models, with the meaning that llama.cpp gives it.
 *
 * @module
 */

import { ModelError } from "../../errors.ts";
import { quote } from "../../escape.ts";
import { readConfig } from "../files/config.ts";
import type { ModelFile } from "../files/model_file.ts";
import { expertsFromGguf } from "./experts.ts";
import { checkFields, type Warn } from "./fields.ts";
import { checkLlama, type LlamaConfig, NORMED } from "./llama_config.ts";
import { GGUF_FIELDS } from "./llama_fields.ts";
import { ropeFromGguf } from "./rope_config.ts";

/** Matrices of a layer that may have biases, by their names in the file. */
const MATRICES: Readonly<Record<string, string>> = {
  attn_q: "q",
  attn_k: "k",
  attn_v: "v",
  attn_output: "o",
  ffn_gate: "gate",
  ffn_up: "up",
  ffn_down: "down",
};

/**
 * Reads the configuration of a GGUF model. Windows are none: llama.cpp runs every layer of these
 * architectures with full attention, whatever the metadata says, and so do the files' makers.
 *
 * @throws ModelError naming the field that is missing or not supported
 */
export function llamaFromGguf(file: ModelFile, warn: Warn): LlamaConfig {
  const architecture = readConfig(file).text("general.architecture");
  const config = readConfig(file, `${architecture}.`);
  checkFields(file, `${architecture}.`, GGUF_FIELDS, warn);
  const heads = config.count("attention.head_count");
  const hiddenSize = config.count("embedding_length");
  const headDim = config.count("attention.key_length", hiddenSize / heads);
  const embedding = file.tensors.get("token_embd.weight");
  if (!embedding) {
    throw new ModelError(
      `Cannot load ${quote(file.name)}: tensor "token_embd.weight" is missing; the file is ` +
        `incomplete or of another architecture`,
    );
  }
  const isUsual: Readonly<Record<string, (value: number) => boolean>> = {
    "attention.value_length": (it) => it === headDim,
    "attention.scale": (it) => it === 0 || Math.abs(it * Math.sqrt(headDim) - 1) < 1e-6,
  };
  for (const [field, isExpected] of Object.entries(isUsual)) {
    if (!config.has(field) || isExpected(config.number(field))) continue;
    throw new ModelError(
      `Cannot load ${quote(file.name)}: field ${quote(`${architecture}.${field}`)} is ` +
        `${config.number(field)}, expected what goes with keys of length ${headDim}`,
    );
  }
  const maxPositions = config.count("context_length", 2048);
  const experts = expertsFromGguf(file);
  return checkLlama(file, {
    architecture,
    layers: config.count("block_count"),
    hiddenSize,
    intermediateSize: config.count("feed_forward_length", experts?.intermediateSize),
    heads,
    kvHeads: config.count("attention.head_count_kv", heads),
    headDim,
    vocabSize: config.count("vocab_size", embedding.shape[0]),
    maxPositions,
    rmsNormEps: config.number("attention.layer_norm_rms_epsilon"),
    rope: ropeFromGguf(file, config, maxPositions),
    rotaryDim: config.count("rope.dimension_count", headDim),
    ropePairing: architecture === "llama" ? "interleaved" : "half",
    tiedEmbeddings: !file.tensors.has("output.weight"),
    biases: biasesOf(file, architecture),
    ...(NORMED.includes(architecture) ? { queryNorms: true } : {}),
    ...(experts ? { experts } : {}),
  });
}

/** A matrix that has a bias in one layer has it in all. */
function biasesOf(file: ModelFile, architecture: string): readonly string[] {
  const found = new Set(architecture === "qwen2" ? ["q", "k", "v"] : []);
  for (const name of file.tensors.keys()) {
    const [, matrix] = /^blk\.\d+\.(\w+)\.bias$/.exec(name) ?? [];
    if (matrix && Object.hasOwn(MATRICES, matrix)) found.add(MATRICES[matrix]!);
  }
  return Array.from(found);
}
