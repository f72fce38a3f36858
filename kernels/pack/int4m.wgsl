// int4m weights: four words of eight nibbles to a block, and halves d and m. Value d·q + m.

const HAS_OFFSET = true;
const CENTER = 8u; // between the values of q
const HAS_REST = true; // an offset from q − CENTER
const SHARED = 1u; // blocks that a row is padded to a multiple of

@group(0) @binding(1) var<storage, read> quants: array<u32>;
@group(0) @binding(2) var<storage, read> scales: array<u32>; // d in the low half, m in the high

fn weights(block: u32, j: u32) -> Eight {
  let word = quants[block * 4u + j];
  return Eight(
    vec4<real>(unpack4xU8(word & 0x0f0f0f0fu)),
    vec4<real>(unpack4xU8((word >> 4u) & 0x0f0f0f0fu)),
  );
}

// The same, as two words of four bytes.
fn packedWeights(block: u32, j: u32) -> vec2<u32> {
  let word = quants[block * 4u + j];
  return vec2(word & 0x0f0f0f0fu, (word >> 4u) & 0x0f0f0f0fu);
}

// Factor and offset of the block's weights.
fn affine(block: u32) -> vec2<f32> {
  return unpack2x16float(scales[block]);
}
