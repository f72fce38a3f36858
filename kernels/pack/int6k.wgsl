// int6k weights: 52 words to eight blocks, nibbles, pairs of bits, a signed byte s for each 16
// columns, and a half d. Value d·s·(q − 32), of which s·(q − 32) is a whole number below 2^13.

const HAS_OFFSET = false;
const CENTER = 0u;
const HAS_REST = false;
const SHARED = 8u; // blocks that a row is padded to a multiple of

@group(0) @binding(1) var<storage, read> quants: array<u32>;
@group(0) @binding(2) var<storage, read> scales: array<u32>; // of two times eight blocks to a word

// The codes q, two words of four bytes. Of each four blocks the first two are the low nibbles of 8
// words, the last two the high ones.
fn codes(block: u32, j: u32) -> vec2<u32> {
  let start = block / 8u * 52u;
  let part = block % 8u;
  let low = start + part / 4u * 16u + part % 2u * 8u + j;
  let high = start + 32u + part / 4u * 8u + j;
  let nibbles = vec2(quants[low], quants[low + 4u]) >> vec2(part / 2u % 2u * 4u);
  let pairs = vec2(quants[high], quants[high + 4u]) >> vec2(part % 4u * 2u);
  return (nibbles & vec2(0x0f0f0f0fu)) | ((pairs & vec2(0x03030303u)) << vec2(4u));
}

// The multiples of the block's two times 16 columns.
fn multiples(block: u32) -> vec2<f32> {
  let word = quants[block / 8u * 52u + 48u + block % 8u / 2u];
  let both = unpack4xI8(word);
  return vec2<f32>(select(both.xy, both.zw, block % 2u == 1u));
}

fn weights(block: u32, j: u32) -> Eight {
  let words = codes(block, j);
  let s = multiples(block);
  return Eight(
    vec4<real>((vec4<f32>(unpack4xU8(words.x)) - 32.0) * s.x),
    vec4<real>((vec4<f32>(unpack4xU8(words.y)) - 32.0) * s.y),
  );
}

// Factor and offset of the block's weights.
fn affine(block: u32) -> vec2<f32> {
  let group = block / 8u;
  return vec2(unpack2x16float(scales[group / 2u])[group % 2u], 0.0);
}
