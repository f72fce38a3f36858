// A draw by temperature, top-k, top-p and min-p, as runtime/generation/sampler.ts makes it, from few candidates:
// they are sorted.

const MOST = 512u; // candidates
const BINS = 256u;

var<workgroup> bins: array<atomic<u32>, BINS>; // candidates by distance
var<workgroup> candidates: u32; // up to the bin of the topK-th
var<workgroup> lastBin: u32;
var<workgroup> listed: atomic<u32>;
var<workgroup> keys: array<u32, MOST>;
var<workgroup> tokens: array<u32, MOST>;
var<workgroup> weights: array<u32, MOST>; // in order
var<workgroup> sorted: array<u32, MOST>; // their ids
var<workgroup> latest: vec2<u32>;

// Counts the candidates up to a distance at which there are enough.
fn survey(seen: u32, lane: u32) {
  for (var i = lane; i < BINS; i += LANES) {
    atomicStore(&bins[i], 0u);
  }
  findBest(seen, lane);
  for (var i = lane; i < p.vocab; i += LANES) {
    let far = distanceOf(keyAt(i, seen));
    if (far < FAR) {
      atomicAdd(&bins[far >> 21u], 1u);
    }
  }
  workgroupBarrier();
  if (lane == 0u) {
    var upTo = 0u;
    var bin = 0u;
    for (; bin < BINS; bin++) {
      upTo += atomicLoad(&bins[bin]);
      if (upTo >= p.topK) {
        break;
      }
    }
    lastBin = bin;
    candidates = upTo;
    atomicStore(&listed, 0u);
  }
}

fn put(rank: u32, key: u32, token: u32) {
  let far = distanceOf(key);
  weights[rank] = weightOf(far);
  // What min-p excludes is marked; it counts for top-p.
  sorted[rank] = token | select(0u, 0x80000000u, far > p.farthest);
}

// Each candidate's place is the number of those before it.
fn sortList(count: u32, seen: u32, lane: u32) {
  for (var i = lane; i < p.vocab; i += LANES) {
    let key = keyAt(i, seen);
    let far = distanceOf(key);
    if (far < FAR && far >> 21u <= lastBin) {
      let at = atomicAdd(&listed, 1u);
      keys[at] = key;
      tokens[at] = i;
    }
  }
  workgroupBarrier();
  for (var c = lane; c < count; c += LANES) {
    var rank = 0u;
    for (var o = 0u; o < count; o++) {
      rank += select(0u, 1u, keys[o] > keys[c] || (keys[o] == keys[c] && tokens[o] < tokens[c]));
    }
    put(rank, keys[c], tokens[c]);
  }
}

fn isBefore(a: vec2<u32>, b: vec2<u32>) -> bool {
  return a.x > b.x || (a.x == b.x && a.y < b.y);
}

// One after another, where so many are equally likely that there is no room to sort them.
fn search(count: u32, seen: u32, lane: u32) {
  for (var c = 0u; c < count; c++) {
    let before = latest;
    var mine = vec2(0u, NONE);
    for (var i = lane; i < p.vocab; i += LANES) {
      let it = vec2(keyAt(i, seen), i);
      if ((c == 0u || isBefore(before, it)) && isBefore(it, mine)) {
        mine = it;
      }
    }
    partial[lane] = mine;
    workgroupBarrier();
    if (lane < 16u) {
      for (var i = lane + 16u; i < LANES; i += 16u) {
        if (isBefore(partial[i], mine)) {
          mine = partial[i];
        }
      }
      partial[lane] = mine;
    }
    workgroupBarrier();
    if (lane == 0u) {
      for (var i = 1u; i < 16u; i++) {
        if (isBefore(partial[i], mine)) {
          mine = partial[i];
        }
      }
      latest = mine;
      put(c, mine.x, mine.y);
    }
    workgroupBarrier();
  }
}

@compute @workgroup_size(LANES)
fn main(@builtin(local_invocation_index) lane: u32) {
  let seen = p.tokens + chosen[0];
  survey(seen, lane);
  let count = workgroupUniformLoad(&candidates);
  let most = min(count, min(p.topK, MOST));
  if (count <= MOST) {
    sortList(count, seen, lane);
  } else {
    search(most, seen, lane);
  }
  workgroupBarrier();
  if (lane > 0u) {
    return;
  }
  if (count == 0u || bestKey == BAD) {
    advance(NONE);
    return;
  }
  var total = vec2(0u);
  for (var i = 0u; i < most; i++) {
    total = plus(total, vec2(weights[i], 0u));
  }
  let enough = share(total, p.topP);
  var mass = vec2(weights[0], 0u);
  for (var i = 1u; i < most && sorted[i] < 0x80000000u && less(mass, enough); i++) {
    mass = plus(mass, vec2(weights[i], 0u));
  }
  let drawn = share(mass, uniformDraw(p.firstDraw + chosen[0]));
  var i = 0u;
  var passed = vec2(weights[0], 0u);
  while (i + 1u < most && !less(drawn, passed)) {
    i++;
    passed = plus(passed, vec2(weights[i], 0u));
  }
  advance(sorted[i]);
}
