// activation: one kernel per function. Arguments: x, out, address of the row count, columns.
// The work is divided by elements.

import { curve, GELU, GELU_TANH, SIGMOID, SILU, TANH } from "../math.as";
import { flatStart, storePart } from "../vector.as";

/** Draws a curve of math.as.ts over the worker's share; `kind` is a constant. */
@inline
function draw(kind: i32, args: usize, worker: i32, workers: i32): void {
  const count = load<i32>(load<usize>(args, 8)) * load<i32>(args, 12);
  const start = flatStart(count, worker, workers);
  const n = flatStart(count, worker + 1, workers) - start;
  const offset = <usize>start << 2;
  curve(kind, load<usize>(args) + offset, 0, load<usize>(args, 4) + offset, n);
}

export function activationGelu(args: usize, worker: i32, workers: i32): void {
  draw(GELU, args, worker, workers);
}

export function activationGeluTanh(args: usize, worker: i32, workers: i32): void {
  draw(GELU_TANH, args, worker, workers);
}

export function activationSilu(args: usize, worker: i32, workers: i32): void {
  draw(SILU, args, worker, workers);
}

export function activationSigmoid(args: usize, worker: i32, workers: i32): void {
  draw(SIGMOID, args, worker, workers);
}

export function activationTanh(args: usize, worker: i32, workers: i32): void {
  draw(TANH, args, worker, workers);
}

export function activationRelu(args: usize, worker: i32, workers: i32): void {
  const count = load<i32>(load<usize>(args, 8)) * load<i32>(args, 12);
  const start = flatStart(count, worker, workers);
  let n = flatStart(count, worker + 1, workers) - start;
  let x = load<usize>(args) + (<usize>start << 2);
  let out = load<usize>(args, 4) + (<usize>start << 2);
  const zero = f32x4.splat(0);
  for (; n >= 4; n -= 4) {
    v128.store(out, f32x4.pmax(v128.load(x), zero)); // keeps NaN
    x += 16;
    out += 16;
  }
  if (n > 0) storePart(out, f32x4.pmax(v128.load(x), zero), n);
}
