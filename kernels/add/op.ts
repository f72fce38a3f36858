/**
 * `add`: elementwise sum of two tensors of one shape, or of each row with a vector (a bias).
 *
 * @module
 */

import type { NoAttributes, Op } from "../op.ts";
import { binaryOp } from "../elementwise.ts";

/** `out[i] = a[i] + b[i]`, or `a[row, j] + b[j]` where `b` is a vector. */
export const add: Op<NoAttributes> = binaryOp("add", (a, b) => a + b);
