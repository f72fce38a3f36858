// What webgpu.wgsl reads and writes: two caches, of keys and of values.

const COUNT = 2u;

@group(0) @binding(2) var<storage, read> x0: array<u32>; // bits of floats
@group(0) @binding(3) var<storage, read> x1: array<u32>;
@group(0) @binding(4) var<storage, read_write> cache0: array<u32>;
@group(0) @binding(5) var<storage, read_write> cache1: array<u32>;

fn elementOf(which: u32, i: u32) -> u32 {
  if (which == 0u) {
    return x0[i];
  }
  return x1[i];
}

fn store(which: u32, i: u32, word: u32) {
  if (which == 0u) {
    cache0[i] = word;
  } else {
    cache1[i] = word;
  }
}
