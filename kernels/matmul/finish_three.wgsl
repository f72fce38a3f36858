// Where sums go when three weights lie one after another, and their biases: queries, keys, values.

@group(0) @binding(5) var<storage, read> bias: array<f32>; // of all rows
@group(0) @binding(6) var<storage, read_write> out0: array<f32>;
@group(0) @binding(7) var<storage, read_write> out1: array<f32>;
@group(0) @binding(8) var<storage, read_write> out2: array<f32>;

fn finish(token: u32, row: u32, sum: f32) {
  if (token >= p.tokens || row >= p.rows) {
    return;
  }
  var value = sum;
  if (p.hasBias != 0u) {
    value += bias[row];
  }
  if (row < p.end0) {
    out0[token * p.end0 + row] = value;
  } else if (row < p.end1) {
    out1[token * (p.end1 - p.end0) + row - p.end0] = value;
  } else {
    out2[token * (p.rows - p.end1) + row - p.end1] = value;
  }
}
