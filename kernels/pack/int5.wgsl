// int5 weights: five words to a block, 32 fifth bits, then eight nibbles to each of four words, and a
// half d. Value d·(q − 16).

const HAS_OFFSET = true;
const CENTER = 16u; // between the values of q
const HAS_REST = false; // an offset from q − CENTER
const SHARED = 1u; // blocks that a row is padded to a multiple of

@group(0) @binding(1) var<storage, read> quants: array<u32>;
@group(0) @binding(2) var<storage, read> scales: array<u32>; // two blocks to a word

// Four bits, each as the fifth of a byte.
fn fifths(bits: u32) -> u32 {
  return ((bits & 1u) << 4u) | ((bits & 2u) << 11u) | ((bits & 4u) << 18u) | ((bits & 8u) << 25u);
}

// Two words of four bytes.
fn packedWeights(block: u32, j: u32) -> vec2<u32> {
  let bits = quants[block * 5u] >> (4u * j);
  let word = quants[block * 5u + 1u + j];
  return vec2(
    (word & 0x0f0f0f0fu) | fifths(bits),
    ((word >> 4u) & 0x0f0f0f0fu) | fifths(bits >> 16u),
  );
}

fn weights(block: u32, j: u32) -> Eight {
  let words = packedWeights(block, j);
  return Eight(vec4<real>(unpack4xU8(words.x)), vec4<real>(unpack4xU8(words.y)));
}

// Factor and offset of the block's weights.
fn affine(block: u32) -> vec2<f32> {
  let d = unpack2x16float(scales[block / 2u])[block % 2u];
  return vec2(d, -16.0 * d);
}
