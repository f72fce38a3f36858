// What vector.wgsl multiplies, in bytes: runs of activations that are int8, four products at a time.

// A row is 8 words of four bytes for every block, then one f32 factor for every block.
@group(0) @binding(3) var<storage, read> x: array<u32>;

const ONES = 0x01010101u;

struct Run {
  bytes: vec2<u32>,
  sum: f32,
  squares: f32, // they come normalized
  factor: f32, // of the other fields
}

fn runOf(token: u32, i: u32, shrink: f32) -> Run {
  let b = i / 4u;
  let start = token * p.blocks * 9u;
  let at = start + b * 8u + i % 4u;
  let bytes = vec2(x[at], x[at + 4u]);
  let sum = f32(dot4I8Packed(bytes.x, ONES) + dot4I8Packed(bytes.y, ONES));
  return Run(bytes, sum, 0.0, bitcast<f32>(x[start + p.blocks * 8u + b]));
}

// A run times run j of a block of weights.
fn product(block: u32, j: u32, x: Run) -> f32 {
  let w = packedWeights(block, j);
  let a = affine(block);
  let value = a.x * f32(dot4I8Packed(w.x, x.bytes.x) + dot4I8Packed(w.y, x.bytes.y));
  if (HAS_OFFSET) {
    return value + a.y * x.sum;
  }
  return value;
}
