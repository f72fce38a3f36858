// attention as in element.wgsl, for heads of a multiple of 4 elements. In the sum of values, every
// invocation holds one vector of four elements, and the invocations of a column share its rows.
// Where a span is divided between SPLITS workgroups, so that one token keeps a GPU busy, each leaves
// its sums to combine.wgsl (as in Flash-Decoding).

struct Params {
  heads: u32,
  group: u32, // heads that share keys and values
  headDim: u32,
  scale: f32,
  keyRow: u32, // words of a row of the keys
  keyHead: u32, // and of a head
  valueRow: u32,
  valueHead: u32,
  width: i32, // columns of a table of biases
  center: i32, // its column of the distance 0
  softCap: f32,
}

override SPLITS: u32;

const LOWEST = -3.4028234e38;

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> q: array<vec4<f32>>; // [tokens, heads, headDim / 4]
@group(0) @binding(2) var<storage, read> keys: array<vec2<u32>>; // read by cache_store/access.wgsl
@group(0) @binding(3) var<storage, read> values: array<vec2<u32>>;
@group(0) @binding(4) var<storage, read> spans: array<u32>; // [tokens, 2]
// As q, or [tokens, heads, SPLITS, headDim / 4 + 1]: sums of values, then the maximum,
// the sum, and 1, or 0 where there are no rows.
@group(0) @binding(5) var<storage, read_write> out: array<vec4<f32>>;

var<workgroup> query: array<vec4<f32>, 128>; // [headDim / 4]
var<workgroup> weight: array<f32, WG>; // of the tile's rows
var<workgroup> shares: array<vec4<f32>, WG>; // sums of the invocations

@compute @workgroup_size(WG)
fn main(
  @builtin(workgroup_id) group: vec3<u32>,
  @builtin(local_invocation_index) lane: u32,
) {
  let head = group.x / SPLITS;
  let split = group.x % SPLITS;
  let token = group.y;
  var first = spans[2u * token];
  var end = spans[2u * token + 1u];
  if (SPLITS > 1u) {
    // Whole tiles for each; the last ones may have none.
    let tiles = (end - first + WG - 1u) / WG;
    let each = (tiles + SPLITS - 1u) / SPLITS * WG;
    first = min(end, first + split * each);
    end = min(end, first + each);
  }
  let columns = p.headDim / 4u;
  if (SPLITS > 1u && first == end) {
    if (lane == 0u) {
      let to = ((token * p.heads + head) * SPLITS + split) * (columns + 1u);
      out[to + columns] = vec4(LOWEST, 0.0, 0.0, 0.0);
    }
    return;
  }
  let at = (token * p.heads + head) * columns;
  let kvHead = head / p.group;
  for (var i = lane; i < columns; i += WG) {
    query[i] = q[at + i];
  }
  workgroupBarrier();

  let place = placeOf(token, head);
  let column = lane % columns;
  let sharers = WG / columns;
  let share = lane / columns; // the last ones may have no share
  var most = LOWEST;
  var sum = 0.0;
  var mine = vec4(0.0);
  for (var tile = first; tile < end; tile += WG) {
    let row = tile + lane;
    var score = LOWEST;
    if (row < end) {
      let key = row * p.keyRow + kvHead * p.keyHead;
      var products = vec4(0.0);
      for (var i = 0u; i < columns; i++) {
        products += query[i] * keyAt(key, columns, i);
      }
      score = adjusted(dot(products, vec4(1.0)) * p.scale, place, row);
    }
    let before = most;
    most = max(before, maxOf(score, lane));
    let probability = select(0.0, exp(score - most), row < end);
    weight[lane] = probability;
    let keep = exp(before - most);
    sum = sum * keep + probability; // of this invocation's rows
    mine *= keep;
    workgroupBarrier(); // the weights are there
    if (share < sharers) {
      let count = min(WG, end - tile);
      for (var s = share; s < count; s += sharers) {
        let value = (tile + s) * p.valueRow + kvHead * p.valueHead;
        mine += weight[s] * valueAt(value, columns, column);
      }
    }
    workgroupBarrier(); // before the next tile's weights
  }

  shares[lane] = mine;
  sum = sumOf(sum, lane); // which waits
  if (lane < columns) {
    for (var i = 1u; i < sharers; i++) {
      mine += shares[i * columns + lane];
    }
    if (SPLITS == 1u) {
      let close = closing(most, sum, head);
      out[at + lane] = select(vec4(0.0), mine * close.x / close.y, first < end);
    } else {
      let to = ((token * p.heads + head) * SPLITS + split) * (columns + 1u);
      out[to + lane] = mine;
      if (lane == 0u) {
        out[to + columns] = vec4(most, sum, 1.0, 0.0);
      }
    }
  }
}
