// selectRows. Arguments: x, rows, out, address of the number of rows selected, columns.
// Divided by elements, so one long row is shared too.

import { copyFloats, flatStart } from "../vector.as";

export function selectRows(args: usize, worker: i32, workers: i32): void {
  const columns = load<i32>(args, 16);
  const count = load<i32>(load<usize>(args, 12)) * columns;
  const end = flatStart(count, worker + 1, workers);
  for (let at = flatStart(count, worker, workers); at < end;) {
    const column = at % columns;
    const n = min(columns - column, end - at);
    const row = load<i32>(load<usize>(args, 4) + (<usize>(at / columns) << 2));
    const from = load<usize>(args) + ((<usize>row * columns + column) << 2);
    copyFloats(from, load<usize>(args, 8) + (<usize>at << 2), n);
    at += n;
  }
}
