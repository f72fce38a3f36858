/**
 * `mul`: elementwise product of two tensors of one shape, or of each row with a vector (a gain).
 *
 * @module
 */

import type { NoAttributes, Op } from "../op.ts";
import { binaryOp } from "../elementwise.ts";

/** `out[i] = a[i] * b[i]`, or `a[row, j] * b[j]` where `b` is a vector. */
export const mul: Op<NoAttributes> = binaryOp("mul", (a, b) => a * b);
