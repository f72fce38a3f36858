// int4k and int5k weights: 36 or 44 words to eight blocks, halves d and dmin, six-bit s and m of each
// block, fifth bits of int5k, nibbles. Value d·s·q − dmin·m.

const HAS_OFFSET = true;
const HAS_REST = true; // an offset from q − CENTER
const SHARED = 8u; // blocks that a row is padded to a multiple of

@group(0) @binding(1) var<storage, read> quants: array<u32>;

// Two words of four bytes. Blocks 2i and 2i + 1 of eight are the low and the high nibbles of 8 words.
fn packedWeights(block: u32, j: u32) -> vec2<u32> {
  let start = block / 8u * WORDS;
  let part = block % 8u;
  let at = start + WORDS - 32u + part / 2u * 8u + j;
  let shift = part % 2u * 4u;
  var words = (vec2(quants[at], quants[at + 4u]) >> vec2(shift)) & vec2(0x0f0f0f0fu);
  if (HAS_FIFTHS) {
    let bits = vec2(quants[start + 4u + j], quants[start + 8u + j]) >> vec2(part);
    words |= (bits & vec2(0x01010101u)) << vec2(4u);
  }
  return words;
}

fn weights(block: u32, j: u32) -> Eight {
  let words = packedWeights(block, j);
  return Eight(vec4<real>(unpack4xU8(words.x)), vec4<real>(unpack4xU8(words.y)));
}

// Factor and offset of the block's weights.
fn affine(block: u32) -> vec2<f32> {
  let start = block / 8u * WORDS;
  let shift = block % 4u * 8u;
  let scales = quants[start + 1u] >> shift;
  let minima = quants[start + 2u] >> shift;
  let rest = quants[start + 3u] >> shift;
  var multiples = vec2(scales & 63u, minima & 63u);
  if (block % 8u >= 4u) {
    multiples = vec2(
      (rest & 15u) | ((scales >> 2u) & 48u),
      ((rest >> 4u) & 15u) | ((minima >> 2u) & 48u),
    );
  }
  return unpack2x16float(quants[start]) * vec2<f32>(multiples) * vec2(1.0, -1.0);
}
