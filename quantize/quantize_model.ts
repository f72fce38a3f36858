/**
 * `quantizeModel`: from a model in any types to one with small weights, as a GGUF file.
 *
 * @module
 */

import { InputError, ModelError } from "../errors.ts";
import { quote } from "../escape.ts";
import { quantizeRows } from "../quant/quantize.ts";
import type { GgufFile, MetadataValue } from "../runtime/files/gguf.ts";
import type { GgufContents } from "../runtime/files/gguf_write.ts";
import type { TensorEntry } from "../runtime/files/model_file.ts";
import { loadModel, openModel } from "../runtime/load.ts";
import { readVector } from "../runtime/models/weights.ts";
import { calibrationIds, ownTexts } from "./calibration.ts";
import { compareModels, type Comparison } from "./compare.ts";
import { type Importances, readImatrix, writeImatrix } from "./imatrix.ts";
import { layersOf, resolveForTexts, weightsOutside } from "./layers.ts";
import {
  type ChosenOptions,
  type QuantizeOptions,
  type QuantizeResult,
  readQuantizeOptions,
} from "./options.ts";
import { encoded, quantizeLayers } from "./round_layers.ts";
import { planTypes } from "./types.ts";
import { checkDestination, writeDraft, writeModel } from "./write.ts";

export { compareModels, type Comparison };
export {
  METHODS,
  type QuantizeMethod,
  type QuantizeOptions,
  type QuantizeProgress,
  type QuantizeResult,
} from "./options.ts";
export type { CalibrationOption } from "./calibration.ts";
export type { TensorPlan, TensorWish } from "./types.ts";

/** Most tokens that the result is compared on. */
const VERIFIED_TOKENS = 4096;

/** Numbers of `general.file_type`: the type of most tensors (ggml-org/ggml, docs/gguf.md). */
const FILE_TYPES: Readonly<Record<string, number>> = {
  ...{ F32: 0, F16: 1, Q4_0: 2, Q4_1: 3, Q8_0: 7, Q5_0: 8, Q5_1: 9 },
  ...{ Q4_K: 14, Q5_K: 16, Q6_K: 18, IQ4_NL: 25, BF16: 32 },
};

/**
 * Quantizes the GGUF model `source` and writes `destination`.
 *
 * With `method` `importance` or `gptq` the model reads texts layer by layer, each layer on what comes
 * out of the already quantized ones before it. Experts of a mixture share the sums over what all of
 * them read.
 *
 * Source of GPTQ: Frantar et al., ICLR 2023.
 *
 * @throws InputError when an option is unknown or wrong, or the destination is there already
 * @throws SourceError when the source cannot be read
 * @throws FormatError when it is damaged
 * @throws ModelError when it is no GGUF file, or cannot be quantized
 *
 * @example
 * ```ts ignore
 * import { quantizeModel } from "@sparrow/sparrow/quantize";
 *
 * const { bitsPerWeight } = await quantizeModel("model-f16.gguf", "model-q4_0.gguf", { seed: 7 });
 * ```
 */
export async function quantizeModel(
  source: string | URL,
  destination: string,
  given: QuantizeOptions = {},
): Promise<QuantizeResult> {
  const options = readQuantizeOptions(given), { signal, force = false } = options;
  await checkDestination(destination, force);
  if (options.saveImatrix !== undefined) await checkDestination(options.saveImatrix, force);
  const file = await openModel(source, signal ? { signal } : {});
  try {
    if (file.format !== "gguf") {
      throw new ModelError(
        `Cannot quantize ${
          quote(file.name)
        }: it consists of ${file.format} files, and only GGUF files ` +
          `are quantized; load it as it is with weights "int4" or "int8" instead`,
      );
    }
    return await quantizeFile(file as GgufFile, source, destination, options);
  } finally {
    file.close();
  }
}

