/**
 * The tokenizer files of published models that have no `tokenizer.json`: vocabularies, merges and
 * SentencePiece models, read whole. What they mean is the tokenizer's business.
 *
 * @module
 */

import { FormatError } from "../../errors.ts";
import { quote } from "../../escape.ts";
import { type Folder, openIfThere } from "./folder.ts";

/** Files that hold a vocabulary; the others only add to one. */
export const VOCABULARIES: readonly string[] = [
  ...["tokenizer.model", "spiece.model", "sentencepiece.bpe.model", "ice_text.model"],
  ...["vocab.model", "source.spm", "target.spm", "vocab.txt", "vocab.pkl", "vocab.bin"],
  ...["vocab.json", "merges.txt"],
];

/** The names that published models use. */
const NAMES: readonly string[] = [
  ...VOCABULARIES,
  "target_vocab.json",
  "special_tokens_map.json",
  "added_tokens.json",
  // Of the program jieba, by which PanGu's texts are cut into words.
  "dict.txt",
  "prob_start.py",
  "prob_trans.py",
  "prob_emit.py",
];

/** Bytes; the largest that is known has a fifth of it. */
export const FILE_LIMIT = 64 << 20;

/** Files by name. */
export type TokenizerFiles = Readonly<Record<string, Uint8Array>>;

/**
 * Reads those of the files that are there; of a server's folder all names are tried. Undefined where
 * there are none.
 *
 * @throws FormatError when one is too large to be what its name says
 */
export async function readTokenizerFiles(folder: Folder): Promise<TokenizerFiles | undefined> {
  const listed = await folder.list();
  const names = listed ? NAMES.filter((name) => listed.includes(name)) : NAMES;
  const found = await Promise.all(
    names.map(async (name) => [name, await readWhole(folder, name)] as const),
  );
  const files = found.filter((entry): entry is readonly [string, Uint8Array] => !!entry[1]);
  return files.length > 0 ? Object.fromEntries(files) : undefined;
}

async function readWhole(folder: Folder, name: string): Promise<Uint8Array | undefined> {
  const source = await openIfThere(folder, name);
  if (!source) return undefined;
  try {
    if (source.size > FILE_LIMIT) {
      throw new FormatError(
        `Cannot read the tokenizer file ${quote(source.name)}: it has ${source.size} bytes, ` +
          `expected at most ${FILE_LIMIT}`,
      );
    }
    return await source.read(0, source.size);
  } finally {
    source.close();
  }
}
