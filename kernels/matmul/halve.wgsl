// Activations as tile_half.wgsl takes them, normalized on the way if they have a gain: a block of 32
// columns is 16 words of two halves, of at most 1/64 and padded with zeros, then the greatest size and
// the sum of what they stand for. Products of 32 so small with any halves sum up to a half. One
// workgroup for each row.

struct Params {
  rows: u32,
  columns: u32,
  blocks: u32, // of a row
  isNormed: u32,
  eps: f32,
}

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> x: array<f32>;
@group(0) @binding(2) var<storage, read> gain: array<f32>;
@group(0) @binding(3) var<storage, read_write> out: array<vec2<u32>>;

const SMALL = 0x1p-80;
const LARGEST = 3.4028234e38;
const LEAST = 0x1p-100;
const PARTS = 64.0;

fn sumOfSquares(start: u32, factor: f32, lane: u32) -> f32 {
  var squares = 0.0;
  for (var i = lane; i < p.columns; i += WG) {
    let value = x[start + i] * factor;
    squares += value * value;
  }
  return sumOf(squares, lane);
}

// Bits of a half, which may be no number.
fn halfOf(value: f32) -> u32 {
  let bits = bitcast<u32>(value);
  if ((bits & 0x7fffffffu) >= 0x7f800000u) {
    return select(0x7c00u, 0x7e00u, (bits & 0x7fffffu) != 0u) | ((bits >> 16u) & 0x8000u);
  }
  return pack2x16float(vec2(clamp(value, -65504.0, 65504.0), 0.0));
}

@compute @workgroup_size(WG)
fn main(
  @builtin(workgroup_id) group: vec3<u32>,
  @builtin(num_workgroups) groups: vec3<u32>,
  @builtin(local_invocation_index) lane: u32,
) {
  let row = group.y * groups.x + group.x;
  if (row >= p.rows) {
    return;
  }
  let start = row * p.columns;
  var shrink = 1.0;
  var scale = 1.0;
  if (p.isNormed != 0u) {
    var squares = sumOfSquares(start, shrink, lane);
    if (!(squares < 1e37)) {
      shrink = SMALL; // squares of large numbers are not f32
      squares = sumOfSquares(start, shrink, lane);
    }
    scale = 1.0 / sqrt(squares / f32(p.columns) + p.eps * shrink * shrink);
  }
  for (var b = lane; b < p.blocks; b += WG) {
    var values: array<f32, 32>;
    var most = 0.0;
    var sum = 0.0;
    var isFinite = true;
    for (var i = 0u; i < 32u; i++) {
      let column = 32u * b + i;
      var value = 0.0;
      if (column < p.columns) {
        value = x[start + column];
        if (p.isNormed != 0u) {
          value = value * shrink * scale * gain[column];
        }
      }
      values[i] = value;
      sum += value;
      isFinite = isFinite && abs(value) <= LARGEST;
      most = max(most, abs(value));
    }
    let factor = select(1.0, max(most, LEAST), isFinite);
    let to = (row * p.blocks + b) * 9u;
    for (var i = 0u; i < 8u; i++) {
      var halves: array<u32, 4>;
      for (var k = 0u; k < 4u; k++) {
        halves[k] = halfOf(values[4u * i + k] / factor / PARTS) & 0xffffu;
      }
      out[to + i] = vec2(halves[0] | (halves[1] << 16u), halves[2] | (halves[3] << 16u));
    }
    out[to + 8u] = bitcast<vec2<u32>>(vec2(factor, sum));
  }
}
