/**
 * JSON objects from files, strictly: UTF-8, and where it matters no key twice.
 *
 * @module
 */

import { FormatError } from "../../errors.ts";
import { type Folder, openIfThere } from "./folder.ts";
import { quote } from "../../escape.ts";
import type { ByteSource } from "./source.ts";

/** A JSON object whose values are not known yet. */
export type JsonObject = Record<string, unknown>;

/** More than any `tokenizer.json` has; a few bytes of JSON may take a hundred in memory. */
const FILE_LIMIT = 128 << 20;
/** More than any other file has: a configuration, a chat template, an index of shards. */
const SMALL_LIMIT = 32 << 20;

const utf8 = new TextDecoder("utf-8", { fatal: true });

/**
 * Parses a JSON object.
 *
 * @param what the thing in error messages, such as `JSON "x/config.json"`
 * @param options `uniqueKeys`: refuse a key that occurs twice, where `JSON.parse` keeps the last;
 *   `specials`: take `NaN`, `Infinity` and `-Infinity` for numbers, as Python does
 * @throws FormatError when the bytes are not UTF-8, not JSON, or no object
 */
export function parseJson(
  bytes: Uint8Array,
  what: string,
  { uniqueKeys = false, specials = false }: { uniqueKeys?: boolean; specials?: boolean } = {},
): JsonObject {
  const [value, text] = parseText(bytes, what, specials);
  if (!isObject(value)) throw new FormatError(`Cannot read ${what}: expected a JSON object`);
  const twice = uniqueKeys ? repeatedKey(text) : undefined;
  if (twice !== undefined) {
    throw new FormatError(`Cannot read ${what}: the key ${quote(twice)} occurs twice`);
  }
  return value;
}

/** A value of JSON, and the text that it was read from. */
function parseText(bytes: Uint8Array, what: string, specials: boolean): [unknown, string] {
  let text: string;
  try {
    text = utf8.decode(bytes);
  } catch {
    throw new FormatError(`Cannot read ${what}: it is not UTF-8 text`);
  }
  try {
    return [specials ? parseSpecials(text) : JSON.parse(text), text];
  } catch (error) {
    // The engine's message quotes the text, which may be long or unprintable.
    const reason = quote((error as Error).message);
    throw new FormatError(`Cannot read ${what}: it is not JSON, ${reason}`);
  }
}

/**
 * Reads a whole file of JSON that is a list.
 *
 * @throws FormatError when it is none
 */
export async function readJsonList(source: ByteSource): Promise<readonly unknown[]> {
  checkSize(source, SMALL_LIMIT);
  const what = `JSON ${quote(source.name)}`;
  const [value] = parseText(await source.read(0, source.size), what, true);
  if (Array.isArray(value)) return value;
  throw new FormatError(`Cannot read ${what}: expected a JSON list`);
}

/**
 * Reads and parses a whole file of JSON; by its name in the model it may be larger or smaller. NaN
 * and infinities may stand in it, as Python writes them.
 */
export async function readJson(source: ByteSource, file?: string): Promise<JsonObject> {
  checkSize(source, file === "tokenizer.json" ? FILE_LIMIT : SMALL_LIMIT);
  return parseJson(await source.read(0, source.size), `JSON ${quote(source.name)}`, {
    specials: true,
  });
}

function checkSize({ name, size }: ByteSource, most: number): void {
  if (size <= most) return;
  throw new FormatError(
    `Cannot read JSON ${quote(name)}: it has ${size} bytes, expected at most ${most}`,
  );
}

/** Reads a JSON file of a folder; undefined where there is none. */
export async function readOptionalJson(
  folder: Folder,
  name: string,
): Promise<JsonObject | undefined> {
  const source = await openIfThere(folder, name);
  try {
    return source && await readJson(source, name);
  } finally {
    source?.close();
  }
}

/** JSON strings, which are left as they are, and the numbers that Python writes and JSON has not. */
const SPECIALS = /"(?:[^"\\]|\\.)*"|-?Infinity\b|\bNaN\b/g;

/** A key that no file has. */
const SPECIAL_KEY = "\0number";

function parseSpecials(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch (error) {
    const replaced = text.replace(
      SPECIALS,
      (it) => it.startsWith('"') ? it : JSON.stringify({ [SPECIAL_KEY]: it }),
    );
    if (replaced === text) throw error;
    return JSON.parse(replaced, (_key, value) => {
      const number = isObject(value) ? value[SPECIAL_KEY] : undefined;
      return number === undefined ? value : Number(number);
    });
  }
}

/** Whether a value is a JSON object, and no array. */
export function isObject(value: unknown): value is JsonObject {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

const [QUOTE, BACKSLASH, COLON, SPACE] = [0x22, 0x5c, 0x3a, 0x20];
const [BRACE, BRACE_END, BRACKET, BRACKET_END] = [0x7b, 0x7d, 0x5b, 0x5d];

/** The first key that occurs twice in one object of valid JSON. */
function repeatedKey(json: string): string | undefined {
  const open: (Set<string> | null)[] = []; // keys of each open object, null for an open array
  for (let i = 0; i < json.length; i++) {
    const char = json.charCodeAt(i);
    if (char === BRACE) open.push(new Set());
    else if (char === BRACKET) open.push(null);
    else if (char === BRACE_END || char === BRACKET_END) open.pop();
    if (char !== QUOTE) continue;
    const from = i++;
    for (let code; (code = json.charCodeAt(i)) !== QUOTE;) i += code === BACKSLASH ? 2 : 1;
    let next = i + 1;
    while (json.charCodeAt(next) <= SPACE) next++;
    if (json.charCodeAt(next) !== COLON) continue;
    const key: string = JSON.parse(json.slice(from, i + 1));
    const keys = open.at(-1)!;
    if (keys.has(key)) return key;
    keys.add(key);
  }
  return undefined;
}
