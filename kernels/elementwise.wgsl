// add, mul: out[i] = f(a[i], b[i mod period]); `b` is as long as `a`, or as its rows.

struct Params {
  count: u32,
  period: u32,
}

const ADD = 0u;
const MUL = 1u;
override OP: u32;

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> a: array<f32>;
@group(0) @binding(2) var<storage, read> b: array<f32>;
@group(0) @binding(3) var<storage, read_write> out: array<f32>;

@compute @workgroup_size(256)
fn main(
  @builtin(workgroup_id) group: vec3<u32>,
  @builtin(num_workgroups) groups: vec3<u32>,
  @builtin(local_invocation_index) lane: u32,
) {
  let i = (group.y * groups.x + group.x) * 256u + lane;
  if (i >= p.count) {
    return;
  }
  let x = a[i];
  let y = b[i % p.period];
  if (OP == ADD) {
    out[i] = x + y;
  } else {
    out[i] = x * y;
  }
}
