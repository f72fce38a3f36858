/**
 * Models whose weights are in files of safetensors or of torch, one or several with an index, and the
 * JSON files beside them. Here is which files there are; what the configuration means is the models'
 * business.
 *
 * @module
 */

import { FormatError, ModelError } from "../../errors.ts";
import { quote } from "../../escape.ts";
import { readChatTemplates } from "./chat_templates.ts";
import type { Folder } from "./folder.ts";
import { isObject, readJson, readOptionalJson } from "./json.ts";
import type { ModelFile, TensorEntry } from "./model_file.ts";
import { type RankFiles, rankName } from "./ranks.ts";
import { isSafeName } from "./safe_path.ts";
import { readSafetensors } from "./safetensors.ts";
import { readSentenceFiles } from "./sentence_files.ts";
import { type ByteSource, NotFoundError } from "./source.ts";
import { readTokenizerFiles } from "./tokenizer_files.ts";
import { beginsAsTorch, readTorch } from "./torch.ts";

/** Files of one model; each is kept open. */
const MAX_SHARDS = 1000;

/**
 * Opens a model whose weights are in one file. `source` is closed with the model, or when this fails.
 *
 * @param source the file, of safetensors or of torch
 * @param folder where `config.json` and the tokenizer's files are
 * @throws FormatError when bytes break the format, or claim what the file does not have
 * @throws ModelError when there is no `config.json`
 * @throws SourceError when bytes cannot be read
 */
export async function openCheckpoint(
  source: ByteSource,
  folder: Folder | undefined,
): Promise<ModelFile> {
  try {
    const tensors = new Map<string, TensorEntry>();
    const { format, savedConfig } = await readTensors(source, tensors);
    const file = await complete(format, source.name, folder, tensors, [source]);
    return savedConfig ? { ...file, savedConfig } : file;
  } catch (error) {
    source.close();
    throw error;
  }
}

/**
 * Opens a model of several files by their index, such as `model.safetensors.index.json` or
 * `pytorch_model.bin.index.json`.
 *
 * @param index name of the index in `folder`
 * @throws FormatError when bytes break a format, or index and files do not agree
 * @throws ModelError when there is no `config.json`
 * @throws SourceError when bytes cannot be read, or a file is missing
 */
export async function openShards(folder: Folder, index: string): Promise<ModelFile> {
  const name = folder.name + index;
  const weightMap = await readIndex(folder, index);
  const tensors = new Map<string, TensorEntry>();
  const sources = new Map<string, ByteSource>();
  let format: ModelFile["format"] = "safetensors";
  try {
    const shards = [...new Set(weightMap.values())].sort();
    if (shards.length > MAX_SHARDS) {
      throw new FormatError(
        `Cannot read shards of ${quote(name)}: the index names ${shards.length} files, expected ` +
          `at most ${MAX_SHARDS}`,
      );
    }
    for (const shard of shards) {
      const source = await openShard(folder, shard, name);
      sources.set(shard, source);
      ({ format } = await readTensors(source, tensors));
    }
    for (const [tensor, shard] of weightMap) {
      if (tensors.get(tensor)?.source !== sources.get(shard)) {
        throw new FormatError(
          `Cannot read shards of ${quote(name)}: tensor ${quote(tensor)} is not in ` +
            `${quote(shard)}, where the index has it`,
        );
      }
    }
    return await complete(format, folder.name, folder, tensors, [...sources.values()]);
  } catch (error) {
    for (const source of sources.values()) source.close();
    throw error;
  }
}

/**
 * Opens a model that was divided among processes. Of several, each tensor's name begins with its rank's.
 *
 * @param beside where `config.json` and the tokenizer's files are
 * @throws FormatError when bytes break the format
 * @throws ModelError when there is no `config.json`
 * @throws SourceError when bytes cannot be read
 */
export async function openRanks({ folder, names }: RankFiles, beside: Folder): Promise<ModelFile> {
  const tensors = new Map<string, TensorEntry>(), sources: ByteSource[] = [];
  let format: ModelFile["format"] = "torch";
  try {
    for (const [rank, file] of names.entries()) {
      const source = await folder.open(file), own = new Map<string, TensorEntry>();
      sources.push(source);
      ({ format } = await readTensors(source, own));
      const prefix = names.length > 1 ? `${rankName(rank)}/` : "";
      for (const [name, entry] of own) {
        tensors.set(prefix + name, { ...entry, name: prefix + name });
      }
    }
    return await complete(format, beside.name, beside, tensors, sources);
  } catch (error) {
    sources.forEach((it) => it.close());
    throw error;
  }
}

