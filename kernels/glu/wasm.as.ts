// glu. Arguments: gate, up, out, address of the row count, columns, number of the function. Divided
// by elements.

import { gate } from "../curves.as";
import { flatStart } from "../vector.as";

export function glu(args: usize, worker: i32, workers: i32): void {
  const count = load<i32>(load<usize>(args, 12)) * load<i32>(args, 16);
  const start = flatStart(count, worker, workers);
  const n = flatStart(count, worker + 1, workers) - start;
  const offset = <usize>start << 2;
  gate(
    load<i32>(args, 20),
    load<usize>(args) + offset,
    load<usize>(args, 4) + offset,
    load<usize>(args, 8) + offset,
    n,
  );
}
