/**
 * Opening a model, whatever its format: which of a folder's files it is, and which format a file has.
 *
 * @module
 */

import { FormatError, InputError, ModelError } from "../../errors.ts";
import { quote } from "../../escape.ts";
import { isA } from "../../options.ts";
import { openCheckpoint, openRanks, openShards } from "./checkpoint.ts";
import { type Folder, folderOf, memoryFolder, openFolder, openIfThere } from "./folder.ts";
import { openGguf } from "./gguf.ts";
import { findRanks, isRank } from "./ranks.ts";
import { firstShard } from "./shards.ts";
import type { ModelFile } from "./model_file.ts";
import { beginsAsTorch, isTorchWeights } from "./torch.ts";
import { decoded, isDirectory } from "./source_file.ts";
import { missingHint } from "./source_raw.ts";
import {
  type ByteSource,
  isHttp,
  type Location,
  NotFoundError,
  openSource,
  resolveLocation,
  type SourceOptions,
} from "./source.ts";

/** How a model is opened. */
export interface OpenOptions extends SourceOptions {
  /** Files beside a Blob: `config.json`, tokenizer files, other parts of a split model. */
  readonly siblings?: Readonly<Record<string, Blob | Uint8Array>> | undefined;
}

const WEIGHTS = "model.safetensors";
const INDEX = "model.safetensors.index.json";
const TORCH_WEIGHTS = "pytorch_model.bin";
const TORCH_INDEX = "pytorch_model.bin.index.json";

/**
 * Opens the model at a location, whatever its format: a GGUF file (of a split model, any part), a file
 * or index of safetensors or of torch with `config.json` beside it, or a folder that holds one such
 * model. Of a folder with several forms of a model safetensors come first, then GGUF, then torch. A torch
 * model may be divided among processes (`mp_rank_00_model_states.pt` and so on, or `latest`, which
 * names the folder that has them).
 * A URL is a folder when it ends in a slash.
 *
 * @throws FormatError when the files are no model, or break their format
 * @throws ModelError when a folder holds no model or several, or `config.json` is missing
 * @throws SourceError when something cannot be opened or read
 *
 * @example
 * ```ts ignore
 * const model = await openModelFile("https://example.com/model.gguf");
 * console.log(model.format, model.tensors.size);
 * model.close();
 * ```
 */
export async function openModelFile(
  location: Location,
  options: OpenOptions = {},
): Promise<ModelFile> {
  if (!isLocation(location)) {
    throw new InputError(
      `Cannot open a model at ${quote(location)}: expected a path, a URL or a Blob`,
    );
  }
  if (location instanceof Blob || location instanceof Uint8Array) {
    const folder = options.siblings && memoryFolder("", options.siblings, options);
    return await openFile(await openSource(location, options), folder);
  }
  const place = resolveLocation(location);
  if (isHttp(place) ? place.pathname.endsWith("/") : await isDirectory(place)) {
    return await openModelFolder(openFolder(place, options));
  }
  const source = await openSource(place, options).catch((error) => {
    if (!(error instanceof NotFoundError) || typeof place !== "string") throw error;
    throw new NotFoundError(error.message + missingHint(place), { cause: error.cause });
  });
  return await openFile(source, folderOf(place, options));
}

function isLocation(value: unknown): boolean {
  return typeof value === "string" || isA(value, URL) || isA(value, Blob) ||
    isA(value, Uint8Array);
}

/** Opens the one model that a folder holds. Errors as `openModelFile`. */
export async function openModelFolder(folder: Folder): Promise<ModelFile> {
  const names = await folder.list();
  if (!names) return await openUnlisted(folder);
  const weights = names.filter((name) => name.endsWith(".safetensors"));
  const indexes = names.filter((name) => name.endsWith(".safetensors.index.json"));
  const ggufs = names.filter((name) => name.endsWith(".gguf"));
  if (names.includes("config.json")) {
    const file = names.includes(WEIGHTS) ? WEIGHTS : weights.length === 1 && weights[0];
    if (file) return await openCheckpoint(await folder.open(file), folder);
    if (indexes.length === 1) return await openShards(folder, indexes[0]);
  }
  const gguf = ggufs.length === 1 ? ggufs[0] : firstShard(ggufs);
  if (gguf) return await openGguf(await folder.open(gguf), folder);
  const isOther = ggufs.length === 0 && names.includes("config.json");
  const torch = isOther && torchFile(names.filter((it) => !isRank(it)));
  if (torch) {
    return torch.endsWith(".json")
      ? await openShards(folder, torch)
      : await openCheckpoint(await folder.open(torch), folder);
  }
  // What training leaves beside a model's own file is not asked for.
  const ranks = isOther && await findRanks(folder, names);
  if (ranks) return await openRanks(ranks, folder);
  const weightFiles = names.filter((it) => it.endsWith(".safetensors") || isTorchWeights(it));
  if (ggufs.length === 0 && weightFiles.length > 0 && !names.includes("config.json")) {
    throw new ModelError(
      `Cannot open folder ${quote(folder.name)}: it has ${
        listed(weightFiles)
      } and no config.json, ` +
        `which says what model they are; put that of the published model beside them`,
    );
  }
  if (ggufs.length === 0 && names.includes("latest") && !names.includes("config.json")) {
    throw new ModelError(
      `Cannot open folder ${
        quote(folder.name)
      }: its file latest names a checkpoint that is divided ` +
        `among processes, and there is no config.json, which says what model it is; put one there, ` +
        `for GLM-130B with {"model_type": "glm-130b", "eos_token_id": [150005, 20002]}`,
    );
  }
  const found = ggufs.length > 0 ? ggufs : names;
  throw new ModelError(
    `Cannot open folder ${quote(folder.name)}: found ${listed(found)}, expected one .gguf model, ` +
      `or config.json and ${WEIGHTS} or ${TORCH_WEIGHTS}` +
      `${ggufs.length > 1 ? "; pass one of the files" : ""}`,
  );
}

