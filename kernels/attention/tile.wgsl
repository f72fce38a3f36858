// attention as in element.wgsl, for many tokens and heads of a multiple of 4 elements. A workgroup
// takes 32 queries: the heads that share keys and values, of successive tokens. It goes through the
// rows in tiles of 32, each of which all its queries share, with running maxima and sums (compare
// FlashAttention-2, Dao, arXiv:2307.08691). An invocation holds four queries times four rows of a
// tile's scores, and four queries times PARTS vectors of four elements of the sums.

struct Params {
  count: u32, // queries of a kvHead: tokens · group
  heads: u32,
  group: u32,
  columns: u32, // headDim / 4
  scale: f32,
  keyRow: u32, // words of a row of the keys
  keyHead: u32, // and of a head
  valueRow: u32,
  valueHead: u32,
  width: i32, // columns of a table of biases
  center: i32, // its column of the distance 0
  softCap: f32,
}

const QUERIES = 32u;
const ROWS = 32u;
const LANES = 64u;
const CHUNK = 8u; // vectors of the heads that are multiplied at a time
const STRIDE = 33u; // between them, odd so that invocations do not meet in a bank
const ROOM = 528u; // 2 · CHUNK · STRIDE
const LOWEST = -3.4028234e38;
const HIDDEN = -1.0; // weight of a row that a query does not see

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> q: array<vec4<f32>>; // [tokens, heads, columns]
@group(0) @binding(2) var<storage, read> keys: array<vec2<u32>>; // read by cache_store/access.wgsl
@group(0) @binding(3) var<storage, read> values: array<vec2<u32>>;
@group(0) @binding(4) var<storage, read> spans: array<u32>; // [tokens, 2]
@group(0) @binding(5) var<storage, read_write> out: array<vec4<f32>>; // as q

var<workgroup> stage: array<vec4<f32>, ROOM>; // queries and keys [CHUNK, STRIDE], or values
var<workgroup> weights: array<vec4<f32>, 256>; // [ROWS, 8]: of four queries each
var<workgroup> partial: array<vec4<f32>, 64>; // [8, 8]
var<workgroup> seen: array<vec2<u32>, QUERIES>; // spans
var<workgroup> bounds: vec4<u32>; // first row of any and of all, end of all and of any
var<workgroup> next: u32; // row

// Vector at which query `n` of a kvHead begins, in q and out.
fn queryAt(n: u32, kvHead: u32) -> u32 {
  return ((n / p.group) * p.heads + kvHead * p.group + n % p.group) * p.columns;
}

// Where the bias of query `n` is.
fn placeAt(n: u32, kvHead: u32) -> vec2<i32> {
  let query = min(n, p.count - 1u);
  return placeOf(query / p.group, kvHead * p.group + query % p.group);
}

// What the spans have in common; one invocation.
fn findBounds() -> vec4<u32> {
  var result = vec4(0xffffffffu, 0u, 0xffffffffu, 0u);
  for (var i = 0u; i < QUERIES; i++) {
    let span = seen[i];
    result.z = min(result.z, span.y);
    if (span.x < span.y) {
      result = vec4(min(result.x, span.x), max(result.y, span.x), result.z, max(result.w, span.y));
    } else {
      result.z = 0u;
    }
  }
  return result;
}

// The first row from `row` on that any query sees; one invocation.
fn skip(row: u32) -> u32 {
  var result = 0xffffffffu;
  for (var i = 0u; i < QUERIES; i++) {
    if (seen[i].y > row && seen[i].x < seen[i].y) {
      result = min(result, max(row, seen[i].x));
    }
  }
  return result;
}

