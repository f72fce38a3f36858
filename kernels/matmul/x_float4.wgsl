// Activations as f32 [tokens, columns], columns a multiple of 4.

@group(0) @binding(3) var<storage, read> x: array<vec4<f32>>;

fn fourOf(token: u32, column: u32) -> vec4<f32> {
  if (column >= p.columns) {
    return vec4(0.0);
  }
  return x[(token * p.columns + column) / 4u];
}

// Run j of block b of a token.
fn activations(token: u32, b: u32, j: u32) -> Eight {
  let column = 32u * b + 4u * j;
  return Eight(vec4<real>(fourOf(token, column)), vec4<real>(fourOf(token, column + 16u)));
}
