/**
 * How a model's own files want texts to become vectors: the modules of sentence-transformers, or the
 * `pooling_type` of GGUF.
 *
 * Source: sentence_transformers 6 (`modules/pooling.py`, `modules/dense.py`), `llama_pooling_type` of
 * llama.cpp.
 *
 * @module
 */

import { FormatError, ModelError } from "../../errors.ts";
import { quote } from "../../escape.ts";
import { transcoder } from "../../quant/transcode.ts";
import type { ModelFile, SentenceModule, TensorEntry } from "../files/model_file.ts";
import { normalized, type Pooling } from "./pooling.ts";

/** A step behind the pooling: a vector becomes another one. */
export type VectorStep = (vector: Float64Array) => Float64Array;

/** What becomes of hidden states. */
export interface VectorModules {
  /** Vectors that are pooled, and put one behind the other. */
  readonly poolings: readonly Pooling[];
  /** Whether the tokens of a prefix count in them. */
  readonly countsPrefix: boolean;
  /** What follows, without a normalization at the end. */
  readonly steps: readonly VectorStep[];
  /** Whether the result has length 1. */
  readonly normalizes: boolean;
}

/** What sentence-transformers calls the ways of pooling, in the order in which it joins them. */
const MODES: Readonly<Record<string, Pooling>> = {
  cls: "first",
  max: "max",
  mean: "mean",
  mean_sqrt_len_tokens: "mean-sqrt",
  weightedmean: "weighted-mean",
  lasttoken: "last",
};

/** The same as flags of older files, in the same order. */
const FLAGS = [
  ...["pooling_mode_cls_token", "pooling_mode_max_tokens", "pooling_mode_mean_tokens"],
  ...["pooling_mode_mean_sqrt_len_tokens", "pooling_mode_weightedmean_tokens"],
  "pooling_mode_lasttoken",
];

/** `llama_pooling_type`. */
const GGUF_POOLINGS: readonly (Pooling | undefined)[] = [
  ...[undefined, "mean", "first", "last"] as const,
  undefined, // of a head that ranks
];

const ACTIVATIONS: Readonly<Record<string, (x: number) => number>> = {
  Tanh: Math.tanh,
  Identity: (x) => x,
  ReLU: (x) => Math.max(0, x),
  Sigmoid: (x) => 1 / (1 + Math.exp(-x)),
  SiLU: (x) => x / (1 + Math.exp(-x)),
};

/**
 * Reads what a model's files say; undefined where they say nothing.
 *
 * @throws ModelError naming what is not supported
 * @throws FormatError when a file is damaged
 */
export async function readVectorModules(file: ModelFile): Promise<VectorModules | undefined> {
  if (file.format === "gguf") return ggufModules(file);
  const modules = file.sentenceFiles?.modules;
  if (!modules) return undefined;
  const fail = (type: string): never => {
    throw new ModelError(
      `Cannot embed with ${quote(file.name)}: modules.json has ${quote(type)}, expected ` +
        `Transformer, Pooling, and after them Dense and Normalize; give a pooling to use the ` +
        `hidden states without these modules`,
    );
  };
  const kindOf = ({ type }: SentenceModule): string => /\w+$/.exec(type)?.[0] ?? "";
  // A copy of the files at the top alone has no folders; how vectors are made is not guessed.
  const unsaid = modules.find((it) =>
    /^(Pooling|Dense)$/.test(kindOf(it)) && Object.keys(it.config).length === 0
  );
  if (unsaid) {
    throw new ModelError(
      `Cannot embed with ${quote(file.name)}: modules.json names ` +
        `${quote(`${unsaid.path}/config.json`)}, which is not there or says nothing; fetch that ` +
        `folder too, or give a pooling`,
    );
  }
  const [encoder, pooling, ...rest] = modules;
  if (!encoder || kindOf(encoder) !== "Transformer") return fail(encoder?.type ?? "no modules");
  if (!pooling || kindOf(pooling) !== "Pooling") return fail(pooling?.type ?? encoder.type);
  checkEncoder(file);
  const last = rest.at(-1), normalizes = last !== undefined && kindOf(last) === "Normalize";
  const steps: VectorStep[] = [];
  for (const module of normalizes ? rest.slice(0, -1) : rest) {
    const kind = kindOf(module);
    if (kind === "Normalize") steps.push(normalized);
    else if (kind === "Dense") steps.push(await readDense(file, module));
    else if (kind !== "Dropout") fail(module.type); // Dropout is of training
  }
  return { ...readPooling(file, pooling), steps, normalizes };
}

/** What hidden states are taken from the encoder, by the values that mean the last layer's. */
const ENCODER: Readonly<Record<string, unknown>> = {
  transformer_task: "feature-extraction",
  module_output_name: "token_embeddings",
  method: "forward",
  method_output_name: "last_hidden_state",
  query_length: null,
  document_length: null,
  query_expansion: null,
};

/** Refuses settings under which hidden states would be others. */
function checkEncoder({ name, sentenceFiles }: ModelFile): void {
  const { modality_config: modalities, ...fields } = sentenceFiles?.encoder ?? {};
  const { text } = Object(modalities) as { text?: unknown };
  for (const [field, value] of Object.entries({ ...fields, ...Object(text) })) {
    if (!Object.hasOwn(ENCODER, field) || value === ENCODER[field] || value === null) continue;
    throw new ModelError(
      `Cannot embed with ${quote(name)}: field ${quote(field)} of sentence_bert_config.json is ` +
        `${quote(value)}, expected ${quote(ENCODER[field])}; give a pooling to use the last ` +
        `layer's hidden states`,
    );
  }
}