async function readIndex(folder: Folder, index: string): Promise<Map<string, string>> {
  const source = await folder.open(index);
  const fail = (found: string): never => {
    throw new FormatError(`Cannot read index ${quote(source.name)}: ${found}`);
  };
  try {
    const { weight_map: weightMap } = await readJson(source);
    if (!isObject(weightMap)) return fail("weight_map is missing, expected files by tensor");
    return new Map(
      Object.entries(weightMap).map(([tensor, shard]) => {
        if (typeof shard === "string" && isSafeName(shard)) return [tensor, shard];
        return fail(`tensor ${quote(tensor)} is in ${quote(shard)}, expected a file name`);
      }),
    );
  } finally {
    source.close();
  }
}

async function openShard(folder: Folder, shard: string, index: string): Promise<ByteSource> {
  try {
    return await folder.open(shard);
  } catch (error) {
    if (!(error instanceof NotFoundError)) throw error;
    throw new NotFoundError(
      `Cannot open shards of ${quote(index)}: ${quote(shard)} is missing beside it`,
      { cause: error },
    );
  }
}

/**
 * Tensors by the names that they have today: what was converted from TensorFlow at first calls the gain
 * and the bias of a norm gamma and beta.
 */
function renamed(tensors: ReadonlyMap<string, TensorEntry>): ReadonlyMap<string, TensorEntry> {
  const today = (name: string): string =>
    name.replace(/\bLayerNorm\.gamma$/, "LayerNorm.weight").replace(
      /\bLayerNorm\.beta$/,
      "LayerNorm.bias",
    );
  return new Map(
    Array.from(tensors, ([old, entry]) => {
      const name = tensors.has(today(old)) ? old : today(old);
      return [name, name === old ? entry : { ...entry, name }];
    }),
  );
}

/** Where quantizers write what they did, in files of folders whose config.json does not say it. */
const QUANTIZERS = { "quantize_config.json": "gptq", "quant_config.json": "awq" } as const;

/** A configuration with what a quantizer has written beside it, where tensors are packed by one. */
async function withQuantization(
  metadata: Record<string, unknown>,
  folder: Folder,
  tensors: ReadonlyMap<string, TensorEntry>,
): Promise<Record<string, unknown>> {
  const isPacked = tensors.keys().some((it) => it.endsWith(".qweight"));
  if (!isPacked || isObject(metadata.quantization_config)) return metadata;
  for (const [name, method] of Object.entries(QUANTIZERS)) {
    const found = await readOptionalJson(folder, name);
    if (found) return { ...metadata, quantization_config: { quant_method: method, ...found } };
  }
  return metadata;
}

/** Adds what lies beside the weights. */
async function complete(
  format: ModelFile["format"],
  name: string,
  folder: Folder | undefined,
  tensors: ReadonlyMap<string, TensorEntry>,
  weightSources: readonly ByteSource[],
): Promise<ModelFile> {
  const [metadata, tokenizerJson, tokenizerConfig, generationConfig] = await Promise.all(
    ["config.json", "tokenizer.json", "tokenizer_config.json", "generation_config.json"]
      .map((file) => folder && readOptionalJson(folder, file)),
  );
  if (!metadata) {
    throw new ModelError(
      `Cannot open ${format} ${quote(name)}: there is no config.json beside it; ` +
        `pass the model's folder, with its config.json`,
    );
  }
  const tokenizerFiles = folder && !tokenizerJson && await readTokenizerFiles(folder);
  const hasText = tokenizerJson ?? tokenizerFiles;
  const chatTemplates = folder && hasText && await readChatTemplates(folder);
  const sentence = folder && hasText ? await readSentenceFiles(folder) : undefined;
  const sources = [...weightSources, ...sentence?.sources ?? []];
  return {
    format,
    name,
    metadata: folder ? await withQuantization(metadata, folder, tensors) : metadata,
    tensors: renamed(tensors),
    ...(chatTemplates && { chatTemplates }),
    ...(tokenizerJson && { tokenizerJson }),
    ...(tokenizerFiles && { tokenizerFiles }),
    ...(tokenizerConfig && { tokenizerConfig }),
    ...(generationConfig && { generationConfig }),
    ...(sentence && { sentenceFiles: sentence.files }),
    close: () => sources.forEach((source) => source.close()),
  };
}

/** Adds the tensors of one file, whose first bytes say what it is. */
async function readTensors(
  source: ByteSource,
  tensors: Map<string, TensorEntry>,
): Promise<{ format: "safetensors" | "torch"; savedConfig?: Record<string, unknown> | undefined }> {
  if (beginsAsTorch(await source.read(0, Math.min(source.size, 4)))) {
    return { format: "torch", savedConfig: await readTorch(source, tensors) };
  }
  await readSafetensors(source, tensors);
  return { format: "safetensors" };
}
