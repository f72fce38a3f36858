// expertMatmul for few pairs of a token and an expert: out[pair, n] = Σk x[pair / each, k] ·
// weight[chosen[pair]·width + n, k], weight in one slice of rows. A workgroup takes four rows and one
// pair; its invocations divide the columns between them.

struct Params {
  pairs: u32,
  columns: u32,
  blocks: u32, // of a row, 32 columns each
  rows: u32, // of the slice
  firstRow: u32, // of the slice
  width: u32, // of out: rows of an expert
  each: u32, // pairs that a row of x belongs to
}

const NONE = 0xffffffffu;

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(4) var<storage, read> chosen: array<u32>;
@group(0) @binding(5) var<storage, read_write> out: array<f32>;

// Whether row n of an expert is one, and row `row` lies in the slice: differences wrap around.
fn holds(n: u32, row: u32) -> bool {
  return n < p.width && row < p.rows;
}

// Eight columns of one row times the activations; `sum` is the activations' own.
fn product(n: u32, row: u32, b: u32, j: u32, x: Eight, sum: f32) -> f32 {
  if (!holds(n, row)) {
    return 0.0;
  }
  let block = blockAt(row, b, p.blocks);
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
  let n = group.x * 4u;
  let pair = group.y;
  let expert = chosen[pair];
  if (expert == NONE) { // the same for all
    if (lane < 4u && n + lane < p.width) {
      out[pair * p.width + n + lane] = 0.0;
    }
    return;
  }
  let row = expert * p.width + n - p.firstRow;
  var sums = vec4(0.0);
  for (var i = lane; i < p.blocks * 4u; i += WG) {
    let b = i / 4u;
    let j = i % 4u;
    let x = activations(pair / p.each, b, j);
    let sum = dot(x.low + x.high, vec4(1.0));
    sums += vec4(
      product(n, row, b, j, x, sum),
      product(n + 1u, row + 1u, b, j, x, sum),
      product(n + 2u, row + 2u, b, j, x, sum),
      product(n + 3u, row + 3u, b, j, x, sum),
    );
  }
  sums = sumOf4(sums, lane);
  if (lane < 4u && holds(n + lane, row + lane)) {
    out[pair * p.width + n + lane] = sums[lane];
  }
}
