// What attention may do with a quad's scores before they become weights: a soft cap, a bias by the
// distance of two rows; and with its totals: sinks. Arguments: see attention/wasm.as.ts.

import { TANH } from "../constants.as";
import { activate } from "../curves.as";
import { LOG2E } from "../math.as";
import { madd } from "../simd.as";
import { LANES, LEAST, OUT, raise, SINK, TOTAL } from "./quad.as";

/** The query of a lane, as place in [tokens, heads]: where its result goes tells. */
@inline
function queryAt(args: usize, cell: usize): i32 {
  return <i32>((load<usize>(cell, OUT) - load<usize>(args, 16)) >> 2) / load<i32>(args, 32);
}

/** Caps the scores [units][4][8] of the cache rows from `row` on, and adds their biases. */
export function adjustScores(quad: usize, args: usize, scores: usize, row: i32, units: i32): void {
  const lanes = load<i32>(quad, LANES);
  const cap = load<f32>(args, 84) * LOG2E;
  if (cap != 0) {
    if (lanes > 1) capFloats(scores, units << 5, cap);
    else for (let unit = 0; unit < units; unit++) capFloats(scores + (unit << 7), 8, cap);
  }
  const bias = load<usize>(args, 60);
  if (bias == 0) return;
  const heads = load<i32>(args, 24) * load<i32>(args, 28);
  const width = load<i32>(args, 68);
  for (let lane = 0; lane < lanes; lane++) {
    const query = queryAt(args, quad + (<usize>lane << 2));
    const token = query / heads;
    const start = token * load<i32>(args, 76) + (query - token * heads) * width;
    const own = load<i32>(load<usize>(args, 64) + (<usize>token << 2));
    const at = <i64>row - <i64>own + <i64>load<i32>(args, 72);
    addBias(scores + (<usize>lane << 5), units, bias + (<usize>start << 2), at, width);
  }
}

/** x = cap · tanh(x / cap) for `n` floats. */
function capFloats(x: usize, n: i32, cap: f32): void {
  multiply(x, n, 1 / cap);
  activate(TANH, x, x, n);
  multiply(x, n, cap);
}

/** `n` floats, a multiple of 8, times a factor. */
function multiply(x: usize, n: i32, factor: f32): void {
  const f = f32x4.splat(factor);
  for (; n > 0; n -= 8) {
    v128.store(x, f32x4.mul(v128.load(x), f));
    v128.store(x, f32x4.mul(v128.load(x, 16), f), 16);
    x += 32;
  }
}

/** Adds the entries from `start` on of a table [width] to one lane's scores; the ends go on. */
function addBias(scores: usize, units: i32, table: usize, start: i64, width: i32): void {
  const log2e = f32x4.splat(LOG2E);
  // Far outside it makes no difference where.
  let at = <i32>max<i64>(min<i64>(start, <i64>width), -8 * <i64>units);
  const last = width - 1;
  for (; units > 0; units--) {
    if (at >= 0 && at + 8 <= width) {
      const entries = table + (<usize>at << 2);
      v128.store(scores, madd(v128.load(entries), log2e, v128.load(scores)));
      v128.store(scores, madd(v128.load(entries, 16), log2e, v128.load(scores, 16)), 16);
    } else if (at >= last || at <= -7) {
      const entry = v128.load32_splat(table + (<usize>(at < 0 ? 0 : last) << 2));
      v128.store(scores, madd(entry, log2e, v128.load(scores)));
      v128.store(scores, madd(entry, log2e, v128.load(scores, 16)), 16);
    } else {
      for (let i = 0; i < 8; i++) {
        const cell = scores + (<usize>i << 2);
        const entry = load<f32>(table + (<usize>min(max(at + i, 0), last) << 2));
        store<f32>(cell, load<f32>(cell) + entry * LOG2E);
      }
    }
    at += 8;
    scores += 128;
  }
}

/** Lets the sinks of a quad's heads join its totals. */
export function addSinks(quad: usize, args: usize, headDim: i32): void {
  const heads = load<i32>(args, 24) * load<i32>(args, 28);
  for (let lane: usize = 0; lane < 4; lane++) {
    const cell = quad + (lane << 2);
    let sink = LEAST;
    if (load<usize>(cell, OUT) != 0) {
      const head = queryAt(args, cell) % heads;
      sink = load<f32>(load<usize>(args, 80) + (<usize>head << 2)) * LOG2E;
    }
    store<f32>(cell, sink, SINK);
  }
  const weight = raise(quad, v128.load(quad, SINK), headDim);
  v128.store(quad, f32x4.add(v128.load(quad, TOTAL), weight), TOTAL);
}
