// activation. Arguments: x, out, address of the row count, columns, number of the function. The work
// is divided by elements.

import { activate } from "../curves.as";
import { flatStart } from "../vector.as";

export function activation(args: usize, worker: i32, workers: i32): void {
  const count = load<i32>(load<usize>(args, 8)) * load<i32>(args, 12);
  const start = flatStart(count, worker, workers);
  const n = flatStart(count, worker + 1, workers) - start;
  const offset = <usize>start << 2;
  activate(load<i32>(args, 16), load<usize>(args) + offset, load<usize>(args, 4) + offset, n);
}
