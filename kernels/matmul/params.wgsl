// What every product of matmul has: its parameters, and which function gates have.

struct Params {
  tokens: u32,
  columns: u32,
  blocks: u32, // of a row, 32 columns each
  rows: u32, // of the slice
  base: u32, // row of the planes where the slice begins
  firstRow: u32, // row of the weight where the slice begins
  width: u32, // of out
  hasBias: u32,
  side: u32, // what becomes of `side`: see finish.wgsl
  eps: f32, // of the norm of x
  up: u32, // row of the planes where the second matrix begins
  end0: u32, // rows of the slice where the outs of finish_three.wgsl end
  end1: u32,
}

@group(0) @binding(0) var<uniform> p: Params;

// Number of a gate's function in curves.wgsl.
override GATE_KIND: u32 = KIND_silu;
