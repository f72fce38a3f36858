/**
 * `quantizeModel`: from a model in any types to one with small weights, as a GGUF file.
 *
 * @module
 */

import { InputError } from "../errors.ts";
import { quote } from "../escape.ts";
import { elements } from "../kernels/op.ts";
import type { GgufFile, MetadataValue } from "../runtime/files/gguf.ts";
import type { ModelFile, TensorEntry } from "../runtime/files/model_file.ts";
import { openModel } from "../runtime/load.ts";
import { calibrationIds, checkTextTokens, kindOf } from "./calibration.ts";
import { compareModels, type Comparison } from "./compare.ts";
import { asGguf } from "./convert/convert.ts";
import { type Draft, openDraft } from "./draft.ts";
import { estimateRun } from "./estimate.ts";
import { type Importances, importancesOf, readImatrix, writeImatrix } from "./imatrix.ts";
import { layersOf, resolveForTexts } from "./layers.ts";
import {
  type ChosenOptions,
  DEFAULT_TOKENS,
  type QuantizeOptions,
  type QuantizeResult,
  readQuantizeOptions,
  type Unreached,
} from "./options.ts";
import { FIELD_PREFIX, madeFields, proofFields, unprovenFields } from "./report/fields.ts";
import { hashOfIds, sourceFacts } from "./report/hashes.ts";
import { type Proof, prove } from "./report/prove.ts";
import { planFields, planTensors } from "./plan.ts";
import { encoded, quantizeLayers } from "./round_layers.ts";
import { termsOf } from "./terms.ts";
import type { TensorPlan } from "./types.ts";
import { encodeTensor } from "./wasm/encode.ts";
import { startQuantizers } from "./wasm/pool.ts";
import { checkApart, checkDestination } from "./write.ts";

export { compareModels, type Comparison };
export {
  METHODS,
  type QuantizeEstimate,
  type QuantizeMethod,
  type QuantizeOptions,
  type QuantizeProgress,
  type QuantizeResult,
  type Unreached,
} from "./options.ts";
export type { CalibrationOption } from "./calibration.ts";
export type { TensorPlan, TensorWish } from "./types.ts";
export type { SourceFacts } from "./report/hashes.ts";
export type { TensorError } from "./report/tensor_errors.ts";

/** How often what is whole is kept in the journal, in milliseconds. */
const KEEP_MS = 2000;

