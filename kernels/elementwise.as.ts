// The loop behind the binary elementwise kernels, whose arguments are
//   a, b, out, address of the row count, columns, length of b where it is a vector, else 0
// The work is divided by elements, so one long row is shared too.

import { flatStart, loadPart, storePart } from "./vector.as";

/** Which function `binary` applies. */
@inline export const ADD: i32 = 0;
@inline export const MUL: i32 = 1;

@inline
function apply(op: i32, a: v128, b: v128): v128 {
  if (op == ADD) {
    return f32x4.add(a, b);
  } else {
    return f32x4.mul(a, b);
  }
}

/** One worker's share of out = a ∘ b; `op` is a constant. */
@inline
export function binary(op: i32, args: usize, worker: i32, workers: i32): void {
  const count = load<i32>(load<usize>(args, 12)) * load<i32>(args, 16);
  const length = load<i32>(args, 20);
  const period = length == 0 ? count : length;
  const end = flatStart(count, worker + 1, workers);
  for (let at = flatStart(count, worker, workers); at < end;) {
    const column = at % period;
    let n = min(period - column, end - at);
    let a = load<usize>(args) + (<usize>at << 2);
    let b = load<usize>(args, 4) + (<usize>column << 2);
    let out = load<usize>(args, 8) + (<usize>at << 2);
    at += n;
    for (; n >= 16; n -= 16) {
      v128.store(out, apply(op, v128.load(a), v128.load(b)));
      v128.store(out, apply(op, v128.load(a, 16), v128.load(b, 16)), 16);
      v128.store(out, apply(op, v128.load(a, 32), v128.load(b, 32)), 32);
      v128.store(out, apply(op, v128.load(a, 48), v128.load(b, 48)), 48);
      a += 64;
      b += 64;
      out += 64;
    }
    for (; n >= 4; n -= 4) {
      v128.store(out, apply(op, v128.load(a), v128.load(b)));
      a += 16;
      b += 16;
      out += 16;
    }
    if (n > 0) storePart(out, apply(op, loadPart(a, n), loadPart(b, n)), n);
  }
}
