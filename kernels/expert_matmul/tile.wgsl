// expertMatmul for many pairs of a token and an expert, as vector.wgsl. Pairs are listed by expert
// (group.wgsl): a workgroup takes 64 rows and 4·QUADS pairs of one expert, and one block of 32 columns
// after the other, which lies unpacked in its memory; an invocation sums up 4 rows × 4 pairs.

struct Params {
  pairs: u32,
  columns: u32,
  blocks: u32, // of a row, 32 columns each
  rows: u32, // of the slice
  firstRow: u32, // of the slice
  width: u32, // of out: rows of an expert
  each: u32, // pairs that a row of x belongs to
}

override QUADS: u32; // of pairs

const NONE = 0xffffffffu;

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(4) var<storage, read> chosen: array<u32>;
@group(0) @binding(5) var<storage, read> list: array<u32>;
@group(0) @binding(6) var<storage, read_write> out: array<f32>;

var<workgroup> weightTile: array<vec4<f32>, 512>; // [32 columns][16 quads of rows]
var<workgroup> pairTile: array<vec4<f32>, 32 * QUADS>; // [32 columns][QUADS]

// Whether row n of an expert is one, and row `row` lies in the slice: differences wrap around.
fn holds(n: u32, row: u32) -> bool {
  return n < p.width && row < p.rows;
}

fn weightOf(n: u32, row: u32, b: u32, j: u32) -> Eight {
  if (!holds(n, row)) {
    return Eight(vec4(0.0), vec4(0.0));
  }
  let block = blockAt(row, b, p.blocks);
  var w = weights(block, j);
  let a = affine(block);
  w.low *= a.x;
  w.high *= a.x;
  if (HAS_OFFSET) {
    w.low += a.y;
    w.high += a.y;
  }
  return w;
}

fn pairOf(place: u32, b: u32, j: u32) -> Eight {
  let pair = list[place];
  if (pair == NONE) {
    return Eight(vec4(0.0), vec4(0.0));
  }
  return activations(pair / p.each, b, j);
}

// Run j of the block for four rows, turned around.
fn loadWeights(quad: u32, n: u32, row: u32, b: u32, j: u32) {
  let w0 = weightOf(n, row, b, j);
  let w1 = weightOf(n + 1u, row + 1u, b, j);
  let w2 = weightOf(n + 2u, row + 2u, b, j);
  let w3 = weightOf(n + 3u, row + 3u, b, j);
  let low = transpose(mat4x4(w0.low, w1.low, w2.low, w3.low));
  let high = transpose(mat4x4(w0.high, w1.high, w2.high, w3.high));
  for (var i = 0u; i < 4u; i++) {
    weightTile[(4u * j + i) * 16u + quad] = low[i];
    weightTile[(16u + 4u * j + i) * 16u + quad] = high[i];
  }
}

// The same for four pairs.
fn loadPairs(quad: u32, place: u32, b: u32, j: u32) {
  let x0 = pairOf(place, b, j);
  let x1 = pairOf(place + 1u, b, j);
  let x2 = pairOf(place + 2u, b, j);
  let x3 = pairOf(place + 3u, b, j);
  let low = transpose(mat4x4(x0.low, x1.low, x2.low, x3.low));
  let high = transpose(mat4x4(x0.high, x1.high, x2.high, x3.high));
  for (var i = 0u; i < 4u; i++) {
    pairTile[(4u * j + i) * QUADS + quad] = low[i];
    pairTile[(16u + 4u * j + i) * QUADS + quad] = high[i];
  }
}

fn store(place: u32, n: u32, row: u32, sums: vec4<f32>) {
  let pair = list[place];
  for (var i = 0u; i < 4u; i++) {
    if (pair != NONE && holds(n + i, row + i)) {
      out[pair * p.width + n + i] = sums[i];
    }
  }
}

// Zeros for four rows of four pairs without an expert.
fn clear(place: u32, n: u32) {
  for (var i = 0u; i < 16u; i++) {
    let pair = list[place + i / 4u];
    if (pair != NONE && n + i % 4u < p.width) {
      out[pair * p.width + n + i % 4u] = 0.0;
    }
  }
}

@compute @workgroup_size(16, QUADS)
fn main(
  @builtin(workgroup_id) group: vec3<u32>,
  @builtin(local_invocation_id) at: vec3<u32>,
  @builtin(local_invocation_index) lane: u32,
) {
  let firstPlace = group.y * 4u * QUADS;
  let pair = list[firstPlace];
  if (pair == NONE) {
    return; // the same for all: `list` cannot change
  }
  let firstN = group.x * 64u;
  if (chosen[pair] == NONE) { // and so of all of these pairs
    clear(firstPlace + 4u * at.y, firstN + 4u * at.x);
    return;
  }
  let firstRow = chosen[pair] * p.width + firstN - p.firstRow;
  var sums0 = vec4(0.0); // four rows of pair 0
  var sums1 = vec4(0.0);
  var sums2 = vec4(0.0);
  var sums3 = vec4(0.0);
  for (var b = 0u; b < p.blocks; b++) {
    for (var i = lane; i < 64u + 4u * QUADS; i += 16u * QUADS) {
      if (i < 64u) {
        let quad = i / 4u;
        loadWeights(quad, firstN + 4u * quad, firstRow + 4u * quad, b, i % 4u);
      } else {
        let quad = (i - 64u) / 4u;
        loadPairs(quad, firstPlace + 4u * quad, b, i % 4u);
      }
    }
    workgroupBarrier();
    for (var k = 0u; k < 32u; k++) {
      let w = weightTile[k * 16u + at.x];
      let x = pairTile[k * QUADS + at.y];
      sums0 += w * x.x;
      sums1 += w * x.y;
      sums2 += w * x.z;
      sums3 += w * x.w;
    }
    workgroupBarrier();
  }
  let n = firstN + 4u * at.x;
  let row = firstRow + 4u * at.x;
  let place = firstPlace + 4u * at.y;
  store(place, n, row, sums0);
  store(place + 1u, n, row, sums1);
  store(place + 2u, n, row, sums2);
  store(place + 3u, n, row, sums3);
}
