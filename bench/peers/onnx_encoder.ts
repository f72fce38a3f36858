/**
 * Writes the encoder of synthetic_encoder.ts as an ONNX model, in the form that ONNX Runtime's own
 * optimizer makes of a BERT: its contributed operators `Attention`, `SkipLayerNormalization` and
 * `BiasGelu`, with queries, keys and values in one product; or, in int8, of one that was quantized
 * dynamically: `QAttention` and `DynamicQuantizeMatMul`.
 *
 * @module
 */

import {
  drawTensor,
  type EncoderSize,
  encoderTensors,
  LAYER_NORM_EPS,
  layerName,
} from "../synthetic_encoder.ts";
import {
  bytesOf,
  constant,
  type Field,
  FLOAT,
  INT32,
  INT64,
  INT8,
  MICROSOFT,
  modelOf,
  node,
  value,
} from "./protobuf.ts";

/** How its matrices are stored. */
export type OnnxWeights = "f32" | "int8";

/**
 * The model's bytes. Inputs: `ids` and `positions` `[batch, tokens]` of int64, `lengths [batch]` of
 * int32, the tokens of each text that are no padding. Output: `hidden [batch, tokens, hidden]`.
 */
export function describeEncoder(
  size: EncoderSize,
  weights: OnnxWeights = "f32",
): Uint8Array<ArrayBuffer> {
  const { layers, hidden, heads } = size;
  const tensors = new Map(encoderTensors(size).map((it) => [it.name, it]));
  const draw = (name: string): Float32Array<ArrayBuffer> => drawTensor(tensors.get(name)!);
  const fields: Field[] = [];
  const put = (name: string, shape: readonly number[], data: Float32Array): string => {
    fields.push(constant(name, FLOAT, shape, bytesOf(data)));
    return name;
  };
  /** A tensor as it is. */
  const asIs = (name: string): string => put(name, tensors.get(name)!.shape, draw(name));
  /** Matrices beside each other as ONNX multiplies by them, `[columns, rows of all]`; in int8 with a scale. */
  const turned = (name: string, parts: readonly string[]): string[] => {
    const [rows, columns] = tensors.get(parts[0]!)!.shape as [number, number];
    const width = parts.length * rows, data = new Float32Array(columns * width);
    parts.map(draw).forEach((matrix, part) => {
      for (let row = 0; row < rows; row++) {
        for (let column = 0; column < columns; column++) {
          data[column * width + part * rows + row] = matrix[row * columns + column]!;
        }
      }
    });
    if (weights === "f32") return [put(name, [columns, width], data)];
    const scale = data.reduce((most, it) => Math.max(most, Math.abs(it)), 0) / 127;
    const codes = Int8Array.from(data, (it) => Math.round(it / scale));
    fields.push(constant(name, INT8, [columns, width], bytesOf(codes)));
    return [name, put(`${name}.scale`, [], Float32Array.of(scale))];
  };
  const norm = (name: string): string[] => [asIs(`${name}.weight`), asIs(`${name}.bias`)];
  const epsilon = { epsilon: { float: LAYER_NORM_EPS } };

  // The segment is the first for all tokens: its row is added to those of positions.
  const types = draw("embeddings.token_type_embeddings.weight").subarray(0, hidden);
  fields.push(
    node("Gather", [asIs("embeddings.word_embeddings.weight"), "ids"], ["words"]),
    node("Gather", [asIs("embeddings.position_embeddings.weight"), "positions"], ["places"]),
    node("Add", ["words", "places"], ["placed"]),
    node("Add", ["placed", put("segment", [hidden], types)], ["embedded"]),
    node("LayerNormalization", ["embedded", ...norm("embeddings.LayerNorm")], ["0.x"], {
      ...epsilon,
      axis: 2,
    }),
  );
  for (let i = 0; i < layers; i++) {
    const layer = layerName(i), self = `${layer}.attention.self`;
    const kinds = ["query", "key", "value"];
    const biases = kinds.flatMap((it) => Array.from(draw(`${self}.${it}.bias`)));
    const [matrix, ...scale] = turned(`${self}.weight`, kinds.map((it) => `${self}.${it}.weight`));
    const bias = put(`${self}.bias`, [3 * hidden], Float32Array.from(biases));
    const product = (name: string, input: string, output: string): void => {
      const operands = [input, ...turned(name, [`${name}.weight`])];
      const [op, domain] = weights === "f32"
        ? ["MatMul", ""] as const
        : ["DynamicQuantizeMatMul", MICROSOFT] as const;
      fields.push(node(op, operands, [output], {}, domain));
    };
    /** The norm of a product, its bias and what went in. */
    const join = (input: string, x: string, name: string, output: string): void => {
      const operands = [input, x, ...norm(`${name}.LayerNorm`), asIs(`${name}.dense.bias`)];
      fields.push(node("SkipLayerNormalization", operands, [output], epsilon, MICROSOFT));
    };
    const x = `${i}.x`;
    const mixed = [`${i}.mixed`], heading = { num_heads: heads };
    if (weights === "f32") {
      const operands = [x, matrix!, bias, "lengths"];
      fields.push(node("Attention", operands, mixed, heading, MICROSOFT));
    } else {
      const [codes, step, zero] = [`${i}.codes`, `${i}.step`, `${i}.zero`];
      fields.push(
        node("DynamicQuantizeLinear", [x], [codes, step, zero]),
        node(
          "QAttention",
          [codes, matrix!, bias, step, scale[0]!, "lengths", zero],
          mixed,
          heading,
          MICROSOFT,
        ),
      );
    }
    product(`${layer}.attention.output.dense`, `${i}.mixed`, `${i}.o`);
    join(`${i}.o`, x, `${layer}.attention.output`, `${i}.y`);
    product(`${layer}.intermediate.dense`, `${i}.y`, `${i}.up`);
    fields.push(
      node(
        "BiasGelu",
        [`${i}.up`, asIs(`${layer}.intermediate.dense.bias`)],
        [
          `${i}.inner`,
        ],
        {},
        MICROSOFT,
      ),
    );
    product(`${layer}.output.dense`, `${i}.inner`, `${i}.down`);
    join(`${i}.down`, `${i}.y`, `${layer}.output`, i + 1 === layers ? "hidden" : `${i + 1}.x`);
  }
  return modelOf("encoder", [
    ...fields,
    value(11, "ids", INT64, ["batch", "tokens"]),
    value(11, "positions", INT64, ["batch", "tokens"]),
    value(11, "lengths", INT32, ["batch"]),
    value(12, "hidden", FLOAT, ["batch", "tokens", hidden]),
  ]);
}
