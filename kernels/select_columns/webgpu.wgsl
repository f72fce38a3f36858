// selectColumns: out[r, i] = x[r, columns[i]]; x [rows, width], columns [count], out [rows, count].

struct Params {
  elements: u32, // of out
  width: u32,
  count: u32,
}

@group(0) @binding(0) var<uniform> p: Params;
// Bits, not numbers: a copy must not touch what is NaN or subnormal.
@group(0) @binding(1) var<storage, read> x: array<u32>;
@group(0) @binding(2) var<storage, read> columns: array<f32>;
@group(0) @binding(3) var<storage, read_write> out: array<u32>;

@compute @workgroup_size(64)
fn main(
  @builtin(workgroup_id) group: vec3<u32>,
  @builtin(num_workgroups) groups: vec3<u32>,
  @builtin(local_invocation_index) lane: u32,
) {
  let i = (group.y * groups.x + group.x) * 64u + lane;
  if (i < p.elements) {
    // No number leads out of the row.
    let column = u32(clamp(columns[i % p.count], 0.0, f32(p.width - 1u)));
    out[i] = x[i / p.count * p.width + column];
  }
}
