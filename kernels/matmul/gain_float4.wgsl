// The gain of a norm, columns a multiple of 4.

@group(0) @binding(4) var<storage, read> gain: array<vec4<f32>>;

fn fourGains(column: u32) -> vec4<f32> {
  return gain[min(column, p.columns - 4u) / 4u];
}
