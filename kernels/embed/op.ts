/**
 * `embed`: rows of a table chosen by index.
 *
 * @module
 */

import { elements, type Op } from "../op.ts";
import { LAYOUT_NAMES } from "../../quant/formats.ts";
import { check, checkCount, checkInput } from "../shape.ts";

/** Attributes of `embed`. */
export interface EmbedAttributes {
  /**
   * The id of the table's first row. Then the table has a part of the ids, and those that it does not
   * have give zeros: of several such tables each adds its own (adaptive embeddings: Baevski and Auli,
   * arXiv:1809.10853). Where absent, every id must be a row.
   */
  readonly first?: number;
}

/**
 * `out[t] = table[ids[t]]`. Inputs: `ids [tokens]` and the matrix `table [rows, width]`. With the
 * attribute `first`, `out[t] = table[ids[t] - first]`, and zeros where there is no such row.
 */
export const embed: Op<EmbedAttributes> = {
  indexes: { input: 0, into: 1, any: ({ first }) => first !== undefined },
  shape(inputs, { first = 0 }) {
    checkCount("embed", inputs, 2);
    const [ids, table] = inputs;
    checkInput("embed", "ids", ids!, { dtype: ["i32"], rank: 1 });
    checkInput("embed", "table", table!, { role: "matrix", dtype: LAYOUT_NAMES, rank: 2 });
    check(
      "embed",
      Number.isInteger(first) && first >= 0 && first < 2 ** 31,
      () => `first is ${first}, expected a whole number of at least 0`,
    );
    return {
      shape: [ids!.shape[0]!, table!.shape[1]!],
      dtype: "f32",
      role: "dense",
      perToken: ids!.perToken,
    };
  },
  reference(out, [ids, table], { first = 0 }) {
    const [rows, width] = table!.shape as readonly [number, number];
    ids!.data.forEach((id, t) => {
      const row = id - first;
      if (row < 0 || row >= rows) return; // out is preset to zeros
      out.data.set(table!.data.subarray(row * width, (row + 1) * width), t * width);
    });
  },
  cost: ([ids, table]) => {
    const size = ids!.shape[0]! * table!.shape[1]!;
    return { flops: 0, bytes: 8 * size + 4 * elements(ids!.shape) };
  },
};
