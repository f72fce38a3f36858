// The gain of a norm, columns of any number.

@group(0) @binding(4) var<storage, read> gain: array<f32>;

fn gainOf(column: u32) -> f32 {
  return gain[min(column, p.columns - 1u)];
}

fn fourGains(column: u32) -> vec4<f32> {
  return vec4(gainOf(column), gainOf(column + 1u), gainOf(column + 2u), gainOf(column + 3u));
}
