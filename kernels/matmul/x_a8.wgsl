// Activations quantized to int8: a row is 8 words of four bytes for every block, then one f32 factor
// for every block (quantize_activations/webgpu.wgsl).

@group(0) @binding(3) var<storage, read> x: array<u32>;

// Run j of block b of a token.
fn activations(token: u32, b: u32, j: u32) -> Eight {
  let row = token * p.blocks * 9u;
  let d = bitcast<f32>(x[row + p.blocks * 8u + b]);
  let at = row + b * 8u + j;
  return Eight(d * vec4<f32>(unpack4xI8(x[at])), d * vec4<f32>(unpack4xI8(x[at + 4u])));
}
