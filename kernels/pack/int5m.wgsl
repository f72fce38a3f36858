// int5m weights, which fifths.wgsl reads: six words to a block, halves d and m, 32 fifth bits, then
// eight nibbles to each of four words. Value d·q + m.

const HAS_OFFSET = true;
const CENTER = 16u; // between the values of q
const HAS_REST = true; // an offset from q − CENTER
const WORDS = 6u; // of a block
const FIFTHS = 1u; // the word of the fifth bits, before the nibbles
const SHARED = 1u; // blocks that a row is padded to a multiple of

@group(0) @binding(1) var<storage, read> quants: array<u32>;

// Factor and offset of the block's weights.
fn affine(block: u32) -> vec2<f32> {
  return unpack2x16float(quants[block * 6u]);
}
