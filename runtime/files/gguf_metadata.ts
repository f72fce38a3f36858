/**
 * Metadata values of GGUF files, with the types that the file gives them. Shared by the reader and
 * the writer.
 *
 * @module
 */

/** Types whose values are JavaScript numbers. */
export type NumberType = "u8" | "i8" | "u16" | "i16" | "u32" | "i32" | "f32" | "f64";

/** Types of 64-bit integers: numbers where they are exact, else bigints. */
export type WideType = "u64" | "i64";

/** An array, all of whose items have one type. */
export type MetadataArray =
  | { type: "array"; items: NumberType; value: ArrayLike<number> }
  | { type: "array"; items: WideType; value: ArrayLike<number | bigint> }
  | { type: "array"; items: "bool"; value: ArrayLike<boolean> }
  | { type: "array"; items: "string"; value: ArrayLike<string> }
  | { type: "array"; items: "array"; value: ArrayLike<MetadataArray> };

/** A value with its type. */
export type MetadataValue =
  | { type: NumberType; value: number }
  | { type: WideType; value: number | bigint }
  | { type: "bool"; value: boolean }
  | { type: "string"; value: string }
  | MetadataArray;

/** Name of a value's type. */
export type ValueType = MetadataValue["type"];

/** Type names, each at the number that stands for it in files. */
export const VALUE_TYPES: readonly ValueType[] = [
  ...["u8", "i8", "u16", "i16", "u32", "i32", "f32"] as const,
  ...["bool", "string", "array", "u64", "i64", "f64"] as const,
];

/** An array that views little-endian bytes. */
export type NumberArray =
  | Uint8Array<ArrayBuffer>
  | Int8Array<ArrayBuffer>
  | Uint16Array<ArrayBuffer>
  | Int16Array<ArrayBuffer>
  | Uint32Array<ArrayBuffer>
  | Int32Array<ArrayBuffer>
  | Float32Array<ArrayBuffer>
  | Float64Array<ArrayBuffer>;

/** The arrays that hold each number type in memory as files do. */
export const NUMBER_ARRAYS: Readonly<
  Record<NumberType, { BYTES_PER_ELEMENT: number; new (init: ArrayBuffer | number): NumberArray }>
> = {
  u8: Uint8Array,
  i8: Int8Array,
  u16: Uint16Array,
  i16: Int16Array,
  u32: Uint32Array,
  i32: Int32Array,
  f32: Float32Array,
  f64: Float64Array,
};

/** Whether values of a type are JavaScript numbers. */
export function isNumberType(type: ValueType): type is NumberType {
  return type in NUMBER_ARRAYS;
}

/**
 * A value without its type: numbers, bigints, booleans, strings, arrays of these and of arrays.
 * Arrays of a number type are typed arrays.
 */
export function plainValue(value: MetadataValue): unknown {
  if (value.type !== "array" || value.items !== "array") return value.value;
  return Array.from(value.value, plainValue);
}
