/**
 * What a written file costs: its predictions beside its source's on texts that it was not calibrated
 * on, and how far each of its tensors is from what it was.
 *
 * @module
 */

import { readIds } from "../../options.ts";
import type { ResolvedModel } from "../../runtime/engine/resolve.ts";
import type { ModelFile } from "../../runtime/files/model_file.ts";
import { elements } from "../../kernels/op.ts";
import { loadModel, openModel } from "../../runtime/load.ts";
import { calibrationIds, ownTexts, piecesOf } from "../calibration.ts";
import { compareModels, type Comparison } from "../compare.ts";
import type { Importances } from "../imatrix.ts";
import type { ChosenOptions } from "../options.ts";
import type { Section } from "../sections.ts";
import type { HeldOut } from "./fields.ts";
import { hashOfIds } from "./hashes.ts";
import { compareStreamed } from "./streamed.ts";
import { type TensorError, tensorErrors } from "./tensor_errors.ts";

/** Most tokens that predictions are compared on. */
export const VERIFIED_TOKENS = 4096;
/** Texts that the model writes side by side. */
const AT_ONCE = 8;
/** What is left of a text is enough to compare on from so many tokens on. */
const ENOUGH_TOKENS = 512;
/** The first seed of texts to compare on; those to calibrate on begin at most at 2³² − 1. */
const OTHER_SEEDS = 2 ** 40;

/** What was found. */
export interface Proof {
  readonly comparison: Comparison;
  /** The largest first. */
  readonly errors: readonly TensorError[];
  readonly heldOut: HeldOut;
}

/** What the work before has left. */
export interface Evidence {
  /** The source's file, and its model for texts. */
  readonly file: ModelFile;
  readonly model: ResolvedModel;
  /** The model in sections, where scales were folded into norms. */
  readonly sections?: readonly Section[] | undefined;
  /** Mean squares of what matrices are multiplied with, by name of tensor. */
  readonly importances: ReadonlyMap<string, Importances>;
  /** Texts that the model was calibrated on. */
  readonly used: readonly (readonly number[])[];
  /** What is left of the text that they are the beginning of, in windows. */
  readonly rest: readonly (readonly number[])[];
}

/** Compares the file `made` with its source. */
export async function prove(
  source: string | URL,
  made: string,
  { file, model, sections, importances, used, rest }: Evidence,
  { seed = 1, tokens = VERIFIED_TOKENS, threads, signal, onProgress, verify }: ChosenOptions,
): Promise<Proof> {
  const textTokens = model.sizes.chunk, total = Math.min(tokens, VERIFIED_TOKENS);
  const told = (name: string) => (done: number): void =>
    onProgress?.({ phase: "verify", name, done, total });
  const load = {
    ...{ contextLength: textTokens, onWarning: () => {} },
    ...(threads !== undefined && { threads }),
    ...(signal && { signal }),
  };
  /** Texts to compare on, of which the model writes its own by `write`. */
  const chosen = async (
    write: (seed: number) => Promise<readonly (readonly number[])[]>,
  ): Promise<[HeldOut["from"], readonly (readonly number[])[]]> => {
    if (Array.isArray(verify)) {
      const ids = verify.map((it) => readIds(it, model.config.vocabSize));
      return ["text", ids.flatMap((it) => piecesOf(it, textTokens))];
    }
    const left = firstTokens(rest, total);
    if (countOf(left) >= Math.min(total, ENOUGH_TOKENS)) return ["rest", left];
    return ["self", heldOut(await write(OTHER_SEEDS + seed), used)];
  };
  const wanted = { tokens: total, textTokens, signal, onProgress: told("texts") };
  const written = await openModel(made, signal ? { signal } : {});
  try {
    const errors = await tensorErrors(file, written, { model, sections, importances, signal });
    const proofOn = async (
      [from, texts]: Awaited<ReturnType<typeof chosen>>,
      compare: (texts: readonly (readonly number[])[]) => Promise<Comparison>,
    ): Promise<Proof> => {
      const sha256 = hashOfIds(texts);
      return { comparison: await compare(texts), errors, heldOut: { from, texts, sha256 } };
    };
    const weights = file.tensors.values().reduce((sum, it) => sum + elements(it.shape), 0);
    if (isLarge(weights) && !(model.programs.encode && model.programs.decode)) {
      const own = { ...wanted, ...(threads !== undefined && { threads }) };
      const texts = await chosen(async (seed) =>
        (await calibrationIds(source, "self", { ...own, seed })).texts
      );
      const where = { backend: "wasm", signal, ...(threads !== undefined && { threads }) } as const;
      return await proofOn(texts, (texts) =>
        compareStreamed(file, written, model, texts, {
          ...where,
          onSection: (done, of) => told("predictions")(Math.floor(total * done / of)),
        }));
    }
    // The base computes in f32 even where the source is quantized: both models' own rounding counts.
    await using base = await loadModel(source, { ...load, weights: "f32", sequences: AT_ONCE });
    const texts = await chosen((seed) => ownTexts(base, { ...wanted, seed, atOnce: AT_ONCE }));
    await using quantized = await loadModel(made, load);
    return await proofOn(
      texts,
      (texts) => compareModels(base, quantized, texts, { signal, onProgress: told("predictions") }),
    );
  } finally {
    written.close();
  }
}

/** Whether so many weights are too much in f32 to have in memory. */
export function isLarge(weights: number): boolean {
  return 4 * weights > 2 ** 31;
}

/** Texts that are none of those that were read; all where a model always writes the same. */
function heldOut(
  texts: readonly (readonly number[])[],
  used: readonly (readonly number[])[],
): readonly (readonly number[])[] {
  const known = new Set(used.map((it) => it.join()));
  const others = texts.filter((it) => !known.has(it.join()));
  return others.some((it) => it.length > 1) ? others : texts;
}

/** The first texts, until they have so many tokens. */
function firstTokens(texts: readonly (readonly number[])[], most: number): number[][] {
  const taken: number[][] = [];
  let left = most;
  for (const text of texts) {
    if (left < 2) break;
    taken.push(text.slice(0, left));
    left -= text.length;
  }
  return taken;
}

function countOf(texts: readonly (readonly number[])[]): number {
  return texts.reduce((sum, it) => sum + it.length, 0);
}
