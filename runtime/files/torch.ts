/**
 * Checkpoints that torch has written: a pickle, which names tensors and says how they lie in storages,
 * and the storages themselves. Both forms are read: a zip archive (since torch 1.6), and pickles with
 * the storages behind them (before). The pickle is data here, never a program.
 *
 * Source: `torch/serialization.py` and `torch/_utils.py` of PyTorch, which define both forms.
 *
 * @module
 */

import { FormatError } from "../../errors.ts";
import { quote } from "../../escape.ts";
import type { TensorEntry } from "./model_file.ts";
import { readPickle } from "./pickle.ts";
import type { PickleGlobal, PickleRules } from "./pickle_machine.ts";
import type { ByteSource } from "./source.ts";
import {
  globalNamed,
  savedSettings,
  stateTensors,
  type Storage,
  storageOf,
  type TorchTensor,
} from "./torch_objects.ts";
import { strided } from "./views.ts";
import { readZip } from "./zip.ts";

/** Bytes of pickles; a hundred tell of a tensor, and no model's come near this. */
const PICKLE_LIMIT = 16 << 20;
/** With what the older form begins. */
export const MAGIC = 0x1950a86a20f9469cfc6cn;
/** Its version. */
const PROTOCOL = 1001;
/** Bytes that are read first of the older form, to find the end of its pickles. */
const FIRST_BYTES = 1 << 16;

/** Whether a file that begins so may be a checkpoint of torch: a zip archive, or a pickle. */
export function beginsAsTorch(bytes: Uint8Array): boolean {
  const [a, b, c, d] = bytes;
  return (a === 0x50 && b === 0x4b && c === 3 && d === 4) ||
    (a === 0x80 && b !== undefined && b >= 2 && b <= 5);
}

/** What training and tokenizers keep beside the weights, in files of the same kind. */
const NO_WEIGHTS =
  /^(vocab\.bin$|corpus\.bin$|training_args|optimizer|scheduler|scaler|rng_state|adapter|random_states)/i;

/** Whether a file of this name may be one of torch that holds a model's weights. */
export function isTorchWeights(name: string): boolean {
  return /\.(bin|pt|pth)$/.test(name) && !NO_WEIGHTS.test(name);
}

/** The bytes of a storage: where they begin. */
type Places = ReadonlyMap<string, number>;

/**
 * Reads which tensors a checkpoint has, and where, and adds them in the order in which it names them.
 * Returns the settings that its dictionary keeps beside them under `config`, where there are any.
 *
 * @throws FormatError when bytes break the format, name what is no tensor, or claim what is not there
 * @throws SourceError when bytes cannot be read
 */
export async function readTorch(
  source: ByteSource,
  tensors: Map<string, TensorEntry>,
): Promise<Record<string, unknown> | undefined> {
  const fail = (found: string): never => {
    throw new FormatError(`Cannot read torch checkpoint ${quote(source.name)}: ${found}`);
  };
  const isZip = (await source.read(0, Math.min(1, source.size)))[0] === 0x50;
  const { state, places } = await (isZip ? readArchive : readLegacy)(source, fail);
  for (const [name, tensor] of stateTensors(state, fail)) {
    if (tensors.has(name)) fail(`tensor ${quote(name)} is also in another file of this model`);
    tensors.set(name, entryOf(name, tensor, places.get(tensor.storage.key)!, source));
  }
  return savedSettings(state);
}

/** A tensor as others of model files: where its numbers lie in a row, bytes of the file. */
function entryOf(
  name: string,
  { storage: { type, elementBytes }, first, shape, strides, elements }: TorchTensor,
  place: number,
  source: ByteSource,
): TensorEntry {
  const offset = elements > 0 ? place + first * elementBytes : place;
  const entry = { name, shape, type, source, offset, bytes: elements * elementBytes };
  return strided(entry, strides, elementBytes);
}

/** What pickles of torch may refer to, and the storages that they do refer to. */
function rulesOf(
  fail: (found: string) => never,
  storages: Map<string, Storage>,
  cut: () => never = () => fail("its pickle is cut"),
): PickleRules {
  const globals = new Map<string, PickleGlobal | undefined>();
  return {
    fail,
    cut,
    find(name) {
      if (!globals.has(name)) globals.set(name, globalNamed(name, fail));
      return globals.get(name);
    },
    outside: (id) => storageOf(id, storages, fail),
  };
}

/** What a checkpoint holds: the value of its pickle, and its storages' places. */
interface Checkpoint {
  readonly state: unknown;
  readonly places: Places;
}

