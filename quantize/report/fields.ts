/**
 * What a written file says of how it was made, in its metadata under `sparrow.quantize.`.
 *
 * @module
 */

import type { MetadataValue } from "../../runtime/files/gguf_metadata.ts";
import type { Comparison } from "../compare.ts";
import type { ChosenOptions } from "../options.ts";
import type { SourceFacts } from "./hashes.ts";
import type { TensorError } from "./tensor_errors.ts";

/** What all fields begin with. */
export const FIELD_PREFIX = "sparrow.quantize.";

/** Options that change nothing in the file. */
const NOT_RECORDED: ReadonlySet<string> = new Set([
  ...["signal", "onProgress", "onWarning", "force", "threads", "saveImatrix", "verify", "resume"],
  ...["type", "method", "seed", "tokens", "calibration"], // these have fields of their own
]);

/** What was done. */
export interface Made {
  readonly options: ChosenOptions;
  /** Where the model was verified or calibrated. */
  readonly source?: SourceFacts | undefined;
  /** What the model read, where it read something. */
  readonly read?: {
    /** Where it came from: `"self"`, `"text"` or `"ids"`. */
    readonly from: string;
    readonly tokens: number;
    readonly sha256: string;
  } | undefined;
}

/** Fields of how a file was made. */
export function madeFields({ options, source, read }: Made): Record<string, MetadataValue> {
  const { type, method, seed = 1 } = options;
  const others = Object.entries(options).filter(([name, value]) =>
    value !== undefined && !NOT_RECORDED.has(name) && !(Array.isArray(value) && value.length === 0)
  );
  return fields({
    ...{ type: text(type), method: text(method) },
    ...(others.length > 0 &&
      { options: text(JSON.stringify(Object.fromEntries(others), written)) }),
    ...(source && {
      source: texts(source.files),
      source_sha256: texts(source.sha256),
      source_bytes: { type: "u64", value: source.bytes },
    }),
    ...(read && {
      ...{ calibration: text(read.from), tokens: whole(read.tokens), seed: whole(seed) },
      calibration_sha256: text(read.sha256),
    }),
  });
}

/** Texts that a file was compared with its source on. */
export interface HeldOut {
  /**
   * `"self"`: what the model wrote with other seeds; `"rest"`: of the text it was calibrated on;
   * `"text"`: given ids.
   */
  readonly from: "self" | "rest" | "text";
  readonly texts: readonly (readonly number[])[];
  readonly sha256: string;
}

/**
 * Fields of what a comparison has found. Their sizes follow from the tensors alone, so that fields of
 * zeros (`unprovenFields`) can keep their place in a file.
 *
 * @param names of all tensors, in the order of the file
 */
export function proofFields(
  { kl, sameTop, perplexity, tokens }: Comparison,
  errors: readonly TensorError[],
  heldOut: HeldOut,
  names: readonly string[],
): Record<string, MetadataValue> {
  const known = new Map(errors.map((it) => [it.name, it.error]));
  return fields({
    ...{ verified_on: text(heldOut.from), verified_tokens: whole(tokens) },
    verified_sha256: text(heldOut.sha256),
    ...{ kl_mean: real(kl.mean), kl_median: real(kl.median), kl_99: real(kl.p99) },
    ...{ kl_999: real(kl.p999), kl_max: real(kl.max), same_top: real(sameTop) },
    perplexity_ratio: real(perplexity[1] / perplexity[0]),
    tensor_errors: { type: "array", items: "f32", value: names.map((it) => known.get(it) ?? 0) },
  });
}

/** Fields as `proofFields` gives them, of the same sizes and with nothing in them. */
export function unprovenFields(names: readonly string[]): Record<string, MetadataValue> {
  const kl = { mean: 0, median: 0, p99: 0, p999: 0, max: 0 };
  const nothing: Comparison = { kl, sameTop: 0, perplexity: [1, 1], tokens: 0 };
  return proofFields(nothing, [], { from: "self", texts: [], sha256: "0".repeat(64) }, names);
}

/** Patterns as their sources, addresses without folders. */
function written(name: string, value: unknown): unknown {
  if (value instanceof RegExp) return value.source;
  return name === "imatrix" ? String(value).split(/[/\\]/).at(-1) : value;
}

function fields(named: Record<string, MetadataValue>): Record<string, MetadataValue> {
  return Object.fromEntries(
    Object.entries(named).map(([name, value]) => [FIELD_PREFIX + name, value]),
  );
}

function text(value: string): MetadataValue {
  return { type: "string", value };
}

function texts(value: readonly string[]): MetadataValue {
  return { type: "array", items: "string", value };
}

function whole(value: number): MetadataValue {
  return { type: "u32", value };
}

function real(value: number): MetadataValue {
  return { type: "f32", value };
}
