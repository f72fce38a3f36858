/**
 * What the GGUF metadata of most architectures says, with the meaning that llama.cpp gives it: sizes,
 * how vectors are made of texts, which tensor is the head, fused queries, keys and values.
 *
 * Source: the metadata keys and tensor names of llama.cpp (`llama-arch.cpp`, `gguf-py`).
 *
 * @module
 */

import { ModelError } from "../../errors.ts";
import { quote } from "../../escape.ts";
import { sameBytes, sameStart } from "../files/compare.ts";
import { type ConfigReader, readConfig } from "../files/config.ts";
import type { ModelFile } from "../files/model_file.ts";
import { GGUF_NEUTRAL } from "./common_fields.ts";
import type { ModelConfig } from "./definition.ts";
import { checkFields, type Warn } from "./fields.ts";
import { refusePacked } from "./packed.ts";
import { matrix, vector, type WeightSpec } from "./weight_spec.ts";

/** Sizes of a model whose heads have keys and values of their own. */
export interface GgufSizes extends ModelConfig {
  readonly heads: number;
  readonly intermediateSize: number;
}

/** Fields that `readGgufSizes` reads; names stand behind the architecture's. */
const SIZE_FIELDS: readonly string[] = [
  ...["vocab_size", "context_length", "embedding_length", "block_count", "feed_forward_length"],
  ...["attention.head_count", "attention.head_count_kv", "attention.key_length"],
  ...["attention.value_length", "attention.scale", "pooling_type"],
];

/** What a family makes of the metadata beyond that. */
export interface GgufRules {
  /** Fields that it reads. */
  readonly read: readonly string[];
  /** Fields that have no influence on what it computes. */
  readonly harmless?: readonly string[];
  /** Fields that it cannot honour, with the values under which there is nothing to honour. */
  readonly neutral?: Readonly<Record<string, readonly unknown[]>>;
  /** Factor of the scores of heads of that length. */
  readonly scale: (headDim: number) => number;
  /** Whether heads may have another length than their part of the width. */
  readonly freeHeads?: boolean;
}

/** The metadata of one file, checked. */
export interface GgufConfig {
  /** Fields behind the architecture's name. */
  readonly fields: ConfigReader;
  readonly sizes: GgufSizes;
}

/**
 * Reads the sizes, and checks every field of the architecture.
 *
 * @throws ModelError naming the field or tensor that is missing, wrong or not supported
 */
export function readGgufSizes(file: ModelFile, rules: GgufRules, warn: Warn): GgufConfig {
  refusePacked(file, ["fused"]);
  const architecture = readConfig(file).text("general.architecture"), prefix = `${architecture}.`;
  const fields = readConfig(file, prefix);
  const { read, harmless = [], neutral = {}, freeHeads = false } = rules;
  checkFields(file, prefix, {
    read: [...SIZE_FIELDS, ...read],
    harmless: ["tensor_data_layout", "classifier.output_labels", ...harmless],
    neutral: { ...GGUF_NEUTRAL, expert_count: [0], expert_used_count: [0], ...neutral },
  }, warn);
  const hiddenSize = fields.count("embedding_length"), heads = fields.count("attention.head_count");
  const share = hiddenSize / heads, headDim = fields.count("attention.key_length", share);
  const refuse = (field: string, expected: string): never => {
    throw new ModelError(
      `Cannot load ${quote(file.name)}: field ${quote(prefix + field)} is ` +
        `${quote(fields.get(field), 60)}, expected ${expected}`,
    );
  };
  if (!Number.isInteger(headDim)) {
    refuse("attention.head_count", `a divisor of embedding_length, ${hiddenSize}`);
  }
  if (!freeHeads && headDim !== share) refuse("attention.key_length", `${share}, a head's width`);
  if (fields.count("attention.value_length", headDim) !== headDim) {
    refuse("attention.value_length", `${headDim}, as keys have`);
  }
  if (fields.count("attention.head_count_kv", heads) !== heads) {
    refuse("attention.head_count_kv", `${heads}, as there are queries`);
  }
  const scale = fields.number("attention.scale", 0), own = rules.scale(headDim);
  if (scale !== 0 && Math.abs(scale / own - 1) > 1e-6) refuse("attention.scale", `${own}`);
  const words = file.tensors.get("token_embd.weight");
  if (!words) {
    throw new ModelError(
      `Cannot load ${quote(file.name)}: tensor "token_embd.weight" is missing; the file is ` +
        `incomplete or of another architecture`,
    );
  }
  checkPooling(file, fields, refuse, warn);
  return {
    fields,
    sizes: {
      architecture,
      layers: fields.count("block_count"),
      hiddenSize,
      heads,
      kvHeads: heads,
      headDim,
      intermediateSize: fields.count("feed_forward_length"),
      vocabSize: fields.count("vocab_size", words.shape[0]),
      maxPositions: fields.count("context_length"),
    },
  };
}

