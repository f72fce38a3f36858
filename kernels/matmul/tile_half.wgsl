// matmul for many tokens as tile.wgsl, in f16: products of 32 columns are summed up as halves, the
// blocks as floats. Weights are whole numbers or halves without their factors, activations are scaled
// by block (halve.wgsl), and the factors meet the sums of a block.
//
// With two by two quads, 64 sums of a block are 32 registers, 64 sums 64, and 8 halves of each side
// 8: room for 512 invocations on a multiprocessor of 64 Ki registers. Tiles of 128 rows and tokens
// take 18 KiB of workgroup memory. Rows of a tile are a vector longer than needed, so that the four
// runs that are stored together lie in different banks.

override TOKEN_QUADS: u32; // TOKEN_LANES, or twice

// A block of a row is 16 words of two halves, then a size and a sum.
@group(0) @binding(3) var<storage, read> x: array<vec2<u32>>;

var<workgroup> weightTile: array<vec4<f16>, 32u * (ROW_QUADS + 1u)>; // [32 columns][ROW_QUADS]
var<workgroup> tokenTile: array<vec4<f16>, 32u * (TOKEN_QUADS + 1u)>; // [32 columns][TOKEN_QUADS]
var<workgroup> weightFactors: array<f32, 4u * ROW_QUADS>;
var<workgroup> weightOffsets: array<f32, 4u * ROW_QUADS>;
var<workgroup> tokenFactors: array<f32, 4u * TOKEN_QUADS>;
var<workgroup> tokenSums: array<f32, 4u * TOKEN_QUADS>;

const PARTS = 64.0; // of activations, as halve.wgsl has them

fn blockOf(row: u32, b: u32) -> u32 {
  return blockAt(p.base + min(row, p.rows - 1u), b, p.blocks);
}

fn weightOf(row: u32, b: u32, j: u32) -> Eight {
  let w = weights(blockOf(row, b), j);
  if (CENTER == 0u) {
    return w;
  }
  return Eight(w.low - f16(CENTER), w.high - f16(CENTER));
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
    weightTile[(4u * j + i) * (ROW_QUADS + 1u) + quad] = low[i];
    weightTile[(16u + 4u * j + i) * (ROW_QUADS + 1u) + quad] = high[i];
  }
  let a = affine(blockOf(row + j, b));
  weightFactors[4u * quad + j] = PARTS * a.x;
  if (HAS_REST) {
    weightOffsets[4u * quad + j] = a.y + f32(CENTER) * a.x;
  }
}

// Deno's compiler has no bitcast to halves; what is converted twice is exact.
fn halves(words: vec2<u32>) -> vec4<f16> {
  return vec4<f16>(vec4(unpack2x16float(words.x), unpack2x16float(words.y)));
}

// Vector `i` of nine of a block.
fn wordsOf(token: u32, b: u32, i: u32) -> vec2<u32> {
  return x[(min(token, p.tokens - 1u) * p.blocks + b) * 9u + i];
}

// The same for four tokens; what the last tokens have twice is not stored.
fn loadTokens(quad: u32, token: u32, b: u32, j: u32) {
  let low = transpose(mat4x4(
    halves(wordsOf(token, b, j)),
    halves(wordsOf(token + 1u, b, j)),
    halves(wordsOf(token + 2u, b, j)),
    halves(wordsOf(token + 3u, b, j)),
  ));
  let high = transpose(mat4x4(
    halves(wordsOf(token, b, j + 4u)),
    halves(wordsOf(token + 1u, b, j + 4u)),
    halves(wordsOf(token + 2u, b, j + 4u)),
    halves(wordsOf(token + 3u, b, j + 4u)),
  ));
  for (var i = 0u; i < 4u; i++) {
    tokenTile[(4u * j + i) * (TOKEN_QUADS + 1u) + quad] = low[i];
    tokenTile[(16u + 4u * j + i) * (TOKEN_QUADS + 1u) + quad] = high[i];
  }
  let facts = bitcast<vec2<f32>>(wordsOf(token + j, b, 8u));
  tokenFactors[4u * quad + j] = facts.x;
  if (HAS_REST) {
    tokenSums[4u * quad + j] = facts.y;
  }
}

// Four rows by four tokens, a token to a column.
fn outer(w: vec4<f16>, x: vec4<f16>) -> mat4x4<f16> {
  return mat4x4(w * x.x, w * x.y, w * x.z, w * x.w);
}

// The sums of a block with their factors.
fn scaled(part: mat4x4<f16>, rowQuad: u32, tokenQuad: u32) -> mat4x4<f32> {
  let row = 4u * rowQuad;
  let token = 4u * tokenQuad;
  let d = vec4(
    weightFactors[row],
    weightFactors[row + 1u],
    weightFactors[row + 2u],
    weightFactors[row + 3u],
  );
  let f = vec4(
    tokenFactors[token],
    tokenFactors[token + 1u],
    tokenFactors[token + 2u],
    tokenFactors[token + 3u],
  );
  var sums = mat4x4(
    vec4<f32>(part[0]) * d * f.x,
    vec4<f32>(part[1]) * d * f.y,
    vec4<f32>(part[2]) * d * f.z,
    vec4<f32>(part[3]) * d * f.w,
  );
  if (HAS_REST) {
    let m = vec4(
      weightOffsets[row],
      weightOffsets[row + 1u],
      weightOffsets[row + 2u],
      weightOffsets[row + 3u],
    );
    let s = vec4(
      tokenSums[token],
      tokenSums[token + 1u],
      tokenSums[token + 2u],
      tokenSums[token + 3u],
    );
    sums += mat4x4(m * s.x, m * s.y, m * s.z, m * s.w);
  }
  return sums;
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
    var part00 = mat4x4<f16>();
    var part01 = mat4x4<f16>();
    var part10 = mat4x4<f16>();
    var part11 = mat4x4<f16>();
    for (var k = 0u; k < 32u; k++) {
      let w0 = weightTile[k * (ROW_QUADS + 1u) + at.x];
      let x0 = tokenTile[k * (TOKEN_QUADS + 1u) + at.y];
      part00 += outer(w0, x0);
      if (TOKEN_QUADS > TOKEN_LANES) {
        part01 += outer(w0, tokenTile[k * (TOKEN_QUADS + 1u) + TOKEN_LANES + at.y]);
      }
      if (ROW_QUADS > ROW_LANES) {
        let w1 = weightTile[k * (ROW_QUADS + 1u) + ROW_LANES + at.x];
        part10 += outer(w1, x0);
        if (TOKEN_QUADS > TOKEN_LANES) {
          part11 += outer(w1, tokenTile[k * (TOKEN_QUADS + 1u) + TOKEN_LANES + at.y]);
        }
      }
    }
    sums00 += scaled(part00, at.x, at.y);
    if (TOKEN_QUADS > TOKEN_LANES) {
      sums01 += scaled(part01, at.x, TOKEN_LANES + at.y);
    }
    if (ROW_QUADS > ROW_LANES) {
      sums10 += scaled(part10, ROW_LANES + at.x, at.y);
      if (TOKEN_QUADS > TOKEN_LANES) {
        sums11 += scaled(part11, ROW_LANES + at.x, TOKEN_LANES + at.y);
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
