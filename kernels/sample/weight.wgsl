// Weights of tokens as in weight.ts, and a draw; for draw.wgsl and draw_all.wgsl. Candidates are in
// order of falling logit, then of id, and all that is decided are sums of their weights from the
// first one on. Weights are whole numbers, so that every order of adding gives the same.

const FAR = 0x20000000u;
const ONE = 0x80000000u;

var<workgroup> bestKey: u32;
var<workgroup> partial: array<vec2<u32>, LANES>;

fn valueOf(key: u32) -> f32 {
  return bitcast<f32>(select(~key, key & 0x7fffffffu, key >= 0x80000000u));
}

// Draw `counter` of the seed, as in runtime/random.ts (pcg3d, JCGT 9(3), 2020), in units of 2^-24.
fn uniformDraw(counter: u32) -> u32 {
  var v = vec3(p.seedLow, counter, p.seedHigh) * 1664525u + 1013904223u;
  v.x += v.y * v.z;
  v.y += v.z * v.x;
  v.z += v.x * v.y;
  v ^= v >> vec3(16u);
  v.x += v.y * v.z;
  return v.x >> 8u;
}

// Whole numbers of 64 bits: the low word first.

fn plus(a: vec2<u32>, b: vec2<u32>) -> vec2<u32> {
  let low = a.x + b.x;
  return vec2(low, a.y + b.y + select(0u, 1u, low < a.x));
}

fn minus(a: vec2<u32>, b: vec2<u32>) -> vec2<u32> {
  return vec2(a.x - b.x, a.y - b.y - select(0u, 1u, a.x < b.x));
}

fn less(a: vec2<u32>, b: vec2<u32>) -> bool {
  return a.y < b.y || (a.y == b.y && a.x < b.x);
}

fn product(a: u32, b: u32) -> vec2<u32> {
  let low = (a & 0xffffu) * (b & 0xffffu);
  let one = (a & 0xffffu) * (b >> 16u);
  let other = (a >> 16u) * (b & 0xffffu);
  let middle = (low >> 16u) + (one & 0xffffu) + (other & 0xffffu);
  let high = (a >> 16u) * (b >> 16u) + (one >> 16u) + (other >> 16u) + (middle >> 16u);
  return vec2((low & 0xffffu) | (middle << 16u), high);
}

// total · units / 2^24.
fn share(total: vec2<u32>, units: u32) -> vec2<u32> {
  let high = product((total.y << 8u) | (total.x >> 24u), units);
  let low = product(total.x & 0xffffffu, units);
  return plus(high, vec2((low.y << 8u) | (low.x >> 24u), 0u));
}

fn distanceOf(key: u32) -> u32 {
  if (key == 0u) {
    return FAR;
  }
  if (key == bestKey) {
    return 0u;
  }
  let octaves = (valueOf(bestKey) - valueOf(key)) * p.scale;
  if (octaves < 32.0) {
    return u32(octaves * 16777216.0);
  }
  return FAR;
}

fn weightOf(distance: u32) -> u32 {
  if (distance >= FAR) {
    return 0u;
  }
  let fraction = distance << 8u;
  var value = 246789u;
  value = 2773769u - product(value, fraction).y;
  value = 20609476u - product(value, fraction).y;
  value = 119183688u - product(value, fraction).y;
  value = 515881603u - product(value, fraction).y;
  value = 1488522224u - product(value, fraction).y;
  return (ONE - product(value, fraction).y) >> (distance >> 24u);
}

// Finds the best logit.
fn findBest(seen: u32, lane: u32) {
  var most = 0u;
  for (var i = lane; i < p.vocab; i += LANES) {
    most = max(most, keyAt(i, seen));
  }
  partial[lane].x = most;
  workgroupBarrier();
  if (lane == 0u) {
    for (var i = 1u; i < LANES; i++) {
      most = max(most, partial[i].x);
    }
    bestKey = most;
  }
  workgroupBarrier();
}
