// The same draw as draw.wgsl's from any number of candidates, without sorting: the one at which a sum
// is reached is found digit by digit. Three are: the last of topK, the last that top-p keeps, and the
// one that is drawn.

const BINS = 256u;

var<workgroup> bins: array<atomic<u32>, 768>; // [3, BINS]; a weight is divided between three
var<workgroup> coarse: array<vec2<u32>, 16>; // sums of 16 bins
var<workgroup> candidates: u32; // that weigh something
// Where `find` has got to.
var<workgroup> goal: vec2<u32>; // what is still to be passed
var<workgroup> foundBin: u32;
var<workgroup> foundKey: u32;
var<workgroup> foundDistance: u32;
var<workgroup> foundWeight: u32;

// a / b, which is less than 2^32; b at most 2^31.
fn quotient(a: vec2<u32>, b: u32) -> u32 {
  var rest = 0u;
  var result = 0u;
  for (var i = 0u; i < 64u; i++) {
    let word = select(a.x, a.y, i < 32u);
    rest = (rest << 1u) | ((word >> (31u - i % 32u)) & 1u);
    result <<= 1u;
    if (rest >= b) {
      rest -= b;
      result |= 1u;
    }
  }
  return result;
}

fn clearBins(lane: u32) {
  workgroupBarrier(); // they have been read
  for (var i = lane; i < 3u * BINS; i += LANES) {
    atomicStore(&bins[i], 0u);
  }
  workgroupBarrier();
}

fn binOf(bin: u32) -> vec2<u32> {
  let high = atomicLoad(&bins[2u * BINS + bin]);
  let middle = atomicLoad(&bins[BINS + bin]);
  return plus(
    plus(vec2(atomicLoad(&bins[bin]), 0u), vec2(middle << 11u, middle >> 21u)),
    vec2(high << 22u, high >> 10u),
  );
}

fn addToBin(bin: u32, amount: u32) {
  atomicAdd(&bins[bin], amount & 0x7ffu);
  if (amount > 0x7ffu) {
    atomicAdd(&bins[BINS + bin], (amount >> 11u) & 0x7ffu);
    atomicAdd(&bins[2u * BINS + bin], amount >> 22u);
  }
}

// The bin in which `goal` is passed; less what is before it. All invocations call it; one returns
// what is meant.
fn passBins(lane: u32) -> u32 {
  workgroupBarrier();
  if (lane < 16u) {
    var sum = vec2(0u);
    for (var i = 0u; i < 16u; i++) {
      sum = plus(sum, binOf(16u * lane + i));
    }
    coarse[lane] = sum;
  }
  workgroupBarrier();
  var bin = 0u;
  if (lane == 0u) {
    var left = goal;
    while (bin < 15u && !less(left, coarse[bin])) {
      left = minus(left, coarse[bin]);
      bin++;
    }
    bin *= 16u;
    for (var i = 0u; i < 15u; i++) {
      let amount = binOf(bin);
      if (less(left, amount)) {
        break;
      }
      left = minus(left, amount);
      bin++;
    }
    goal = left;
  }
  return bin;
}

// Finds the candidate at which `goal` is passed, by number or by weight: its key and weight, and in
// `goal` what is left among its equals. First by distance, whose upper bits divide what weighs
// anything evenly, then by the digits of the key's complement, whose order is the candidates'.
fn find(byWeight: bool, seen: u32, lane: u32) {
  if (lane == 0u) {
    foundKey = 0u;
  }
  for (var digit = 0u; digit < 5u; digit++) {
    let shift = 32u - 8u * max(digit, 1u);
    clearBins(lane);
    let known = foundKey;
    for (var i = lane; i < p.vocab; i += LANES) {
      let key = keyAt(i, seen);
      let far = distanceOf(key);
      var bin = far >> 21u;
      var isMeant = far < FAR;
      if (digit > 0u) {
        isMeant = isMeant && bin == foundBin && (((~key ^ known) >> shift) >> 8u) == 0u;
        bin = (~key >> shift) & 255u;
      }
      if (isMeant) {
        addToBin(bin, select(1u, weightOf(far), byWeight));
      }
    }
    let bin = passBins(lane);
    if (lane == 0u) {
      if (digit == 0u) {
        foundBin = bin;
      } else {
        foundKey |= bin << shift;
      }
    }
    workgroupBarrier();
  }
  if (lane == 0u) {
    foundKey = ~foundKey;
    foundDistance = distanceOf(foundKey);
    foundWeight = weightOf(foundDistance);
  }
  workgroupBarrier();
}