async function quantizeFile(
  file: GgufFile,
  source: string | URL,
  destination: string,
  options: ChosenOptions,
): Promise<QuantizeResult> {
  const { type, method, tokens = 4096, seed = 1, signal, onProgress = () => {} } = options;
  const first = await resolveForTexts(file);
  const tensors = planTypes(
    file,
    first.weights,
    weightsOutside(first),
    type,
    options.tensors ?? [],
  );
  const plans = new Map(tensors.map((it) => [it.name, it]));
  const isChanged = (name: string): boolean => {
    const { from, type } = plans.get(name)!;
    return from !== type;
  };
  const made = new Map<string, Uint8Array>();
  let used = 0, digest = "";
  const isCalibrated = method !== "nearest" && options.imatrix === undefined;
  if (
    isCalibrated && (options.saveImatrix !== undefined || tensors.some((it) => isChanged(it.name)))
  ) {
    const layers = layersOf(file.name, first), textTokens = first.sizes.chunk;
    const ids = await calibrationIds(source, options.calibration ?? "self", {
      ...{ tokens, seed, textTokens, signal },
      ...(options.threads !== undefined && { threads: options.threads }),
      onProgress: (done) => onProgress({ phase: "calibrate", name: "texts", done, total: tokens }),
    });
    used = ids.reduce((sum, it) => sum + it.length, 0);
    const written = new TextEncoder().encode(JSON.stringify(ids));
    digest = new Uint8Array(await crypto.subtle.digest("SHA-256", written)).toHex();
    const inputs = await quantizeLayers(file, first, layers, plans, ids, made, options);
    if (options.saveImatrix !== undefined) {
      const dataset = typeof options.calibration === "object" ? "given" : "self";
      await writeImatrix(options.saveImatrix, inputs, { dataset, tokens: used, textTokens });
    }
  }
  const left = tensors.filter((it) => isChanged(it.name) && !made.has(it.name));
  const imatrix = options.imatrix === undefined ? undefined : await readImatrix(options.imatrix);
  const uncovered: string[] = [];
  for (const [i, { name, type }] of left.entries()) {
    signal?.throwIfAborted();
    onProgress({ phase: "quantize", name, done: i, total: left.length });
    const entry = file.tensors.get(name)!, importances = imatrix?.get(name);
    if (imatrix && !importances) uncovered.push(name);
    const values = await readVector(entry);
    made.set(name, encoded(file, name, () => stackOf(entry, type, values, importances)));
  }
  const fields: Record<string, MetadataValue> = {
    "general.file_type": { type: "u32", value: FILE_TYPES[type]! },
    "general.quantization_version": { type: "u32", value: 2 },
    "sparrow.quantize.method": { type: "string", value: method },
  };
  if (used > 0) {
    fields["sparrow.quantize.tokens"] = { type: "u32", value: used };
    fields["sparrow.quantize.calibration_sha256"] = { type: "string", value: digest };
    fields["sparrow.quantize.seed"] = { type: "u32", value: seed };
  }
  const contents = (): GgufContents => ({
    fields: fieldsOf(file, fields),
    tensors: tensors.map(({ name, type }) => ({
      ...{ name, type, shape: file.tensors.get(name)!.shape },
      data: made.get(name) ?? piecesOf(file.tensors.get(name)!),
    })),
  });
  signal?.throwIfAborted();
  let comparison: Comparison | undefined;
  if (options.verify ?? used > 0) {
    await using draft = await writeDraft(destination, contents());
    comparison = await verified(source, draft.path, first.sizes.chunk, options);
    for (const [name, value] of Object.entries(figuresOf(comparison))) {
      fields[`sparrow.quantize.${name}`] = { type: "f32", value };
    }
  }
  const bytes = await writeModel(destination, contents());
  const elements = tensors.reduce((sum, it) => sum + it.elements, 0);
  const bits = tensors.reduce((sum, it) => sum + it.elements * it.bits[1], 0);
  return {
    ...{ bytes, tensors, method, tokens: used, uncovered, bitsPerWeight: bits / elements },
    ...(comparison && { comparison }),
  };
}

/** Compares what was made with its source, on texts that the source writes with another seed. */
async function verified(
  source: string | URL,
  made: string,
  textTokens: number,
  { seed = 1, tokens = 4096, threads, signal, onProgress }: ChosenOptions,
): Promise<Comparison> {
  const total = Math.min(tokens, VERIFIED_TOKENS);
  const told = (done: number): void =>
    onProgress?.({ phase: "verify", name: "predictions", done, total });
  const load = {
    ...{ contextLength: textTokens, onWarning: () => {} },
    ...(threads !== undefined && { threads }),
    ...(signal && { signal }),
  };
  // The base computes in f32 even where the source is quantized: both models' own rounding counts.
  await using base = await loadModel(source, { ...load, weights: "f32" });
  const texts = await ownTexts(base, {
    ...{
      tokens: total,
      textTokens,
      seed: (seed ^ 0x5eed) >>> 0,
      signal,
    },
    onProgress: () => told(0),
  });
  await using model = await loadModel(made, load);
  return await compareModels(base, model, texts, { signal, onProgress: told });
}

/** Figures of a comparison, as the file's metadata has them. */
function figuresOf({ kl, sameTop, perplexity, tokens }: Comparison): Record<string, number> {
  return {
    ...{ verified_tokens: tokens, kl_mean: kl.mean, kl_median: kl.median, kl_99: kl.p99 },
    ...{ kl_999: kl.p999, same_top: sameTop, perplexity_ratio: perplexity[1] / perplexity[0] },
  };
}

/** A tensor in blocks, each matrix of a stack by its own importances, or to nearest where there are none. */
function stackOf(
  { name, shape }: TensorEntry,
  type: string,
  values: Float32Array,
  importances: Importances | undefined,
): Uint8Array {
  const columns = shape.at(-1)!;
  if (!importances) return quantizeRows(type, values, columns);
  const { matrices, meanSquares } = importances, rows = values.length / columns;
  if (meanSquares.length !== matrices * columns || rows % matrices !== 0) {
    throw new InputError(
      `Cannot use importances ${quote(name)} of ${matrices} × ${meanSquares.length / matrices} ` +
        `columns: expected those of [${shape.join(", ")}]`,
    );
  }
  const size = values.length / matrices, pieces: Uint8Array[] = [];
  for (let i = 0; i < matrices; i++) {
    pieces.push(quantizeRows(type, values.subarray(i * size, (i + 1) * size), columns, {
      importances: meanSquares.slice(i * columns, (i + 1) * columns),
    }));
  }
  const bytes = new Uint8Array(pieces.reduce((sum, it) => sum + it.length, 0));
  let at = 0;
  for (const piece of pieces) {
    bytes.set(piece, at);
    at += piece.length;
  }
  return bytes;
}

/** The source's fields with some set anew; where the tensors of a split model lay means nothing now. */
function* fieldsOf(
  { fields }: GgufFile,
  own: Readonly<Record<string, MetadataValue>>,
): Iterable<readonly [string, MetadataValue]> {
  for (const [name, value] of fields) {
    if (!Object.hasOwn(own, name) && !name.startsWith("split.")) yield [name, value];
  }
  yield* Object.entries(own);
}

/** The bytes of a tensor that stays as it is, a few megabytes at a time. */
async function* piecesOf({ source, offset, bytes }: TensorEntry): AsyncIterable<Uint8Array> {
  const PIECE = 4 << 20;
  for (let at = 0; at < bytes; at += PIECE) {
    yield await source.read(offset + at, Math.min(PIECE, bytes - at));
  }
}
