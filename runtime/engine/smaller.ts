/**
 * How a model takes less memory: which options are enough for a limit, and what each saves.
 *
 * @module
 */

import { formatBytes, quote } from "../../escape.ts";
import { MemoryError } from "../../errors.ts";
import type { ModelFile } from "../files/model_file.ts";
import { type TableChoice, withTablesInFile } from "./lookup_tables.ts";
import { type ResolvedModel, resolveModel, type ResolveOptions } from "./resolve.ts";

/** How a model is held. */
export interface HoldOptions extends ResolveOptions, TableChoice {}

/** What can be chosen in place of something else, those first that round least. */
const SMALLER: readonly Partial<HoldOptions>[] = [
  { lookupTables: "file" },
  { wordTables: "int8" },
  { cacheType: "int8" },
  { lookupTables: "file", wordTables: "int8" },
  { wordTables: "int8", cacheType: "int8" },
  { weights: "int8" },
  { weights: "int8", wordTables: "int8" },
  { weights: "int4" },
  { weights: "int4", wordTables: "int8" },
  { weights: "int4", wordTables: "int4" },
  { weights: "int4", wordTables: "int4", cacheType: "int8" },
  { lookupTables: "file", weights: "int4", wordTables: "int4", cacheType: "int8" },
];

/** What is worth telling by itself of a model that takes much of the memory. */
const SAVING: readonly Partial<HoldOptions>[] = [
  { lookupTables: "file" },
  { wordTables: "int8" },
  { cacheType: "int8" },
  { weights: "int8" },
  { weights: "int4" },
];
/** Savings of less than this part are not worth it. */
const LEAST_SAVING = 1 / 16;

/** A model as options hold it, without a word. */
async function held(file: ModelFile, options: HoldOptions): Promise<ResolvedModel> {
  return withTablesInFile(await resolveModel(file, options, () => {}), options);
}

/** The options with which a model fits, as advice; undefined where none are enough. */
export async function findSmaller(
  file: ModelFile,
  options: HoldOptions,
  fits: (model: ResolvedModel) => boolean,
): Promise<string | undefined> {
  const areEnough = async (other: Partial<HoldOptions>): Promise<boolean> => {
    const model = await held(file, { ...options, ...other });
    try {
      return fits(model);
    } catch (error) {
      if (error instanceof MemoryError) return false;
      throw error;
    }
  };
  if (!await areEnough(SMALLER.at(-1)!)) return undefined;
  for (const other of SMALLER) if (await areEnough(other)) return adviceOf(other);
  return undefined;
}

/** What single options save, as `with wordTables "int8" 1.1 GB less`; those that save little are left out. */
export async function savingsOf(
  file: ModelFile,
  options: HoldOptions,
  bytesOf: (model: ResolvedModel) => number,
): Promise<string[]> {
  const bytes = bytesOf(await held(file, options)), sentences: string[] = [];
  for (const other of SAVING) {
    const saved = bytes - bytesOf(await held(file, { ...options, ...other }));
    const [[name, value]] = Object.entries(other) as [[string, unknown]];
    if (saved < bytes * LEAST_SAVING) continue;
    sentences.push(`with ${name} ${quote(value)} ${formatBytes(saved)} less`);
  }
  return sentences;
}

/** Options as a message advises them. */
function adviceOf(options: Partial<HoldOptions>): string {
  return Object.entries(options).map(([name, value]) => `use ${name} ${quote(value)}`)
    .join(" and ");
}
