// add: arguments and division of work as in elementwise.as.ts.

import { ADD, binary } from "../elementwise.as";

export function add(args: usize, worker: i32, workers: i32): void {
  binary(ADD, args, worker, workers);
}
