// matmul for many tokens: out[t, n] = Σk x[t, k]·weight[n, k], weight in one slice of rows;
// finish.wgsl says where sums go. A workgroup takes 4·ROW_QUADS rows and 4·TOKEN_QUADS tokens, and
// one block of 32 columns after the other, which lies unpacked in its memory; an invocation sums up
// one or two quads of rows by one or two quads of tokens.
//
// With two by two quads, 64 sums and 16 factors in registers leave room for 512 invocations on a
// multiprocessor of 64 Ki registers; 32 bytes are read from workgroup memory for 32 multiplications
// of every invocation, half of what a bandwidth of one word per lane and multiplication would be.
// Two quads of 128 rows and tokens are 32 KiB of workgroup memory, of 64 by 64 they are 16.

override TOKEN_QUADS: u32; // TOKEN_LANES, or twice

var<workgroup> weightTile: array<vec4<f32>, 32u * ROW_QUADS>; // [32 columns][ROW_QUADS]
var<workgroup> tokenTile: array<vec4<f32>, 32u * TOKEN_QUADS>; // [32 columns][TOKEN_QUADS]

fn weightOf(row: u32, b: u32, j: u32) -> Eight {
  let block = blockAt(p.base + min(row, p.rows - 1u), b, p.blocks);
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
    weightTile[(4u * j + i) * ROW_QUADS + quad] = low[i];
    weightTile[(16u + 4u * j + i) * ROW_QUADS + quad] = high[i];
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
    tokenTile[(4u * j + i) * TOKEN_QUADS + quad] = low[i];
    tokenTile[(16u + 4u * j + i) * TOKEN_QUADS + quad] = high[i];
  }
}

// Four rows by four tokens, a token to a column.
fn outer(w: vec4<f32>, x: vec4<f32>) -> mat4x4<f32> {
  return mat4x4(w * x.x, w * x.y, w * x.z, w * x.w);
}

@compute @workgroup_size(ROW_LANES, TOKEN_LANES)
fn main(
  @builtin(workgroup_id) group: vec3<u32>,
  @builtin(local_invocation_id) at: vec3<u32>,
  @builtin(local_invocation_index) lane: u32,
) {
  let firstRow = group.x * 4u * ROW_QUADS;
  let firstToken = group.y * 4u * TOKEN_QUADS;
  var sums00 = mat4x4<f32>(); // first quad of rows, first quad of tokens
  var sums01 = mat4x4<f32>();
  var sums10 = mat4x4<f32>();
  var sums11 = mat4x4<f32>();
  for (var b = 0u; b < p.blocks; b++) {
    for (var i = lane; i < 4u * (ROW_QUADS + TOKEN_QUADS); i += ROW_LANES * TOKEN_LANES) {
      if (i < 4u * ROW_QUADS) {
        loadWeights(i / 4u, firstRow + i / 4u * 4u, b, i % 4u);
      } else {
        let quad = i / 4u - ROW_QUADS;
        loadTokens(quad, firstToken + 4u * quad, b, i % 4u);
      }
    }
    workgroupBarrier();
    for (var k = 0u; k < 32u; k++) {
      let w0 = weightTile[k * ROW_QUADS + at.x];
      let x0 = tokenTile[k * TOKEN_QUADS + at.y];
      sums00 += outer(w0, x0);
      if (TOKEN_QUADS > TOKEN_LANES) {
        sums01 += outer(w0, tokenTile[k * TOKEN_QUADS + TOKEN_LANES + at.y]);
      }
      if (ROW_QUADS > ROW_LANES) {
        let w1 = weightTile[k * ROW_QUADS + ROW_LANES + at.x];
        sums10 += outer(w1, x0);
        if (TOKEN_QUADS > TOKEN_LANES) {
          sums11 += outer(w1, tokenTile[k * TOKEN_QUADS + TOKEN_LANES + at.y]);
        }
      }
    }
    workgroupBarrier();
  }
  let row = firstRow + 4u * at.x;
  let token = firstToken + 4u * at.y;
  store(token, row, sums00);
  if (TOKEN_QUADS > TOKEN_LANES) {
    store(token + 4u * TOKEN_LANES, row, sums01);
  }
  if (ROW_QUADS > ROW_LANES) {
    store(token, row + 4u * ROW_LANES, sums10);
    if (TOKEN_QUADS > TOKEN_LANES) {
      store(token + 4u * TOKEN_LANES, row + 4u * ROW_LANES, sums11);
    }
  }
}
