// What all tiles of matmul share: their sizes, and where sums go.

override ROW_LANES: u32; // invocations along the rows
override ROW_QUADS: u32; // as many, or twice
override TOKEN_LANES: u32;

// Four rows by four tokens, a token to a column.
fn store(token: u32, row: u32, sums: mat4x4<f32>) {
  for (var t = 0u; t < 4u; t++) {
    for (var i = 0u; i < 4u; i++) {
      finish(token + t, row + i, sums[t][i]);
    }
  }
}
