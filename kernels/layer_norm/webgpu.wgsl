// layerNorm: out = (x − mean) / sqrt(variance + eps) · weight + bias, one workgroup for each row.

struct Params {
  rows: u32,
  width: u32,
  eps: f32,
  hasBias: u32,
}

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> x: array<f32>;
@group(0) @binding(2) var<storage, read> weight: array<f32>;
@group(0) @binding(3) var<storage, read> bias: array<f32>;
@group(0) @binding(4) var<storage, read_write> out: array<f32>;

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
  var most = 0.0;
  for (var j = lane; j < p.width; j += WG) {
    most = max(most, abs(x[start + j]));
  }
  // Squares of large numbers are not f32.
  let factor = select(1.0, 0x1p-80, maxOf(most, lane) > 1e15);
  var sum = 0.0;
  for (var j = lane; j < p.width; j += WG) {
    sum += x[start + j] * factor;
  }
  // Rounded where it is far above the deviation: what is left to the true mean follows.
  let near = sumOf(sum, lane) / f32(p.width);
  var rest = 0.0;
  for (var j = lane; j < p.width; j += WG) {
    rest += x[start + j] * factor - near;
  }
  rest = sumOf(rest, lane) / f32(p.width);
  var squares = 0.0;
  for (var j = lane; j < p.width; j += WG) {
    let off = x[start + j] * factor - near - rest;
    squares += off * off;
  }
  let variance = sumOf(squares, lane) / f32(p.width);
  let scale = 1.0 / sqrt(variance + p.eps * factor * factor);
  for (var j = lane; j < p.width; j += WG) {
    var y = (x[start + j] * factor - near - rest) * scale * weight[j];
    if (p.hasBias != 0u) {
      y += bias[j];
    }
    out[start + j] = y;
  }
}
