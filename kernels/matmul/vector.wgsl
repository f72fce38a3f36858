// matmul for few tokens: out[t, n] = Σk x[t, k]·weight[n, k] (+ bias[n]), weight in one slice of rows.
// A workgroup takes four rows and one token; its invocations divide the columns between them.

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
@group(0) @binding(4) var<storage, read> bias: array<f32>;
@group(0) @binding(5) var<storage, read_write> out: array<f32>;

// Eight columns of one row times the activations; `sum` is the activations' own.
fn product(row: u32, b: u32, j: u32, x: Eight, sum: f32) -> f32 {
  let block = min(row, p.rows - 1u) * p.blocks + b;
  let w = weights(block, j);
  let a = affine(block);
  let value = a.x * (dot(w.low, x.low) + dot(w.high, x.high));
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
  var sums = vec4(0.0);
  for (var i = lane; i < p.blocks * 4u; i += WG) {
    let b = i / 4u;
    let j = i % 4u;
    let x = activations(token, b, j);
    let sum = dot(x.low + x.high, vec4(1.0));
    sums += vec4(
      product(row, b, j, x, sum),
      product(row + 1u, b, j, x, sum),
      product(row + 2u, b, j, x, sum),
      product(row + 3u, b, j, x, sum),
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
