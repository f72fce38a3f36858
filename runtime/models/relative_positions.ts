/**
 * Relative positions of Transformer-XL (Dai et al., arXiv:1901.02860, section 3.3): what is computed of
 * its weights at load. A score is `(q + u) · k + (q + v) · r(distance)` under the scale of heads, with
 * the biases u for content and v for positions, and keys r of distances, which are products of sines and
 * cosines.
 *
 * @module
 */

import { type ReadTensor, vector, type WeightSpec } from "./weight_spec.ts";

/** How long the tables may keep others from running. */
const MOST_BUSY_MS = 20;

/** Extents of a layer's attention. */
export interface RelativeShape {
  readonly heads: number;
  readonly headDim: number;
  /** Of the residual stream. */
  readonly width: number;
  /** Distances from 0 on that have keys of their own. */
  readonly distances: number;
  /** Whether states are normed before attention. */
  readonly normFirst: boolean;
}

/**
 * The biases of a layer: `NAME.q.bias`, u; `NAME.positionBias`, what makes `q + v` of `q + u`.
 *
 * Where states are normed before attention, the zeros of the memory are, too, and become the norm's
 * bias b. As keys, that adds the same to all scores of a query, which makes no difference; to values it
 * adds the same, so that it can be added behind them. So keys and values are products of states without
 * b, which for zeros are zeros, and b is in `NAME.q.bias` and in `NAME.o.bias`.
 *
 * `attention` begins the names of the layer's tensors, `biases` those of u and v.
 */
export function* layerVectors(
  name: string,
  { heads, headDim, width, normFirst }: RelativeShape,
  attention: string,
  biases: string,
): Iterable<WeightSpec> {
  const inner = heads * headDim, content = `${biases}r_w_bias`, position = `${biases}r_r_bias`;
  const used = (name: string, ...shape: number[]) => ({ name, shape });
  const ofContent = used(content, heads, headDim);
  yield {
    ...{ name: `${name}.positionBias`, role: "vector", shape: [inner] },
    source: {
      uses: [ofContent, used(position, heads, headDim)],
      async values(read) {
        const u = await read(content), v = await read(position);
        return v.map((it, i) => it - u[i]!);
      },
    },
  };
  if (!normFirst) {
    const source = { tensor: content, fileShape: [heads, headDim] };
    yield vector(`${name}.q.bias`, inner, source);
    return;
  }
  const fused = `${attention}qkv_net.weight`, out = `${attention}o_net.weight`;
  const bias = `${attention}layer_norm.bias`;
  const ofFused = used(fused, 3 * inner, width), ofBias = used(bias, width);
  yield {
    ...{ name: `${name}.q.bias`, role: "vector", shape: [inner] },
    source: {
      uses: [ofContent, ofFused, ofBias],
      async values(read) {
        const queries = (await read(fused)).subarray(0, inner * width);
        const u = await read(content), added = timesVector(queries, await read(bias));
        return added.map((it, i) => it + u[i]!);
      },
    },
  };
  yield {
    ...{ name: `${name}.o.bias`, role: "vector", shape: [width] },
    source: {
      uses: [ofFused, used(out, width, inner), ofBias],
      async values(read) {
        const values = (await read(fused)).subarray(2 * inner * width);
        return timesVector(await read(out), timesVector(values, await read(bias)));
      },
    },
  };
}

/**
 * The keys of distances, under the scale of heads, as the matrix `[heads * distances, headDim]` of
 * `headMatmul`: those of a head begin with the farthest, so that the last column of a bias is the
 * distance 0.
 */
export function relativeKeys(
  name: string,
  shape: RelativeShape,
  tensor: string,
): WeightSpec {
  const { heads, headDim, width, distances } = shape;
  return {
    name,
    role: "matrix",
    shape: [heads * distances, headDim],
    source: {
      uses: [{ name: tensor, shape: [heads * headDim, width] }],
      values: (read) => keysOf(shape, tensor, read),
    },
  };
}

async function keysOf(
  { heads, headDim, width, distances }: RelativeShape,
  tensor: string,
  read: ReadTensor,
): Promise<Float32Array> {
  const weight = inFours(await read(tensor), width); // [heads * headDim, width]
  const keys = new Float32Array(heads * distances * headDim), scale = headDim ** -0.5;
  let paused = performance.now();
  for (let first = 0; first < distances; first += 4) {
    const sines = new Float64Array(4 * width); // [4 distances, width]
    for (let i = 0; i < 4; i++) writeSines(first + i, sines.subarray(i * width, (i + 1) * width));
    const found = products(weight, sines, width); // [rows, 4]
    for (let row = 0; row < heads * headDim; row++) {
      const head = Math.floor(row / headDim), column = distances - 1 - first;
      for (let i = 0; i < Math.min(4, distances - first); i++) {
        const to = (head * distances + column - i) * headDim + row % headDim;
        keys[to] = scale * found[4 * row + i]!;
      }
    }
    if (performance.now() - paused < MOST_BUSY_MS) continue;
    await new Promise((resolve) => setTimeout(resolve)); // the tables of a large model take seconds
    paused = performance.now();
  }
  return keys;
}

/** Sines of a distance by every frequency, then cosines; the original computes the angles in f32. */
function writeSines(distance: number, into: Float64Array): void {
  const width = into.length, half = width / 2;
  for (let i = 0; i < half; i++) {
    const frequency = Math.fround(1 / Math.fround(10000 ** Math.fround(2 * i / width)));
    const angle = Math.fround(distance * frequency);
    into[i] = Math.sin(angle);
    into[half + i] = Math.cos(angle);
  }
}

/** A matrix times a vector. */
function timesVector(matrix: Float32Array, x: Float32Array): Float32Array {
  const width = x.length;
  const found = products(inFours(matrix, width), inFours(x, width), width); // [rows, 4]
  return Float32Array.from({ length: matrix.length / width }, (_, row) => found[4 * row]!);
}

/** Rows in float64, zeros behind them up to a multiple of four. */
function inFours(matrix: Float32Array, width: number): Float64Array {
  const all = new Float64Array(Math.ceil(matrix.length / width / 4) * 4 * width);
  all.set(matrix);
  return all;
}

/**
 * Products of the rows of `matrix [rows, width]` and of `four [4, width]`, `[rows, 4]`, four rows at a
 * time: as many sums as there are registers.
 */
function products(matrix: Float64Array, four: Float64Array, width: number): Float64Array {
  const rows = matrix.length / width, found = new Float64Array(4 * rows);
  const e = 0, f = width, g = 2 * width, h = 3 * width;
  for (let row = 0; row < rows; row += 4) {
    const a = row * width, b = a + width, c = b + width, d = c + width;
    let ae = 0, af = 0, ag = 0, ah = 0, be = 0, bf = 0, bg = 0, bh = 0;
    let ce = 0, cf = 0, cg = 0, ch = 0, de = 0, df = 0, dg = 0, dh = 0;
    for (let k = 0; k < width; k++) {
      const p = matrix[a + k]!, q = matrix[b + k]!, r = matrix[c + k]!, s = matrix[d + k]!;
      const t = four[e + k]!, u = four[f + k]!, v = four[g + k]!, w = four[h + k]!;
      ae += p * t, af += p * u, ag += p * v, ah += p * w;
      be += q * t, bf += q * u, bg += q * v, bh += q * w;
      ce += r * t, cf += r * u, cg += r * v, ch += r * w;
      de += s * t, df += s * u, dg += s * v, dh += s * w;
    }
    found.set([ae, af, ag, ah, be, bf, bg, bh, ce, cf, cg, ch, de, df, dg, dh], 4 * row);
  }
  return found;
}
