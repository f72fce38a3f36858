// The choice of a token from logits [vocab] as runtime/sampler.ts makes it, and the inputs of the run
// that follows: its id, its position and slot, which are one more, and its span. One workgroup.

struct Params {
  vocab: u32,
  window: u32, // rows that a token sees at most
  topK: u32, // 1 … 256
  temperature: f32,
  topP: f32,
  minP: f32,
  seedLow: u32,
  seedHigh: u32,
  firstDraw: u32,
}

override GREEDY: bool; // takes the largest logit

const NONE = 0xffffffffu; // no logit is a number
const LANES = 256u;
const MOST = 512u; // candidates

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> logits: array<u32>; // bits of floats
@group(0) @binding(2) var<storage, read_write> ids: array<u32>; // [1]
@group(0) @binding(3) var<storage, read_write> positions: array<u32>; // [1]
@group(0) @binding(4) var<storage, read_write> slots: array<u32>; // [1]
@group(0) @binding(5) var<storage, read_write> spans: array<u32>; // [1, 2]
@group(0) @binding(6) var<storage, read_write> chosen: array<u32>; // how many, then their ids

var<workgroup> bins: array<atomic<u32>, LANES>;
var<workgroup> prefix: u32; // of the k-th largest key
var<workgroup> wanted: u32; // candidates whose key is that one
var<workgroup> equal: u32; // keys that are that one
var<workgroup> kept: u32; // candidates in all: topK, or fewer where there are no more
var<workgroup> listed: atomic<u32>;
var<workgroup> keys: array<u32, MOST>;
var<workgroup> tokens: array<u32, MOST>;
var<workgroup> sortedKeys: array<u32, LANES>;
var<workgroup> sortedTokens: array<u32, LANES>;
var<workgroup> weights: array<f32, LANES>;

// Unsigned numbers in the order of the logits; 0 for NaN and -Infinity, which cannot be chosen.
fn keyOf(bits: u32) -> u32 {
  if ((bits & 0x7fffffffu) > 0x7f800000u || bits == 0xff800000u) {
    return 0u;
  }
  if (bits == 0x80000000u) {
    return 0x80000000u; // -0 is 0
  }
  return select(bits | 0x80000000u, ~bits, bits >= 0x80000000u);
}

fn valueOf(key: u32) -> f32 {
  return bitcast<f32>(select(~key, key & 0x7fffffffu, key >= 0x80000000u));
}

// Draw `counter` of the seed, as in runtime/random.ts (pcg3d, JCGT 9(3), 2020).
fn uniformDraw(counter: u32) -> f32 {
  var v = vec3(p.seedLow, counter, p.seedHigh) * 1664525u + 1013904223u;
  v.x += v.y * v.z;
  v.y += v.z * v.x;
  v.z += v.x * v.y;
  v ^= v >> vec3(16u);
  v.x += v.y * v.z;
  return f32(v.x >> 8u) / 16777216.0;
}

// Finds the k-th largest key, eight bits at a time.
fn findThreshold(lane: u32) {
  if (lane == 0u) {
    prefix = 0u;
    wanted = p.topK;
  }
  for (var digit = 0u; digit < 4u; digit++) {
    let shift = 24u - 8u * digit;
    atomicStore(&bins[lane], 0u);
    let known = workgroupUniformLoad(&prefix);
    for (var i = lane; i < p.vocab; i += LANES) {
      let key = keyOf(logits[i]);
      if (key != 0u && (((key ^ known) >> shift) >> 8u) == 0u) {
        atomicAdd(&bins[(key >> shift) & 255u], 1u);
      }
    }
    workgroupBarrier();
    if (lane == 0u) {
      if (digit == 0u) {
        var usable = 0u;
        for (var i = 0u; i < LANES; i++) {
          usable += atomicLoad(&bins[i]);
        }
        wanted = min(wanted, usable);
        kept = wanted;
      }
      var bin = 255u;
      while (bin > 0u && atomicLoad(&bins[bin]) < wanted) {
        wanted -= atomicLoad(&bins[bin]);
        bin--;
      }
      equal = atomicLoad(&bins[bin]);
      prefix = known | (bin << shift);
    }
    workgroupBarrier();
  }
}

