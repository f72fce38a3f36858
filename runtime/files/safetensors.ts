/**
 * Safetensors files: which tensors one has, and where they lie.
 *
 * Source: the safetensors format specification (Hugging Face, safetensors README).
 *
 * @module
 */

import { FormatError } from "../../errors.ts";
import { isObject, type JsonObject, parseJson } from "./json.ts";
import type { TensorEntry } from "./model_file.ts";
import { quote } from "../../escape.ts";
import type { ByteSource } from "./source.ts";
import { elements } from "../../kernels/op.ts";

/** The specification allows more; no model comes near this. */
const HEADER_LIMIT = 16 << 20;

/** Bytes per element of the types that the specification names; others are not checked. */
const ELEMENT_BYTES: Readonly<Record<string, number>> = {
  ...{ BOOL: 1, U8: 1, I8: 1, F8_E4M3: 1, F8_E5M2: 1, F8_E8M0: 1 },
  ...{ U16: 2, I16: 2, F16: 2, BF16: 2, U32: 4, I32: 4, F32: 4 },
  ...{ U64: 8, I64: 8, F64: 8, C64: 8, F4: 0.5, F6_E2M3: 0.75, F6_E3M2: 0.75 },
};

/**
 * Reads the header of a file and adds its tensors, in the order of their bytes.
 *
 * @throws FormatError when bytes break the format, or claim what the file does not have
 * @throws SourceError when bytes cannot be read
 */
export async function readSafetensors(
  source: ByteSource,
  tensors: Map<string, TensorEntry>,
): Promise<void> {
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
