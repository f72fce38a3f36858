// selectRows: out[i] = x[rows[i]]; x [tokens, width], rows [count], out [count, width].

struct Params {
  count: u32, // elements of out
  width: u32,
}

@group(0) @binding(0) var<uniform> p: Params;
// Bits, not numbers: a copy must not touch what is NaN or subnormal.
@group(0) @binding(1) var<storage, read> x: array<u32>;
@group(0) @binding(2) var<storage, read> rows: array<u32>;
@group(0) @binding(3) var<storage, read_write> out: array<u32>;

@compute @workgroup_size(64)
fn main(
  @builtin(workgroup_id) group: vec3<u32>,
  @builtin(num_workgroups) groups: vec3<u32>,
  @builtin(local_invocation_index) lane: u32,
) {
  let i = (group.y * groups.x + group.x) * 64u + lane;
  if (i < p.count) {
    out[i] = x[rows[i / p.width] * p.width + i % p.width];
  }
}
