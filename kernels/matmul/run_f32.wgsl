// What vector.wgsl multiplies, in f32: a run is eight activations, those of run j of a block.

struct Run {
  low: vec4<f32>,
  high: vec4<f32>,
  sum: f32,
  squares: f32, // before the gain
  factor: f32, // of the other fields but `squares`
}

fn runOf(token: u32, i: u32, shrink: f32) -> Run {
  let column = 32u * (i / 4u) + 4u * (i % 4u);
  let x = activations(token, i / 4u, i % 4u);
  var low = x.low;
  var high = x.high;
  var squares = 0.0;
  if (NORMED) {
    low *= shrink;
    high *= shrink;
    squares = dot(low, low) + dot(high, high);
    low *= fourGains(column);
    high *= fourGains(column + 16u);
  }
  return Run(low, high, dot(low + high, vec4(1.0)), squares, 1.0);
}

// A run times run j of a block of weights.
fn product(block: u32, j: u32, x: Run) -> f32 {
  let w = weights(block, j);
  let a = affine(block);
  let value = a.x * (dot(w.low, x.low) + dot(w.high, x.high));
  if (HAS_OFFSET) {
    return value + a.y * x.sum;
  }
  return value;
}
