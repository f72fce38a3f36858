// mul: arguments and division of work as in elementwise.as.ts.

import { MUL, binary } from "../elementwise.as";

export function mul(args: usize, worker: i32, workers: i32): void {
  binary(MUL, args, worker, workers);
}