/** The greatest number of `pooling_type`, for a head that ranks. */
const RANK = 4;

/** The matrix of a classifier or of what ranks: a score for each label. */
export const SCORES = "cls.output.weight";

/** How one vector is made of a text, which the tasks read, must be known; what ranks is told. */
function checkPooling(
  { name, tensors }: ModelFile,
  fields: ConfigReader,
  refuse: (field: string, expected: string) => never,
  warn: Warn,
): void {
  const field = "pooling_type", type = fields.has(field) ? fields.whole(field) : 0;
  if (type === RANK && !tensors.has(SCORES)) {
    warn(
      `${quote(name)} was made for ranking (${field} ${RANK}) and has no tensor ` +
        `${quote(SCORES)}: hidden states and vectors of texts are what it gives`,
    );
  } else if (type > RANK) {
    refuse(field, "0 (none), 1 (mean), 2 (first token), 3 (last token) or 4 (ranking)");
  }
}

/** The tensor of the head; undefined where that is the table of words, named or repeated. */
export async function ggufHead({ tensors }: ModelFile): Promise<string | undefined> {
  const name = "output.weight", own = tensors.get(name), words = tensors.get("token_embd.weight");
  if (!own || !words) return own && name;
  return await sameBytes(words, own) ?? await sameStart(words, own) ? undefined : name;
}

/** A matrix `[rows, columns]` from `TENSOR.weight`, and its bias where the file has `TENSOR.bias`. */
export function* ggufLinear(
  { tensors }: ModelFile,
  name: string,
  rows: number,
  columns: number,
  tensor: string,
): Iterable<WeightSpec> {
  yield matrix(name, rows, columns, `${tensor}.weight`);
  if (tensors.has(`${tensor}.bias`)) yield vector(`${name}.bias`, rows, `${tensor}.bias`);
}

/**
 * Queries, keys and values of layer i, `width` rows each: thirds of `attn_qkv`, or three tensors. Biases
 * are there where the file has them, fused or not.
 */
export function* ggufQueriesKeysValues(
  file: ModelFile,
  i: number,
  width: number,
): Iterable<WeightSpec> {
  const { tensors } = file, fused = `blk.${i}.attn_qkv`;
  const isFused = tensors.has(`${fused}.weight`), hasBias = tensors.has(`${fused}.bias`);
  for (const [third, part] of ["q", "k", "v"].entries()) {
    const name = `${i}.${part}`, own = `blk.${i}.attn_${part}`;
    if (!isFused) {
      yield* ggufLinear(file, name, width, width, own);
      continue;
    }
    const rows = [[third * width, width]] as const;
    const weight = { tensor: `${fused}.weight`, fileShape: [3 * width, width], rows };
    yield matrix(name, width, width, weight);
    const bias = { tensor: `${fused}.bias`, fileShape: [3 * width], rows };
    if (hasBias) yield vector(`${name}.bias`, width, bias);
    else if (tensors.has(`${own}.bias`)) yield vector(`${name}.bias`, width, `${own}.bias`);
  }
}
