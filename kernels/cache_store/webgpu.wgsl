// cacheStore: cache[rows[t]] = x[t]; x [tokens, width], a row of the cache `words` 32-bit words: as
// many floats, or halves two to a word. One invocation for each word; one.wgsl and two.wgsl say what
// x and the cache are.

struct Params {
  tokens: u32,
  width: u32,
  words: u32,
}

override HALF: bool;

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> rows: array<u32>;

// A float's bits as a half's: to nearest, ties to even; too large becomes infinity. pack2x16float
// promises neither.
fn halfBits(float: u32) -> u32 {
  let sign = (float >> 16u) & 0x8000u;
  let bits = float & 0x7fffffffu;
  if (bits > 0x7f800000u) {
    return sign | 0x7e00u; // NaN
  }
  if (bits >= 0x477ff000u) {
    return sign | 0x7c00u; // from 65520 on
  }
  if (bits < 0x33000000u) {
    return sign; // below half the least subnormal
  }
  if (bits < 0x38800000u) {
    // Subnormal: the mantissa with its leading 1, shifted to units of 2^-24.
    let mantissa = (bits & 0x7fffffu) | 0x800000u;
    let shift = 126u - (bits >> 23u);
    let half = mantissa >> shift;
    let rest = mantissa & ((1u << shift) - 1u);
    let tie = 1u << (shift - 1u);
    return sign | (half + select(0u, 1u, rest > tie || (rest == tie && (half & 1u) == 1u)));
  }
  // Round at bit 13 and move the exponent's bias from 127 to 15.
  return sign | ((bits + 0xfffu + ((bits >> 13u) & 1u) - 0x38000000u) >> 13u);
}

fn bitsAt(which: u32, row: u32, column: u32) -> u32 {
  if (column >= p.width) {
    return 0u;
  }
  return elementOf(which, row * p.width + column);
}

@compute @workgroup_size(256)
fn main(
  @builtin(workgroup_id) group: vec3<u32>,
  @builtin(num_workgroups) groups: vec3<u32>,
  @builtin(local_invocation_index) lane: u32,
) {
  let i = (group.y * groups.x + group.x) * 256u + lane;
  let which = i / p.words / p.tokens; // of two
  if (which >= COUNT) {
    return;
  }
  let token = i / p.words % p.tokens;
  let word = i % p.words;
  let at = rows[token] * p.words + word;
  if (HALF) {
    let low = halfBits(bitsAt(which, token, 2u * word));
    store(which, at, low | (halfBits(bitsAt(which, token, 2u * word + 1u)) << 16u));
  } else {
    store(which, at, bitsAt(which, token, word));
  }
}
