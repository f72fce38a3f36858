// selectColumns. Arguments: x, columns, out, address of the row count, width of x, columns selected.
// Divided by elements, so one long row is shared too.

import { flatStart } from "../vector.as";

export function selectColumns(args: usize, worker: i32, workers: i32): void {
  const width = load<i32>(args, 16);
  const columns = load<i32>(args, 20);
  const count = load<i32>(load<usize>(args, 12)) * columns;
  const end = flatStart(count, worker + 1, workers);
  const out = load<usize>(args, 8);
  for (let at = flatStart(count, worker, workers); at < end;) {
    const first = at % columns;
    const n = min(columns - first, end - at);
    const x = load<usize>(args) + (<usize>(at / columns * width) << 2);
    let from = load<usize>(args, 4) + (<usize>first << 2);
    let to = out + (<usize>at << 2);
    for (let i = 0; i < n; i++) {
      // NaN is 0; no number leads out of the row.
      const number = i32x4.trunc_sat_f32x4_s(v128.load32_splat(from));
      const column = max(0, min(width - 1, i32x4.extract_lane(number, 0)));
      store<i32>(to, load<i32>(x + (<usize>column << 2)));
      from += 4;
      to += 4;
    }
    at += n;
  }
}
