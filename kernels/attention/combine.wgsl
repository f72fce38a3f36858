// attention: the sums of the parts of a span, as vector.wgsl leaves them, to the sum over the span.
// One invocation for each vector of four elements of out [tokens, heads, headDim / 4].

struct Params {
  count: u32, // vectors of out
  heads: u32,
  columns: u32, // headDim / 4
  splits: u32,
}

const LOWEST = -3.4028234e38;

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> parts: array<vec4<f32>>; // [tokens, heads, splits, columns + 1]
@group(0) @binding(2) var<storage, read> spans: array<u32>; // [tokens, 2]
@group(0) @binding(3) var<storage, read_write> out: array<vec4<f32>>;

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
  let column = i % p.columns;
  let head = i / p.columns; // of all tokens
  let stride = p.columns + 1u;
  let start = head * p.splits * stride;
  var most = LOWEST;
  for (var s = 0u; s < p.splits; s++) {
    most = max(most, parts[start + s * stride + p.columns].x);
  }
  var sum = 0.0;
  var values = vec4(0.0);
  for (var s = 0u; s < p.splits; s++) {
    let part = start + s * stride;
    let facts = parts[part + p.columns];
    if (facts.z == 0.0) {
      continue; // a part without rows
    }
    let factor = exp(facts.x - most);
    sum += factor * facts.y;
    values += factor * parts[part + column];
  }
  let token = head / p.heads;
  let close = closing(most, sum, head % p.heads);
  let isEmpty = spans[2u * token] >= spans[2u * token + 1u];
  out[i] = select(values * close.x / close.y, vec4(0.0), isEmpty);
}
