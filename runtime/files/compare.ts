/**
 * Whether two tensors of model files are the same.
 *
 * @module
 */

import type { TensorEntry } from "./model_file.ts";

/** Bytes that are compared at a time. */
const PIECE = 1 << 20;

/** What has been found out of two tensors, which may take gigabytes to compare. */
const compared = new WeakMap<TensorEntry, WeakMap<TensorEntry, boolean | undefined>>();

/**
 * Whether two tensors have the same type, shape and bytes. Undefined on a server, which would have to
 * send both. Those of a model on paper, which has no bytes, are different ones. A model that is resolved
 * again, under other options, has its tensors compared once.
 */
export async function sameBytes(a: TensorEntry, b: TensorEntry): Promise<boolean | undefined> {
  const known = compared.get(a) ?? new WeakMap<TensorEntry, boolean | undefined>();
  compared.set(a, known);
  if (!known.has(b)) known.set(b, await compareBytes(a, b));
  return known.get(b);
}

async function compareBytes(a: TensorEntry, b: TensorEntry): Promise<boolean | undefined> {
  if (a.type !== b.type || a.bytes !== b.bytes || a.shape.join() !== b.shape.join()) return false;
  if (a.source.size < a.offset + a.bytes) return false;
  if (a.source === b.source && a.offset === b.offset) return true;
  if ([a, b].some(({ source }) => /^https?:/.test(source.name))) return undefined;
  for (let at = 0; at < a.bytes; at += PIECE) {
    const length = Math.min(PIECE, a.bytes - at);
    const [left, right] = [
      await a.source.read(a.offset + at, length),
      await b.source.read(b.offset + at, length),
    ];
    if (!left.every((byte, i) => byte === right[i])) return false;
  }
  return true;
}

/** Bytes that are enough to tell two trained matrices apart. */
const START = 1 << 16;

/** Whether two tensors have the same type and shape and begin with the same 64 KiB. */
export async function sameStart(a: TensorEntry, b: TensorEntry): Promise<boolean> {
  if (a.type !== b.type || a.bytes !== b.bytes || a.shape.join() !== b.shape.join()) return false;
  const length = Math.min(START, a.bytes);
  const [left, right] = [
    await a.source.read(a.offset, length),
    await b.source.read(b.offset, length),
  ];
  return left.every((byte, i) => byte === right[i]);
}
