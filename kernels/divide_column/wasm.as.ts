// divideColumn. Arguments: x, parts, out, address of the row count, columns of x, of parts, the
// divided column. Divided by elements of out, so one long row is shared too.

import { copyFloats, flatStart, loadPart, storePart } from "../vector.as";

/** out = x + y for `n` floats and one number. */
function addNumber(x: usize, y: f32, out: usize, n: i32): void {
  const number = f32x4.splat(y);
  for (; n >= 4; n -= 4) {
    v128.store(out, f32x4.add(v128.load(x), number));
    x += 16;
    out += 16;
  }
  if (n > 0) storePart(out, f32x4.add(loadPart(x, n), number), n);
}

export function divideColumn(args: usize, worker: i32, workers: i32): void {
  const width = load<i32>(args, 16);
  const parts = load<i32>(args, 20);
  const column = load<i32>(args, 24);
  const columns = width - 1 + parts;
  const count = load<i32>(load<usize>(args, 12)) * columns;
  const end = flatStart(count, worker + 1, workers);
  for (let at = flatStart(count, worker, workers); at < end;) {
    const row = at / columns;
    const j = at - row * columns;
    const x = load<usize>(args) + (<usize>row * width << 2);
    const out = load<usize>(args, 8) + (<usize>at << 2);
    let n = end - at;
    if (j < column) {
      n = min(n, column - j);
      copyFloats(x + (<usize>j << 2), out, n);
    } else if (j < column + parts) {
      n = min(n, column + parts - j);
      const from = load<usize>(args, 4) + (<usize>(row * parts + j - column) << 2);
      addNumber(from, load<f32>(x + (<usize>column << 2)), out, n);
    } else {
      n = min(n, columns - j);
      copyFloats(x + (<usize>(j - parts + 1) << 2), out, n);
    }
    at += n;
  }
}
