// What greedy.wgsl and draw.wgsl share: reading logits [vocab], and the inputs of the run that
// follows: its id, and up to four others of one or two numbers each. One workgroup.

struct Params {
  vocab: u32,
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
  firstLess: f32, // what the first occurrence of a generated token takes from its logit
  laterLess: f32, // and each later one
}

override LANES: u32; // a power of two
override PENALTY: bool; // makes repeated tokens less likely
override OFFSETS: bool; // adds to the logits of single tokens
// How each of the four inputs goes on: what is added to its first number, and to its second one.
override FIRST_0: u32;
override FIRST_1: u32;
override FIRST_2: u32;
override FIRST_3: u32;
override SECOND_0: u32;
override SECOND_1: u32;
override SECOND_2: u32;
override SECOND_3: u32;
// Where it is not 0, the two numbers are a span, which is that long at most.
override SPAN_0: u32;
override SPAN_1: u32;
override SPAN_2: u32;
override SPAN_3: u32;

const NONE = 0xffffffffu; // no choice can be right
const BAD = 0xffffffffu; // key of NaN and Infinity: with one of them, no choice is made

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> logits: array<u32>; // bits of floats
@group(0) @binding(2) var<storage, read_write> ids: array<u32>; // [1]
@group(0) @binding(3) var<storage, read_write> input0: array<u32>; // [1] or [1, 2], as the others
@group(0) @binding(4) var<storage, read_write> input1: array<u32>;
@group(0) @binding(5) var<storage, read_write> input2: array<u32>;
@group(0) @binding(6) var<storage, read_write> input3: array<u32>;
@group(0) @binding(7) var<storage, read_write> chosen: array<u32>; // how many, then their ids
@group(0) @binding(8) var<storage, read_write> words: array<u32>; // [3, vocab], see sampleWords()

// Unsigned numbers in the order of the logits; 0 for -Infinity, which cannot be chosen.
fn keyOf(bits: u32) -> u32 {
  if ((bits & 0x7fffffffu) >= 0x7f800000u) {
    return select(BAD, 0u, bits == 0xff800000u);
  }
  if (bits == 0x80000000u) {
    return 0x80000000u; // -0 is 0
  }
  return select(bits | 0x80000000u, ~bits, bits >= 0x80000000u);
}

// The key of token `i`; `seen` is the number of tokens so far.
fn keyAt(i: u32, seen: u32) -> u32 {
  var bits = logits[i];
  if (OFFSETS && (bits & 0x7f800000u) != 0x7f800000u) {
    let offset = words[p.vocab + i];
    // By its bits, since a shader need not know infinity.
    if (offset == 0xff800000u) {
      return 0u;
    }
    bits = bitcast<u32>(bitcast<f32>(bits) + bitcast<f32>(offset));
  }
  if (PENALTY && words[i] > seen - min(seen, p.repeatWindow)) {
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
    words[token] = p.tokens + count + 1u;
  }
  if (OFFSETS && token != NONE) {
    let offset = p.vocab + token;
    let less = select(p.firstLess, p.laterLess, words[p.vocab + offset] > 0u);
    words[offset] = bitcast<u32>(bitcast<f32>(words[offset]) - less);
    words[p.vocab + offset] = 1u;
  }
  let a = next(input0[0], input0[1], FIRST_0, SECOND_0, SPAN_0);
  input0[0] = a.x;
  input0[1] = a.y;
  let b = next(input1[0], input1[1], FIRST_1, SECOND_1, SPAN_1);
  input1[0] = b.x;
  input1[1] = b.y;
  let c = next(input2[0], input2[1], FIRST_2, SECOND_2, SPAN_2);
  input2[0] = c.x;
  input2[1] = c.y;
  let d = next(input3[0], input3[1], FIRST_3, SECOND_3, SPAN_3);
  input3[0] = d.x;
  input3[1] = d.y;
}

// An input's two numbers for the next run; what lies behind the only number of an input is nobody's.
fn next(first: u32, second: u32, addFirst: u32, addSecond: u32, span: u32) -> vec2<u32> {
  let end = second + addSecond;
  let start = first + addFirst;
  return vec2(select(start, max(start, end - min(end, span)), span > 0u), end);
}
