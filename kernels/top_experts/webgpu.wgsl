// topExperts: the numbers of the `count` greatest scores of each row, one workgroup for each row. The
// place of a score is the number of those before it: more work than choosing one after the other,
// but nobody waits.

struct Params {
  tokens: u32,
  experts: u32,
  count: u32,
}

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> scores: array<u32>; // bits of f32
@group(0) @binding(2) var<storage, read_write> out: array<u32>;

// Orders like the score, NaN as −Infinity and −0 as 0.
fn keyOf(bits: u32) -> u32 {
  let magnitude = bits & 0x7fffffffu;
  if (magnitude == 0u) {
    return 0x80000000u;
  }
  if (magnitude > 0x7f800000u) {
    return ~0xff800000u;
  }
  return select(bits | 0x80000000u, ~bits, bits >= 0x80000000u);
}

@compute @workgroup_size(64)
fn main(
  @builtin(workgroup_id) group: vec3<u32>,
  @builtin(num_workgroups) groups: vec3<u32>,
  @builtin(local_invocation_index) lane: u32,
) {
  let token = group.y * groups.x + group.x;
  if (token >= p.tokens) {
    return;
  }
  let start = token * p.experts;
  for (var i = lane; i < p.experts; i += 64u) {
    let key = keyOf(scores[start + i]);
    var place = 0u;
    for (var j = 0u; j < p.experts; j++) {
      let other = keyOf(scores[start + j]);
      if (other > key || (other == key && j < i)) {
        place++;
      }
    }
    if (place < p.count) {
      out[token * p.count + place] = i;
    }
  }
}
