// attention: out[t, h] = Σs softmax(scale · q[t, h] · K[s, h'])·V[s, h'] over the cache rows s of
// spans[t]. One workgroup of WG invocations for each head of each token; it goes through the rows in
// tiles of WG with a running maximum and sum (Milakov and Gimelshein, arXiv:1805.02867).

struct Params {
  heads: u32,
  group: u32, // heads that share keys and values
  headDim: u32,
  keyStride: u32, // elements of a row of the cache, padding included
  valueStride: u32,
  scale: f32,
}

override HALF_KEYS: bool;
override HALF_VALUES: bool;

const LOWEST = -3.4028234e38;
const MOST_PARTS = 8u; // elements of a head that one invocation sums up, at most

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> q: array<f32>; // [tokens, heads, headDim]
@group(0) @binding(2) var<storage, read> keys: array<u32>; // bits of floats, or pairs of halves
@group(0) @binding(3) var<storage, read> values: array<u32>;
@group(0) @binding(4) var<storage, read> spans: array<u32>; // [tokens, 2]
@group(0) @binding(5) var<storage, read_write> out: array<f32>; // [tokens, heads, headDim]

var<workgroup> query: array<f32, 1024>; // [headDim]
var<workgroup> weight: array<f32, WG>; // of the tile's rows

fn keyAt(i: u32) -> f32 {
  if (HALF_KEYS) {
    return unpack2x16float(keys[i / 2u])[i % 2u];
  }
  return bitcast<f32>(keys[i]);
}

fn valueAt(i: u32) -> f32 {
  if (HALF_VALUES) {
    return unpack2x16float(values[i / 2u])[i % 2u];
  }
  return bitcast<f32>(values[i]);
}

@compute @workgroup_size(WG)
fn main(
  @builtin(workgroup_id) group: vec3<u32>,
  @builtin(local_invocation_index) lane: u32,
) {
  let head = group.x;
  let token = group.y;
  let first = spans[2u * token];
  let end = spans[2u * token + 1u];
  let at = (token * p.heads + head) * p.headDim;
  let column = head / p.group * p.headDim; // of the head's keys and values in a row
  for (var i = lane; i < p.headDim; i += WG) {
    query[i] = q[at + i];
  }
  workgroupBarrier();

  var most = LOWEST;
  var sum = 0.0;
  var sums: array<f32, MOST_PARTS>; // elements lane, lane + WG, … of the head
  for (var tile = first; tile < end; tile += WG) {
    let row = tile + lane;
    var score = LOWEST;
    if (row < end) {
      let key = row * p.keyStride + column;
      var product = 0.0;
      for (var i = 0u; i < p.headDim; i++) {
        product += query[i] * keyAt(key + i);
      }
      score = product * p.scale;
    }
    let before = most;
    most = max(before, maxOf(score, lane));
    let mine = select(0.0, exp(score - most), row < end);
    weight[lane] = mine;
    let keep = exp(before - most);
    sum = sum * keep + sumOf(mine, lane);
    let count = min(WG, end - tile);
    for (var part = 0u; part < MOST_PARTS; part++) {
      let i = part * WG + lane;
      if (i < p.headDim) {
        var value = sums[part] * keep;
        for (var s = 0u; s < count; s++) {
          value += weight[s] * valueAt((tile + s) * p.valueStride + column + i);
        }
        sums[part] = value;
      }
    }
    workgroupBarrier(); // before the next tile's weights
  }

  for (var part = 0u; part < MOST_PARTS; part++) {
    let i = part * WG + lane;
    if (i < p.headDim) {
      out[at + i] = select(0.0, sums[part] / sum, first < end);
    }
  }
}
