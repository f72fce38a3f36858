/**
 * GGUF model files, versions 2 and 3, whole or split: where their tensors lie, and their metadata.
 * The bytes of the header are parsed in `gguf_header.ts`; tensors are decoded in `quant/`.
 *
 * @module
 */

import { FormatError } from "../../errors.ts";
import type { Folder } from "./folder.ts";
import { type GgufHeader, parseGgufHeader, type TensorInfo } from "./gguf_header.ts";
import { type MetadataValue, plainValue } from "./gguf_metadata.ts";
import type { ModelFile, TensorEntry } from "./model_file.ts";
import { quote } from "../../escape.ts";
import { type ByteSource, NotFoundError } from "./source.ts";
import { decoded } from "./source_file.ts";
import { MAX_SHARDS, shardDigits, shardOf, shardPath } from "./shards.ts";
import { elements } from "../../kernels/op.ts";

export type { MetadataArray, MetadataValue, NumberType, ValueType } from "./gguf_metadata.ts";

/** A GGUF model: a `ModelFile` that also knows the types of its metadata. */
export interface GgufFile extends ModelFile {
  /** Format of its files. */
  readonly format: "gguf";
  /** Version of the format, 2 or 3. */
  readonly version: number;
  /** Metadata with types, as `writeGguf` takes it. `metadata` has the same values without types. */
  readonly fields: ReadonlyMap<string, MetadataValue>;
}

/** More than ten times the largest header known, vocabulary included. */
const HEADER_LIMIT = 256 << 20;

/** Far more than any file has. */
const MAX_ALIGNMENT = 1 << 20;

/**
 * Opens a GGUF model. Of a split model, give any file and the folder of the others.
 * The source is closed with the model, or when this fails.
 *
 * @param source the file
 * @param folder where the other files of a split model are
 * @throws FormatError when bytes break the format, or claim what the file does not have
 * @throws SourceError when bytes cannot be read
 *
 * @example
 * ```ts ignore
 * const model = await openGguf(await openSource("model.gguf"));
 * model.metadata["general.architecture"]; // "llama"
 * model.tensors.get("output_norm.weight")?.shape; // [2048]
 * ```
 */
export async function openGguf(source: ByteSource, folder?: Folder): Promise<GgufFile> {
  const sources = [source];
  const close = () => sources.forEach((it) => it.close());
  try {
    let header = await readHeader(source);
    const tensors = new Map<string, TensorEntry>();
    if (number(header, "split.count", 1) <= 1) {
      placeTensors(source, header, tensors);
    } else {
      // Metadata of the model is in the first file.
      header = await openShards(source, header, folder, sources, tensors);
    }
    const { version, fields } = header;
    const metadata = Object.fromEntries(fields.entries().map(([k, v]) => [k, plainValue(v)]));
    return { format: "gguf", name: source.name, version, fields, metadata, tensors, close };
  } catch (error) {
    close();
    throw error;
  }
}

/** Reads the file's beginning in growing pieces until it holds the header. */
async function readHeader(source: ByteSource): Promise<GgufHeader> {
  let bytes = new Uint8Array(0);
  for (let wanted = 1 << 18;;) {
    const length = Math.min(wanted, source.size);
    const longer = new Uint8Array(length);
    longer.set(bytes);
    await source.read(bytes.length, length - bytes.length, longer.subarray(bytes.length));
    bytes = longer;
    const header = parseGgufHeader(bytes, source.size, source.name);
    if (typeof header !== "number") return header;
    if (header > HEADER_LIMIT) {
      throw new FormatError(
        `Cannot read GGUF ${quote(source.name)}: its header takes more than ${header} bytes, ` +
          `expected at most ${HEADER_LIMIT}`,
      );
    }
    wanted = Math.max(header, Math.min(length * 4, HEADER_LIMIT));
  }
}

