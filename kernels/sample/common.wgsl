// What greedy.wgsl and draw.wgsl share: reading logits [vocab], and the inputs of the run that
// follows: its id, its position and slot, which are one more, and its span. One workgroup.

struct Params {
  vocab: u32,
  window: u32, // rows that a token sees at most
  topK: u32, // at least 1
  scale: f32, // octaves for one unit of a logit
  topP: u32, // in units of 2^-24
  farthest: u32, // by min-p
  seedLow: u32,
  seedHigh: u32,
  firstDraw: u32,
  more: f32, // factor of repeated tokens' negative logits
  less: f32, // of positive ones
  repeatWindow: u32,
  tokens: u32, // before the first choice of a submission
}

override LANES: u32; // a power of two
override PENALTY: bool; // makes repeated tokens less likely

const NONE = 0xffffffffu; // no logit is a number

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> logits: array<u32>; // bits of floats
@group(0) @binding(2) var<storage, read_write> ids: array<u32>; // [1]
@group(0) @binding(3) var<storage, read_write> positions: array<u32>; // [1]
@group(0) @binding(4) var<storage, read_write> slots: array<u32>; // [1]
@group(0) @binding(5) var<storage, read_write> spans: array<u32>; // [1, 2]
@group(0) @binding(6) var<storage, read_write> chosen: array<u32>; // how many, then their ids
@group(0) @binding(7) var<storage, read_write> last: array<u32>; // number of tokens up to its last one, by id

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

// The key of token `i`; `seen` is the number of tokens so far.
fn keyAt(i: u32, seen: u32) -> u32 {
  let bits = logits[i];
  if (PENALTY && last[i] > seen - min(seen, p.repeatWindow)) {
    let value = bitcast<f32>(bits);
    return keyOf(bitcast<u32>(value * select(p.more, p.less, value > 0.0)));
  }
  return keyOf(bits);
}

// Makes `token` the input of the next run; one invocation.
fn advance(token: u32) {
  let count = chosen[0];
  chosen[0] = count + 1u;
  chosen[1u + count] = token;
  ids[0] = select(token, 0u, token == NONE);
  if (PENALTY && token != NONE) {
    last[token] = p.tokens + count + 1u;
  }
  positions[0]++;
  slots[0]++;
  let end = spans[1] + 1u;
  spans[0] = max(spans[0], end - min(end, p.window));
  spans[1] = end;
}
