/**
 * Memory for results.
 *
 * @module
 */

import { MemoryError } from "../../errors.ts";

/**
 * Rows of numbers.
 *
 * @throws MemoryError when there is no memory for them
 */
export function allocateRows(tokens: number, width: number): Float32Array {
  try {
    return new Float32Array(tokens * width);
  } catch (cause) {
    throw new MemoryError(
      `Cannot return ${tokens} rows of ${width} numbers: the memory cannot be had; ask for fewer tokens`,
      { cause },
    );
  }
}
