// cacheStore into int8: every head of a row is its codes, four to a word, then a factor for each
// block of 32. One invocation for each block of each head of each token.

struct Params {
  count: u32, // blocks of all heads and tokens
  kvHeads: u32,
  headDim: u32,
  blocks: u32, // of a head
  rowWords: u32,
  headWords: u32,
}

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read_write> cache: array<u32>;
@group(0) @binding(2) var<storage, read> x: array<f32>; // [tokens, kvHeads, headDim]
@group(0) @binding(3) var<storage, read> rows: array<u32>;

const LARGEST = 3.4028234e38;
const LEAST_SCALE = 1.1754944e-38;

@compute @workgroup_size(64)
fn main(
  @builtin(workgroup_id) group: vec3<u32>,
  @builtin(num_workgroups) groups: vec3<u32>,
  @builtin(local_invocation_index) lane: u32,
) {
  let i = (group.y * groups.x + group.x) * 64u + lane;
  if (i >= p.count) {
    return;
  }
  let b = i % p.blocks;
  let head = i / p.blocks; // of all tokens
  let first = head * p.headDim + 32u * b;
  let count = min(32u, p.headDim - 32u * b);
  var most = 0.0;
  var finite = true;
  for (var k = 0u; k < count; k++) {
    let size = abs(x[first + k]);
    finite = finite && size <= LARGEST;
    most = max(most, size);
  }
  let scale = most / 127.0;
  let usable = finite && scale >= LEAST_SCALE;
  let inverse = 127.0 / most;
  let start = rows[head / p.kvHeads] * p.rowWords + head % p.kvHeads * p.headWords;
  // A block with an infinity or NaN is NaN throughout: its factor is, and the codes are 0.
  let factor = select(0u, bitcast<u32>(scale), usable);
  cache[start + (p.headDim + 3u) / 4u + b] = select(0x7fc00000u, factor, finite);
  for (var j = 0u; 4u * j < count; j++) {
    var codes = vec4(0.0);
    for (var k = 0u; k < 4u; k++) {
      if (usable && 4u * j + k < count) {
        codes[k] = round(x[first + 4u * j + k] * inverse); // halves to even
      }
    }
    cache[start + 8u * b + j] = pack4xI8(vec4<i32>(codes));
  }
}
