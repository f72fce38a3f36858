// What attention does with scaled scores where it has a cap or a bias. BIAS is 0 where it has none, 1
// where all queries share a table, 2 where each has one.

override BIAS: u32;
override CAPPED: bool;

@group(0) @binding(6) var<storage, read> bias: array<f32>; // [heads, width] or [tokens, heads, width]
@group(0) @binding(7) var<storage, read> rows: array<i32>; // [tokens]: the cache row of each

// Where a query's table begins, and the column of cache row 0, which may be outside.
fn placeOf(token: u32, head: u32) -> vec2<i32> {
  if (BIAS == 0u) {
    return vec2(0);
  }
  let table = select(head, token * p.heads + head, BIAS == 2u);
  return vec2(i32(table) * p.width, p.center - rows[token]);
}

// The score of a cache row for the query of a place.
fn adjusted(score: f32, place: vec2<i32>, row: u32) -> f32 {
  var value = score;
  if (CAPPED) {
    value = p.softCap * hyperbolicTangent(value / p.softCap);
  }
  if (BIAS != 0u) {
    value += bias[place.x + clamp(i32(row) + place.y, 0, p.width - 1)];
  }
  return value;
}
