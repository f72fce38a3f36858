// Where sums go: bias, then what is done with another tensor of the shape of out.

const ADDED = 1u; // a residual
const GATE = 2u; // the gate of a gated unit

@group(0) @binding(5) var<storage, read> bias: array<f32>;
@group(0) @binding(6) var<storage, read> side: array<f32>;
@group(0) @binding(7) var<storage, read_write> out: array<f32>;

fn finish(token: u32, row: u32, sum: f32) {
  if (token >= p.tokens || row >= p.rows) {
    return;
  }
  let n = p.firstRow + row;
  let at = token * p.width + n;
  var value = sum;
  if (p.hasBias != 0u) {
    value += bias[n];
  }
  if (p.side == ADDED) {
    value += side[at];
  } else if (p.side == GATE) {
    value *= curve(GATE_KIND, side[at]);
  }
  out[at] = value;
}
