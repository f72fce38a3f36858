// expertSum: out[t] = Σ weights[t, j]·x[t, j] over `count` rows of x, one invocation for each element.

struct Params {
  size: u32, // of out
  width: u32,
  count: u32,
}

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> x: array<f32>;
@group(0) @binding(2) var<storage, read> weights: array<f32>;
@group(0) @binding(3) var<storage, read_write> out: array<f32>;

@compute @workgroup_size(256)
fn main(
  @builtin(workgroup_id) group: vec3<u32>,
  @builtin(num_workgroups) groups: vec3<u32>,
  @builtin(local_invocation_index) lane: u32,
) {
  let i = (group.y * groups.x + group.x) * 256u + lane;
  if (i >= p.size) {
    return;
  }
  let first = i / p.width * p.count;
  let column = i % p.width;
  var sum = 0.0;
  for (var j = 0u; j < p.count; j++) {
    sum += weights[first + j] * x[(first + j) * p.width + column];
  }
  out[i] = sum;
}
