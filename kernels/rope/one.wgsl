// What webgpu.wgsl reads and writes: one tensor.

@group(0) @binding(3) var<storage, read> x: array<f32>;
@group(0) @binding(4) var<storage, read_write> out: array<f32>;

fn elementOf(isSecond: bool, i: u32) -> f32 {
  return x[i];
}

fn store(isSecond: bool, i: u32, value: f32) {
  out[i] = value;
}
