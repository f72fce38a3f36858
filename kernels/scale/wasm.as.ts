// scale. Arguments: x, out, address of the row count, columns, factor. Divided by elements.

import { flatStart, loadPart, storePart } from "../vector.as";

export function scale(args: usize, worker: i32, workers: i32): void {
  const count = load<i32>(load<usize>(args, 8)) * load<i32>(args, 12);
  const start = flatStart(count, worker, workers);
  const factor = v128.load32_splat(args, 16);
  let n = flatStart(count, worker + 1, workers) - start;
  let x = load<usize>(args) + (<usize>start << 2);
  let out = load<usize>(args, 4) + (<usize>start << 2);
  for (; n >= 4; n -= 4) {
    v128.store(out, f32x4.mul(v128.load(x), factor));
    x += 16;
    out += 16;
  }
  if (n > 0) storePart(out, f32x4.mul(loadPart(x, n), factor), n);
}
