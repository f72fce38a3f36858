// Rows of a matrix to blocks: under importances, or by GPTQ (quant/gptq.ts).

import { AREA, BLOCK_CODES, GROUP_OFFSETS, GROUP_SCALES } from "./area.as";
import { blockBytes, blockSize, encodeBlock } from "./blocks.as";
import { levelOf, nearestCode, readScales, writeCodes } from "./codes.as";
import { multiplyTile } from "./multiply.as";
import { quickScale } from "./quick.as";

/** Encodes rows under importances `[columns]`; false where a half cannot hold a scale. */
export function encodeRows(
  type: i32,
  x: usize,
  w: usize,
  columns: i32,
  rows: i32,
  out: usize,
  area: usize,
): i32 {
  const size = blockSize(type);
  const bytes = <usize> blockBytes(type);
  for (let row = 0; row < rows; row++) {
    for (let first = 0; first < columns; first += size) {
      const at = <usize> first << 2;
      if (!encodeBlock(type, x + at, w + at, out, area)) return 0;
      out += bytes;
    }
    x += <usize> columns << 2;
  }
  return 1;
}

/**
 * Rounds rows (a multiple of 4, each of `n` f32, `stride` bytes apart) column by column. `upper`, in
 * panels (multiply.as.ts), and `importances` are those of an `ErrorFlow`; the rows are overwritten.
 * Behind `area`: errors `[rows, 256]`.
 */
export function gptqRows(
  type: i32,
  x: usize,
  stride: usize,
  n: i32,
  columns: i32,
  rows: i32,
  upper: usize,
  panelBytes: usize,
  importances: usize,
  out: usize,
  area: usize,
): i32 {
  const size = blockSize(type);
  const bytes = <usize> blockBytes(type);
  const rowBytes = <usize> (columns / size) * bytes;
  const errors = area + AREA;
  for (let first = 0; first < columns; first += size, out += bytes) {
    const end = first + size;
    for (let r = 0; r < rows; r++) {
      const row = x + <usize> r * stride;
      const at = <usize> first << 2;
      const block = out + <usize> r * rowBytes;
      if (!chooseScales(type, row + at, importances + at, block, area)) return 0;
      roundBlock(type, row, first, end, upper, panelBytes, block, errors + (<usize> r << 10), area);
    }
    // What lies behind the block is corrected once for all of it.
    for (let panel = end >> 3; panel < n >> 3; panel++) {
      const tile = upper + <usize> panel * panelBytes + (<usize> first << 5);
      const to = x + (<usize> panel << 5);
      for (let r = 0; r < rows; r += 4) {
        multiplyTile(errors + (<usize> r << 10), 1024, tile, size, to + <usize> r * stride, stride);
      }
    }
  }
  return 1;
}

/** Puts scales of a block into it; false where a half cannot hold one, or a number is none. */
function chooseScales(type: i32, x: usize, w: usize, block: usize, area: usize): bool {
  switch (type) {
    case 2: return quickScale(x, w, -8, 7, block, area);
    case 6: return quickScale(x, w, -16, 15, block, area);
    case 8: return quickScale(x, w, -127, 127, block, area);
    default: return encodeBlock(type, x, w, block, area);
  }
}

/** Chooses the codes of a block, each with the errors of those before; leaves minus the errors in `errors`. */
function roundBlock(
  type: i32,
  row: usize,
  first: i32,
  end: i32,
  upper: usize,
  panelBytes: usize,
  block: usize,
  errors: usize,
  area: usize,
): void {
  const group = readScales(type, block, area);
  for (let j = first; j < end; j++) {
    const g = <usize> ((j - first) / group) << 3;
    const scale = load<f64>(area + GROUP_SCALES + g);
    const offset = load<f64>(area + GROUP_OFFSETS + g);
    const place = row + (<usize> j << 2);
    const value = <f64> load<f32>(place);
    const code = nearestCode(type, scale != 0 ? (value - offset) / scale : 0);
    store<u8>(area + BLOCK_CODES + (j - first), code);
    let line = upper + <usize> (j >> 3) * panelBytes + (<usize> j << 5);
    const pivot = <f64> load<f32>(line + (<usize> (j & 7) << 2));
    const error = <f32> ((value - scale * levelOf(type, code) - offset) / pivot);
    store<f32>(errors + (<usize> (j - first) << 2), -error);
    // Columns before this one have zeros here; what becomes of its own number matters no more.
    const factor = f32x4.splat(error);
    for (let k = j & ~7; k < end; k += 8, line += panelBytes) {
      const to = row + (<usize> k << 2);
      v128.store(to, f32x4.sub(v128.load(to), f32x4.mul(factor, v128.load(line))));
      v128.store(to, f32x4.sub(v128.load(to, 16), f32x4.mul(factor, v128.load(line, 16))), 16);
    }
  }
  writeCodes(type, area + BLOCK_CODES, block);
}

/** Rows of `columns` numbers as rows of `n`, zeros behind, each column multiplied by its scale where there are some. */
export function spreadRows(
  values: usize,
  columns: i32,
  rows: i32,
  scales: usize,
  n: i32,
  out: usize,
): void {
  const width = <usize> columns << 2;
  const stride = <usize> n << 2;
  for (let row = 0; row < rows; row++, values += width, out += stride) {
    memory.copy(out, values, width);
    memory.fill(out + width, 0, stride - width);
    if (!scales) continue;
    for (let at: usize = 0; at < width; at += 4) {
      store<f32>(out + at, load<f32>(out + at) * load<f32>(scales + at));
    }
  }
}

/**
 * What rows lose where their columns were scaled before they were rounded to `rounded`: the sum of
 * size · (w − ŵ / scale)², `sizes` and `scales` `[columns]`, as f64 at `out`.
 */
export function foldedLoss(
  values: usize,
  rounded: usize,
  columns: i32,
  rows: i32,
  sizes: usize,
  scales: usize,
  out: usize,
): void {
  const width = <usize> columns << 2;
  let sum: f64 = 0;
  for (let row = 0; row < rows; row++, values += width, rounded += width) {
    for (let at: usize = 0; at < width; at += 4) {
      const scale = <f64> load<f32>(scales + at);
      const off = <f64> load<f32>(values + at) - <f64> load<f32>(rounded + at) / scale;
      sum += <f64> load<f32>(sizes + at) * off * off;
    }
  }
  store<f64>(out, sum);
}
