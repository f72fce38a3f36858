/**
 * Safetensors models: one file or shards with an index, and the JSON files beside them. Here is
 * where tensors lie; what the configuration means is the models' business.
 *
 * Source: the safetensors format specification (Hugging Face, safetensors README).
 *
 * @module
 */

import { FormatError, ModelError } from "../../errors.ts";
import { readChatTemplates } from "./chat_templates.ts";
import type { Folder } from "./folder.ts";
import { isObject, type JsonObject, parseJson, readJson, readOptionalJson } from "./json.ts";
import type { ModelFile, TensorEntry } from "./model_file.ts";
import { quote } from "../../escape.ts";
import { isSafeName } from "./safe_path.ts";
import { type ByteSource, NotFoundError } from "./source.ts";
import { elements } from "../../kernels/op.ts";

/** The specification allows more; no model comes near this. */
const HEADER_LIMIT = 16 << 20;

/** Files of one model; each is kept open. */
const MAX_SHARDS = 1000;

/** Bytes per element of the types that the specification names; others are not checked. */
const ELEMENT_BYTES: Readonly<Record<string, number>> = {
  ...{ BOOL: 1, U8: 1, I8: 1, F8_E4M3: 1, F8_E5M2: 1, F8_E8M0: 1 },
  ...{ U16: 2, I16: 2, F16: 2, BF16: 2, U32: 4, I32: 4, F32: 4 },
  ...{ U64: 8, I64: 8, F64: 8, C64: 8, F4: 0.5, F6_E2M3: 0.75, F6_E3M2: 0.75 },
};

/**
 * Opens a model of one safetensors file. `source` is closed with the model, or when this fails.
 *
 * @param source the file
 * @param folder where `config.json` and the tokenizer's files are
 * @throws FormatError when bytes break the format, or claim what the file does not have
 * @throws ModelError when there is no `config.json`
 * @throws SourceError when bytes cannot be read
 */
export async function openSafetensors(
  source: ByteSource,
  folder: Folder | undefined,
): Promise<ModelFile> {
  try {
    const tensors = new Map<string, TensorEntry>();
    await readTensors(source, tensors);
    return await complete(source.name, folder, tensors, [source]);
  } catch (error) {
    source.close();
    throw error;
  }
}

/**
 * Opens a model of several safetensors files by their index, `model.safetensors.index.json`.
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
      await readTensors(source, tensors);
    }
    for (const [tensor, shard] of weightMap) {
      if (tensors.get(tensor)?.source !== sources.get(shard)) {
        throw new FormatError(
          `Cannot read shards of ${quote(name)}: tensor ${quote(tensor)} is not in ` +
            `${quote(shard)}, where the index has it`,
        );
      }
    }
    return await complete(folder.name, folder, tensors, [...sources.values()]);
  } catch (error) {
    for (const source of sources.values()) source.close();
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

/** Adds what lies beside the weights. */
async function complete(
  name: string,
  folder: Folder | undefined,
  tensors: ReadonlyMap<string, TensorEntry>,
  sources: readonly ByteSource[],
): Promise<ModelFile> {
  const [metadata, tokenizerJson, tokenizerConfig, generationConfig] = await Promise.all(
    ["config.json", "tokenizer.json", "tokenizer_config.json", "generation_config.json"]
      .map((file) => folder && readOptionalJson(folder, file)),
  );
  if (!metadata) {
    throw new ModelError(
      `Cannot open safetensors ${quote(name)}: there is no config.json beside it; ` +
        `pass the model's folder, with its config.json`,
    );
  }
  const chatTemplates = folder && tokenizerJson && await readChatTemplates(folder);
  return {
    format: "safetensors",
    name,
    metadata,
    tensors,
    ...(chatTemplates && { chatTemplates }),
    ...(tokenizerJson && { tokenizerJson }),
    ...(tokenizerConfig && { tokenizerConfig }),
    ...(generationConfig && { generationConfig }),
    close: () => sources.forEach((source) => source.close()),
  };
}

/** Reads the header of one file and adds its tensors, in the order of their bytes. */
async function readTensors(source: ByteSource, tensors: Map<string, TensorEntry>): Promise<void> {
  const what = `safetensors ${quote(source.name)}`;
  const fail = (found: string): never => {
    throw new FormatError(`Cannot read ${what}: ${found}`);
  };
  if (source.size < 8) fail(`it has ${source.size} bytes, too few for a header`);
  const prefix = await source.read(0, 8);
  const length = new DataView(prefix.buffer, prefix.byteOffset).getBigUint64(0, true);
  if (length > source.size - 8) {
    fail(
      `its header takes ${length} bytes, but the file has ${source.size}; ` +
        `if it was downloaded, fetch it again`,
    );
  }
  if (length > HEADER_LIMIT) {
    fail(`its header takes ${length} bytes, expected at most ${HEADER_LIMIT}`);
  }
  const start = 8 + Number(length);
  const header = parseJson(await source.read(8, Number(length)), what, { uniqueKeys: true });
  const entries = Object.entries(header)
    .filter(([name]) => name !== "__metadata__")
    .map(([name, info]) => readEntry(source, start, name, info, what))
    .sort((a, b) => a.offset - b.offset || a.bytes - b.bytes);
  let end = start;
  for (const entry of entries) {
    const name = quote(entry.name);
    if (entry.offset !== end) {
      const found = entry.offset < end ? "inside the tensor before it" : "after a gap";
      fail(`tensor ${name} begins at byte ${entry.offset}, ${found}, expected ${end}`);
    }
    end += entry.bytes;
    if (end > source.size) {
      fail(
        `tensor ${name} ends at byte ${end}, but the file has ${source.size}; ` +
          `if it was downloaded, fetch it again`,
      );
    }
    if (tensors.has(entry.name)) fail(`tensor ${name} is also in another file of this model`);
    tensors.set(entry.name, entry);
  }
  if (end !== source.size) fail(`its tensors end at byte ${end}, but the file has ${source.size}`);
}

function readEntry(
  source: ByteSource,
  start: number,
  name: string,
  info: unknown,
  what: string,
): TensorEntry {
  const fail = (found: string): never => {
    throw new FormatError(`Cannot read ${what}: tensor ${quote(name)} ${found}`);
  };
  if (!isObject(info)) return fail("is not described by an object");
  const { dtype: type, shape, data_offsets: offsets } = info as JsonObject;
  if (typeof type !== "string") return fail("has no dtype");
  if (!isCounts(shape)) return fail("has no shape of whole numbers");
  if (!isCounts(offsets) || offsets.length !== 2 || offsets[0] > offsets[1]) {
    return fail("has no data_offsets of two rising whole numbers");
  }
  const bytes = offsets[1] - offsets[0];
  const count = elements(shape);
  const expected = Object.hasOwn(ELEMENT_BYTES, type) ? count * ELEMENT_BYTES[type] : bytes;
  if (bytes !== expected) {
    return fail(
      `has ${bytes} bytes, expected ${expected} for ${quote(type)} [${shape.slice(0, 8)}]`,
    );
  }
  return { name, shape, type, source, offset: start + offsets[0], bytes };
}

function isCounts(value: unknown): value is number[] {
  return Array.isArray(value) && value.every((it) => Number.isSafeInteger(it) && it >= 0);
}
