/**
 * Which files of a repository make the model that was asked for. Pure functions over a listing.
 *
 * @module
 */
import { InputError, SourceError } from "../../errors.ts";
import { quote } from "../../escape.ts";
import { isSafePath } from "../files/safe_path.ts";
import { formatSpec, type HubSpec } from "./spec.ts";
import { shardOf, withoutShard } from "../files/shards.ts";

/** A file as the hub lists it, with the hash that its content must have. */
export interface HubFile {
  /** Path inside the repository. */
  readonly path: string;
  /** Bytes. */
  readonly size: number;
  /** Which hash: SHA-256 of the content (large files), or git's blob id (small ones). */
  readonly algorithm: "sha256" | "git-sha1";
  /** The hash, lower-case hexadecimal. */
  readonly hash: string;
}

/** Far more than any model's file has; whoever announces more is not to be believed. */
export const MAX_FILE_BYTES = 2 ** 43;

/** Whether a value, of a hub or of the disk, is a file as it should be listed. */
export function isHubFile(value: unknown): value is HubFile {
  const { path, size, algorithm, hash } = (value ?? {}) as Partial<Record<keyof HubFile, unknown>>;
  const digits = algorithm === "sha256" ? 64 : algorithm === "git-sha1" ? 40 : NaN;
  return typeof path === "string" && isSafePath(path) &&
    Number.isSafeInteger(size) && size as number >= 0 && size as number <= MAX_FILE_BYTES &&
    typeof hash === "string" && hash.length === digits && /^[0-9a-f]+$/.test(hash);
}

/** The files to have, and which of them (or their directory) a loader opens. */
export interface Selection {
  /** What the model is. */
  readonly format: "gguf" | "safetensors" | "torch";
  /** Every file needed, small ones first. */
  readonly files: readonly HubFile[];
  /** The path to open inside the repository; `""` is the repository's own directory. */
  readonly entry: string;
}

/**
 * Which GGUF file is taken when a spec names none: 4 bit first, and among those first the type
 * that Sparrow's kernels read without transcoding; then upwards in size. The same order for everyone,
 * so that one spec is one model.
 */
export const QUANT_PREFERENCE: readonly string[] = [
  ...["Q4_0", "Q4_K_M", "Q4_K_S", "Q4_1", "Q4", "IQ4_NL"],
  ...["Q8_0", "Q5_K_M", "Q5_0", "Q6_K", "F16", "BF16", "F32"],
];

interface GgufGroup {
  readonly name: string; // path of the first shard
  readonly tag: string; // "" when the name shows none
  readonly files: HubFile[]; // shards in their order
}

const TAG =
  /(?:^|[-._])((?:UD-)?(?:I?Q\d+(?:_[A-Z0-9]+)*|TQ\d_\d|MXFP4(?:_MOE)?|BF16|FP?16|FP?32))$/i;

/**
 * Chooses the files for a spec: with a pick, the GGUF file of that name or quantization tag
 * (`"safetensors"` asks for the whole repository instead); without, a GGUF file by
 * {@linkcode QUANT_PREFERENCE}, else the safetensors repository, else that of torch.
 *
 * @throws {InputError} when the pick fits no file, or more than one; the message lists what there is
 * @throws {SourceError} when the repository holds no such format, or lacks a part of a split file
 */
export function selectFiles(spec: HubSpec, listing: readonly HubFile[]): Selection {
  const groups = ggufGroups(listing);
  const wantsTensors = spec.pick?.toLowerCase() === "safetensors";
  if (spec.pick !== undefined && !wantsTensors) return gguf(spec, pickGroup(spec, groups));
  if (groups.length > 0 && !wantsTensors) return gguf(spec, defaultGroup(spec, groups));
  const formats = wantsTensors ? [SAFETENSORS] : [SAFETENSORS, TORCH];
  for (const form of formats) {
    const files = repositoryFiles(listing, form);
    if (files.length > 0) return { format: form.format, files, entry: "" };
  }
  const found = listing.filter((file) => file.size > 1e6).map((file) => file.path);
  const large = found.length > 0 ? `its large files are ${list(found)}` : "and no large one at all";
  throw new SourceError(
    `Cannot use ${formatSpec(spec)}: the repository has no ${
      wantsTensors ? "safetensors" : "GGUF, safetensors or torch"
    } file, ${large}; choose a repository that has`,
  );
}

/** The quantization tag that a GGUF file name (or else its folder) ends in, upper-case, or `""`. */
export function quantTag(path: string): string {
  const [stem, folder = ""] = withoutShard(path).replace(/\.gguf$/i, "").split("/").reverse();
  return normalTag((TAG.exec(stem) ?? TAG.exec(folder))?.[1] ?? "");
}

function normalTag(tag: string): string {
  return tag.toUpperCase().replace(/^FP(?=16|32)/, "F");
}

function ggufGroups(listing: readonly HubFile[]): GgufGroup[] {
  const groups = new Map<string, GgufGroup>();
  for (const file of [...listing].sort((a, b) => (a.path < b.path ? -1 : 1))) {
    // A vision projector or an importance matrix is a GGUF file, but no model.
    if (!/\.gguf$/i.test(file.path) || /(^|[/._-])(mmproj|imatrix)([._-]|$)/i.test(file.path)) {
      continue;
    }
    const key = `${withoutShard(file.path)} ${shardOf(file.path)?.count}`;
    const group = groups.get(key);
    if (group) group.files.push(file);
    else groups.set(key, { name: file.path, tag: quantTag(file.path), files: [file] });
  }
  return [...groups.values()];
}