fn setGoal(value: vec2<u32>, lane: u32) {
  workgroupBarrier();
  if (lane == 0u) {
    goal = value;
  }
  workgroupBarrier();
}

// The sum over all invocations, for the first one.
fn sumOf(mine: vec2<u32>, lane: u32) -> vec2<u32> {
  workgroupBarrier();
  partial[lane] = mine;
  workgroupBarrier();
  var sum = vec2(0u);
  if (lane == 0u) {
    for (var i = 0u; i < LANES; i++) {
      sum = plus(sum, partial[i]);
    }
  }
  return sum;
}

// Whether there are fewer candidates than topK.
fn isFewerThanWanted(seen: u32, lane: u32) -> bool {
  var mine = 0u;
  for (var i = lane; i < p.vocab; i += LANES) {
    mine += select(0u, 1u, distanceOf(keyAt(i, seen)) < FAR);
  }
  let count = sumOf(vec2(mine, 0u), lane);
  if (lane == 0u) {
    candidates = count.x;
  }
  return workgroupUniformLoad(&candidates) < p.topK;
}

@compute @workgroup_size(LANES)
fn main(@builtin(local_invocation_index) lane: u32) {
  let seen = p.tokens + chosen[0];
  findBest(seen, lane);
  let isAll = isFewerThanWanted(seen, lane);
  var total = vec2(0u); // in the first invocation
  var mass = vec2(0u);
  var nearest = vec2(0u); // what min-p keeps
  setGoal(vec2(p.topK - 1u, 0u), lane);
  for (var step = select(0u, 1u, isAll); step < 3u; step++) {
    if (step == 1u) {
      let lastKey = select(foundKey, 0u, isAll);
      var weighed = vec2(0u);
      var near = vec2(0u);
      for (var i = lane; i < p.vocab; i += LANES) {
        let key = keyAt(i, seen);
        let far = distanceOf(key);
        if (key > lastKey) {
          let amount = vec2(weightOf(far), 0u);
          weighed = plus(weighed, amount);
          near = plus(near, select(vec2(0u), amount, far <= p.farthest));
        }
      }
      if (lane == 0u && !isAll) {
        let amount = product(foundWeight, goal.x + 1u); // those of its equals that are among topK
        weighed = plus(weighed, amount);
        near = plus(near, select(vec2(0u), amount, foundDistance <= p.farthest));
      }
      total = sumOf(weighed, lane);
      nearest = sumOf(near, lane);
    }
    if (step == 1u) {
      let enough = share(total, p.topP);
      let one = vec2(1u, 0u);
      mass = total;
      setGoal(minus(select(enough, one, less(enough, one)), one), lane);
    } else if (step == 2u) {
      if (less(nearest, mass)) {
        mass = nearest;
      }
      setGoal(share(mass, uniformDraw(p.firstDraw + chosen[0])), lane);
    }
    if (step != 1u || p.topP < 0x1000000u) {
      let wanted = goal;
      find(step > 0u, seen, lane);
      if (step == 1u && lane == 0u) {
        let each = product(foundWeight, quotient(goal, foundWeight) + 1u);
        mass = plus(minus(wanted, goal), each);
      }
    }
  }
  // Which of its equals, by id: each invocation counts those in a part of the vocabulary.
  let each = (p.vocab + LANES - 1u) / LANES;
  let start = min(p.vocab, lane * each);
  let end = min(p.vocab, start + each);
  var count = 0u;
  for (var i = start; i < end; i++) {
    count += select(0u, 1u, keyAt(i, seen) == foundKey);
  }
  partial[lane] = vec2(count, 0u);
  workgroupBarrier();
  if (lane > 0u) {
    return;
  }
  var token = NONE;
  var part = 0u;
  var left = quotient(goal, foundWeight);
  while (part < LANES - 1u && left >= partial[part].x) {
    left -= partial[part].x;
    part++;
  }
  for (var i = part * each; i < p.vocab && bestKey > 0u && bestKey != BAD; i++) {
    if (keyAt(i, seen) == foundKey) {
      if (left == 0u) {
        token = i;
        break;
      }
      left--;
    }
  }
  advance(token);
}
