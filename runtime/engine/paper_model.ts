/**
 * Models on paper: from a `config.json` alone, the tensors that a file of such a model has, as the
 * family's own definition lists them. What such a model needs in memory is told without one, and
 * files with other numbers in the same places are written from it.
 *
 * @module
 */

import { InputError, ModelError } from "../../errors.ts";
import { quote } from "../../escape.ts";
import { elements } from "../../kernels/op.ts";
import { tensorBlocks } from "../../quant/ggml_types.ts";
import type { ModelFile, TensorEntry } from "../files/model_file.ts";
import type { ByteSource } from "../files/source.ts";
import { findDefinition } from "../models/registry.ts";
import { tensorsOf, type WeightSpec } from "../models/weight_spec.ts";

/** Families whose head is the table of words where `tie_word_embeddings` says nothing. */
const TIED = ["gpt2", "gpt_pangu", "marian", "mt5", "opt", "pangu", "switch_transformers", "t5"];

/** Models whose tensors have another name before them than that of their family. */
const PREFIXES: Readonly<Record<string, string>> = { "xlm-roberta": "roberta" };

/** Most layers and tensors of a model on paper, several times those of the largest published ones. */
const MOST_LAYERS = 4096, MOST_TENSORS = 1 << 18;

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
  const tensors = new Map<string, TensorEntry>();
  for (const { name: tensor, shape, type } of await paperTensors(config, name)) {
    const { blockSize, blockBytes } = tensorBlocks(type)!;
    const bytes = elements(shape) / blockSize * blockBytes;
    tensors.set(tensor, { name: tensor, shape, type, source: NOTHING, offset: 0, bytes });
  }
  return { format: "safetensors", name, metadata: { ...config }, tensors, close() {} };
}

/** A tensor of a model on paper. */
export interface PaperTensor {
  /** Name in the file. */
  readonly name: string;
  /** Extents in the file, outermost first. */
  readonly shape: readonly number[];
  /** Element type as GGUF names it. */
  readonly type: string;
  /**
   * What it is: a matrix, or its codes and their scales, or the gain of a norm, a bias, a table of
   * any other numbers.
   */
  readonly kind: "matrix" | "codes" | "scales" | "gain" | "bias" | "table";
  /** Of a matrix, its codes and scales: over how many numbers a product sums. */
  readonly columns: number;
  /** Of codes and their scales: bits of a code. */
  readonly bits?: 4 | 8;
}

/**
 * The tensors of a model of which there is only the configuration, in the order in which the
 * definition lists them. See `paperModel`.
 *
 * @throws ModelError when no definition runs such a model, or it would have too many tensors
 */
export async function paperTensors(
  config: Readonly<Record<string, unknown>>,
  name: string,
): Promise<PaperTensor[]> {
  const file = {
    format: "safetensors" as const,
    name,
    metadata: { ...config },
    tensors: guessedTensors(config),
    close() {},
  };
  const definition = await findDefinition(file);
  const model = definition.parseConfig(file);
  if (model.layers > MOST_LAYERS) throw tooMany(name, model.layers);
  const specs = await definition.weights(model, file, Math.min(16, model.maxPositions));
  const type = TYPES[String(config.torch_dtype ?? config.dtype)] ?? "F16";
  const bits = config.quantization_bit === 4 || config.quantization_bit === 8
    ? config.quantization_bit
    : undefined;
  const tensors = new Map<string, PaperTensor>();
  for (const spec of specs) {
    const columns = spec.shape.at(-1)!;
    for (const { name, shape } of filePlaces(spec)) {
      if (tensors.has(name)) continue;
      if (tensors.size >= MOST_TENSORS) throw tooMany(file.name, model.layers);
      if (bits && spec.role === "matrix" && !spec.kept && IN_LAYERS.test(name)) {
        const [rows, width] = shape as [number, number], scale = `${name}_scale`;
        const codes = [rows, width * bits / 8];
        tensors.set(name, { name, shape: codes, type: "I8", kind: "codes", columns, bits });
        tensors.set(scale, {
          name: scale,
          shape: [rows],
          type: "F16",
          kind: "scales",
          columns,
          bits,
        });
      } else tensors.set(name, { name, shape, type, kind: kindOf(spec), columns });
    }
  }
  return Array.from(tensors.values());
}

/**
 * Which of some fields of a configuration mean nothing to its family: no definition reads them, or
 * refuses them, or knows that they have no effect.
 *
 * @throws ModelError when no definition runs such a model
 */
export async function unknownFields(
  config: Readonly<Record<string, unknown>>,
  names: readonly string[],
): Promise<string[]> {
  const unknown: string[] = [];
  for (const name of names) {
    // A text that is no value of any field: whoever knows the field refuses it, or says nothing.
    const metadata = { ...config, [name]: "?" };
    const file = {
      format: "safetensors" as const,
      name: "",
      metadata,
      tensors: new Map(),
      close() {},
    };
    const definition = await findDefinition({ ...file, metadata: { ...config } });
    try {
      definition.parseConfig(file, (message) => {
        if (message.includes(quote(name))) unknown.push(name);
      });
    } catch (error) {
      if (!(error instanceof ModelError)) throw error;
    }
  }
  return unknown;
}

function tooMany(name: string, layers: number): ModelError {
  return new ModelError(
    `Cannot list the tensors of ${quote(name)}: it has ${layers} layers, expected at most ` +
      `${MOST_LAYERS}, and of tensors at most ${MOST_TENSORS}; use a smaller configuration`,
  );
}

function kindOf({ role, source, name }: WeightSpec): PaperTensor["kind"] {
  if (role === "matrix") return "matrix";
  if (role === "table" || "values" in source) return "table";
  return /bias$/i.test(name) ? "bias" : "gain";
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

/** Where the bytes of such a model are. */
const NOTHING: ByteSource = {
  name: "a model on paper",
  size: 0,
  path: "", // it is meant to be a local file
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

/**
 * Whether the file of a whole model has a tensor of that name, where files of the family differ: what is
 * not known here is not there.
 */
function isWritten(name: string, config: Readonly<Record<string, unknown>>): boolean {
  const family = String(config.model_type);
  const { architectures } = config;
  const [made = "ForPreTraining"] = Array.isArray(architectures) ? architectures : [];
  // Vectors are what most of Nomic's models are for: a head is what a class is named after.
  const isBare = family === "nomic_bert" && !String(made).endsWith("ForMaskedLM");
  const words = /^(.*?)embeddings\.word_embeddings\.weight$/.exec(name);
  if (words) return words[1] === (isBare ? "" : `${PREFIXES[family] ?? family}.`);
  if (/^(lm_head|transformer\.output_layer)\.weight$/.test(name)) {
    return !(config.tie_word_embeddings ?? TIED.includes(family));
  }
  // Only what was trained to tell whether two texts follow each other has these.
  if (/(^|\.)pooler\.|^cls\.seq_relationship\.|^sop_classifier\./.test(name)) {
    return ["albert", "bert", "ernie"].includes(family) && String(made).endsWith("ForPreTraining");
  }
  if (isBare) return false;
  return /^((cls\.predictions\.transform|predictions)\.dense|lm_head\.dense|vocab_transform)\.weight$/
    .test(name) || /^((model\.)?shared\.weight|final_logits_bias)$/.test(name);
}

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