function ggufModules({ name, metadata }: ModelFile): VectorModules | undefined {
  const field = `${metadata["general.architecture"]}.pooling_type`, type = metadata[field];
  if (type === undefined) return undefined;
  const pooling = GGUF_POOLINGS[Number(type)];
  if (pooling) return { poolings: [pooling], countsPrefix: true, steps: [], normalizes: true };
  if (Number(type) in GGUF_POOLINGS) return undefined;
  throw new ModelError(
    `Cannot embed with ${quote(name)}: ${quote(field)} is ${quote(type)}, expected 0 (none), ` +
      `1 (mean), 2 (first), 3 (last) or 4 (ranking); give a pooling`,
  );
}

function readPooling(
  { name }: ModelFile,
  { path, config }: SentenceModule,
): Pick<VectorModules, "poolings" | "countsPrefix"> {
  const { pooling_mode: mode } = config;
  const flag = (field: string, otherwise: boolean): boolean => {
    const value = config[field] ?? otherwise;
    // Numbers are flags to the class, too; of a text, "false" would be true.
    if (typeof value === "boolean" || value === 0 || value === 1) return Boolean(value);
    throw new ModelError(
      `Cannot embed with ${quote(name)}: ${field} of ${quote(`${path}/config.json`)} is ` +
        `${quote(value)}, expected true or false; give a pooling`,
    );
  };
  const countsPrefix = flag("include_prompt", true);
  const flagged = mode === undefined
    ? Object.keys(MODES).filter((_, i) => flag(FLAGS[i]!, false))
    : [];
  // Files of either form; with neither, the class's default.
  const named: unknown[] = mode === undefined
    ? flagged.length > 0 ? flagged : ["mean"]
    : Array.isArray(mode)
    ? mode
    : [mode];
  const poolings = named.map((it) =>
    Object.hasOwn(MODES, String(it)) ? MODES[String(it)] : undefined
  );
  if (poolings.length > 0 && poolings.every((it) => it !== undefined)) {
    return { poolings, countsPrefix };
  }
  throw new ModelError(
    `Cannot embed with ${quote(name)}: pooling_mode of ${quote(`${path}/config.json`)} is ` +
      `${quote(mode)}, expected ${Object.keys(MODES).join(", ")}; give a pooling`,
  );
}

/** A layer with a nonlinearity, in float64: `activation(W x + b)`. */
async function readDense(file: ModelFile, module: SentenceModule): Promise<VectorStep> {
  const { path, config, tensors } = module;
  const where = quote(`${path}/config.json`);
  const {
    in_features: columns,
    out_features: rows,
    bias: hasBias = true,
    activation_function: named = "torch.nn.modules.activation.Tanh",
    use_residual: residual = false,
    module_input_name: input = "sentence_embedding",
    module_output_name: output = null,
  } = config;
  const weight = tensors.get("linear.weight"), bias = tensors.get("linear.bias");
  const isSound = weight?.shape.length === 2 && weight.shape[0] === rows &&
    weight.shape[1] === columns && (!hasBias || bias?.shape.length === 1 && bias.shape[0] === rows);
  if (!isSound) {
    throw new FormatError(
      `Cannot read ${quote(file.name)}: ${where} has ${quote(columns)} columns and ${
        quote(rows)
      } ` +
        `rows, expected the extents of linear.weight and linear.bias beside it`,
    );
  }
  const kind = /^torch\.nn\.modules\.\w+\.(\w+)$/.exec(String(named))?.[1] ?? "";
  const activation = Object.hasOwn(ACTIVATIONS, kind) ? ACTIVATIONS[kind] : undefined;
  const plain = input === "sentence_embedding" && (output === null || output === input);
  if (!activation || residual !== false || !plain) {
    throw new ModelError(
      `Cannot embed with ${quote(file.name)}: ${where} has activation_function ${quote(named)}, ` +
        `use_residual ${quote(residual)} and module_input_name ${quote(input)}, expected one of ` +
        `${Object.keys(ACTIVATIONS).join(", ")}, false and "sentence_embedding"`,
    );
  }
  const matrix = await readFloats(weight), added = hasBias ? await readFloats(bias!) : undefined;
  return (vector) => {
    if (vector.length !== weight.shape[1]) {
      throw new ModelError(
        `Cannot embed with ${quote(file.name)}: a vector has ${vector.length} numbers, and ` +
          `${where} takes ${weight.shape[1]}; leave the pooling to the model's files`,
      );
    }
    return Float64Array.from({ length: weight.shape[0]! }, (_, row) => {
      let sum = added?.[row] ?? 0;
      vector.forEach((value, i) => sum += value * matrix[row * vector.length + i]!);
      return activation(sum);
    });
  };
}

/** All numbers of a tensor. */
async function readFloats(
  { name, source, offset, bytes, type, shape }: TensorEntry,
): Promise<Float32Array> {
  const convert = transcoder(type, "f32", `tensor ${quote(name)} of ${quote(source.name)}`);
  const read = await source.read(offset, bytes);
  const converted = convert.rows(read, shape.at(-1)!);
  return new Float32Array(converted.slice().buffer);
}