/** Checks that the tensors of one file fit into it, and adds them to `tensors`. */
function placeTensors(
  source: ByteSource,
  header: GgufHeader,
  tensors: Map<string, TensorEntry>,
): void {
  function fail(tensor: TensorInfo, found: string): never {
    throw new FormatError(
      `Cannot read GGUF ${quote(source.name)}: tensor ${quote(tensor.name)} ${found}`,
    );
  }

  const alignment = number(header, "general.alignment", 32);
  if (alignment < 1 || alignment > MAX_ALIGNMENT || !Number.isInteger(Math.log2(alignment))) {
    throw new FormatError(
      `Cannot read GGUF ${quote(source.name)}: general.alignment is ${alignment}, ` +
        `expected a power of two up to ${MAX_ALIGNMENT}`,
    );
  }
  const start = Math.ceil(header.length / alignment) * alignment;
  const placed: { tensor: TensorInfo; begin: number; end: number }[] = [];
  for (const tensor of header.tensors) {
    const { name, shape, blocks: { name: type, blockSize, blockBytes } } = tensor;
    const bytes = elements(shape) / blockSize * blockBytes;
    const begin = start + tensor.offset;
    const end = begin + bytes;
    if (tensor.offset % alignment !== 0) {
      fail(tensor, `has its data at offset ${tensor.offset}, expected a multiple of ${alignment}`);
    }
    if ((shape.at(-1) ?? 1) % blockSize !== 0) {
      fail(tensor, `has rows of ${shape.at(-1)}, but ${type} needs a multiple of ${blockSize}`);
    }
    if (end > source.size) {
      fail(
        tensor,
        `ends at byte ${end}, but the file has ${source.size}; ` +
          `if it was downloaded, fetch it again`,
      );
    }
    if (tensors.has(name)) fail(tensor, "occurs twice");
    tensors.set(name, { name, shape, type, source, offset: begin, bytes });
    placed.push({ tensor, begin, end });
  }
  placed.sort((a, b) => a.begin - b.begin);
  for (let i = 1; i < placed.length; i++) {
    const [before, after] = [placed[i - 1], placed[i]];
    if (after.begin < before.end) {
      fail(
        after.tensor,
        `begins at byte ${after.begin}, inside tensor ${quote(before.tensor.name)}`,
      );
    }
  }
}

/** Opens all files of a split model, adds their tensors, and returns the first file's header. */
async function openShards(
  given: ByteSource,
  givenHeader: GgufHeader,
  folder: Folder | undefined,
  sources: ByteSource[],
  tensors: Map<string, TensorEntry>,
): Promise<GgufHeader> {
  function fail(found: string): never {
    throw new FormatError(`Cannot read split GGUF ${quote(given.name)}: ${found}`);
  }

  const count = number(givenHeader, "split.count", 1);
  if (count > MAX_SHARDS) fail(`it is one of ${count} files, expected at most ${MAX_SHARDS}`);
  const givenName = fileName(given.name), shard = shardOf(givenName);
  if (shard?.count !== count) {
    fail(
      `it is one of ${count} files, expected a name that ends in -00001-of-${
        shardDigits(count)
      }.gguf`,
    );
  }
  if (!folder) fail(`its other ${count - 1} files cannot be found; pass a path or URL`);
  let first = givenHeader;
  for (let index = 0; index < count; index++) {
    const isGiven = index + 1 === shard.number;
    const name = shardPath(givenName, index + 1);
    const source = isGiven ? given : await openShard(folder, name, fail);
    if (!isGiven) sources.push(source);
    const header = isGiven ? givenHeader : await readHeader(source);
    const [no, of] = [number(header, "split.no", 0), number(header, "split.count", 1)];
    if (no !== index || of !== count) {
      fail(
        `${name} is part ${no + 1} of ${of} by its metadata, expected ${index + 1} of ${count}`,
      );
    }
    placeTensors(source, header, tensors);
    if (index === 0) first = header;
  }
  const total = number(first, "split.tensors.count", tensors.size);
  if (total !== tensors.size) fail(`its files have ${tensors.size} tensors, expected ${total}`);
  return first;
}

async function openShard(
  folder: Folder,
  name: string,
  fail: (found: string) => never,
): Promise<ByteSource> {
  try {
    return await folder.open(name);
  } catch (error) {
    if (error instanceof NotFoundError) fail(`its part ${name} is missing beside it`);
    throw error;
  }
}

/** The last name of a path or URL, as a folder opens it. */
function fileName(path: string): string {
  const name = path.replace(/^.*[/\\]/, "");
  return /^https?:/.test(path) ? decoded(name) : name;
}

/** A field that must be a number where it is present. */
function number(header: GgufHeader, key: string, missing: number): number {
  const value = header.fields.get(key)?.value ?? missing;
  if (typeof value !== "number") {
    throw new FormatError(
      `Cannot read GGUF ${quote(header.name)}: metadata field ${quote(key)} is no number`,
    );
  }
  return value;
}
