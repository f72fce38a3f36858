// int4n weights: four words of eight nibbles to a block, and a half d. Value d times one of sixteen
// numbers.

const HAS_OFFSET = false;
const CENTER = 0u;
const HAS_REST = false;
const SHARED = 1u; // blocks that a row is padded to a multiple of

@group(0) @binding(1) var<storage, read> quants: array<u32>;
@group(0) @binding(2) var<storage, read> scales: array<u32>; // two blocks to a word

// The numbers of four codes in bytes. They are signed bytes of four words: -127, -104, -83, -65; -49,
// -35, -22, -10; 1, 13, 25, 38; 53, 69, 89, 113.
fn numbers(codes: u32) -> vec4<i32> {
  let q = unpack4xU8(codes);
  let low = select(vec4(0xbfad9881u), vec4(0xf6eaddcfu), (q & vec4(4u)) != vec4(0u));
  let high = select(vec4(0x26190d01u), vec4(0x71594535u), (q & vec4(4u)) != vec4(0u));
  let word = select(low, high, (q & vec4(8u)) != vec4(0u));
  return bitcast<vec4<i32>>(word << (vec4(24u) - 8u * (q & vec4(3u)))) >> vec4(24u);
}

fn weights(block: u32, j: u32) -> Eight {
  let word = quants[block * 4u + j];
  return Eight(
    vec4<real>(numbers(word & 0x0f0f0f0fu)),
    vec4<real>(numbers((word >> 4u) & 0x0f0f0f0fu)),
  );
}

// The same, as two words of four bytes.
fn packedWeights(block: u32, j: u32) -> vec2<u32> {
  let word = quants[block * 4u + j];
  return vec2(
    pack4xI8(numbers(word & 0x0f0f0f0fu)),
    pack4xI8(numbers((word >> 4u) & 0x0f0f0f0fu)),
  );
}

// Factor and offset of the block's weights.
fn affine(block: u32) -> vec2<f32> {
  return vec2(unpack2x16float(scales[block / 2u])[block % 2u], 0.0);
}
