// logSoftmax: out[row, j] = x[row, j] − max − ln(Σ exp(x[row, j] − max)), one workgroup for each row of
// `width`.

struct Params {
  rows: u32,
  width: u32,
}

const LOWEST = -3.4028234e38;

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> x: array<f32>;
@group(0) @binding(2) var<storage, read_write> out: array<f32>;

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
  var most = LOWEST;
  for (var j = lane; j < p.width; j += WG) {
    most = max(most, x[start + j]);
  }
  most = maxOf(most, lane);
  var sum = 0.0;
  for (var j = lane; j < p.width; j += WG) {
    sum += exp(x[start + j] - most); // a NaN, or Infinity − Infinity, makes the whole row NaN
  }
  let less = log(sumOf(sum, lane));
  for (var j = lane; j < p.width; j += WG) {
    out[start + j] = x[start + j] - most - less;
  }
}