/**
 * Quantizes the model `source` and writes `destination`, a GGUF file. A folder of safetensors or torch
 * files becomes GGUF whole, with its tokenizer (`convert/`); `onWarning` is told what has no place there.
 *
 * With `method` `importance` or `gptq` the model reads texts layer by layer, each layer on what comes
 * out of the already quantized ones before it. Each expert of a mixture
 * has sums of its own, with a share of what all experts of its layer read.
 *
 * Source of GPTQ: Frantar et al., ICLR 2023.
 *
 * Every tensor is written to its place in `DESTINATION.part` as soon as it is rounded, so that no more
 * than a layer is in memory; the file gets its name when it is whole. What is whole is kept in
 * `DESTINATION.part.journal`, from which `resume` goes on after a kill.
 *
 * @throws InputError when an option is unknown or wrong, the destination is there already or is the
 *   source itself, or `resume` finds what was begun under other options
 * @throws SourceError when the source cannot be read
 * @throws FormatError when it is damaged
 * @throws ModelError when it cannot be quantized, or is of a family or has a tokenizer that is not converted
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
  const { onWarning = console.warn } = options;
  const opened = await openModel(source, { onWarning, ...(signal && { signal }) });
  try {
    const file = await asGguf(opened, onWarning);
    for (const path of [destination, options.saveImatrix]) {
      if (path !== undefined) await checkApart(opened, path);
    }
    return await quantizeFile(file, opened, source, destination, options);
  } finally {
    opened.close();
  }
}

async function quantizeFile(
  file: GgufFile,
  opened: ModelFile,
  source: string | URL,
  destination: string,
  options: ChosenOptions,
): Promise<QuantizeResult> {
  const { method, signal, onProgress = () => {}, onWarning = console.warn } = options;
  const first = await resolveForTexts(file);
  const wasAsked = method !== "nearest" && options.imatrix === undefined;
  if (wasAsked || options.verify) checkTextTokens(file.name, first.sizes.chunk);
  const facts = wasAsked || options.verify ? await sourceFacts(opened, signal) : undefined;
  const fieldsNow = (
    plans: readonly TensorPlan[],
    used: Ids,
  ): Record<string, MetadataValue> => {
    const tokens = used.reduce((sum, it) => sum + it.length, 0);
    const from = kindOf(options.calibration ?? "self");
    return {
      ...planFields(options, plans),
      "general.quantization_version": { type: "u32", value: 2 },
      ...madeFields({
        ...{ options, source: facts },
        read: tokens === 0 ? undefined : { from, tokens, sha256: hashOfIds(used) },
      }),
    };
  };
  // What is known at the end only has its size already.
  const fieldsFor = (plans: readonly TensorPlan[]) =>
    fieldsOf(file, {
      ...fieldsNow(plans, wasAsked ? [[0]] : []),
      ...((options.verify ?? wasAsked) && unprovenFields(plans.map((it) => it.name))),
    });
  const tensors = await planTensors({ file, source, model: first, options, fieldsFor });
  const plans = new Map(tensors.map((it) => [it.name, it]));
  const isChanged = (name: string): boolean => {
    const { from, type } = plans.get(name)!;
    return from !== type;
  };
  const isCalibrated = wasAsked &&
    (options.saveImatrix !== undefined || tensors.some((it) => isChanged(it.name)));
  const willVerify = Boolean(options.verify ?? isCalibrated);
  await using draft = await openDraft({
    ...{ path: destination, resume: options.resume ?? false, onWarning },
    fields: [...fieldsFor(tensors)],
    terms: await termsOf(opened, options),
    tensors: tensors.map(({ name, type }) => ({
      ...{ name, type },
      shape: file.tensors.get(name)!.shape,
    })),
  });
  const { threads } = options;
  using pool = await startQuantizers({ threads, signal });
  const imatrix = options.imatrix === undefined ? undefined : await readImatrix(options.imatrix);
  if (options.onEstimate) {
    const work = { name: file.name, model: first, plans: tensors, draft, isCalibrated, willVerify };
    options.onEstimate(await estimateRun(pool, work, options));
  }
  let used: Ids = [], rest: Ids = [], importances = new Map<string, Importances>();
  const unreached: Unreached[] = [];
  if (isCalibrated) {
    const layers = layersOf(file.name, first), textTokens = first.sizes.chunk;
    ({ texts: used, rest } = await textsFor(draft, source, textTokens, options));
    const inputs = await quantizeLayers(file, first, layers, plans, used, draft, pool, options);
    importances = importancesOf(inputs);
    for (const [name, { counts }] of inputs) {
      const experts = counts.flatMap((it, expert) => it === 0 ? [expert] : []);
      if (experts.length > 0) unreached.push({ name, experts, of: counts.length });
    }
    if (options.saveImatrix !== undefined) {
      const dataset = typeof options.calibration === "object" ? "given" : "self";
      await writeImatrix(options.saveImatrix, inputs, {
        ...{ dataset, textTokens, tokens: used.reduce((sum, it) => sum + it.length, 0) },
      });
    }
  }
  const uncovered = imatrix
    ? tensors.map((it) => it.name).filter((it) => isChanged(it) && !imatrix.has(it))
    : [];
  const left = tensors.filter((it) => !draft.has(it.name));
  const unkept: string[] = [];
  let keptAt = performance.now();
  for (const [i, { name, type }] of left.entries()) {
    signal?.throwIfAborted();
    onProgress({ phase: "quantize", name, done: i, total: left.length });
    const entry = file.tensors.get(name)!;
    if (isChanged(name)) {
      const importances = imatrix?.get(name);
      await encoded(file, name, async () => {
        if (importances) checkImportances(entry, importances);
        await encodeTensor(pool, entry, type, draft, importances);
      });
    } else await copyTo(draft, entry);
    unkept.push(name);
    // Telling the disk for every small tensor would take longer than writing it.
    if (performance.now() - keptAt < KEEP_MS && i < left.length - 1) continue;
    draft.complete(unkept.splice(0));
    keptAt = performance.now();
  }
  await pool.closeFiles();
  const fields = fieldsNow(tensors, used);
  signal?.throwIfAborted();
  let proof: Proof | undefined;
  if (willVerify) {
    const isFolded = used.length > 0 && method !== "importance";
    proof = await prove(source, draft.path, {
      ...{ file, model: first, importances: imatrix ?? importances, used, rest },
      sections: isFolded ? layersOf(file.name, first).sections : undefined,
    }, options);
    const { comparison, errors, heldOut } = proof;
    Object.assign(fields, proofFields(comparison, errors, heldOut, tensors.map((it) => it.name)));
  }
  const bytes = await draft.finish([...fieldsOf(file, fields)]);
  const count = tensors.reduce((sum, it) => sum + it.elements, 0);
  const bits = tensors.reduce((sum, it) => sum + it.elements * it.bits[1], 0);
  return {
    ...{ bytes, tensors, method, uncovered, unreached, bitsPerWeight: bits / count },
    tokens: used.reduce((sum, it) => sum + it.length, 0),
    ...(facts && { source: facts }),
    ...(proof && {
      ...{ comparison: proof.comparison, errors: proof.errors, heldOut: proof.heldOut.texts },
    }),
  };
}

/** Fewer tokens say little of what weights are multiplied with. */
const FEW_TOKENS = 128;

