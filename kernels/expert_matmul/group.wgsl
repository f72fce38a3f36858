// The pairs of a token and an expert, grouped by expert: every group begins at a multiple of `tile`,
// and what is left over at its end is NONE. Pairs without an expert are a group behind the others. One workgroup does it all, by a counting sort.

struct Params {
  pairs: u32,
  tile: u32,
  places: u32, // of the list
  experts: u32,
}

const NONE = 0xffffffffu;

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> chosen: array<u32>;
@group(0) @binding(2) var<storage, read_write> list: array<u32>;

// Members of each group, then its next free place; as many as every device has memory for.
var<workgroup> places: array<atomic<u32>, 4096>;

@compute @workgroup_size(256)
fn main(@builtin(local_invocation_index) lane: u32) {
  for (var i = lane; i < p.places; i += 256u) {
    list[i] = NONE;
  }
  for (var i = lane; i <= p.experts; i += 256u) {
    atomicStore(&places[i], 0u);
  }
  workgroupBarrier();
  for (var pair = lane; pair < p.pairs; pair += 256u) {
    atomicAdd(&places[min(chosen[pair], p.experts)], 1u);
  }
  workgroupBarrier();
  if (lane == 0u) {
    var next = 0u;
    for (var i = 0u; i <= p.experts; i++) {
      let members = atomicLoad(&places[i]);
      atomicStore(&places[i], next);
      next += (members + p.tile - 1u) / p.tile * p.tile;
    }
  }
  workgroupBarrier();
  storageBarrier();
  for (var pair = lane; pair < p.pairs; pair += 256u) {
    list[atomicAdd(&places[min(chosen[pair], p.experts)], 1u)] = pair;
  }
}
