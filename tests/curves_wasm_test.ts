/**
 * How exact the polynomials of kernels/math.as.ts and curves.as.ts are: the relative error of exp and of the
 * curves made of it, against float64, over the range where f32 has normal numbers.
 *
 * @module
 */

import { assert, assertEquals } from "@std/assert";
import { activationWasm } from "../kernels/activation/wasm.ts";
import type { ActivationName } from "../kernels/ops.ts";
import { gluWasm } from "../kernels/glu/wasm.ts";
import { softmaxWasm } from "../kernels/softmax/wasm.ts";
import { randomNumbers } from "./fixtures.ts";
import { Arena, BUILDS } from "./kernel_arena.ts";

const POINTS = 200_000;
/** Half a unit in the last place of f32, relatively. */
const ROUNDING = 2 ** -24;
/** What math.as.ts states for exp. */
const EXP_ERROR = 1.2e-7;

/** Numbers of which each size has as many, from −most to most, and the ends. */
function sweep(most: number, random: () => number): Float32Array {
  const x = Float32Array.from({ length: POINTS }, (_, i) => {
    const size = i % 2 ? most * random() : most * 2 ** (-30 * random());
    return random() < 0.5 ? -size : size;
  });
  x.set([0, -0, most, -most]);
  return x;
}

/** The largest |y/f(x) − 1|; where f(x) is 0, y has to be too. */
function worst(x: Float32Array, y: Float32Array, f: (x: number) => number): number {
  let most = 0;
  x.forEach((v, i) => {
    const expected = f(v);
    if (expected === 0) assertEquals(Math.abs(y[i]!), 0);
    else most = Math.max(most, Math.abs(y[i]! / expected - 1));
  });
  return most;
}

const sigmoid = (x: number): number => 1 / (1 + Math.exp(-x));

/** Where the error of exp counts once, and the roundings that come after it. */
const CURVES: readonly [ActivationName, (x: number) => number, most: number, roundings: number][] =
  [
    ["sigmoid", sigmoid, 86, 2],
    ["silu", (x) => x * sigmoid(x), 86, 2],
    ["tanh", Math.tanh, 86, 5],
    ["geluQuick", (x) => x * sigmoid(1.702 * x), 1, 4],
  ];

for (const build of BUILDS) {
  const arena = new Arena(build);
  const random = randomNumbers(11);

  for (const [kind, f, most, roundings] of CURVES) {
    Deno.test(`${kind}: the error is that of exp and ${roundings} roundings (${build})`, () => {
      arena.clear();
      const x = sweep(most, random);
      const address = arena.alloc(4 * POINTS);
      const [input, output] = [arena.put(x), address].map((at) =>
        arena.operand(at, "f32", [1, POINTS])
      );
      arena.run(activationWasm.encode([input!], output!, { kind }), 1);
      const error = worst(x, arena.floats(address, POINTS), f);
      assert(error <= EXP_ERROR + roundings * ROUNDING, `${kind} is off by ${error}`);
    });
  }

  Deno.test(`glu with silu: as silu, and a rounding there and one here (${build})`, () => {
    arena.clear();
    const gate = sweep(80, random), up = gate.map((_, i) => (i % 7) - 3.5);
    const address = arena.alloc(4 * POINTS);
    const [a, b, output] = [arena.put(gate), arena.put(up), address]
      .map((at) => arena.operand(at, "f32", [1, POINTS]));
    arena.run(gluWasm.encode([a!, b!], output!, { kind: "silu" }), 1);
    const y = arena.floats(address, POINTS).map((value, i) => value / up[i]!);
    const error = worst(gate, y, (x) => x * sigmoid(x));
    assert(error <= EXP_ERROR + 4 * ROUNDING, `glu is off by ${error}`);
  });

  Deno.test(`softmax: weights of two numbers are exp's (${build})`, () => {
    arena.clear();
    const x = new Float32Array(2 * POINTS);
    sweep(86, random).forEach((v, i) => x[2 * i] = -Math.abs(v));
    const address = arena.alloc(8 * POINTS);
    const [input, output] = [arena.put(x), address].map((at) =>
      arena.operand(at, "f32", [POINTS, 2])
    );
    arena.run(softmaxWasm.encode([input!], output!, {}), 1);
    const y = arena.floats(address, 2 * POINTS);
    const pick = (all: Float32Array): Float32Array => all.filter((_, i) => i % 2 === 0);
    const error = worst(pick(x), pick(y), (v) => Math.exp(v) / (1 + Math.exp(v)));
    assert(error <= EXP_ERROR + 4 * ROUNDING, `softmax is off by ${error}`);
  });
}
