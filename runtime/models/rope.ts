/**
 * Rotary position tables: frequencies by the scaling schemes that model files name, and the
 * cosines and sines of every position, computed in float64 at load.
 *
 * @module
 */

import { ModelError } from "../../errors.ts";

/** How positions beyond the training context are squeezed into it. */
export type RopeScaling =
  | { readonly type: "linear"; readonly factor: number }
  | {
    readonly type: "llama3";
    readonly factor: number;
    readonly lowFreqFactor: number;
    readonly highFreqFactor: number;
    readonly originalPositions: number;
  }
  | {
    readonly type: "yarn";
    readonly factor: number;
    readonly originalPositions: number;
    readonly betaFast: number;
    readonly betaSlow: number;
    /** Whether the pairs between which it interpolates are rounded to whole ones. */
    readonly truncate: boolean;
  }
  | {
    readonly type: "longrope";
    /** Divisors of the frequencies, where the configuration has them; otherwise tensors do. */
    readonly factors?: readonly number[];
    /** Divides all of them; 1 where absent. */
    readonly factor?: number;
    /** Contexts longer than this have divisors of their own. */
    readonly originalPositions?: number;
  };

/** Parameters of a rotary embedding. */
export interface RopeOptions {
  /** Elements of a head that rotate; even. */
  readonly rotaryDim: number;
  /** Base of the geometric series of frequencies. */
  readonly theta: number;
  /** Scaling scheme; none where absent. */
  readonly scaling?: RopeScaling | undefined;
  /** Divisors of each frequency from the file (`rope_freqs.weight`), `[rotaryDim / 2]`. */
  readonly factors?: ArrayLike<number> | undefined;
  /** Factor of cosines and sines; 1 where absent. */
  readonly amplitude?: number | undefined;
}

/**
 * Rows of `[cos …, sin …]`, one per position: `[positions, rotaryDim]`.
 *
 * @throws ModelError when `factors` has another length than `rotaryDim / 2`
 */
export function ropeTable(options: RopeOptions, positions: number): Float32Array {
  return rotationTable(ropeFrequencies(options), positions, options.amplitude);
}

/**
 * Positions between two whose cosines and sines are asked of the engine; those of the positions
 * after each come from the theorem of addition, in a tenth of the time and still in float64.
 */
const STRIDE = 64;

/**
 * Rows of `[cos …, sin …]` of the angles `position · frequency`, one per position, times `amplitude`:
 * `[positions, 2 * frequencies]`.
 */
export function rotationTable(
  frequencies: ArrayLike<number>,
  positions: number,
  amplitude: number = 1,
): Float32Array {
  const half = frequencies.length, width = 2 * half;
  const table = new Float32Array(positions * width);
  const cos = new Float64Array(STRIDE), sin = new Float64Array(STRIDE);
  for (let i = 0; i < half; i++) {
    const frequency = frequencies[i]!;
    for (let step = 0; step < STRIDE; step++) {
      cos[step] = Math.cos(step * frequency) * amplitude;
      sin[step] = Math.sin(step * frequency) * amplitude;
    }
    for (let start = 0; start < positions; start += STRIDE) {
      const cosStart = Math.cos(start * frequency), sinStart = Math.sin(start * frequency);
      const steps = Math.min(STRIDE, positions - start);
      for (let step = 0, at = start * width + i; step < steps; step++, at += width) {
        table[at] = cosStart * cos[step]! - sinStart * sin[step]!;
        table[at + half] = sinStart * cos[step]! + cosStart * sin[step]!;
      }
    }
  }
  return table;
}

/** Angle per position of each rotating pair, `[rotaryDim / 2]`. */
export function ropeFrequencies(options: RopeOptions): Float64Array {
  const { rotaryDim, theta, scaling, factors } = options;
  const half = rotaryDim / 2;
  if (factors && factors.length !== half) {
    throw new ModelError(
      `Cannot scale rotary frequencies: ${factors.length} factors, expected ${half}`,
    );
  }
  const base = Float64Array.from({ length: half }, (_, i) => theta ** (-2 * i / rotaryDim));
  return base.map((frequency, i) =>
    scaleFrequency(frequency, i, options, scaling) / (factors?.[i] ?? 1)
  );
}

function scaleFrequency(
  frequency: number,
  i: number,
  { rotaryDim, theta }: RopeOptions,
  scaling: RopeScaling | undefined,
): number {
  switch (scaling?.type) {
    case undefined:
      return frequency;
    case "linear": // Chen et al., arXiv:2306.15595
      return frequency / scaling.factor;
    case "longrope": // Ding et al., arXiv:2402.13753
      return frequency / (scaling.factor ?? 1);
    case "llama3": { // the scheme of the Llama 3.1 release
      const { factor, lowFreqFactor, highFreqFactor, originalPositions } = scaling;
      const turns = originalPositions * frequency / (2 * Math.PI);
      if (turns < lowFreqFactor) return frequency / factor;
      if (turns > highFreqFactor) return frequency;
      const kept = (turns - lowFreqFactor) / (highFreqFactor - lowFreqFactor);
      return (1 - kept) * frequency / factor + kept * frequency;
    }
    case "yarn": { // Peng et al., arXiv:2309.00071
      const { factor, originalPositions, betaFast, betaSlow } = scaling;
      // Pair whose wavelength makes `turns` turns within the original context.
      const pairOf = (turns: number): number =>
        rotaryDim * Math.log(originalPositions / (turns * 2 * Math.PI)) / (2 * Math.log(theta));
      const [first, last] = [pairOf(betaFast), pairOf(betaSlow)];
      const low = Math.max(scaling.truncate ? Math.floor(first) : first, 0);
      const high = Math.min(scaling.truncate ? Math.ceil(last) : last, rotaryDim - 1);
      const squeezed = Math.min(1, Math.max(0, (i - low) / Math.max(high - low, 0.001)));
      return squeezed * frequency / factor + (1 - squeezed) * frequency;
    }
  }
}
