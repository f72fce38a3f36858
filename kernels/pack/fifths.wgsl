// Reads codes of five bits: a word of fifth bits, then eight nibbles to each of four words.

// Four bits, each as the fifth of a byte.
fn fifths(bits: u32) -> u32 {
  return ((bits & 1u) << 4u) | ((bits & 2u) << 11u) | ((bits & 4u) << 18u) | ((bits & 8u) << 25u);
}

// Two words of four bytes.
fn packedWeights(block: u32, j: u32) -> vec2<u32> {
  let first = block * WORDS + FIFTHS;
  let bits = quants[first] >> (4u * j);
  let word = quants[first + 1u + j];
  return vec2(
    (word & 0x0f0f0f0fu) | fifths(bits),
    ((word >> 4u) & 0x0f0f0f0fu) | fifths(bits >> 16u),
  );
}

fn weights(block: u32, j: u32) -> Eight {
  let words = packedWeights(block, j);
  return Eight(vec4<real>(unpack4xU8(words.x)), vec4<real>(unpack4xU8(words.y)));
}
