/**
 * Reading a request: what each of its fields may be, and what becomes of those that nobody knows.
 *
 * @module
 */

import { quote } from "../escape.ts";
import { z } from "./deps.ts";
import { badRequest } from "./errors.ts";

/** Fields of which an answer does not depend; they are accepted, ignored, and listed in a header. */
const HARMLESS: ReadonlySet<string> = new Set([
  "keep_alive",
  "metadata",
  "prompt_cache_key",
  "prompt_cache_retention",
  "safety_identifier",
  "service_tier",
  "store",
  "user",
]);

/** A request that has been read. */
export interface ReadRequest<T> {
  /** Its fields. */
  readonly fields: T;
  /** Names of fields that were ignored. */
  readonly ignored: readonly string[];
}

/**
 * The body of a request as an object.
 *
 * @throws ApiError when it is no JSON, or no object
 */
export async function readJson(request: Request): Promise<Record<string, unknown>> {
  let value: unknown;
  try {
    value = await request.json();
  } catch (cause) {
    if (!(cause instanceof SyntaxError)) throw cause;
    throw badRequest(`Cannot read the request: its body is no JSON (${cause.message})`);
  }
  if (typeof value !== "object" || value === null || Array.isArray(value)) {
    throw badRequest(`Cannot read the request: its body is ${quote(value)}, expected an object`);
  }
  return value as Record<string, unknown>;
}

/**
 * Reads the fields of a request. A field with null counts as absent, as OpenAI's clients send them. A
 * field that is not in the schema is refused, because it would have changed the answer, unless it is
 * known not to.
 *
 * @throws ApiError 400 that names the first field that is wrong, with its path
 */
export function readFields<S extends z.ZodRawShape>(
  schema: z.ZodObject<S>,
  body: Readonly<Record<string, unknown>>,
): ReadRequest<z.output<z.ZodObject<S>>> {
  const present = Object.entries(body).filter(([, value]) => value !== null);
  const isIgnored = (name: string): boolean => !(name in schema.shape) && HARMLESS.has(name);
  const unknown = present.find(([name]) => !(name in schema.shape) && !HARMLESS.has(name));
  if (unknown) {
    throw badRequest(
      `Cannot answer: the field ${quote(unknown[0])} is not supported and would change the ` +
        `answer; expected ${Object.keys(schema.shape).join(", ")}`,
      { param: unknown[0], code: "unknown_field" },
    );
  }
  const result = schema.safeParse(Object.fromEntries(present.filter(([name]) => !isIgnored(name))));
  if (result.success) {
    return {
      fields: result.data as z.output<z.ZodObject<S>>,
      ignored: present.map(([name]) => name).filter(isIgnored),
    };
  }
  const { path, message } = result.error.issues[0]!;
  const param = pathText(path);
  const found = path.reduce<unknown>((value, key) => Object(value)[key], body);
  throw badRequest(
    `Cannot answer: the field ${quote(param)} is ${quote(found)}: ${message}`,
    { param, code: "invalid_value" },
  );
}

/** A path as a program writes it: `messages[0].role`. */
function pathText(path: readonly PropertyKey[]): string {
  return path.map((key, i) =>
    typeof key === "number" ? `[${key}]` : `${i > 0 ? "." : ""}${String(key)}`
  ).join("");
}

/** What texts are drawn by; the same for conversations and plain prompts. */
export const SAMPLING = {
  model: z.string().optional(),
  temperature: z.number().min(0).max(2).optional(),
  top_p: z.number().gt(0).max(1).optional(),
  top_k: z.int().min(0).optional(),
  min_p: z.number().min(0).max(1).optional(),
  repeat_penalty: z.number().gt(0).optional(),
  presence_penalty: z.number().min(-2).max(2).optional(),
  frequency_penalty: z.number().min(-2).max(2).optional(),
  seed: z.int().min(Number.MIN_SAFE_INTEGER).max(Number.MAX_SAFE_INTEGER).optional(),
  stop: z.union([z.string(), z.array(z.string()).max(16)]).optional(),
  logit_bias: z.record(z.string().regex(/^\d+$/), z.number().min(-100).max(100)).optional(),
  n: z.int().min(1).max(128).optional(),
  stream: z.boolean().optional(),
  stream_options: z.strictObject({
    include_usage: z.boolean().nullish(),
    include_obfuscation: z.literal(false).nullish(),
  }).optional(),
} as const;

/** The fields of `SAMPLING`, read. */
export type SamplingFields = z.output<z.ZodObject<typeof SAMPLING>>;
