// What vector.wgsl multiplies, in f16: as run_f32.wgsl, each run scaled so that its products, and the
// sum of the eight, are halves whatever the activations are.

struct Run {
  low: vec4<f16>,
  high: vec4<f16>,
  sum: f32,
  squares: f32, // before the gain
  factor: f32, // of the other fields but `squares`
}

const LARGEST = 3.4028234e38;
const LEAST = 0x1p-100;
const PARTS = 16.0; // eight products of one of these and the largest half sum up to a half

fn runOf(token: u32, i: u32, shrink: f32) -> Run {
  let column = 32u * (i / 4u) + 4u * (i % 4u);
  var low = fourOf(token, column);
  var high = fourOf(token, column + 16u);
  var squares = 0.0;
  if (NORMED) {
    low *= shrink;
    high *= shrink;
    squares = dot(low, low) + dot(high, high);
    low *= fourGains(column);
    high *= fourGains(column + 16u);
  }
  let sizes = max(abs(low), abs(high));
  let most = max(max(sizes.x, sizes.y), max(sizes.z, sizes.w));
  // Infinities stay what they are.
  let factor = select(1.0, max(most, LEAST), most <= LARGEST);
  low /= factor;
  high /= factor;
  let sum = dot(low + high, vec4(1.0));
  return Run(vec4<f16>(low / PARTS), vec4<f16>(high / PARTS), sum, squares, factor);
}

// A run times run j of a block of weights, whose offset is what f16 has no room for.
fn product(block: u32, j: u32, x: Run) -> f32 {
  var w = weights(block, j);
  let a = affine(block);
  if (CENTER != 0u) {
    w.low -= f16(CENTER);
    w.high -= f16(CENTER);
  }
  let value = a.x * (PARTS * f32(dot(w.low, x.low) + dot(w.high, x.high)));
  if (HAS_REST) {
    return value + (a.y + f32(CENTER) * a.x) * x.sum;
  }
  return value;
}
