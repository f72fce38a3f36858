// quantizeActivations: a row of out is 8 words of four int8 for every block of 32, then one f32
// factor for every block; what is beyond the columns is 0. One invocation for each block.

struct Params {
  rows: u32,
  columns: u32,
  blocks: u32, // of a row
}

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> x: array<f32>;
@group(0) @binding(2) var<storage, read_write> out: array<u32>;

const LARGEST = 3.4028234e38;

@compute @workgroup_size(64)
fn main(
  @builtin(workgroup_id) group: vec3<u32>,
  @builtin(num_workgroups) groups: vec3<u32>,
  @builtin(local_invocation_index) lane: u32,
) {
  let i = (group.y * groups.x + group.x) * 64u + lane;
  let row = i / p.blocks;
  if (row >= p.rows) {
    return;
  }
  let b = i % p.blocks;
  let first = row * p.columns + 32u * b;
  let count = min(32u, p.columns - 32u * b);
  var most = 0.0;
  var finite = true;
  for (var k = 0u; k < count; k++) {
    let size = abs(x[first + k]);
    finite = finite && size <= LARGEST;
    most = max(most, size);
  }
  let d = most / 127.0;
  let start = row * p.blocks * 9u;
  // A group with an infinity or NaN is NaN throughout: d is, and the bytes are 0.
  out[start + p.blocks * 8u + b] = select(0x7fc00000u, bitcast<u32>(d), finite);
  let usable = finite && d > 0.0;
  for (var j = 0u; j < 8u; j++) {
    var word = vec4(0.0);
    for (var k = 0u; k < 4u; k++) {
      if (usable && 4u * j + k < count) {
        word[k] = round(x[first + 4u * j + k] / d); // halves to even
      }
    }
    out[start + 8u * b + j] = pack4xI8(vec4<i32>(word));
  }
}
