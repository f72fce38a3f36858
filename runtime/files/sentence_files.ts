/**
 * What sentence-transformers puts beside an encoder: `modules.json`, which lists what happens to hidden
 * states, a folder with a configuration and maybe weights for each of these modules, and two files of
 * settings. Here they are read; what they mean is the tasks' business.
 *
 * Source: https://sbert.net (sentence_transformers 6, `base/modules`).
 *
 * @module
 */

import { FormatError } from "../../errors.ts";
import { quote } from "../../escape.ts";
import { type Folder, openIfThere } from "./folder.ts";
import { isObject, type JsonObject, readJsonList, readOptionalJson } from "./json.ts";
import type { SentenceFiles, SentenceModule, TensorEntry } from "./model_file.ts";
import { isSafeName } from "./safe_path.ts";
import { readSafetensors } from "./safetensors.ts";
import type { ByteSource } from "./source.ts";
import { readTorch } from "./torch.ts";

/** Far more than any model has. */
const MOST_MODULES = 16;

/**
 * Reads them; undefined where there are none. The sources of weights are for the caller to close.
 *
 * @throws FormatError when a file is damaged
 */
export async function readSentenceFiles(
  folder: Folder,
): Promise<{ files: SentenceFiles; sources: readonly ByteSource[] } | undefined> {
  const names = await folder.list();
  const has = (name: string): boolean => names === undefined || names.includes(name);
  const optional = async (name: string): Promise<JsonObject | undefined> =>
    has(name) ? await readOptionalJson(folder, name) : undefined;
  const list = has("modules.json") ? await readList(folder) : undefined;
  // A server's folder is not asked for more where it has no list.
  if (names === undefined && !list) return undefined;
  const encoder = await optional("sentence_bert_config.json");
  const settings = await optional("config_sentence_transformers.json");
  if (!list && !encoder && !settings) return undefined;
  const modules: SentenceModule[] = [], sources: ByteSource[] = [];
  try {
    for (const entry of list ?? []) modules.push(await readModule(folder, entry, sources));
  } catch (error) {
    for (const source of sources) source.close();
    throw error;
  }
  return { files: { modules: list && modules, encoder, settings }, sources };
}

async function readList(folder: Folder): Promise<readonly unknown[] | undefined> {
  const source = await openIfThere(folder, "modules.json");
  if (!source) return undefined;
  try {
    const list = await readJsonList(source);
    if (list.length <= MOST_MODULES) return list;
    throw new FormatError(
      `Cannot read ${quote(source.name)}: it has ${list.length} modules, expected at most ` +
        MOST_MODULES,
    );
  } finally {
    source.close();
  }
}

async function readModule(
  folder: Folder,
  entry: unknown,
  sources: ByteSource[],
): Promise<SentenceModule> {
  const { type, path = "" } = isObject(entry) ? entry : {};
  if (typeof type !== "string" || typeof path !== "string" || path !== "" && !isSafeName(path)) {
    throw new FormatError(
      `Cannot read ${quote(`${folder.name}modules.json`)}: a module is ${quote(entry)}, expected ` +
        `an object with a type and the name of a folder as its path`,
    );
  }
  const tensors = new Map<string, TensorEntry>();
  if (path === "") return { type, path, config: {}, tensors };
  const own = folder.subfolder(path);
  const config = await readOptionalJson(own, "config.json") ?? {};
  // Of the modules that are known only this one has weights.
  if (/\bDense$/.test(type)) {
    const safe = await openIfThere(own, "model.safetensors");
    const source = safe ?? await openIfThere(own, "pytorch_model.bin");
    if (source) sources.push(source);
    if (source) await (safe ? readSafetensors : readTorch)(source, tensors);
  }
  return { type, path, config, tensors };
}
