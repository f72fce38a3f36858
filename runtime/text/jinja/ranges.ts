/**
 * Ranges of whole numbers, which are as long as they like without being stored.
 *
 * @module
 */

import type { Budget } from "./budget.ts";
import { floorDivide } from "./numbers.ts";
import { own } from "./text.ts";
import type { Thing, Value } from "./values.ts";

/** Numbers from one to another, as Python's `range`; the step is not zero. */
export function rangeOf(budget: Budget, start: bigint, stop: bigint, step: bigint): Thing {
  const count = rangeLength(start, stop, step);
  const at = (index: number): bigint => start + BigInt(index) * step;
  function* iterate(): Iterator<Value> {
    for (let i = 0; i < count; i++) {
      budget.step();
      yield at(i);
    }
  }
  const bounds = `${start}, ${stop}${step === 1n ? "" : `, ${step}`}`;
  return {
    type: "range",
    iterate,
    length: count,
    item: at,
    attribute: (name) =>
      name === "start" ? start : name === "step" ? step : name === "stop" ? stop : undefined,
    shown: () => own(`range(${bounds})`),
  };
}

/** How many numbers a range has. */
export function rangeLength(start: bigint, stop: bigint, step: bigint): number {
  return Math.max(0, Number(-floorDivide(start - stop, step)));
}
