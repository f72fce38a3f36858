/**
 * `selectRows`: some rows of an activation, such as the last token's before the output head.
 *
 * @module
 */

import type { NoAttributes, Op } from "../op.ts";
import { check, checkCount, checkInput, describe, tensorBytes } from "../shape.ts";

/** `out[i] = x[rows[i]]`. Inputs: `x [tokens, width]` and `rows [count]`. */
export const selectRows: Op<NoAttributes> = {
  indexes: { input: 1, into: 0 },
  shape(inputs) {
    checkCount("selectRows", inputs, 2);
    const [x, rows] = inputs;
    checkInput("selectRows", "x", x!, { rank: 2 });
    checkInput("selectRows", "rows", rows!, { dtype: ["i32"], rank: 1 });
    check(
      "selectRows",
      rows!.shape[0]! >= 1,
      () => `rows is ${describe(rows!)}, expected at least one row`,
    );
    return { ...x!, shape: [rows!.shape[0]!, x!.shape[1]!], perToken: rows!.perToken };
  },
  reference(out, [x, rows]) {
    const width = x!.shape[1]!;
    rows!.data.forEach((row, i) => {
      out.data.set(x!.data.subarray(row * width, (row + 1) * width), i * width);
    });
  },
  cost: ([x, rows]) => ({
    flops: 0,
    bytes: 2 * tensorBytes({ ...x!, shape: [rows!.shape[0]!, x!.shape[1]!] }),
  }),
};
