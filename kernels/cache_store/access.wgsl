// How shaders read the caches that cache_store/webgpu.ts lays out, where heads are multiples of four
// elements. A shader that includes this declares `keys` and `values` as array<vec2<u32>>. `start` is
// the word at which a head of a row begins, `columns` the vectors of four elements of a head, and
// the result the vector `i` of them.

override KEY_TYPE: u32; // index in CACHE_TYPES of op.ts
override VALUE_TYPE: u32;

const F16_CACHE = 1u;
const INT8_CACHE = 2u;

fn keyAt(start: u32, columns: u32, i: u32) -> vec4<f32> {
  if (KEY_TYPE == INT8_CACHE) {
    let code = start + i;
    let scale = start + columns + i / 8u;
    return bitcast<f32>(keys[scale / 2u][scale % 2u]) *
      vec4<f32>(unpack4xI8(keys[code / 2u][code % 2u]));
  }
  if (KEY_TYPE == F16_CACHE) {
    let pair = keys[start / 2u + i];
    return vec4(unpack2x16float(pair.x), unpack2x16float(pair.y));
  }
  let at = start / 2u + 2u * i;
  return bitcast<vec4<f32>>(vec4(keys[at], keys[at + 1u]));
}

fn valueAt(start: u32, columns: u32, i: u32) -> vec4<f32> {
  if (VALUE_TYPE == INT8_CACHE) {
    let code = start + i;
    let scale = start + columns + i / 8u;
    return bitcast<f32>(values[scale / 2u][scale % 2u]) *
      vec4<f32>(unpack4xI8(values[code / 2u][code % 2u]));
  }
  if (VALUE_TYPE == F16_CACHE) {
    let pair = values[start / 2u + i];
    return vec4(unpack2x16float(pair.x), unpack2x16float(pair.y));
  }
  let at = start / 2u + 2u * i;
  return bitcast<vec4<f32>>(vec4(values[at], values[at + 1u]));
}
