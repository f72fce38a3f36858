/**
 * Which tables of words the parts of an encoder–decoder read. Transformers 5 gives the encoder, the
 * decoder and the head a table each, and one that they share. A table that a file does not have, or has
 * with the same numbers, is the shared one; one with other numbers counts, whatever
 * `tie_word_embeddings` says. Up to version 4 there was no more than the shared table and a head.
 *
 * @module
 */

import { sameBytes, sameStart } from "../files/compare.ts";
import type { ModelFile } from "../files/model_file.ts";

/**
 * The tables as a family's files name them, in the order in which they stand in for a shared one that is
 * not there.
 */
export interface TableNames {
  readonly shared: string;
  readonly encoder: string;
  readonly decoder: string;
  readonly head: string;
}

/** Tensors that the parts read: the shared one wherever it has the same numbers. */
export interface WordTables {
  readonly encoder: string;
  readonly decoder: string;
  readonly head: string;
}

/**
 * Finds the tables of a file.
 *
 * @param isTied whether a head that the file does not have is the shared table, and the other way
 *   round; otherwise its name is given, so that it will be missed
 */
export async function findWordTables(
  file: ModelFile,
  { shared: sharedName, ...own }: TableNames,
  isTied: boolean,
): Promise<WordTables> {
  const has = (name: string): boolean => file.tensors.has(name);
  const others = isTied ? Object.values(own) : [];
  const shared = has(sharedName) ? sharedName : others.find(has) ?? sharedName;
  const find = async (name: string): Promise<string> =>
    await isOwnTable(file, name, shared) ? name : shared;
  return {
    encoder: await find(own.encoder),
    decoder: await find(own.decoder),
    head: isTied || has(own.head) ? await find(own.head) : own.head,
  };
}

/** Whether a file has a table of that name with other numbers than those of `table`. */
export async function isOwnTable(
  { tensors }: ModelFile,
  name: string,
  table: string,
): Promise<boolean> {
  if (name === table || !tensors.has(name)) return false;
  const own = tensors.get(name), other = tensors.get(table);
  if (!own || !other) return true;
  // A server would have to send both: their beginnings tell trained matrices apart.
  return !(await sameBytes(own, other) ?? await sameStart(own, other));
}
