// topExperts with a capacity: NONE in place of experts that more than `capacity` tokens of a sequence
// chose; one invocation for each choice.

struct Params {
  choices: u32, // tokens · count
  count: u32,
  capacity: u32,
}

const NONE = 0xffffffffu;

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> chosen: array<u32>; // [tokens, count]
@group(0) @binding(2) var<storage, read> starts: array<i32>; // [tokens]
@group(0) @binding(3) var<storage, read_write> out: array<u32>;

@compute @workgroup_size(64)
fn main(
  @builtin(workgroup_id) group: vec3<u32>,
  @builtin(num_workgroups) groups: vec3<u32>,
  @builtin(local_invocation_index) lane: u32,
) {
  let i = (group.y * groups.x + group.x) * 64u + lane;
  if (i >= p.choices) {
    return;
  }
  let token = i / p.count;
  let expert = chosen[i];
  var found = 0u;
  for (var k = u32(max(starts[token], 0)) * p.count; k < (token + 1u) * p.count; k++) {
    found += select(0u, 1u, chosen[k] == expert);
  }
  out[i] = select(expert, NONE, found > p.capacity);
}
