// quantizeActivations: a row of out is 8 words of four int8 for every block of 32, then one f32
// factor for every block; what is beyond the columns is 0. NORMED: x is normalized first, as by
// rmsNorm. One invocation for each block; every workgroup finds out its row's norm.

struct Params {
  rows: u32,
  columns: u32,
  blocks: u32, // of a row
  groups: u32, // of a row
  eps: f32,
}

override NORMED: bool;

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> x: array<f32>;
@group(0) @binding(2) var<storage, read> gain: array<f32>;
@group(0) @binding(3) var<storage, read_write> out: array<u32>;

const LARGEST = 3.4028234e38;
const SMALL = 0x1p-80;

fn sumOfSquares(start: u32, factor: f32, lane: u32) -> f32 {
  var squares = 0.0;
  for (var i = lane; i < p.columns; i += WG) {
    let value = x[start + i] * factor;
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
  let i = group.y * groups.x + group.x;
  let row = i / p.groups;
  if (row >= p.rows) {
    return;
  }
  var shrink = 1.0;
  var scale = 1.0;
  if (NORMED) {
    let start = row * p.columns;
    var squares = sumOfSquares(start, shrink, lane);
    if (!(squares < 1e37)) {
      shrink = SMALL; // squares of large numbers are not f32
      squares = sumOfSquares(start, shrink, lane);
    }
    scale = 1.0 / sqrt(squares / f32(p.columns) + p.eps * shrink * shrink);
  }
  let b = i % p.groups * WG + lane;
  if (b >= p.blocks) {
    return;
  }
  let first = row * p.columns + 32u * b;
  let count = min(32u, p.columns - 32u * b);
  var values: array<f32, 32>;
  var most = 0.0;
  var finite = true;
  for (var k = 0u; k < 32u; k++) {
    if (k < count) {
      var value = x[first + k];
      if (NORMED) {
        value = value * shrink * scale * gain[32u * b + k];
      }
      values[k] = value;
      finite = finite && abs(value) <= LARGEST;
      most = max(most, abs(value));
    }
  }
  let d = most / 127.0;
  let start = row * p.blocks * 9u;
  // A group with an infinity or NaN is NaN throughout: d is, and the bytes are 0.
  out[start + p.blocks * 8u + b] = select(0x7fc00000u, bitcast<u32>(d), finite);
  let usable = finite && d > 0.0;
  for (var j = 0u; j < 8u; j++) {
    var word = vec4(0.0);
    if (usable) {
      // Halves to even.
      word = round(
        vec4(values[4u * j], values[4u * j + 1u], values[4u * j + 2u], values[4u * j + 3u]) / d,
      );
    }
    out[start + 8u * b + j] = pack4xI8(vec4<i32>(word));
  }
}
