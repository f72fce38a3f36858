// Activations as f32 [tokens, columns], columns of any number.

@group(0) @binding(3) var<storage, read> x: array<f32>;

fn element(token: u32, column: u32) -> f32 {
  if (column >= p.columns) {
    return 0.0;
  }
  return x[token * p.columns + column];
}

fn fourOf(token: u32, column: u32) -> vec4<f32> {
  return vec4(
    element(token, column),
    element(token, column + 1u),
    element(token, column + 2u),
    element(token, column + 3u),
  );
}

// Run j of block b of a token.
fn activations(token: u32, b: u32, j: u32) -> Eight {
  let column = 32u * b + 4u * j;
  return Eight(vec4<real>(fourOf(token, column)), vec4<real>(fourOf(token, column + 16u)));
}
