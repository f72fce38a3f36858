// rope: x, out [rows, heads·headDim]; positions [rows]; table [positions, rotaryDim], a row of which
// holds rotaryDim/2 cosines, then as many sines. One invocation for each element of out; one.wgsl
// and two.wgsl say what x and out are.

struct Params {
  count: u32, // elements of out, or of both
  first: u32, // elements of the first
  width: u32,
  secondWidth: u32,
  headDim: u32,
  rotaryDim: u32,
  offset: u32, // first element of a head that rotates
  interleaved: u32, // pairs are 2i and 2i + 1, else i and i + rotaryDim/2
}

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> positions: array<u32>;
@group(0) @binding(2) var<storage, read> table: array<f32>;

@compute @workgroup_size(256)
fn main(
  @builtin(workgroup_id) group: vec3<u32>,
  @builtin(num_workgroups) groups: vec3<u32>,
  @builtin(local_invocation_index) lane: u32,
) {
  let all = (group.y * groups.x + group.x) * 256u + lane;
  if (all >= p.count) {
    return;
  }
  let isSecond = all >= p.first;
  let i = all - select(0u, p.first, isSecond);
  let width = select(p.width, p.secondWidth, isSecond);
  let at = i % width % p.headDim;
  if (at < p.offset || at >= p.offset + p.rotaryDim) {
    store(isSecond, i, elementOf(isSecond, i));
    return;
  }
  let e = at - p.offset;
  let half = p.rotaryDim / 2u;
  let interleaved = p.interleaved != 0u;
  let pair = select(e % half, e / 2u, interleaved);
  let isUpper = select(e >= half, e % 2u == 1u, interleaved);
  let distance = select(half, 1u, interleaved);
  let angle = positions[i / width] * p.rotaryDim + pair;
  let cosine = table[angle];
  let sine = table[angle + half];
  let x = elementOf(isSecond, i);
  if (isUpper) {
    store(isSecond, i, x * cosine + elementOf(isSecond, i - distance) * sine);
  } else {
    store(isSecond, i, x * cosine - elementOf(isSecond, i + distance) * sine);
  }
}
