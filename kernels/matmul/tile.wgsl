// matmul for many tokens: out[t, n] = Σk x[t, k]·weight[n, k] (+ bias[n]), weight in one slice of rows.
// A workgroup takes 64 rows and 4·QUADS tokens, and one block of 32 columns after the other, which
// lies unpacked in its memory; an invocation sums up 4 rows × 4 tokens.

struct Params {
  tokens: u32,
  columns: u32,
  blocks: u32, // of a row, 32 columns each
  rows: u32, // of the slice
  firstRow: u32, // of the slice
  width: u32, // of out
  hasBias: u32,
}

override QUADS: u32; // of tokens

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(4) var<storage, read> bias: array<f32>;
@group(0) @binding(5) var<storage, read_write> out: array<f32>;

var<workgroup> weightTile: array<vec4<f32>, 512>; // [32 columns][16 quads of rows]
var<workgroup> tokenTile: array<vec4<f32>, 32 * QUADS>; // [32 columns][QUADS]

fn weightOf(row: u32, b: u32, j: u32) -> Eight {
  let block = min(row, p.rows - 1u) * p.blocks + b;
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

fn tokenOf(token: u32, b: u32, j: u32) -> Eight {
  if (token >= p.tokens) {
    return Eight(vec4(0.0), vec4(0.0));
  }
  return activations(token, b, j);
}

// Run j of the block for four rows, turned around.
fn loadWeights(quad: u32, row: u32, b: u32, j: u32) {
  let w0 = weightOf(row, b, j);
  let w1 = weightOf(row + 1u, b, j);
  let w2 = weightOf(row + 2u, b, j);
  let w3 = weightOf(row + 3u, b, j);
  let low = transpose(mat4x4(w0.low, w1.low, w2.low, w3.low));
  let high = transpose(mat4x4(w0.high, w1.high, w2.high, w3.high));
  for (var i = 0u; i < 4u; i++) {
    weightTile[(4u * j + i) * 16u + quad] = low[i];
    weightTile[(16u + 4u * j + i) * 16u + quad] = high[i];
  }
}

// The same for four tokens.
fn loadTokens(quad: u32, token: u32, b: u32, j: u32) {
  let x0 = tokenOf(token, b, j);
  let x1 = tokenOf(token + 1u, b, j);
  let x2 = tokenOf(token + 2u, b, j);
  let x3 = tokenOf(token + 3u, b, j);
  let low = transpose(mat4x4(x0.low, x1.low, x2.low, x3.low));
  let high = transpose(mat4x4(x0.high, x1.high, x2.high, x3.high));
  for (var i = 0u; i < 4u; i++) {
    tokenTile[(4u * j + i) * QUADS + quad] = low[i];
    tokenTile[(16u + 4u * j + i) * QUADS + quad] = high[i];
  }
}

fn store(token: u32, row: u32, sums: vec4<f32>) {
  for (var i = 0u; i < 4u; i++) {
    if (token < p.tokens && row + i < p.rows) {
      let n = p.firstRow + row + i;
      var value = sums[i];
      if (p.hasBias != 0u) {
        value += bias[n];
      }
      out[token * p.width + n] = value;
    }
  }
}

@compute @workgroup_size(16, QUADS)
fn main(
  @builtin(workgroup_id) group: vec3<u32>,
  @builtin(local_invocation_id) at: vec3<u32>,
  @builtin(local_invocation_index) lane: u32,
) {
  let firstRow = group.x * 64u;
  let firstToken = group.y * 4u * QUADS;
  var sums0 = vec4(0.0); // four rows of token 0
  var sums1 = vec4(0.0);
  var sums2 = vec4(0.0);
  var sums3 = vec4(0.0);
  for (var b = 0u; b < p.blocks; b++) {
    for (var i = lane; i < 64u + 4u * QUADS; i += 16u * QUADS) {
      if (i < 64u) {
        loadWeights(i / 4u, firstRow + i / 4u * 4u, b, i % 4u);
      } else {
        let quad = (i - 64u) / 4u;
        loadTokens(quad, firstToken + 4u * quad, b, i % 4u);
      }
    }
    workgroupBarrier();
    for (var k = 0u; k < 32u; k++) {
      let w = weightTile[k * 16u + at.x];
      let x = tokenTile[k * QUADS + at.y];
      sums0 += w * x.x;
      sums1 += w * x.y;
      sums2 += w * x.z;
      sums3 += w * x.w;
    }
    workgroupBarrier();
  }
  let row = firstRow + 4u * at.x;
  let token = firstToken + 4u * at.y;
  store(token, row, sums0);
  store(token + 1u, row, sums1);
  store(token + 2u, row, sums2);
  store(token + 3u, row, sums3);
}
