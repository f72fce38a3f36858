// bf16 weights: eight pairs of words, four upper halves of floats each, to a block.

const HAS_OFFSET = false;
const CENTER = 0u;
const HAS_REST = false;
const SHARED = 1u; // blocks that a row is padded to a multiple of

@group(0) @binding(1) var<storage, read> values: array<vec2<u32>>;

fn four(words: vec2<u32>) -> vec4<f32> {
  let bits = vec4(words.x << 16u, words.x & 0xffff0000u, words.y << 16u, words.y & 0xffff0000u);
  return bitcast<vec4<f32>>(bits);
}

fn weights(block: u32, j: u32) -> Eight {
  let at = block * 8u + j;
  return Eight(four(values[at]), four(values[at + 4u]));
}

// Factor and offset of the block's weights.
fn affine(block: u32) -> vec2<f32> {
  return vec2(1.0, 0.0);
}
