// Makes tests/golden/ggml_blocks.json: what ggml makes of the rows in tests/quantize_rows.ts, bytes of
// rounding to nearest, errors where no importances are given ("plain", for types whose scales are
// searched), and errors under importances.
//
//   npm install --ignore-scripts @node-llama-cpp/linux-x64@3.19.0
//   deno run -A tests/golden/make_ggml_blocks.ts FOLDER/libggml-base.so > tests/golden/ggml_blocks.json

import { ggmlType } from "../../quant/ggml_types.ts";
import {
  COMPARED,
  EDGES,
  IMPORTANCES,
  NEAREST_TYPES,
  ROWS,
  rowsOf,
  SEARCHED_TYPES,
  WEIGHTED_TYPES,
  weightedError,
} from "../quantize_rows.ts";

const { symbols: { ggml_quantize_chunk: quantize } } = Deno.dlopen(Deno.args[0]!, {
  ggml_quantize_chunk: {
    parameters: ["i32", "buffer", "buffer", "i64", "i64", "i64", "buffer"],
    result: "usize",
  },
});

function ggml(type: string, values: Float32Array, columns: number, importances?: Float32Array) {
  const { id, blockSize, blockBytes } = ggmlType(type)!;
  const out = new Uint8Array(values.length / blockSize * blockBytes);
  const sizes = [0n, BigInt(values.length / columns), BigInt(columns)] as const;
  quantize(id, values as BufferSource, out, ...sizes, (importances ?? null) as BufferSource | null);
  return out;
}

const nearest: Record<string, Record<string, string>> = {};
for (const type of NEAREST_TYPES) {
  nearest[type] = {};
  for (const [name, kind] of Object.entries({ ...ROWS, ...EDGES })) {
    nearest[type][name] = ggml(type, rowsOf(kind, 96, 1), 96).toBase64();
  }
}
const { rows, columns } = COMPARED;
const errors: Record<string, Record<string, Record<string, number>>> = {};
const plain: Record<string, Record<string, number>> = {};
for (const type of SEARCHED_TYPES) {
  plain[type] = {};
  for (const [name, kind] of Object.entries(ROWS)) {
    const values = rowsOf(kind, rows * columns, 2), decoded = new Float32Array(values.length);
    ggmlType(type)!.decode(ggml(type, values, columns), decoded);
    const error = weightedError(values, decoded, new Float32Array(columns).fill(1));
    plain[type][name] = Number(error.toPrecision(6));
  }
}
for (const type of WEIGHTED_TYPES) {
  errors[type] = {};
  for (const [name, kind] of Object.entries(ROWS)) {
    const values = rowsOf(kind, rows * columns, 2), decoded = new Float32Array(values.length);
    errors[type][name] = {};
    for (const [weighing, weights] of Object.entries(IMPORTANCES)) {
      const importances = rowsOf(weights, columns, 3);
      ggmlType(type)!.decode(ggml(type, values, columns, importances), decoded);
      errors[type][name][weighing] = Number(
        weightedError(values, decoded, importances).toPrecision(6),
      );
    }
  }
}
console.log(JSON.stringify({ nearest, plain, errors }, null, 1));
