/**
 * Writes an ONNX model of one product: protocol buffers with the few fields that it takes
 * (onnx.proto3 of the ONNX specification; `MatMulNBits` of ONNX Runtime's contributed operators).
 *
 * @module
 */

import { numbers, type Work } from "./peer.ts";

type Field = readonly [number: number, value: number | string | Uint8Array];

const FLOAT = 1, UINT8 = 2, INTEGER_ATTRIBUTE = 2;
const BLOCK = 32;

/** A message: whole numbers as varints, everything else with its length before it. */
function message(...fields: readonly Field[]): Uint8Array<ArrayBuffer> {
  const pieces: Uint8Array[] = [];
  for (const [number, value] of fields) {
    if (typeof value === "number") {
      pieces.push(varint(number << 3), varint(value));
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

/** An initializer. */
function tensor(name: string, type: number, shape: readonly number[], data: Uint8Array): Field {
  const dims = shape.map((extent): Field => [1, extent]);
  return [5, message(...dims, [2, type], [8, name], [9, data])];
}

/** What goes in (field 11) or comes out (field 12), in f32. */
function value(field: 11 | 12, name: string, shape: readonly number[]): Field {
  const dims = shape.map((extent): Field => [1, message([1, extent])]);
  const type = message([1, message([1, FLOAT], [2, message(...dims)])]);
  return [field, message([1, name], [2, type])];
}

/** The model's bytes. */
export function describeModel(work: Work & { kind: "matmul" }): Uint8Array<ArrayBuffer> {
  const { layout, tokens, rows, columns } = work;
  const attribute = (name: string, value: number): Field => [
    5,
    message([1, name], [3, value], [20, INTEGER_ATTRIBUTE]),
  ];
  const blocks = columns / BLOCK;
  const codes = new Uint8Array(rows * columns / 2).map((_, i) => i * 7919 % 251);
  const graph = layout === "int4"
    ? [
      [
        1,
        message(
          [1, "x"],
          [1, "w"],
          [1, "scales"],
          [2, "y"],
          [4, "MatMulNBits"],
          attribute("K", columns),
          attribute("N", rows),
          attribute("bits", 4),
          attribute("block_size", BLOCK),
          attribute("accuracy_level", 4),
          [7, "com.microsoft"],
        ),
      ] as Field,
      tensor("w", UINT8, [rows, blocks, BLOCK / 2], codes),
      tensor("scales", FLOAT, [rows * blocks], bytesOf(numbers(rows * blocks))),
    ]
    : [
      [1, message([1, "x"], [1, "w"], [2, "y"], [4, "MatMul"])] as Field,
      tensor("w", FLOAT, [columns, rows], bytesOf(numbers(rows * columns))),
    ];
  return message(
    [1, 8],
    [
      7,
      message(
        [2, "product"],
        ...graph,
        value(11, "x", [tokens, columns]),
        value(12, "y", [
          tokens,
          rows,
        ]),
      ),
    ],
    [8, message([1, ""], [2, 17])],
    [8, message([1, "com.microsoft"], [2, 1])],
  );
}

function bytesOf(values: Float32Array<ArrayBuffer>): Uint8Array {
  return new Uint8Array(values.buffer);
}
