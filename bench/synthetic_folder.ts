/**
 * Writes synthetic models in the form in which their families are published: a folder with
 * `config.json`, safetensors under the family's own names, and a tokenizer. Which tensors there are,
 * the family's definition says.
 *
 * @module
 */

import { InputError, SourceError } from "../errors.ts";
import { formatBytes, quote } from "../escape.ts";
import { elements } from "../kernels/op.ts";
import { tensorBlocks } from "../quant/ggml_types.ts";
import { type PaperTensor, paperTensors } from "../runtime/engine/paper_model.ts";
import { freeBytes } from "../runtime/hub/disk.ts";
import { randomBytes } from "./synthetic_numbers.ts";
import { type Config, syntheticTokenizer } from "./synthetic_tokenizer.ts";

/** Bytes of a file from which on another one begins. */
const SHARD_BYTES = 2e9;

/** Fields with a number of layers, in the configurations of all families. */
const LAYERS =
  /^(n_layers?|num_layers|num_hidden_layers|num_decoder_layers|(en|de)coder_layers|num_sparse_(en|de)coder_layers)$/;

/** A configuration with so many layers, on each side where there are two. */
export function withLayers(config: Config, layers: number): Config {
  return Object.fromEntries(
    Object.entries(config).map(([field, value]) => {
      if (!LAYERS.test(field) || typeof value !== "number") return [field, value];
      // Every second layer has experts, or each.
      const isSparse = field.includes("sparse"), every = Number(config.num_layers) / value;
      return [field, isSparse ? Math.max(1, Math.floor(layers / every)) : layers];
    }),
  );
}

/** Element types of a folder's tensors, and what they are in `config.json`. */
export const FOLDER_TYPES: Readonly<Record<string, Config>> = {
  F16: { torch_dtype: "float16" },
  F32: { torch_dtype: "float32" },
  BF16: { torch_dtype: "bfloat16" },
  int4: { quantization_bit: 4, torch_dtype: "float16" },
  int8: { quantization_bit: 8, torch_dtype: "float16" },
};

/**
 * A configuration with another type of tensors.
 *
 * @throws InputError for whole numbers in a family that is not published in such a form
 */
export function withType(config: Config, type: string): Config {
  const fields = FOLDER_TYPES[type]!;
  if ("quantization_bit" in fields && config.model_type !== "chatglm") {
    throw new InputError(
      `Cannot write a folder of type ${type}: that is a form of chatglm, not of ` +
        `${quote(config.model_type)}; use F16, and load it with weights ${quote(type)}`,
    );
  }
  const { quantization_bit: _, ...others } = config;
  return { ...others, ...fields };
}

/** What was written. */
export interface SyntheticFolder {
  /** Sentences about what a user should know. */
  readonly notes: string[];
  /** Numbers of the model; those of quantized matrices count before that. */
  readonly parameters: number;
  /** Bytes of its tensors. */
  readonly bytes: number;
  /** Files that they are in. */
  readonly files: number;
}

/** Refuses a model that is larger than the room on the disk, where the program may ask for it. */
export async function checkRoom(path: string, folder: string, bytes: number): Promise<void> {
  const free = await freeBytes(folder);
  if (free === undefined || bytes <= free) return;
  throw new SourceError(
    `Cannot write ${quote(path)}: it takes ${formatBytes(bytes)}, but the disk has ` +
      `${formatBytes(free)} free; choose fewer layers or another type`,
  );
}

/**
 * Writes a model with random numbers; the same seed gives the same bytes. At any time a few megabytes
 * are in memory.
 *
 * @param folder is made where it is not there
 * @throws InputError when there is something in the folder
 * @throws SourceError when there is no room for it on the disk
 * @throws ModelError when no definition runs such a configuration
 */
