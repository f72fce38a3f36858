// rmsNorm: out = x / sqrt(mean(x²) + eps) · weight, one workgroup for each group of `width`.

struct Params {
  rows: u32, // groups in all
  width: u32,
  eps: f32,
}

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> x: array<f32>;
@group(0) @binding(2) var<storage, read> weight: array<f32>;
@group(0) @binding(3) var<storage, read_write> out: array<f32>;

const SMALL = 0x1p-80;

fn sumOfSquares(start: u32, factor: f32, lane: u32) -> f32 {
  var squares = 0.0;
  for (var j = lane; j < p.width; j += WG) {
    let value = x[start + j] * factor;
    squares += value * value;
  }
  return sumOf(squares, lane);
}

@compute @workgroup_size(WG)
fn main(
  @builtin(workgroup_id) group: vec3<u32>,
  @builtin(num_workgroups) groups: vec3<u32>,
  @builtin(local_invocation_index) lane: u32,
) {
  let row = group.y * groups.x + group.x;
  if (row >= p.rows) {
    return;
  }
  let start = row * p.width;
  var factor = 1.0;
  var squares = sumOfSquares(start, factor, lane);
  if (!(squares < 1e37)) {
    factor = SMALL; // squares of large numbers are not f32
    squares = sumOfSquares(start, factor, lane);
  }
  let scale = factor / sqrt(squares / f32(p.width) + p.eps * factor * factor);
  for (var j = lane; j < p.width; j += WG) {
    out[start + j] = x[start + j] * scale * weight[j];
  }
}
