// The largest logit, the first of equals.

var<workgroup> best: array<vec2<u32>, LANES>; // key, and how much is left of the vocabulary

fn larger(a: vec2<u32>, b: vec2<u32>) -> vec2<u32> {
  return select(a, b, b.x > a.x || (b.x == a.x && b.y > a.y));
}

@compute @workgroup_size(LANES)
fn main(@builtin(local_invocation_index) lane: u32) {
  let seen = p.tokens + chosen[0];
  var mine = vec2(0u, 0u);
  for (var i = lane; i < p.vocab; i += LANES) {
    mine = larger(mine, vec2(keyAt(i, seen), p.vocab - i));
  }
  best[lane] = mine;
  workgroupBarrier();
  // Some invocations look at some each, then one at those.
  const STEP = 16u;
  if (lane < STEP) {
    for (var i = lane + STEP; i < LANES; i += STEP) {
      mine = larger(mine, best[i]);
    }
    best[lane] = mine;
  }
  workgroupBarrier();
  if (lane == 0u) {
    for (var i = 1u; i < min(LANES, STEP); i++) {
      mine = larger(mine, best[i]);
    }
    advance(select(p.vocab - mine.y, NONE, mine.x == 0u || mine.x == BAD));
  }
}
