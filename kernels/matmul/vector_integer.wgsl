// matmul for few tokens whose activations are int8, as vector.wgsl: products of bytes, four at a time.

struct Params {
  tokens: u32,
  columns: u32,
  blocks: u32, // of a row, 32 columns each
  rows: u32, // of the slice
  firstRow: u32, // of the slice
  width: u32, // of out
  hasBias: u32,
}

@group(0) @binding(0) var<uniform> p: Params;
// A row is 8 words of four bytes for every block, then one f32 factor for every block.
@group(0) @binding(3) var<storage, read> x: array<u32>;
@group(0) @binding(4) var<storage, read> bias: array<f32>;
@group(0) @binding(5) var<storage, read_write> out: array<f32>;

const ONES = 0x01010101u;

// Eight columns of one row times the activations; `sum` is the activations' own.
fn product(row: u32, b: u32, j: u32, bytes: vec2<u32>, sum: f32) -> f32 {
  let block = min(row, p.rows - 1u) * p.blocks + b;
  let w = packedWeights(block, j);
  let a = affine(block);
  let value = a.x * f32(dot4I8Packed(w.x, bytes.x) + dot4I8Packed(w.y, bytes.y));
  if (HAS_OFFSET) {
    return value + a.y * sum;
  }
  return value;
}

@compute @workgroup_size(WG)
fn main(
  @builtin(workgroup_id) group: vec3<u32>,
  @builtin(local_invocation_index) lane: u32,
) {
  let row = group.x * 4u;
  let token = group.y;
  let start = token * p.blocks * 9u;
  var sums = vec4(0.0);
  for (var i = lane; i < p.blocks * 4u; i += WG) {
    let b = i / 4u;
    let j = i % 4u;
    let at = start + b * 8u + j;
    let bytes = vec2(x[at], x[at + 4u]);
    let d = bitcast<f32>(x[start + p.blocks * 8u + b]);
    let sum = f32(dot4I8Packed(bytes.x, ONES) + dot4I8Packed(bytes.y, ONES));
    sums += d * vec4(
      product(row, b, j, bytes, sum),
      product(row + 1u, b, j, bytes, sum),
      product(row + 2u, b, j, bytes, sum),
      product(row + 3u, b, j, bytes, sum),
    );
  }
  sums = sumOf4(sums, lane);
  if (lane < 4u && row + lane < p.rows) {
    let n = p.firstRow + row + lane;
    var value = sums[lane];
    if (p.hasBias != 0u) {
      value += bias[n];
    }
    out[token * p.width + n] = value;
  }
}
