// int5 weights, which fifths.wgsl reads: five words to a block, 32 fifth bits, then eight nibbles to
// each of four words, and a half d. Value d·(q − 16).

const HAS_OFFSET = true;
const CENTER = 16u; // between the values of q
const HAS_REST = false; // an offset from q − CENTER
const WORDS = 5u; // of a block
const FIFTHS = 0u; // the word of the fifth bits, before the nibbles
const SHARED = 1u; // blocks that a row is padded to a multiple of

@group(0) @binding(1) var<storage, read> quants: array<u32>;
@group(0) @binding(2) var<storage, read> scales: array<u32>; // two blocks to a word

// Factor and offset of the block's weights.
fn affine(block: u32) -> vec2<f32> {
  let d = unpack2x16float(scales[block / 2u])[block % 2u];
  return vec2(d, -16.0 * d);
}