export async function writeSyntheticFolder(
  folder: string,
  config: Config,
  { seed = 1, shardBytes = SHARD_BYTES }: { readonly seed?: number; readonly shardBytes?: number } =
    {},
): Promise<SyntheticFolder> {
  const tensors = await paperTensors(config, "synthetic model");
  const bytes = tensors.reduce((sum, it) => sum + bytesOf(it), 0);
  const isNew = await Deno.stat(folder).then(() => false, () => true);
  await Deno.mkdir(folder, { recursive: true });
  for await (const { name } of Deno.readDir(folder)) {
    throw new InputError(
      `Cannot write a model to ${quote(folder)}: ${quote(name)} is there, expected an empty folder`,
    );
  }
  try {
    await checkRoom(folder, folder, bytes);
  } catch (error) {
    if (isNew) await Deno.remove(folder);
    throw error;
  }
  const write = (name: string, contents: string | Uint8Array): Promise<void> =>
    typeof contents === "string"
      ? Deno.writeTextFile(`${folder}/${name}`, contents)
      : Deno.writeFile(`${folder}/${name}`, contents);
  const { files, notes } = syntheticTokenizer(config);
  await write("config.json", JSON.stringify(config, null, 2) + "\n");
  for (const [name, contents] of Object.entries(files)) await write(name, contents);
  const shards = dividedBy(tensors, shardBytes), map: Record<string, string> = {};
  const number = (i: number): string => String(i).padStart(5, "0");
  let index = 0;
  for (const [i, members] of shards.entries()) {
    const name = shards.length === 1
      ? "model.safetensors"
      : `model-${number(i + 1)}-of-${number(shards.length)}.safetensors`;
    await writeSafetensors(`${folder}/${name}`, members, seed, index);
    for (const tensor of members) map[tensor.name] = name;
    index += members.length;
  }
  if (shards.length > 1) {
    const contents = { metadata: { total_size: bytes }, weight_map: map };
    await write("model.safetensors.index.json", JSON.stringify(contents));
  }
  const parameters = tensors.reduce((sum, { kind, shape, bits = 8 }) => {
    if (kind === "scales") return sum;
    return sum + elements(shape) * (kind === "codes" ? 8 / bits : 1);
  }, 0);
  return { notes, parameters, bytes, files: shards.length };
}

function bytesOf({ shape, type }: PaperTensor): number {
  const { blockSize, blockBytes } = tensorBlocks(type)!;
  return elements(shape) / blockSize * blockBytes;
}

/** Tensors by files; a file has at least one. */
function dividedBy(tensors: readonly PaperTensor[], shardBytes: number): PaperTensor[][] {
  const shards: PaperTensor[][] = [];
  let bytes = Infinity;
  for (const tensor of tensors) {
    const size = bytesOf(tensor);
    if (bytes + size > shardBytes) {
      shards.push([]);
      bytes = 0;
    }
    shards.at(-1)!.push(tensor);
    bytes += size;
  }
  return shards;
}

/** Writes a file; its first tensor has the number `first` in the model. */
async function writeSafetensors(
  path: string,
  tensors: readonly PaperTensor[],
  seed: number,
  first: number,
): Promise<void> {
  const header: Record<string, unknown> = { __metadata__: { format: "pt" } };
  let at = 0;
  for (const tensor of tensors) {
    const { name, shape, type: dtype } = tensor, end = at + bytesOf(tensor);
    header[name] = { dtype, shape, data_offsets: [at, end] };
    at = end;
  }
  const text = JSON.stringify(header);
  const json = new TextEncoder().encode(text + " ".repeat(-text.length & 7));
  using file = await Deno.open(path, { write: true, create: true, truncate: true });
  await writeAll(file, new Uint8Array(BigUint64Array.of(BigInt(json.length)).buffer));
  await writeAll(file, json);
  for (const [i, tensor] of tensors.entries()) {
    for (const piece of randomBytes(tensor, seed, first + i)) await writeAll(file, piece);
  }
}

async function writeAll(file: Deno.FsFile, bytes: Uint8Array): Promise<void> {
  for (let at = 0; at < bytes.length;) at += await file.write(bytes.subarray(at));
}
