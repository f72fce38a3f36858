// The sums of a few rows of a product: their start (zero or bias), what is added (a residual), and
// their way to the output.
// They lie in scratch memory as [tokens][width]; width is 16 or 32, of which the first `valid` are
// rows of the matrix.

/** Sets the sums of `count` tokens, and one to spare, to `bias` [valid], or zero if that is 0. */
export function startSums(sums: usize, count: i32, width: i32, bias: usize, valid: i32): void {
  for (let i = 0; i < width; i++) {
    store<f32>(sums + (i << 2), bias && i < valid ? load<f32>(bias + (i << 2)) : 0);
  }
  const bytes = <usize> width << 2;
  for (let t = 1; t <= count; t++) copyVectors(sums, sums + <usize> t * bytes, bytes);
}

/** Writes the sums to `out`, whose rows are `stride` bytes apart. */
export function finishSums(
  sums: usize,
  count: i32,
  width: i32,
  out: usize,
  stride: usize,
  valid: i32,
): void {
  const whole = valid & ~3;
  for (let t = 0; t < count; t++) {
    copyVectors(sums, out, <usize> whole << 2);
    for (let i = whole; i < valid; i++) store<f32>(out + (i << 2), load<f32>(sums + (i << 2)));
    sums += <usize> width << 2;
    out += stride;
  }
}

/** Adds rows at `from`, `stride` bytes apart, to the sums. */
export function addRows(
  sums: usize,
  count: i32,
  width: i32,
  from: usize,
  stride: usize,
  valid: i32,
): void {
  const whole = <usize> (valid & ~3) << 2;
  const end = <usize> valid << 2;
  for (let t = 0; t < count; t++) {
    for (let i: usize = 0; i < whole; i += 16) {
      v128.store(sums + i, f32x4.add(v128.load(sums + i), v128.load(from + i)));
    }
    for (let i = whole; i < end; i += 4) {
      store<f32>(sums + i, load<f32>(sums + i) + load<f32>(from + i));
    }
    sums += <usize> width << 2;
    from += stride;
  }
}

@inline
function copyVectors(from: usize, to: usize, bytes: usize): void {
  for (let i: usize = 0; i < bytes; i += 16) v128.store(to + i, v128.load(from + i));
}