/** Token ids of texts. */
type Ids = readonly (readonly number[])[];

/** Texts to calibrate on, and what follows them: those that a draft has kept, else new ones. */
async function textsFor(
  draft: Draft,
  source: string | URL,
  textTokens: number,
  options: ChosenOptions,
): Promise<{ readonly texts: Ids; readonly rest: Ids }> {
  const { tokens = DEFAULT_TOKENS, seed = 1, calibration = "self", threads, signal } = options;
  const { onProgress, onWarning = console.warn } = options;
  const kept = draft.noted("texts");
  if (kept) return kept as { texts: Ids; rest: Ids };
  const { texts, rest } = await calibrationIds(source, calibration, {
    ...{ tokens, seed, textTokens, signal, ...(threads !== undefined && { threads }) },
    onProgress: (done) => onProgress?.({ phase: "calibrate", name: "texts", done, total: tokens }),
  });
  const count = texts.reduce((sum, it) => sum + it.length, 0);
  if (count < Math.min(tokens, FEW_TOKENS)) {
    onWarning(
      `the model was calibrated on ${count} tokens, since the given texts have no more: its weights ` +
        `may fit these and no others; give longer texts, or none`,
    );
  }
  draft.note("texts", { texts, rest });
  return { texts, rest };
}

/** Refuses importances that are not those of a tensor's columns. */
function checkImportances({ name, shape }: TensorEntry, it: Importances): void {
  const columns = shape.at(-1)!, rows = elements(shape) / columns;
  if (it.meanSquares.length === it.matrices * columns && rows % it.matrices === 0) return;
  throw new InputError(
    `Cannot use importances ${quote(name)} of ${it.matrices} × ` +
      `${it.meanSquares.length / it.matrices} columns: expected those of [${shape.join(", ")}]`,
  );
}

/** The source's fields with some set anew; where the tensors of a split model lay means nothing now. */
function* fieldsOf(
  { fields }: GgufFile,
  own: Readonly<Record<string, MetadataValue>>,
): Iterable<readonly [string, MetadataValue]> {
  for (const [name, value] of fields) {
    // What another run has said of its own source and texts is not this one's.
    const isOver = name.startsWith("split.") || name.startsWith(FIELD_PREFIX);
    if (!Object.hasOwn(own, name) && !isOver) yield [name, value];
  }
  yield* Object.entries(own);
}

/** Copies a tensor that stays as it is, a few megabytes at a time. */
async function copyTo(draft: Draft, { name, source, offset, bytes }: TensorEntry): Promise<void> {
  const PIECE = 4 << 20;
  for (let at = 0; at < bytes; at += PIECE) {
    draft.write(name, await source.read(offset + at, Math.min(PIECE, bytes - at)), at);
  }
}