@compute @workgroup_size(LANES)
fn main(
  @builtin(workgroup_id) group: vec3<u32>,
  @builtin(local_invocation_index) lane: u32,
) {
  let kvHead = group.x;
  let start = group.y * QUERIES;
  let line = lane / 8u; // queries line, line + 8, …
  let column = lane % 8u; // rows, and vectors of the sums, column, column + 8, …
  if (lane < QUERIES) {
    let token = min(start + lane, p.count - 1u) / p.group;
    seen[lane] = vec2(spans[2u * token], spans[2u * token + 1u]);
  }
  workgroupBarrier();
  if (lane == 0u) {
    bounds = findBounds();
  }
  let limits = workgroupUniformLoad(&bounds);
  let isUnbroken = limits.y < limits.z; // a row that all see
  let firsts = vec4(seen[line].x, seen[line + 8u].x, seen[line + 16u].x, seen[line + 24u].x);
  let ends = vec4(seen[line].y, seen[line + 8u].y, seen[line + 16u].y, seen[line + 24u].y);
  let places = array(
    placeAt(start + line, kvHead),
    placeAt(start + line + 8u, kvHead),
    placeAt(start + line + 16u, kvHead),
    placeAt(start + line + 24u, kvHead),
  );
  let rowsHeld = QUERIES * 16u / p.columns; // of values, in `stage`

  var most = vec4(LOWEST);
  var sum = vec4(0.0); // of the weights of this invocation's rows
  var sums: array<vec4<f32>, SUMS>; // [4, PARTS]
  var tile = limits.x;
  while (tile < limits.w) {
    if (!isUnbroken) {
      if (lane == 0u) {
        next = skip(tile);
      }
      tile = workgroupUniformLoad(&next);
      if (tile >= limits.w) {
        break;
      }
    }
    let isWhole = tile >= limits.y && tile + ROWS <= limits.z; // all see all

    var scores = array<vec4<f32>, 4>(); // of rows column + 8 j
    for (var chunk = 0u; chunk < p.columns; chunk += CHUNK) {
      workgroupBarrier(); // what was in `stage` has been read
      let i = chunk + lane % CHUNK;
      for (var r = lane / CHUNK; r < QUERIES; r += LANES / CHUNK) {
        let to = lane % CHUNK * STRIDE + r;
        let n = min(start + r, p.count - 1u);
        let row = tile + r;
        var query = vec4(0.0);
        var key = vec4(0.0);
        if (i < p.columns) {
          query = q[queryAt(n, kvHead) + i];
          if (row < limits.w) {
            key = keyAt(row * p.keyRow + kvHead * p.keyHead, p.columns, i);
          }
        }
        stage[to] = query;
        stage[CHUNK * STRIDE + to] = key;
      }
      workgroupBarrier();
      for (var c = 0u; c < CHUNK; c++) {
        let place = c * STRIDE + line;
        let a = stage[place];
        let b = stage[place + 8u];
        let d = stage[place + 16u];
        let e = stage[place + 24u];
        for (var j = 0u; j < 4u; j++) {
          let key = stage[(CHUNK + c) * STRIDE + column + 8u * j];
          scores[j] += vec4(dot(a, key), dot(b, key), dot(d, key), dot(e, key));
        }
      }
    }

    var largest = most;
    for (var j = 0u; j < 4u; j++) {
      scores[j] *= p.scale;
      for (var i = 0u; i < 4u; i++) {
        scores[j][i] = adjusted(scores[j][i], places[i], tile + column + 8u * j);
      }
      if (!isWhole) {
        let row = vec4(tile + column + 8u * j);
        scores[j] = select(vec4(LOWEST), scores[j], (row >= firsts) & (row < ends));
      }
      largest = max(largest, scores[j]);
    }
    partial[column * 8u + line] = largest;
    workgroupBarrier();
    for (var c = 0u; c < 8u; c++) {
      largest = max(largest, partial[c * 8u + line]);
    }
    let keep = exp(most - largest);
    most = largest;
    sum *= keep;
    for (var j = 0u; j < 4u; j++) {
      let row = column + 8u * j;
      var weight = exp(scores[j] - most);
      if (isWhole) {
        sum += weight;
      } else {
        let rows = vec4(tile + row);
        let isSeen = (rows >= firsts) & (rows < ends);
        sum += select(vec4(0.0), weight, isSeen);
        weight = select(vec4(HIDDEN), weight, isSeen);
      }
      weights[row * 8u + line] = weight;
    }
    for (var part = 0u; part < PARTS; part++) {
      sums[part] *= keep.x;
      sums[PARTS + part] *= keep.y;
      sums[2u * PARTS + part] *= keep.z;
      sums[3u * PARTS + part] *= keep.w;
    }

    for (var base = 0u; base < ROWS; base += rowsHeld) {
      workgroupBarrier(); // the weights are there, and what was in `stage` has been read
      let held = min(rowsHeld, ROWS - base);
      for (var i = lane; i < held * p.columns; i += LANES) {
        let row = tile + base + i / p.columns;
        var value = vec4(0.0);
        if (row < limits.w) {
          value = valueAt(row * p.valueRow + kvHead * p.valueHead, p.columns, i % p.columns);
        }
        stage[i] = value;
      }
      workgroupBarrier();
      for (var r = 0u; r < held; r++) {
        let weight = weights[(base + r) * 8u + line];
        let place = r * p.columns + column;
        if (isWhole) {
          for (var part = 0u; part < PARTS; part++) {
            let value = stage[place + 8u * part];
            sums[part] += weight.x * value;
            sums[PARTS + part] += weight.y * value;
            sums[2u * PARTS + part] += weight.z * value;
            sums[3u * PARTS + part] += weight.w * value;
          }
        } else {
          // What a query does not see may be no number.
          let isSeen = weight != vec4(HIDDEN);
          for (var part = 0u; part < PARTS; part++) {
            let value = stage[place + 8u * part];
            sums[part] += select(vec4(0.0), weight.x * value, isSeen.x);
            sums[PARTS + part] += select(vec4(0.0), weight.y * value, isSeen.y);
            sums[2u * PARTS + part] += select(vec4(0.0), weight.z * value, isSeen.z);
            sums[3u * PARTS + part] += select(vec4(0.0), weight.w * value, isSeen.w);
          }
        }
      }
    }
    tile += ROWS;
  }

  workgroupBarrier();
  partial[column * 8u + line] = sum;
  workgroupBarrier();
  sum = vec4(0.0);
  for (var c = 0u; c < 8u; c++) {
    sum += partial[c * 8u + line];
  }
  for (var i = 0u; i < 4u; i++) {
    let n = start + line + 8u * i;
    let close = closing(most[i], sum[i], kvHead * p.group + n % p.group);
    for (var part = 0u; part < PARTS; part++) {
      let at = column + 8u * part;
      if (n < p.count && at < p.columns) {
        let value = sums[i * PARTS + part] * close.x / close.y;
        out[queryAt(n, kvHead) + at] = select(vec4(0.0), value, firsts[i] < ends[i]);
      }
    }
  }
}