async function readArchive(
  source: ByteSource,
  fail: (found: string) => never,
): Promise<Checkpoint> {
  const { entries, locate } = await readZip(source);
  const pickles = Array.from(entries.keys()).filter((it) => /(^|\/)data\.pkl$/.test(it));
  const [pickle] = pickles;
  if (pickle === undefined || pickles.length > 1) {
    return fail(`it is a zip archive with ${pickles.length} files data.pkl, expected one`);
  }
  const prefix = pickle.slice(0, -"data.pkl".length);
  const contents = async (name: string, limit: number): Promise<Uint8Array | undefined> => {
    const entry = entries.get(prefix + name);
    if (!entry) return undefined;
    const start = await locate(entry);
    if (entry.size > limit) {
      return fail(`its ${name} takes ${entry.size} bytes, expected at most ${limit}`);
    }
    return await source.read(start, entry.size);
  };
  const order = await contents("byteorder", 16);
  if (order && new TextDecoder().decode(order).trim() !== "little") {
    return fail(`its byte order is ${quote(new TextDecoder().decode(order))}, expected "little"`);
  }
  const storages = new Map<string, Storage>();
  const bytes = (await contents("data.pkl", PICKLE_LIMIT))!;
  const { value: state } = readPickle(bytes, 0, rulesOf(fail, storages));
  const places = new Map<string, number>(), ranges: Range[] = [];
  for (const { key, bytes } of storages.values()) {
    const entry = entries.get(`${prefix}data/${key}`);
    if (!entry) return fail(`storage ${quote(key)} is missing in it`);
    if (entry.size !== bytes && entry.method === 0) {
      return fail(`storage ${quote(key)} has ${entry.size} bytes, expected ${bytes}`);
    }
    const start = await locate(entry);
    places.set(key, start);
    ranges.push({ key, start, end: start + bytes });
  }
  checkApart(ranges, fail);
  return { state, places };
}

interface Range {
  readonly key: string;
  readonly start: number;
  readonly end: number;
}

/** Storages may be used twice, but no two lie in the same bytes. */
function checkApart(ranges: Range[], fail: (found: string) => never): void {
  ranges.sort((a, b) => a.start - b.start || a.end - b.end);
  for (const [i, { key, start }] of ranges.entries()) {
    const before = ranges[i - 1];
    if (before && start < before.end) {
      fail(`storage ${quote(key)} begins at byte ${start}, inside storage ${quote(before.key)}`);
    }
  }
}

/** Pickles one after the other (a number, a version, the machine, the tensors, keys), then storages. */
async function readLegacy(source: ByteSource, fail: (found: string) => never): Promise<Checkpoint> {
  const storages = new Map<string, Storage>();
  let pickles: { values: unknown[]; end: number } | undefined;
  for (let length = FIRST_BYTES; !pickles; length *= 2) {
    const bytes = await source.read(0, Math.min(length, source.size));
    storages.clear();
    try {
      pickles = readPickles(
        bytes,
        rulesOf(fail, storages, () => {
          throw new NeedsMore();
        }),
        fail,
      );
    } catch (error) {
      if (!(error instanceof NeedsMore)) throw error;
      if (length >= source.size) return fail("its pickles are cut");
      if (length >= PICKLE_LIMIT) {
        return fail(`its pickles take more than ${PICKLE_LIMIT} bytes`);
      }
    }
  }
  const { values: [, , , state, keys], end } = pickles;
  if (!Array.isArray(keys) || keys.some((key) => typeof key !== "string")) {
    return fail("it does not say in which order its storages lie");
  }
  const places = new Map<string, number>();
  let at = end;
  for (const key of keys as string[]) {
    const storage = storages.get(key);
    if (!storage || places.has(key)) {
      return fail(`storage ${quote(key)} ${storage ? "lies in it twice" : "is used by no tensor"}`);
    }
    if (at + 8 + storage.bytes > source.size) {
      return fail(
        `storage ${quote(key)} ends at byte ${at + 8 + storage.bytes}, but the file has ` +
          `${source.size}; if it was downloaded, fetch it again`,
      );
    }
    const head = await source.read(at, 8);
    const count = new DataView(head.buffer, head.byteOffset, 8).getBigInt64(0, true);
    if (count !== BigInt(storage.count)) {
      return fail(`storage ${quote(key)} has ${count} elements, expected ${storage.count}`);
    }
    places.set(key, at + 8);
    at += 8 + storage.bytes;
  }
  for (const key of storages.keys()) {
    if (!places.has(key)) return fail(`storage ${quote(key)} is missing in it`);
  }
  return { state, places };
}

/** The pickles do not end in the bytes that have been read so far. */
class NeedsMore extends Error {}

function readPickles(
  bytes: Uint8Array,
  rules: PickleRules,
  fail: (found: string) => never,
): { values: unknown[]; end: number } {
  const values: unknown[] = [];
  let end = 0;
  for (let i = 0; i < 5; i++) {
    const { value, end: next } = readPickle(bytes, end, rules);
    if (i === 0 && value !== MAGIC) fail("it is a Python pickle, but none that torch has written");
    if (i === 1 && value !== PROTOCOL) fail(`it is of version ${quote(value)}, expected 1001`);
    if (i === 2 && !(value instanceof Map && value.get("little_endian") === true)) {
      fail("it was written by a machine with another byte order, expected little endian");
    }
    values.push(value);
    end = next;
  }
  return { values, end };
}
