// divideColumn: column `column` of x [rows, width] gives way to the columns of parts [rows, parts], with
// x[column] added to each. One invocation for each element of out [rows, width - 1 + parts].

struct Params {
  count: u32, // elements of out
  width: u32,
  parts: u32,
  column: u32,
}

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> x: array<f32>;
@group(0) @binding(2) var<storage, read> parts: array<f32>;
@group(0) @binding(3) var<storage, read_write> out: array<f32>;

@compute @workgroup_size(64)
fn main(
  @builtin(workgroup_id) group: vec3<u32>,
  @builtin(num_workgroups) groups: vec3<u32>,
  @builtin(local_invocation_index) lane: u32,
) {
  let i = (group.y * groups.x + group.x) * 64u + lane;
  if (i >= p.count) {
    return;
  }
  let columns = p.width - 1u + p.parts;
  let row = i / columns;
  let j = i % columns;
  let start = row * p.width;
  if (j < p.column) {
    out[i] = x[start + j];
  } else if (j < p.column + p.parts) {
    out[i] = x[start + p.column] + parts[row * p.parts + j - p.column];
  } else {
    out[i] = x[start + j + 1u - p.parts];
  }
}