function pickGroup(spec: HubSpec, groups: readonly GgufGroup[]): GgufGroup {
  const pick = spec.pick!.toLowerCase();
  const named = (path: string) =>
    [path, path.slice(path.lastIndexOf("/") + 1)].some((name) =>
      [name, name.replace(/\.gguf$/i, "")].some((form) => form.toLowerCase() === pick)
    );
  const exact = groups.filter(({ files }) => files.some((file) => file.path === spec.pick));
  const byName = groups.filter(({ files }) => files.some((file) => named(file.path)));
  const byTag = groups.filter(({ tag }) => tag !== "" && tag === normalTag(pick));
  const fits = [exact, byName, byTag].find((found) => found.length > 0) ?? [];
  if (fits.length === 1) return fits[0];
  const problem = fits.length === 0 ? "fits no GGUF file" : "fits more than one GGUF file";
  throw new InputError(
    `Cannot use ${formatSpec(spec)}: ${quote(spec.pick)} ${problem}; ` +
      `there is ${listGroups(fits.length === 0 ? groups : fits)}`,
  );
}

function defaultGroup(spec: HubSpec, groups: readonly GgufGroup[]): GgufGroup {
  if (groups.length === 1) return groups[0];
  for (const tag of QUANT_PREFERENCE) {
    const fits = groups.filter((group) => group.tag === tag);
    if (fits.length === 1) return fits[0];
    if (fits.length > 1) break; // two models in one repository: guessing would be a wrong answer
  }
  throw new InputError(
    `Cannot use ${formatSpec(spec)}: the repository has ${groups.length} GGUF files and none is ` +
      `the plain choice; add ":" and a file or tag of ${listGroups(groups)}`,
  );
}

function gguf(spec: HubSpec, group: GgufGroup): Selection {
  const shards = shardOf(group.name)?.count ?? 1;
  const whole = group.files.every((file, i) => (shardOf(file.path)?.number ?? 1) === i + 1);
  if (!whole || group.files.length !== shards) {
    throw new SourceError(
      `Cannot use ${formatSpec(spec)}: ${quote(group.name)} is split in ${shards} parts, but the ` +
        `repository lists ${list(group.files.map((file) => file.path))}; choose another file`,
    );
  }
  return { format: "gguf", files: group.files, entry: group.name };
}

const SUPPORT =
  /^([^/]+\.(json|jinja|model|spm)|chat_templates\/[^/]+\.jinja|merges\.txt|vocab\.(txt|pkl|bin)|dict\.txt|prob_(start|trans|emit)\.py|LICENSE[^/]*)$/;
// Embedding models keep their pooling and projection in numbered folders.
const MODULE = /^\d+_\w+\/(config\.json|model\.safetensors|pytorch_model\.bin)$/;
/** How the weights of a repository are named, in one form. */
interface Form {
  readonly format: "safetensors" | "torch";
  /** Files of weights. */
  readonly weights: RegExp;
  /** One file that has them all. */
  readonly single: string;
  /** Files of a model that is split. */
  readonly shard: RegExp;
  /** What says which tensor is in which of these. */
  readonly index: string;
}

const SAFETENSORS: Form = {
  format: "safetensors",
  weights: /^[^/]+\.safetensors$/,
  single: "model.safetensors",
  shard: /^model-\d+-of-\d+\.safetensors$/,
  index: "model.safetensors.index.json",
};
const TORCH: Form = {
  format: "torch",
  weights: /^[^/]+\.(bin|pt|pth)$/,
  single: "pytorch_model.bin",
  shard: /^pytorch_model-\d+-of-\d+\.bin$/,
  index: "pytorch_model.bin.index.json",
};
/** Parts of the same weights in other forms, what only training needs, and vocabularies. */
const OTHER =
  /^(vocab\.bin|corpus\.bin|consolidated|adapter|optimizer|training_args|scheduler|scaler|rng_state|random_states)/;

/** Configuration, tokenizer, index and one set of shards; none of the same weights in other forms. */
function repositoryFiles(listing: readonly HubFile[], form: Form): HubFile[] {
  const weights = listing.filter((file) => form.weights.test(file.path));
  const shards = weights.filter((file) => form.shard.test(file.path));
  const index = listing.some((file) => file.path === form.index);
  const single = weights.filter((file) => file.path === form.single);
  const others = weights.filter((file) => !OTHER.test(file.path));
  // What torch writes may be anything: only what is named as weights is, or a file that stands alone.
  const rest = form.format === "safetensors"
    ? [others, weights]
    : [others.length === 1 ? others : []];
  const chosen = index && shards.length > 0
    ? shards
    : [single, shards, ...rest].find((set) => set.length > 0) ?? [];
  if (chosen.length === 0) return [];
  const support = listing.filter(({ path }) =>
    MODULE.test(path) ||
    (SUPPORT.test(path) && (!path.endsWith(".index.json") || path.endsWith(indexEnding(form))))
  );
  return [...support, ...chosen].sort((a, b) => a.size - b.size || (a.path < b.path ? -1 : 1));
}

/** How names of indexes end: `.safetensors.index.json`. */
function indexEnding({ index }: Form): string {
  return index.slice(index.indexOf("."));
}

function listGroups(groups: readonly GgufGroup[]): string {
  return list(groups.map(({ name, tag }) => (tag === "" ? name : `${tag} (${name})`)));
}

function list(items: readonly string[]): string {
  if (items.length === 0) return "none";
  return items.slice(0, 40).join(", ") +
    (items.length > 40 ? `, and ${items.length - 40} more` : "");
}
