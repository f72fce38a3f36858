// Activations that come normalized.

fn fourGains(column: u32) -> vec4<f32> {
  return vec4(1.0);
}
