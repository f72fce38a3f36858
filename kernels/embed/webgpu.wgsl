// embed: out[t] = table[ids[t]], for the ids in one slice of the table. One invocation for each
// eight elements: run j of block b of row t, as weights() and affine() of pack/<layout>.wgsl have it.

struct Params {
  tokens: u32,
  columns: u32,
  blocks: u32, // of a row
  firstId: u32, // of the slice
  rows: u32,
  tableId: u32, // id of the table's first row
  tableRows: u32, // ids of none of them give zeros
}

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(3) var<storage, read> ids: array<u32>;
@group(0) @binding(4) var<storage, read_write> out: array<f32>;

fn store(token: u32, column: u32, values: vec4<f32>) {
  for (var i = 0u; i < 4u; i++) {
    if (column + i < p.columns) {
      out[token * p.columns + column + i] = values[i];
    }
  }
}

@compute @workgroup_size(64)
fn main(
  @builtin(workgroup_id) group: vec3<u32>,
  @builtin(num_workgroups) groups: vec3<u32>,
  @builtin(local_invocation_index) lane: u32,
) {
  let i = (group.y * groups.x + group.x) * 64u + lane;
  let runs = p.blocks * 4u;
  let token = i / runs;
  if (token >= p.tokens) {
    return;
  }
  let b = i % runs / 4u;
  let j = i % 4u;
  let row = ids[token] - p.firstId; // wraps around for rows before the slice
  if (row >= p.rows) {
    if (ids[token] - p.tableId >= p.tableRows) {
      store(token, 32u * b + 4u * j, vec4(0.0));
      store(token, 32u * b + 4u * j + 16u, vec4(0.0));
    }
    return;
  }
  let block = blockAt(row, b, p.blocks);
  let w = weights(block, j);
  let a = affine(block);
  let column = 32u * b + 4u * j;
  if (HAS_OFFSET) {
    store(token, column, w.low * a.x + a.y);
    store(token, column + 16u, w.high * a.x + a.y);
  } else {
    store(token, column, w.low * a.x);
    store(token, column + 16u, w.high * a.x);
  }
}
