/**
 * Models on paper: from a `config.json` alone, the tensors that a file of such a model has, as the
 * family's own definition lists them. What such a model needs in memory is told without one, and
 * files with other numbers in the same places are written from it.
 *
 * @module
 */

import { InputError } from "../../errors.ts";
import { quote } from "../../escape.ts";
import { elements } from "../../kernels/op.ts";
import { tensorBlocks } from "../../quant/ggml_types.ts";
import type { ModelFile, TensorEntry } from "../files/model_file.ts";
import type { ByteSource } from "../files/source.ts";
import { findDefinition } from "../models/registry.ts";
import { tensorsOf, type WeightSpec } from "../models/weight_spec.ts";

/** Families whose head is the table of words where `tie_word_embeddings` says nothing. */
const TIED = ["gpt2", "gpt_pangu"];

/** Models whose tensors have another name before them than that of their family, or none. */
const PREFIXES: Readonly<Record<string, string>> = { "xlm-roberta": "roberta.", nomic_bert: "" };

/** Matrices of a checkpoint of whole numbers with a scale for each row: those of layers. */
const IN_LAYERS = /\.layers\.\d+\./;

/**
 * The file of a model of which there is only the configuration: every tensor with its name, its
 * extents and its type (`F16`, or what `torch_dtype` says; codes where `quantization_bit` says so),
 * and no bytes. A whole model is meant, as its own class saves it, with its heads.
 *
 * @param config the contents of `config.json`
 * @param name what messages call it
 * @throws ModelError when no definition runs such a model
 *
 * @example
 * ```ts
 * import { paperModel } from "./paper_model.ts";
 *
 * const file = await paperModel({ model_type: "gpt2" }, "GPT-2");
 * console.log(file.tensors.get("transformer.wte.weight")?.shape); // 50257, 768
 * ```
 */
export async function paperModel(
  config: Readonly<Record<string, unknown>>,
  name: string,
): Promise<ModelFile> {
  const empty = { format: "safetensors" as const, name, metadata: { ...config }, close() {} };
  const guess = { ...empty, tensors: guessedTensors(config) };
  const definition = await findDefinition(guess);
  const model = definition.parseConfig(guess);
  const specs = await definition.weights(model, guess, Math.min(16, model.maxPositions));
  const type = TYPES[String(config.torch_dtype ?? config.dtype)] ?? "F16";
  const codes = config.quantization_bit === 4 || config.quantization_bit === 8
    ? config.quantization_bit
    : undefined;
  const tensors = new Map<string, TensorEntry>();
  for (const spec of specs) {
    for (const { name, shape } of filePlaces(spec)) {
      if (tensors.has(name)) continue;
      const isMatrix = spec.role === "matrix" && shape.length === 2;
      if (codes && isMatrix && !spec.kept && IN_LAYERS.test(name)) {
        const [rows, columns] = shape as [number, number];
        addTensor(tensors, name, [rows, columns * codes / 8], "I8");
        addTensor(tensors, `${name}_scale`, [rows], "F16");
      } else addTensor(tensors, name, shape, type);
    }
  }
  return { ...empty, tensors };
}

/** Types of elements as `torch_dtype` names them. */
const TYPES: Readonly<Record<string, string>> = {
  float32: "F32",
  float16: "F16",
  bfloat16: "BF16",
};

/** The tensors of a file that a weight comes from. */
function filePlaces({ shape, source }: WeightSpec): readonly {
  readonly name: string;
  readonly shape: readonly number[];
}[] {
  return "values" in source ? source.uses ?? [] : tensorsOf(shape, source);
}

function addTensor(
  tensors: Map<string, TensorEntry>,
  name: string,
  shape: readonly number[],
  type: string,
): void {
  const { blockSize, blockBytes } = tensorBlocks(type)!;
  const bytes = elements(shape) / blockSize * blockBytes;
  tensors.set(name, { name, shape, type, source: NOTHING, offset: 0, bytes });
}

/** Where the bytes of such a model are. */
const NOTHING: ByteSource = {
  name: "a model on paper",
  size: 0,
  read(offset, length) {
    return Promise.reject(
      new InputError(
        `Cannot read ${length} bytes at ${offset} of a model on paper: it has none, expected a ` +
          `model with files`,
      ),
    );
  },
  close() {},
};

/**
 * What a definition is told of a file while nobody knows its tensors: whether those are there that
 * some files lack.
 */
function guessedTensors(
  config: Readonly<Record<string, unknown>>,
): ReadonlyMap<string, TensorEntry> {
  const unknown = new Map<string, TensorEntry>();
  return new Proxy(unknown, {
    get(map, field) {
      if (field === "has") return (name: string) => isWritten(name, config);
      // No list of tensors ends before the layers that the configuration announces.
      if (field === "size") return Number.MAX_SAFE_INTEGER;
      const value = Reflect.get(map, field, map);
      return typeof value === "function" ? value.bind(map) : value;
    },
  });
}

/** Whether the file of a whole model has a tensor of that name, where files of the family differ. */
function isWritten(name: string, config: Readonly<Record<string, unknown>>): boolean {
  const family = String(config.model_type);
  const words = /^(.*?)(embeddings\.word_embeddings\.weight)$/.exec(name);
  if (words) return words[1] === (PREFIXES[family] ?? `${family}.`);
  // Models that were saved without their heads begin names in another way.
  if (/^(wte|embed_tokens|norm)\./.test(name)) return false;
  if (name === "lm_head.weight") return !(config.tie_word_embeddings ?? TIED.includes(family));
  // Only what was trained to tell whether two texts follow each other has these.
  if (/(^|\.)pooler\.|^cls\.seq_relationship\./.test(name)) {
    const [made = "ForPreTraining"] = (config.architectures ?? []) as readonly unknown[];
    return ["bert", "ernie"].includes(family) && String(made).endsWith("ForPreTraining");
  }
  // Heads that repeat the table of words, and what other programs add.
  return !/^(cls\.predictions|lm_head)\.decoder\.|^vocab_projector\.weight$|^rope_f/.test(name) &&
    !QUANTIZED.test(name);
}

/** Tensors that quantizers put in the place of a matrix. */
const QUANTIZED = /(qweight|qzeros|g_idx|weight_packed|_scale|_zero_point|scales)$/;

/** Refuses what is no object of fields. */
export function checkConfig(value: unknown, name: string): Record<string, unknown> {
  if (typeof value === "object" && value !== null && !Array.isArray(value)) {
    return value as Record<string, unknown>;
  }
  throw new InputError(
    `Cannot read ${quote(name)} as a configuration: it is ${
      quote(value, 60)
    }, expected the object ` +
      `of a config.json`,
  );
}
