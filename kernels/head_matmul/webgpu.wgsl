// headMatmul: the head of each pair of a token and a head, as `chosen` of expertMatmul.

struct Params {
  pairs: u32,
  heads: u32,
}

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read_write> chosen: array<u32>; // [tokens, heads]

@compute @workgroup_size(64)
fn main(
  @builtin(workgroup_id) group: vec3<u32>,
  @builtin(num_workgroups) groups: vec3<u32>,
  @builtin(local_invocation_index) lane: u32,
) {
  let i = (group.y * groups.x + group.x) * 64u + lane;
  if (i < p.pairs) {
    chosen[i] = i % p.heads;
  }
}
