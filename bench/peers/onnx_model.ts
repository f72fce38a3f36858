/**
 * Writes an ONNX model of one product: `MatMul`, or `MatMulNBits` of ONNX Runtime's contributed
 * operators.
 *
 * @module
 */

import { numbers, type Work } from "./peer.ts";
import { bytesOf, constant, FLOAT, MICROSOFT, modelOf, node, UINT8, value } from "./protobuf.ts";

const BLOCK = 32;

/** The model's bytes. */
export function describeModel(work: Work & { kind: "matmul" }): Uint8Array<ArrayBuffer> {
  const { layout, tokens, rows, columns } = work;
  const blocks = columns / BLOCK;
  const codes = new Uint8Array(rows * columns / 2).map((_, i) => i * 7919 % 251);
  const attributes = {
    ...{ K: columns, N: rows, bits: 4, block_size: BLOCK },
    accuracy_level: 4,
  };
  const graph = layout === "int4"
    ? [
      node("MatMulNBits", ["x", "w", "scales"], ["y"], attributes, MICROSOFT),
      constant("w", UINT8, [rows, blocks, BLOCK / 2], codes),
      constant("scales", FLOAT, [rows * blocks], bytesOf(numbers(rows * blocks))),
    ]
    : [
      node("MatMul", ["x", "w"], ["y"]),
      constant("w", FLOAT, [columns, rows], bytesOf(numbers(rows * columns))),
    ];
  return modelOf("product", [
    ...graph,
    value(11, "x", FLOAT, [tokens, columns]),
    value(12, "y", FLOAT, [tokens, rows]),
  ]);
}
