/**
 * The WebAssembly kernels of `embed`: one for each layout of the table.
 *
 * @module
 */

import type { LayoutName } from "../../quant/formats.ts";
import { columnsOf } from "../op.ts";
import type { WasmKernel } from "../wasm_kernel.ts";

const KERNELS: Readonly<Record<LayoutName, string>> = {
  f32: "embedF32",
  f16: "embedF16",
  bf16: "embedBf16",
  int8: "embedInt8",
  int4: "embedInt4",
  int4m: "embedInt4m",
  int4n: "embedInt4n",
  int5: "embedInt5",
  int5m: "embedInt5m",
  int4k: "embedInt4k",
  int5k: "embedInt5k",
  int6k: "embedInt6k",
};

/**
 * Arguments: ids, table, out, columns, address of the number of ids, the id of the first row, rows.
 * The caller checks them.
 */
export const embedWasm: WasmKernel<"embed"> = {
  kernels: Object.values(KERNELS),
  encode([ids, table], output, { first = 0 }) {
    return {
      kernel: KERNELS[table!.dtype as LayoutName],
      args: [
        ids!.address,
        table!.address,
        output.address,
        columnsOf(table!),
        output.rows,
        first,
        table!.shape[0]!,
      ],
    };
  },
};
