// expertWeights: softmax of a row of scores over `counted` of them, at the experts that were chosen,
// one workgroup for each row.

struct Params {
  tokens: u32,
  experts: u32,
  count: u32, // chosen for a token
  counted: u32, // count, or experts
}

const LOWEST = -3.4028234e38;
const NONE = 0xffffffffu;

override OVER_ALL: bool;

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> scores: array<f32>;
@group(0) @binding(2) var<storage, read> chosen: array<u32>;
@group(0) @binding(3) var<storage, read_write> out: array<f32>;

fn chosenScore(token: u32, j: u32) -> f32 {
  return scores[token * p.experts + chosen[token * p.count + j]];
}

fn isNone(token: u32, j: u32) -> bool {
  return chosen[token * p.count + j] == NONE;
}

// Whether score `i` counts: all do, or those of the experts that were chosen.
fn counts(token: u32, i: u32) -> bool {
  return OVER_ALL || !isNone(token, i);
}

fn countedScore(token: u32, i: u32) -> f32 {
  if (OVER_ALL) {
    return scores[token * p.experts + i];
  }
  return chosenScore(token, i);
}

@compute @workgroup_size(WG)
fn main(
  @builtin(workgroup_id) group: vec3<u32>,
  @builtin(num_workgroups) groups: vec3<u32>,
  @builtin(local_invocation_index) lane: u32,
) {
  let token = group.y * groups.x + group.x;
  if (token >= p.tokens) {
    return;
  }
  var most = LOWEST;
  for (var i = lane; i < p.counted; i += WG) {
    if (counts(token, i)) {
      most = max(most, countedScore(token, i));
    }
  }
  most = maxOf(most, lane);
  var sum = 0.0;
  for (var i = lane; i < p.counted; i += WG) {
    if (counts(token, i)) {
      sum += exp(countedScore(token, i) - most);
    }
  }
  sum = sumOf(sum, lane);
  for (var j = lane; j < p.count; j += WG) {
    var weight = 0.0;
    if (!isNone(token, j)) {
      weight = exp(chosenScore(token, j) - most) / sum;
    }
    out[token * p.count + j] = weight;
  }
}
