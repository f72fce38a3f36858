/**
 * How a file was quantized and what that cost, as its metadata has it, for people.
 *
 * @module
 */

import { plain, quote, safeJson, word } from "../escape.ts";
import { FIELD_PREFIX } from "../quantize/report/fields.ts";
import { counted } from "./format.ts";
import { formatBytes } from "./progress.ts";

/** Whether a field of metadata is one of those. */
export function isProof(key: string): boolean {
  return key.startsWith(FIELD_PREFIX);
}

/** Most names of a list that are shown. */
const SHOWN = 64;
/** How many of the tensors that lost most are shown. */
const LARGEST = 5;

/** Where texts came from, in words. */
const READ: Readonly<Record<string, string>> = {
  self: "that the model wrote",
  text: "of a text",
  ids: "of given ids",
};
const COMPARED: Readonly<Record<string, string>> = {
  self: "that it wrote with other seeds",
  rest: "of the rest of that text",
  text: "of given ids",
};

/**
 * Lines that say what fields of metadata do; none for a file that has none. What they hold may be
 * anything.
 *
 * @param names of the file's tensors, in its order
 */
export function describeProof(
  metadata: Readonly<Record<string, unknown>>,
  names: readonly string[],
): string[] {
  const fields = new Map<string, unknown>();
  for (const [key, value] of Object.entries(metadata)) {
    if (isProof(key)) fields.set(key.slice(FIELD_PREFIX.length), value);
  }
  if (fields.size === 0) return [];
  const told = new Set<string>();
  const text = (name: string): string | undefined => {
    const value = fields.get(name);
    if (typeof value !== "string") return undefined;
    told.add(name);
    return plain(value, 200);
  };
  const number = (name: string): number | undefined => {
    const value = fields.get(name);
    const found = typeof value === "bigint" ? Number(value) : value;
    if (typeof found !== "number") return undefined;
    told.add(name);
    return found;
  };
  const list = (name: string): unknown[] => {
    const value = fields.get(name);
    if (!Array.isArray(value) && !ArrayBuffer.isView(value)) return [];
    told.add(name);
    return Array.from(value as unknown[]);
  };
  const words = (name: string, known: Readonly<Record<string, string>>): string => {
    const found = text(name);
    return found === undefined ? "" : ` ${Object.hasOwn(known, found) ? known[found] : found}`;
  };
  const lines: string[] = [];
  const add = (...parts: (string | undefined)[]): void => {
    const line = parts.filter((it) => it !== undefined && it !== "").join(", ");
    if (line !== "") lines.push(`  ${line}`);
  };
  const digits = (value: number | undefined, name: string): string | undefined =>
    value === undefined ? undefined : `${name} ${value.toPrecision(3)}`;

  const method = text("method"), type = text("type");
  add(method && `method ${method}`, type && `type ${type}`);
  const options = text("options");
  add(options && `options ${options}`);
  const bytes = number("source_bytes"), sources = list("source");
  if (sources.length > 0) {
    add(
      `from ${sources.slice(0, SHOWN).map((it) => quote(it)).join(", ")}`,
      bytes === undefined ? undefined : formatBytes(bytes),
    );
  }
  for (const hash of list("source_sha256").slice(0, SHOWN)) add(`  SHA-256 ${word(String(hash))}`);
  const tokens = number("tokens");
  if (tokens !== undefined) {
    const seed = number("seed"), hash = text("calibration_sha256");
    add(
      `calibrated on ${counted(tokens, "token")}${words("calibration", READ)}`,
      seed === undefined ? undefined : `seed ${seed}`,
    );
    add(hash && `  SHA-256 of their ids ${hash}`);
  }
  const verified = number("verified_tokens");
  if (verified !== undefined) {
    const same = number("same_top"), ratio = number("perplexity_ratio");
    const hash = text("verified_sha256");
    add(
      `compared with its source on ${counted(verified, "token")}${words("verified_on", COMPARED)}`,
    );
    add(hash && `  SHA-256 of their ids ${hash}`);
    add(
      digits(number("kl_mean"), "  KL divergence mean"),
      digits(number("kl_median"), "median"),
      digits(number("kl_99"), "99 %"),
      digits(number("kl_999"), "99.9 %"),
      digits(number("kl_max"), "most"),
    );
    add(
      same === undefined ? undefined : `  same best token ${(100 * same).toFixed(2)} %`,
      ratio === undefined ? undefined : `perplexity × ${ratio.toFixed(4)}`,
    );
  }
  const largest = list("tensor_errors")
    .map((error, i) => ({ error: Number(error), name: names[i] ?? `tensor ${i}` }))
    .filter(({ error }) => error > 0).sort((a, b) => b.error - a.error).slice(0, LARGEST);
  if (largest.length > 0) {
    add(
      `largest errors ${
        largest.map(({ name, error }) => `${plain(name, 100)} ${(100 * error).toFixed(2)} %`)
          .join(", ")
      }`,
    );
  }
  for (const [name, value] of fields) {
    if (told.has(name)) continue;
    const json = safeJson(ArrayBuffer.isView(value) ? Array.from(value as Uint8Array) : value);
    add(`${word(name)}: ${json.length > 200 ? `${json.slice(0, 200)}…` : json}`);
  }
  return ["Quantized:", ...lines];
}
