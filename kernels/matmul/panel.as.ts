// The sums of one panel of 16 rows: their start (zero or bias) and their way to the output.

/** Sets `sums` [count][16] to the bias of the panel's rows, or to zero where `bias` is 0. */
export function startSums(sums: usize, count: i32, bias: usize): void {
  let b0 = f32x4.splat(0);
  let b1 = b0;
  let b2 = b0;
  let b3 = b0;
  if (bias) {
    b0 = v128.load(bias);
    b1 = v128.load(bias, 16);
    b2 = v128.load(bias, 32);
    b3 = v128.load(bias, 48);
  }
  for (let t = 0; t <= count; t++) {
    v128.store(sums, b0);
    v128.store(sums, b1, 16);
    v128.store(sums, b2, 32);
    v128.store(sums, b3, 48);
    sums += 64;
  }
}

/** Writes `sums` [count][16] of panel `p` to `out`, whose rows are `rows` elements long. */
export function finishPanel(sums: usize, count: i32, out: usize, rows: i32, p: i32): void {
  const valid = min(rows - (p << 4), 16);
  for (let t = 0; t < count; t++) {
    if (valid == 16) {
      v128.store(out, v128.load(sums));
      v128.store(out, v128.load(sums, 16), 16);
      v128.store(out, v128.load(sums, 32), 32);
      v128.store(out, v128.load(sums, 48), 48);
    } else {
      for (let i = 0; i < valid; i++) store<f32>(out + (i << 2), load<f32>(sums + (i << 2)));
    }
    sums += 64;
    out += <usize> rows << 2;
  }
}
