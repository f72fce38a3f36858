// matmul for few tokens: out[t, n] = Σk x[t, k]·weight[n, k], weight in one slice of rows; run_*.wgsl
// multiply, finish*.wgsl say where sums go. NORMED: x is normalized first; the root mean square is a
// factor of the whole sum, so that one reading of x yields both. GATED: a function of it times the product
// with a second matrix.
//
// A workgroup takes four rows and one token; its invocations divide the runs of eight columns. Bound
// by memory: successive invocations read successive words of every row, and each has two runs of all
// its rows under way, which is 32 (int4) to 256 (f32) bytes. 132 multiprocessors of 1024 such
// invocations keep 4 MiB in flight, where 3 TB/s at 600 ns need 2.

override NORMED: bool;
override GATED: bool;

const SMALL = 0x1p-80;

struct Sums {
  first: vec4<f32>, // four rows
  second: vec4<f32>, // of the second matrix
  squares: f32,
}

// Run i of four rows of the planes, from `base` on, times a run of activations.
fn fourRows(base: u32, row: u32, i: u32, x: Run) -> vec4<f32> {
  let last = p.rows - 1u;
  let b = i / 4u;
  let j = i % 4u;
  return x.factor * vec4(
    product(blockAt(base + row, b, p.blocks), j, x),
    product(blockAt(base + min(row + 1u, last), b, p.blocks), j, x),
    product(blockAt(base + min(row + 2u, last), b, p.blocks), j, x),
    product(blockAt(base + min(row + 3u, last), b, p.blocks), j, x),
  );
}

fn sumsOf(row: u32, token: u32, lane: u32, shrink: f32) -> Sums {
  var sums: Sums;
  let runs = p.blocks * 4u;
  for (var i = lane; i < runs; i += 2u * WG) {
    // Both are read before either is needed; the second may be none.
    let isTwo = i + WG < runs;
    let k = select(i, i + WG, isTwo);
    let x = runOf(token, i, shrink);
    let y = runOf(token, k, shrink);
    let first = fourRows(p.base, row, i, x);
    let second = fourRows(p.base, row, k, y);
    sums.first += first + select(vec4(0.0), second, isTwo);
    if (GATED) {
      let first = fourRows(p.up, row, i, x);
      let second = fourRows(p.up, row, k, y);
      sums.second += first + select(vec4(0.0), second, isTwo);
    }
    if (NORMED) {
      sums.squares += x.squares + select(0.0, y.squares, isTwo);
    }
  }
  return sums;
}

@compute @workgroup_size(WG)
fn main(
  @builtin(workgroup_id) group: vec3<u32>,
  @builtin(local_invocation_index) lane: u32,
) {
  let row = group.x * 4u;
  let token = group.y;
  var sums = sumsOf(row, token, lane, 1.0);
  var scale = 1.0;
  if (NORMED) {
    var shrink = 1.0;
    var squares = sumOf(sums.squares, lane);
    if (!(squares < 1e37)) {
      shrink = SMALL; // squares of large numbers are not f32
      sums = sumsOf(row, token, lane, shrink);
      squares = sumOf(sums.squares, lane);
    }
    scale = 1.0 / sqrt(squares / f32(p.columns) + p.eps * shrink * shrink);
  }
  let first = scale * sumOf4(sums.first, lane);
  if (GATED) {
    let second = scale * sumOf4(sums.second, lane);
    if (lane < 4u) {
      finish(token, row + lane, curve(GATE_KIND, first[lane]) * second[lane]);
    }
  } else if (lane < 4u) {
    finish(token, row + lane, first[lane]);
  }
}
