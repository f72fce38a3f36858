// attention: out[t, h] = Σs softmax(scale · q[t, h] · K[s, h'])·V[s, h'] over the cache rows s of
// spans[t]. One workgroup of WG invocations for each head of each token; it goes through the rows in
// tiles of WG with a running maximum and sum (Milakov and Gimelshein, arXiv:1805.02867).

struct Params {
  heads: u32,
  group: u32, // heads that share keys and values
  headDim: u32,
  scale: f32,
  keyRow: u32, // words of a row of the keys
  keyHead: u32, // and of a head, for int8
  valueRow: u32,
  valueHead: u32,
  width: i32, // columns of a table of biases
  center: i32, // its column of the distance 0
  softCap: f32,
}

override KEY_TYPE: u32; // as in cache_store/access.wgsl
override VALUE_TYPE: u32;

const F16_CACHE = 1u;
const INT8_CACHE = 2u;

const LOWEST = -3.4028234e38;
const MOST_PARTS = 8u; // elements of a head that one invocation sums up, at most

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> q: array<f32>; // [tokens, heads, headDim]
@group(0) @binding(2) var<storage, read> keys: array<u32>; // as cache_store/webgpu.ts says
@group(0) @binding(3) var<storage, read> values: array<u32>;
@group(0) @binding(4) var<storage, read> spans: array<u32>; // [tokens, 2]
@group(0) @binding(5) var<storage, read_write> out: array<f32>; // [tokens, heads, headDim]

var<workgroup> query: array<f32, 1024>; // [headDim]
var<workgroup> weight: array<f32, WG>; // of the tile's rows

fn keyAt(row: u32, head: u32, i: u32) -> f32 {
  if (KEY_TYPE == INT8_CACHE) {
    let start = row * p.keyRow + head * p.keyHead;
    let scale = bitcast<f32>(keys[start + (p.headDim + 3u) / 4u + i / 32u]);
    return scale * f32(unpack4xI8(keys[start + i / 4u])[i % 4u]);
  }
  let at = head * p.headDim + i;
  if (KEY_TYPE == F16_CACHE) {
    return unpack2x16float(keys[row * p.keyRow + at / 2u])[at % 2u];
  }
  return bitcast<f32>(keys[row * p.keyRow + at]);
}

fn valueAt(row: u32, head: u32, i: u32) -> f32 {
  if (VALUE_TYPE == INT8_CACHE) {
    let start = row * p.valueRow + head * p.valueHead;
    let scale = bitcast<f32>(values[start + (p.headDim + 3u) / 4u + i / 32u]);
    return scale * f32(unpack4xI8(values[start + i / 4u])[i % 4u]);
  }
  let at = head * p.headDim + i;
  if (VALUE_TYPE == F16_CACHE) {
    return unpack2x16float(values[row * p.valueRow + at / 2u])[at % 2u];
  }
  return bitcast<f32>(values[row * p.valueRow + at]);
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
  let kvHead = head / p.group;
  let place = placeOf(token, head);
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
      var product = 0.0;
      for (var i = 0u; i < p.headDim; i++) {
        product += query[i] * keyAt(row, kvHead, i);
      }
      score = adjusted(product * p.scale, place, row);
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
          value += weight[s] * valueAt(tile + s, kvHead, i);
        }
        sums[part] = value;
      }
    }
    workgroupBarrier(); // before the next tile's weights
  }

  let close = closing(most, sum, head);
  for (var part = 0u; part < MOST_PARTS; part++) {
    let i = part * WG + lane;
    if (i < p.headDim) {
      out[at + i] = select(0.0, sums[part] * close.x / close.y, first < end);
    }
  }
}
