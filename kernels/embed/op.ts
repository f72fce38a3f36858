/**
 * `embed`: rows of a table chosen by index.
 *
 * @module
 */

import { elements, type NoAttributes, type Op } from "../op.ts";
import { LAYOUT_NAMES } from "../../quant/formats.ts";
import { checkCount, checkInput } from "../shape.ts";

/** `out[t] = table[ids[t]]`. Inputs: `ids [tokens]` and the matrix `table [rows, width]`. */
export const embed: Op<NoAttributes> = {
  indexes: { input: 0, into: 1 },
  shape(inputs) {
    checkCount("embed", inputs, 2);
    const [ids, table] = inputs;
    checkInput("embed", "ids", ids!, { dtype: ["i32"], rank: 1 });
    checkInput("embed", "table", table!, { role: "matrix", dtype: LAYOUT_NAMES, rank: 2 });
    return {
      shape: [ids!.shape[0]!, table!.shape[1]!],
      dtype: "f32",
      role: "dense",
      perToken: ids!.perToken,
    };
  },
  reference(out, [ids, table]) {
    const width = table!.shape[1]!;
    ids!.data.forEach((id, t) => {
      out.data.set(table!.data.subarray(id * width, (id + 1) * width), t * width);
    });
  },
  cost: ([ids, table]) => {
    const size = ids!.shape[0]! * table!.shape[1]!;
    return { flops: 0, bytes: 8 * size + 4 * elements(ids!.shape) };
  },
};
