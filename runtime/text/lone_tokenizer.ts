/**
 * Tokenizers without a model: of a folder that has no weights, and of a SentencePiece model file.
 *
 * @module
 */

import { isA } from "../../options.ts";
import { openFolder } from "../files/folder.ts";
import { readOptionalJson } from "../files/json.ts";
import { type ByteSource, isHttp, openSource, resolveLocation } from "../files/source.ts";
import { isDirectory } from "../files/source_file.ts";
import { FILE_LIMIT, readTokenizerFiles } from "../files/tokenizer_files.ts";
import { folderTokenizer, unusedTextSettings } from "./model_text.ts";
import { checkedTokenizer } from "./tokenizer/checked.ts";
import { tokenizerFromSentencePiece } from "./tokenizer/sentencepiece/tokenizer.ts";
import type { Tokenizer } from "./tokenizer/tokenizer.ts";

/**
 * The tokenizer of a folder that holds no model; undefined where it has none either. What its files ask
 * for and no text gets is told.
 *
 * @throws FormatError when it is damaged, or of a class that is not supported
 */
export async function weightlessTokenizer(
  source: string | URL | Blob,
  warn: (message: string) => void,
): Promise<Tokenizer | undefined> {
  if (isBlob(source)) return undefined;
  const folder = openFolder(source);
  const [metadata = {}, tokenizerJson, tokenizerConfig] = await Promise.all(
    ["config.json", "tokenizer.json", "tokenizer_config.json"]
      .map((name) => readOptionalJson(folder, name)),
  );
  const tokenizerFiles = tokenizerJson ? undefined : await readTokenizerFiles(folder);
  const file = {
    ...{ name: folder.name, metadata },
    ...(tokenizerJson && { tokenizerJson }),
    ...(tokenizerConfig && { tokenizerConfig }),
    ...(tokenizerFiles && { tokenizerFiles }),
  };
  const tokenizer = await folderTokenizer(file);
  if (tokenizer) (await unusedTextSettings(file)).forEach((sentence) => warn(sentence));
  return tokenizer && checkedTokenizer(tokenizer);
}

const isBlob = (source: unknown): source is Blob => isA(source, Blob);

/**
 * The tokenizer of a SentencePiece model file by itself; undefined for other files and for folders.
 *
 * @throws FormatError when it is damaged
 */
export async function plainTokenizer(
  source: string | URL | Blob,
  signal?: AbortSignal,
): Promise<Tokenizer | undefined> {
  if (!isBlob(source)) {
    if (typeof source !== "string" && !isA(source, URL)) return undefined;
    if (!/\.(?:model|spm)$/.test(String(source).replace(/[?#].*$/, ""))) return undefined;
    const place = resolveLocation(source);
    if (!isHttp(place) && await isDirectory(place)) return undefined;
  }
  const file = await openSource(source, { signal });
  try {
    if (!await beginsWithPieces(file)) return undefined;
    const bytes = await file.read(0, file.size);
    return checkedTokenizer(tokenizerFromSentencePiece(bytes, file.name));
  } finally {
    file.close();
  }
}

/** Whether a file begins as a list of pieces does, and neither as GGUF nor as safetensors. */
async function beginsWithPieces(file: ByteSource): Promise<boolean> {
  if (file.size < 12 || file.size > FILE_LIMIT) return false;
  const bytes = await file.read(0, 12);
  const begins = String.fromCharCode(...bytes.subarray(5, 9));
  return bytes[0] === 0x0a && bytes[2] === 0x0a && begins !== "\0\0\0{";
}
