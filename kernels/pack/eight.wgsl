// Two runs of four elements of a weight or an activation: in block b of 32, run j of 0 … 3 is
// elements 4j … and 16 + 4j …, because that is what a word of int4 nibbles holds.
struct Eight {
  low: vec4<real>,
  high: vec4<real>,
}

// Number of block b of a row that has `blocks` of them, in the planes of a weight.
fn blockAt(row: u32, b: u32, blocks: u32) -> u32 {
  return row * ((blocks + SHARED - 1u) / SHARED * SHARED) + b;
}
