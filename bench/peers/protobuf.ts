/**
 * Protocol buffers, as far as ONNX models need them (onnx.proto3 of the ONNX specification): messages
 * with the few fields that they take.
 *
 * @module
 */

/** A field: a whole number as a varint, a float in 32 bits, everything else with its length before it. */
export type Field = readonly [number: number, value: number | Float | string | Uint8Array];

/** A number that is written as a float. */
export interface Float {
  /** It. */
  readonly float: number;
}

/** Types of tensors. */
export const FLOAT = 1, UINT8 = 2, INT8 = 3, INT32 = 6, INT64 = 7;
const FLOAT_ATTRIBUTE = 1, INTEGER_ATTRIBUTE = 2, INTEGERS_ATTRIBUTE = 7;

/** A message's bytes. */
export function message(...fields: readonly Field[]): Uint8Array<ArrayBuffer> {
  const pieces: Uint8Array[] = [];
  for (const [number, value] of fields) {
    if (typeof value === "number") {
      pieces.push(varint(number << 3), varint(value));
      continue;
    }
    if (typeof value === "object" && "float" in value) {
      const bits = new Uint8Array(Float32Array.of(value.float).buffer);
      pieces.push(varint(number << 3 | 5), bits);
      continue;
    }
    const bytes = typeof value === "string" ? new TextEncoder().encode(value) : value;
    pieces.push(varint(number << 3 | 2), varint(bytes.length), bytes);
  }
  const all = new Uint8Array(pieces.reduce((sum, piece) => sum + piece.length, 0));
  let at = 0;
  for (const piece of pieces) {
    all.set(piece, at);
    at += piece.length;
  }
  return all;
}

function varint(value: number): Uint8Array {
  const bytes: number[] = [];
  for (; value > 127; value = Math.floor(value / 128)) bytes.push(value % 128 | 128);
  return Uint8Array.of(...bytes, value);
}

/** A constant of a graph. */
export function constant(
  name: string,
  type: number,
  shape: readonly number[],
  data: Uint8Array,
): Field {
  const dims = shape.map((extent): Field => [1, extent]);
  return [5, message(...dims, [2, type], [8, name], [9, data])];
}

/** What goes into a graph (field 11) or comes out of it (field 12); extents with a name vary. */
export function value(
  field: 11 | 12,
  name: string,
  type: number,
  shape: readonly (number | string)[],
): Field {
  const dims = shape.map((extent): Field => [
    1,
    message(typeof extent === "number" ? [1, extent] : [2, extent]),
  ]);
  return [field, message([1, name], [2, message([1, message([1, type], [2, message(...dims)])])])];
}

/** A step of a graph: an op of ONNX, or of another domain. */
export function node(
  op: string,
  inputs: readonly string[],
  outputs: readonly string[],
  attributes: Readonly<Record<string, number | Float | readonly number[]>> = {},
  domain = "",
): Field {
  return [
    1,
    message(
      ...inputs.map((name): Field => [1, name]),
      ...outputs.map((name): Field => [2, name]),
      [4, op],
      ...Object.entries(attributes).map(([name, value]): Field => [5, attribute(name, value)]),
      ...(domain ? [[7, domain] as const] : []),
    ),
  ];
}

function attribute(name: string, value: number | Float | readonly number[]): Uint8Array {
  if (typeof value === "number") return message([1, name], [3, value], [20, INTEGER_ATTRIBUTE]);
  if ("float" in value) return message([1, name], [2, value], [20, FLOAT_ATTRIBUTE]);
  const numbers = value.map((it): Field => [8, it]);
  return message([1, name], ...numbers, [20, INTEGERS_ATTRIBUTE]);
}

/** Ops of ONNX Runtime beyond ONNX. */
export const MICROSOFT = "com.microsoft";

/** A model of one graph, with the opsets of ONNX and ONNX Runtime. */
export function modelOf(name: string, fields: readonly Field[]): Uint8Array<ArrayBuffer> {
  return message(
    [1, 8],
    [7, message([2, name], ...fields)],
    [8, message([1, ""], [2, 17])],
    [8, message([1, MICROSOFT], [2, 1])],
  );
}

/** The bytes of numbers. */
export function bytesOf({ buffer, byteOffset, byteLength }: ArrayBufferView): Uint8Array {
  return new Uint8Array(buffer as ArrayBuffer, byteOffset, byteLength);
}
