// What webgpu.wgsl reads and writes: one cache.

const COUNT = 1u;

@group(0) @binding(2) var<storage, read> x: array<u32>; // bits of floats
@group(0) @binding(3) var<storage, read_write> cache: array<u32>;

fn elementOf(which: u32, i: u32) -> u32 {
  return x[i];
}

fn store(which: u32, i: u32, word: u32) {
  cache[i] = word;
}
