// matmul for many tokens as tile.wgsl, in bytes: four products of int8 at a time. A block's sums are
// whole numbers, which meet the factors of its weights and activations.
//
// An invocation has two quads of rows by one of tokens: 32 whole numbers and 32 floats in registers.
// Tiles of 128 rows and 64 tokens take 8 KiB of workgroup memory, and 12 bytes are read from it for
// 32 of the instructions that multiply four times.

// A row is 8 words of four bytes for every block, then one f32 factor for every block.
@group(0) @binding(3) var<storage, read> x: array<u32>;

var<workgroup> weightTile: array<vec4<u32>, 8u * ROW_QUADS>; // [8 words][ROW_QUADS]
var<workgroup> tokenTile: array<vec4<u32>, 8u * TOKEN_LANES>; // [8 words][TOKEN_LANES]
var<workgroup> weightFactors: array<f32, 4u * ROW_QUADS>;
var<workgroup> weightOffsets: array<f32, 4u * ROW_QUADS>;
var<workgroup> tokenFactors: array<f32, 4u * TOKEN_LANES>;

const ONES = 0x01010101u;

// Four rows by four tokens.
struct Sums {
  a: vec4<i32>, // of token 0
  b: vec4<i32>,
  c: vec4<i32>,
  d: vec4<i32>,
}

fn blockOf(row: u32, b: u32) -> u32 {
  return blockAt(p.base + min(row, p.rows - 1u), b, p.blocks);
}

// Two words of four signed bytes.
fn weightOf(row: u32, b: u32, j: u32) -> vec2<u32> {
  let words = packedWeights(blockOf(row, b), j);
  if (CENTER == 0u) {
    return words;
  }
  // The highest bits keep what is taken away from a byte out of the next.
  return ((words | vec2(0x80808080u)) - vec2(ONES * CENTER)) ^ vec2(0x80808080u);
}

fn loadWeights(quad: u32, row: u32, b: u32, j: u32) {
  let w0 = weightOf(row, b, j);
  let w1 = weightOf(row + 1u, b, j);
  let w2 = weightOf(row + 2u, b, j);
  let w3 = weightOf(row + 3u, b, j);
  weightTile[j * ROW_QUADS + quad] = vec4(w0.x, w1.x, w2.x, w3.x);
  weightTile[(j + 4u) * ROW_QUADS + quad] = vec4(w0.y, w1.y, w2.y, w3.y);
  let a = affine(blockOf(row + j, b));
  weightFactors[4u * quad + j] = a.x;
  if (HAS_REST) {
    weightOffsets[4u * quad + j] = a.y + f32(CENTER) * a.x;
  }
}

// First word of a token's row; what the last tokens have twice is not stored.
fn startOf(token: u32) -> u32 {
  return min(token, p.tokens - 1u) * p.blocks * 9u;
}

fn loadTokens(quad: u32, token: u32, b: u32, j: u32) {
  let starts = vec4(
    startOf(token),
    startOf(token + 1u),
    startOf(token + 2u),
    startOf(token + 3u),
  );
  let low = starts + vec4(b * 8u + j);
  let high = low + vec4(4u);
  tokenTile[j * TOKEN_LANES + quad] = vec4(x[low.x], x[low.y], x[low.z], x[low.w]);
  tokenTile[(j + 4u) * TOKEN_LANES + quad] = vec4(x[high.x], x[high.y], x[high.z], x[high.w]);
  tokenFactors[4u * quad + j] = bitcast<f32>(x[startOf(token + j) + p.blocks * 8u + b]);
}

fn dots(w: vec4<u32>, x: u32) -> vec4<i32> {
  return vec4(
    dot4I8Packed(w.x, x),
    dot4I8Packed(w.y, x),
    dot4I8Packed(w.z, x),
    dot4I8Packed(w.w, x),
  );
}

fn plus(sums: Sums, w: vec4<u32>, x: vec4<u32>) -> Sums {
  return Sums(
    sums.a + dots(w, x.x),
    sums.b + dots(w, x.y),
    sums.c + dots(w, x.z),
    sums.d + dots(w, x.w),
  );
}

// The sums of a block with their factors; `xs` are sums of the activations.
fn scaled(part: Sums, xs: vec4<i32>, rowQuad: u32, tokenQuad: u32) -> mat4x4<f32> {
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
    vec4<f32>(part.a) * d * f.x,
    vec4<f32>(part.b) * d * f.y,
    vec4<f32>(part.c) * d * f.z,
    vec4<f32>(part.d) * d * f.w,
  );
  if (HAS_REST) {
    let m = vec4(
      weightOffsets[row],
      weightOffsets[row + 1u],
      weightOffsets[row + 2u],
      weightOffsets[row + 3u],
    );
    let s = vec4<f32>(xs) * f;
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
  let firstToken = group.y * 4u * TOKEN_LANES;
  var sums0 = mat4x4<f32>(); // first quad of rows
  var sums1 = mat4x4<f32>();
  for (var b = 0u; b < p.blocks; b++) {
    for (var i = lane; i < 4u * (ROW_QUADS + TOKEN_LANES); i += ROW_LANES * TOKEN_LANES) {
      if (i < 4u * ROW_QUADS) {
        loadWeights(i / 4u, firstRow + i / 4u * 4u, b, i % 4u);
      } else {
        let quad = i / 4u - ROW_QUADS;
        loadTokens(quad, firstToken + 4u * quad, b, i % 4u);
      }
    }
    workgroupBarrier();
    var part0 = Sums();
    var part1 = Sums();
    var xs = vec4<i32>();
    for (var k = 0u; k < 8u; k++) {
      let tokens = tokenTile[k * TOKEN_LANES + at.y];
      part0 = plus(part0, weightTile[k * ROW_QUADS + at.x], tokens);
      if (ROW_QUADS > ROW_LANES) {
        part1 = plus(part1, weightTile[k * ROW_QUADS + ROW_LANES + at.x], tokens);
      }
      if (HAS_REST) {
        xs += dots(tokens, ONES);
      }
    }
    sums0 += scaled(part0, xs, at.x, at.y);
    if (ROW_QUADS > ROW_LANES) {
      sums1 += scaled(part1, xs, ROW_LANES + at.x, at.y);
    }
    workgroupBarrier();
  }
  let row = firstRow + 4u * at.x;
  let token = firstToken + 4u * at.y;
  store(token, row, sums0);
  if (ROW_QUADS > ROW_LANES) {
    store(token, row + 4u * ROW_LANES, sums1);
  }
}