/** The file or index of torch among names, where they are those of one model. */
function torchFile(names: readonly string[]): string | undefined {
  const indexes = names.filter((name) => name.endsWith(".bin.index.json"));
  if (names.includes(TORCH_WEIGHTS)) return TORCH_WEIGHTS;
  if (indexes.length === 1) return indexes[0];
  const files = names.filter(isTorchWeights);
  return files.length === 1 ? files[0] : undefined;
}

/** A server's folder: only the usual names can be tried. */
async function openUnlisted(folder: Folder): Promise<ModelFile> {
  const weights = await openIfThere(folder, WEIGHTS);
  if (weights) return await openCheckpoint(weights, folder);
  const index = await openIfThere(folder, INDEX);
  index?.close();
  if (index) return await openShards(folder, INDEX);
  const torch = await openIfThere(folder, TORCH_WEIGHTS);
  if (torch) return await openCheckpoint(torch, folder);
  const torchIndex = await openIfThere(folder, TORCH_INDEX);
  torchIndex?.close();
  if (torchIndex) return await openShards(folder, TORCH_INDEX);
  throw new ModelError(
    `Cannot open folder ${quote(folder.name)}: it has neither ${WEIGHTS} nor ${TORCH_WEIGHTS}, ` +
      `and no index of one; of a GGUF model, pass the URL of the file`,
  );
}

/** Opens the model in one file of a folder. Errors as `openModelFile`. */
export async function openModelIn(folder: Folder, name: string): Promise<ModelFile> {
  return await openFile(await folder.open(name), folder);
}

/** Decides by the first bytes, and where they say nothing by the name. */
async function openFile(source: ByteSource, folder: Folder | undefined): Promise<ModelFile> {
  let bytes: Uint8Array;
  try {
    bytes = await source.read(0, Math.min(source.size, 32));
  } catch (error) {
    source.close();
    throw error;
  }
  const begins = String.fromCharCode(...bytes);
  if (begins.startsWith("GGUF")) return await openGguf(source, folder);
  // A header length below 2^40, then the header itself.
  if (begins.slice(5, 9) === "\0\0\0{" || beginsAsTorch(bytes)) {
    return await openCheckpoint(source, folder);
  }
  const last = source.name.replace(/^.*[/\\]/, "");
  const file = /^https?:/.test(source.name) ? decoded(last) : last;
  if (folder && begins.startsWith("{") && file.endsWith(".index.json")) {
    source.close();
    return await openShards(folder, file);
  }
  const text = begins.trimStart().toLowerCase();
  const other = source.size === 0
    ? "is empty"
    : MISTAKES.find(([start]) => text.startsWith(start))?.[1];
  if (!other && source.name.endsWith(".gguf")) return await openGguf(source, folder);
  if (!other && source.name.endsWith(".safetensors")) return await openCheckpoint(source, folder);
  source.close();
  const hex = Array.from(bytes.subarray(0, 8), (byte) => byte.toString(16).padStart(2, "0"));
  throw new FormatError(
    `Cannot open model ${quote(source.name)}: it ` +
      (other ?? `begins with bytes ${hex.join(" ")}, expected a GGUF, safetensors or torch file`),
  );
}

/** What people open by mistake, by how it starts. */
const MISTAKES: readonly (readonly [string, string])[] = [
  ["<!doctype", "is a web page; pass the address of the file itself"],
  ["<html", "is a web page; pass the address of the file itself"],
  ["version https://git-lfs", "is a Git LFS pointer; fetch the file with git lfs pull"],
  ["lmgg", "is in a format older than GGUF; convert the model again"],
  ["fmgg", "is in a format older than GGUF; convert the model again"],
  ["tjgg", "is in a format older than GGUF; convert the model again"],
  ["{", "is JSON; pass the model's folder"],
];

/** Some of many names. */
function listed(names: readonly string[]): string {
  if (names.length === 0) return "no files";
  const more = names.length > 12 ? ` and ${names.length - 12} more` : "";
  return names.slice(0, 12).join(", ") + more;
}
