// Counts the invocations whose subgroup is not what kernels/reduce_subgroups.wgsl takes it for: whole
// runs of successive invocations.

@group(0) @binding(0) var<storage, read_write> wrong: atomic<u32>;

@compute @workgroup_size(256)
fn main(@builtin(local_invocation_index) lane: u32) {
  let size = subgroupAdd(1u);
  let first = subgroupBroadcastFirst(lane);
  let sum = subgroupAdd(vec4(f32(lane)));
  let most = subgroupMax(f32(lane));
  let start = lane / size * size;
  let expected = f32(size * start + size * (size - 1u) / 2u);
  if (first != start || sum.w != expected || most != f32(start + size - 1u) || 256u % size != 0u) {
    atomicAdd(&wrong, 1u);
  }
}