fn list(i: u32, key: u32) {
  let at = atomicAdd(&listed, 1u);
  keys[at] = key;
  tokens[at] = i;
}

// Lists the candidates in any order. Of equal logits at the end, the first ones count: where they
// are too many to be listed and sorted, one invocation looks for the first.
fn gather(lane: u32) {
  if (lane == 0u) {
    atomicStore(&listed, 0u);
  }
  workgroupBarrier();
  let fits = kept - wanted + equal <= MOST;
  for (var i = lane; i < p.vocab; i += LANES) {
    let key = keyOf(logits[i]);
    if (key > prefix || (fits && key == prefix)) {
      list(i, key);
    }
  }
  workgroupBarrier();
  if (lane == 0u && !fits) {
    var missing = wanted;
    for (var i = 0u; i < p.vocab && missing > 0u; i++) {
      if (keyOf(logits[i]) == prefix) {
        list(i, prefix);
        missing--;
      }
    }
  }
  workgroupBarrier();
}

// Puts the candidates in order: by falling logit, then by id.
fn sort(lane: u32) {
  let count = atomicLoad(&listed);
  for (var c = lane; c < count; c += LANES) {
    var rank = 0u;
    for (var o = 0u; o < count; o++) {
      if (keys[o] > keys[c] || (keys[o] == keys[c] && tokens[o] < tokens[c])) {
        rank++;
      }
    }
    if (rank < kept) {
      sortedKeys[rank] = keys[c];
      sortedTokens[rank] = tokens[c];
    }
  }
  workgroupBarrier();
  if (lane < kept) {
    weights[lane] = exp((valueOf(sortedKeys[lane]) - valueOf(sortedKeys[0])) / p.temperature);
  }
  workgroupBarrier();
}

// By top-p, min-p and a draw; one invocation.
fn draw() -> u32 {
  var total = 0.0;
  for (var i = 0u; i < kept; i++) {
    total += weights[i];
  }
  var count = 0u;
  var mass = 0.0;
  while (count < kept && (count == 0u || mass < p.topP * total)) {
    if (weights[count] < p.minP * weights[0]) {
      break;
    }
    mass += weights[count];
    count++;
  }
  var left = uniformDraw(p.firstDraw + chosen[0]) * mass;
  for (var i = 0u; i < count; i++) {
    left -= weights[i];
    if (left < 0.0) {
      return sortedTokens[i];
    }
  }
  return sortedTokens[count - 1u];
}

// The largest logit, the first of equals.
fn findLargest(lane: u32) {
  var best = 0u;
  var token = NONE;
  for (var i = lane; i < p.vocab; i += LANES) {
    let key = keyOf(logits[i]);
    if (key > best) {
      best = key;
      token = i;
    }
  }
  keys[lane] = best;
  tokens[lane] = token;
  workgroupBarrier();
  // Sixteen invocations look at sixteen each, then one at those.
  reduceLargest(lane < 16u, lane, 16u);
  reduceLargest(lane == 0u, 0u, 1u);
}

fn reduceLargest(mine: bool, first: u32, step: u32) {
  if (mine) {
    for (var i = 1u; i < 16u; i++) {
      let other = first + i * step;
      if (keys[other] > keys[first] ||
          (keys[other] == keys[first] && tokens[other] < tokens[first])) {
        keys[first] = keys[other];
        tokens[first] = tokens[other];
      }
    }
  }
  workgroupBarrier();
}

@compute @workgroup_size(LANES)
fn main(@builtin(local_invocation_index) lane: u32) {
  if (GREEDY) {
    findLargest(lane);
  } else {
    findThreshold(lane);
    gather(lane);
    sort(lane);
  }
  if (lane > 0u) {
    return;
  }
  var token = tokens[0];
  if (!GREEDY) {
    token = NONE;
    if (kept > 0u) {
      token = draw();
    }
  }
  let count = chosen[0];
  chosen[0] = count + 1u;
  chosen[1u + count] = token;
  ids[0] = select(token, 0u, token == NONE);
  positions[0]++;
  slots[0]++;
  let end = spans[1] + 1u;
  spans[0] = max(spans[0], end - min(end, p.window));
  spans[1] = end;
}
