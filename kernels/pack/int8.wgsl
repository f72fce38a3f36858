// int8 weights: eight words of four signed bytes to a block, and a half d. Value d·q.

const HAS_OFFSET = false;
const CENTER = 0u;
const HAS_REST = false;
const SHARED = 1u; // blocks that a row is padded to a multiple of

@group(0) @binding(1) var<storage, read> quants: array<u32>;
@group(0) @binding(2) var<storage, read> scales: array<u32>; // two blocks to a word

fn weights(block: u32, j: u32) -> Eight {
  let at = block * 8u + j;
  return Eight(vec4<real>(unpack4xI8(quants[at])), vec4<real>(unpack4xI8(quants[at + 4u])));
}

// The same, as two words of four bytes.
fn packedWeights(block: u32, j: u32) -> vec2<u32> {
  let at = block * 8u + j;
  return vec2(quants[at], quants[at + 4u]);
}

// Factor and offset of the block's weights.
fn affine(block: u32) -> vec2<f32> {
  return vec2(unpack2x16float(scales[block / 2u])[block % 2u], 0.0);
}
