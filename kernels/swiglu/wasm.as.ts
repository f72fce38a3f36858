// swiglu. Arguments: gate, up, out, address of the row count, columns. Divided by elements.

import { curve, SWIGLU } from "../math.as";
import { flatStart } from "../vector.as";

export function swiglu(args: usize, worker: i32, workers: i32): void {
  const count = load<i32>(load<usize>(args, 12)) * load<i32>(args, 16);
  const start = flatStart(count, worker, workers);
  const n = flatStart(count, worker + 1, workers) - start;
  const offset = <usize>start << 2;
  curve(
    SWIGLU,
    load<usize>(args) + offset,
    load<usize>(args, 4) + offset,
    load<usize>(args, 8) + offset,
    n,
  );
}
