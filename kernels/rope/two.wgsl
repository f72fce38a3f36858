// What webgpu.wgsl reads and writes: two tensors, queries and keys as a rule.

@group(0) @binding(3) var<storage, read> x0: array<f32>;
@group(0) @binding(4) var<storage, read> x1: array<f32>;
@group(0) @binding(5) var<storage, read_write> out0: array<f32>;
@group(0) @binding(6) var<storage, read_write> out1: array<f32>;

fn elementOf(isSecond: bool, i: u32) -> f32 {
  if (isSecond) {
    return x1[i];
  }
  return x0[i];
}

fn store(isSecond: bool, i: u32, value: f32) {
  if (isSecond) {
    out1[i] = value;
  } else {
    out0[i] = value;
  }
}
