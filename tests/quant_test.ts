import { assert, assertAlmostEquals, assertEquals, assertThrows } from "@std/assert";
import { InputError, ModelError, ShapeError } from "../errors.ts";
import { packedBytes } from "../kernels/pack/layouts.ts";
import { planeRowBytes } from "../kernels/pack/planes.ts";
import {
  decodeRows,
  encodeRows,
  LAYOUT_NAMES,
  type LayoutName,
  LAYOUTS,
  rowBytes,
} from "../quant/formats.ts";
import { GGML_TYPES, ggmlType, LAYOUT_TYPES, tensorBlocks } from "../quant/ggml_types.ts";
import { transcoder } from "../quant/transcode.ts";
import { FIXTURES, normalNumbers, randomBlocks, randomNumbers } from "./fixtures.ts";

const GOLDEN = "golden/gguf-types/gguf-types.json";
const BLOCK_LAYOUTS = ["int8", "int4", "int4m"] as const;

interface GoldenType {
  ggmlType: number;
  name: string;
  blockSize: number;
  bytesPerBlock: number;
  data: string;
  decoded: string;
}

function readGolden(): { input: Float32Array; types: GoldenType[] } {
  const json = JSON.parse(Deno.readTextFileSync(new URL(GOLDEN, FIXTURES)));
  return { input: floats(json.input), types: json.types };
}

function floats(base64: string): Float32Array {
  return new Float32Array(Uint8Array.fromBase64(base64).buffer);
}

function bits(values: Float32Array): Uint32Array {
  return new Uint32Array(values.buffer, values.byteOffset, values.length);
}

function squaredError(a: Float32Array, b: Float32Array): number {
  return a.reduce((sum, value, i) => sum + (value - b[i]) ** 2, 0);
}

function roundTrip(layout: LayoutName, values: Float32Array): Float32Array {
  return decodeRows(
    LAYOUTS[layout],
    encodeRows(LAYOUTS[layout], values, values.length),
    values.length,
  );
}

Deno.test({
  name: "GGML_TYPES decode every golden type bit-exactly",
  fn() {
    const { types } = readGolden();
    const required = [
      ..."F32 F16 BF16 Q4_0 Q4_1 Q5_0 Q5_1 Q8_0 Q2_K Q3_K Q4_K Q5_K Q6_K IQ4_NL".split(" "),
      ..."TQ1_0 TQ2_0 MXFP4".split(" "),
    ];
    assertEquals(types.map((it) => it.name.toUpperCase()).sort(), required.sort());
    for (const golden of types) {
      const type = ggmlType(golden.name.toUpperCase())!;
      assertEquals(
        [type.id, type.blockSize, type.blockBytes],
        [golden.ggmlType, golden.blockSize, golden.bytesPerBlock],
      );
      const expected = floats(golden.decoded);
      const decoded = new Float32Array(expected.length);
      type.decode(Uint8Array.fromBase64(golden.data), decoded);
      assertEquals(bits(decoded), bits(expected), type.name);
    }
  },
});

Deno.test({
  name: "encode() is at least as close as the reference encoders",
  fn() {
    const { input, types } = readGolden();
    for (const layout of BLOCK_LAYOUTS) {
      const name = LAYOUT_TYPES[layout].toLowerCase();
      const reference = floats(types.find((it) => it.name === name)!.decoded);
      const ours = squaredError(roundTrip(layout, input), input);
      assert(ours <= squaredError(reference, input), layout);
    }
    for (const layout of ["f16", "bf16"] as const) {
      const golden = types.find((it) => it.name === layout)!;
      assertEquals(
        encodeRows(LAYOUTS[layout], input, input.length),
        Uint8Array.fromBase64(golden.data),
      );
    }
  },
});

Deno.test("encode() gives each element the nearest value of its block", () => {
  const random = randomNumbers(1);
  for (const scale of [1e-7, 1e-5, 1e-3, 1, 300]) {
    const values = normalNumbers(32 * 50, random).map((value) => value * scale);
    for (const name of BLOCK_LAYOUTS) {
      const layout = LAYOUTS[name];
      const packed = encodeRows(layout, values, 32);
      const decoded = decodeRows(layout, packed, 32);
      for (let block = 0; block < 50; block++) {
        // All values that this block's scale can express: its bytes with each code in turn.
        const header = packed.slice(block * layout.blockBytes, (block + 1) * layout.blockBytes);
        const codesAt = name === "int4m" ? 4 : 2;
        const reachable: number[] = [];
        for (let code = 0; code < 256; code++) {
          if (name === "int8" ? code === 128 : code > 15) continue;
          const one = new Float32Array(32);
          header.fill(code, codesAt);
          layout.decode(header, one);
          reachable.push(one[0]);
        }
        for (let i = block * 32; i < block * 32 + 32; i++) {
          const best = Math.min(...reachable.map((value) => Math.abs(value - values[i])));
          const got = Math.abs(decoded[i] - values[i]);
          assert(got <= best * (1 + 1e-6) + 1e-12, `${name} ${scale} [${i}]: ${got} > ${best}`);
        }
      }
    }
  }
});

Deno.test("encode() clips nothing, however small the block", () => {
  for (const scale of [6e-8, 1e-7, 3e-6, 1e-5, 1e-4, 1, 5e5]) {
    const values = Float32Array.from({ length: 32 }, (_, i) => scale * (i - 15.5) / 15.5);
    for (const name of ["int8", "int4"] as const) {
      const decoded = roundTrip(name, values);
      // A step is the scale that was stored: at least half of 2^-24, the smallest half.
      const step = Math.max(scale / (name === "int8" ? 127 : 8), 2 ** -24) * 1.001;
      values.forEach((value, i) =>
        assert(Math.abs(decoded[i] - value) <= step, `${name} ${scale}`)
      );
    }
  }
});

Deno.test("encode() keeps zeros, constants and what is already on its grid", () => {
  for (const name of LAYOUT_NAMES) {
    assertEquals(roundTrip(name, new Float32Array(32)), new Float32Array(32));
  }
  assertEquals(
    roundTrip("int4m", new Float32Array(32).fill(-1.5)),
    new Float32Array(32).fill(-1.5),
  );
  const grid = Float32Array.from({ length: 32 }, (_, i) => (i % 16 - 8) * 0.25);
  assertEquals(roundTrip("int4", grid), grid);
  assertEquals(roundTrip("int4m", grid), grid);
  const bytes = Float32Array.from({ length: 32 }, (_, i) => (i * 8 - 127) * 0.5);
  assertEquals(roundTrip("int8", bytes), bytes);
});

Deno.test("encode() rounds halves and bfloat16 to nearest even, keeps NaN and infinity", () => {
  const special = Float32Array.of(NaN, Infinity, -Infinity, -0, 1e-8, 65519);
  const halves = roundTrip("f16", special);
  assertEquals(halves, Float32Array.of(NaN, Infinity, -Infinity, -0, 0, 65504));
  assert(Object.is(halves[3], -0));
  const ties = Float32Array.of(NaN, Infinity, -Infinity, 1 + 2 ** -8, 1 + 3 * 2 ** -8, -0);
  assertEquals(
    roundTrip("bf16", ties),
    Float32Array.of(NaN, Infinity, -Infinity, 1, 1 + 2 ** -6, -0),
  );
});

Deno.test("encode() refuses what a layout cannot hold, naming element and value", () => {
  for (const bad of [NaN, Infinity, -Infinity]) {
    for (const name of BLOCK_LAYOUTS) {
      const values = new Float32Array(64).fill(1);
      values[40] = bad;
      assertThrows(() => roundTrip(name, values), InputError, `element 40 is ${bad}, not finite`);
    }
  }
  const values = new Float32Array(64).fill(1);
  values[33] = -(2 ** 30);
  for (const name of [...BLOCK_LAYOUTS, "f16"] as const) {
    assertThrows(() => roundTrip(name, values), InputError, "element 33 is -1073741824, too large");
  }
});

Deno.test("decode() and encode() refuse lengths that do not fit together", () => {
  for (const name of LAYOUT_NAMES) {
    const { blockSize, blockBytes, decode, encode } = LAYOUTS[name];
    const bytes = new Uint8Array(blockBytes * 2);
    const values = new Float32Array(blockSize * 2 + 1);
    assertThrows(() => decode(bytes, values), ShapeError, `Cannot decode ${name}`);
    assertThrows(() => encode(values, bytes), ShapeError, `Cannot encode ${name}`);
    assertThrows(() => decode(bytes.subarray(1), values.subarray(1)), ShapeError);
  }
  assertThrows(
    () => ggmlType("Q6_K")!.decode(new Uint8Array(210), new Float32Array(255)),
    ShapeError,
  );
});

Deno.test("encodeRows() pads each row with zeros to whole blocks", () => {
  const values = normalNumbers(3 * 40, randomNumbers(2));
  for (const name of LAYOUT_NAMES) {
    const layout = LAYOUTS[name];
    const packed = encodeRows(layout, values, 40);
    assertEquals(packed.length, 3 * rowBytes(layout, 40));
    assertEquals(rowBytes(layout, 40), Math.ceil(40 / layout.blockSize) * layout.blockBytes);
    const decoded = decodeRows(layout, packed, 40);
    assert(squaredError(decoded, values) / values.length < 0.01, name);
    for (let row = 0; row < 3; row++) {
      const padded = new Float32Array(Math.ceil(40 / layout.blockSize) * layout.blockSize);
      padded.set(values.subarray(row * 40, row * 40 + 40));
      const stride = rowBytes(layout, 40);
      assertEquals(
        encodeRows(layout, padded, padded.length),
        packed.slice(row * stride, (row + 1) * stride),
      );
    }
  }
});

Deno.test("decode() accepts bytes at any alignment", () => {
  const values = normalNumbers(64, randomNumbers(3));
  for (const name of LAYOUT_NAMES) {
    const layout = LAYOUTS[name];
    const packed = encodeRows(layout, values, 64);
    const shifted = new Uint8Array(packed.length + 1).subarray(1);
    encodeRows(layout, values, 64, shifted);
    assertEquals(shifted, packed);
    assertEquals(decodeRows(layout, shifted, 64), decodeRows(layout, packed, 64));
  }
});

Deno.test("transcoder() is exact where it says so, close elsewhere", () => {
  const random = randomNumbers(4);
  for (const type of GGML_TYPES) {
    const cols = type.blockSize === 1 ? 96 : 256;
    const bytes = randomBlocks(type.name, 4 * cols / type.blockSize, random);
    const expected = new Float32Array(4 * cols);
    type.decode(bytes, expected);
    for (const name of LAYOUT_NAMES) {
      const { rows, exact, identity } = transcoder(type.name, name);
      const packed = rows(bytes, cols);
      assertEquals(packed === bytes, identity);
      assertEquals(packed.length, 4 * rowBytes(LAYOUTS[name], cols));
      const decoded = decodeRows(LAYOUTS[name], packed, cols);
      if (exact) assertEquals(bits(decoded), bits(expected), `${type.name} to ${name}`);
      const energy = expected.reduce((sum, value) => sum + value * value, 0);
      const limit = name.startsWith("int4") ? 2e-2 : /^int[56]/.test(name) ? 5e-3 : 1e-4;
      const error = squaredError(decoded, expected) / energy;
      assert(error < limit, `${type.name} to ${name}: ${error}`);
    }
    assertEquals(transcoder(type.name, type.layout).exact, type.exact);
    assert(transcoder(type.name, "f32").exact);
  }
  for (const type of ["Q4_0", "Q5_0", "IQ4_NL"]) assert(transcoder(type, "int8").exact);
  for (const type of ["IQ4_NL", "Q5_0", "Q5_1", "Q4_K", "Q5_K", "Q6_K"]) {
    const { layout } = ggmlType(type)!;
    assert(transcoder(type, layout).identity);
    assertEquals(LAYOUTS[layout].blockBytes, ggmlType(type)!.blockBytes);
  }
  assert(!transcoder("Q4_K", "int4m").exact);
});

Deno.test("types that are layouts take the room of the file in memory, K-quants 3% more at most", () => {
  const [rows, cols] = [160, 1024];
  for (const [layout, name] of Object.entries(LAYOUT_TYPES) as [LayoutName, string][]) {
    const { blockSize, blockBytes } = ggmlType(name)!;
    const bytes = rows * cols / blockSize * blockBytes, headers = 16 * rows / 16;
    const packed = packedBytes(layout, rows, cols) - headers;
    const most = layout === "int4k" || layout === "int5k" ? 1.03 : 1;
    assert(packed <= most * bytes, `${layout}: ${packed} bytes, ${bytes} in the file`);
    const planes = planeRowBytes(layout, cols).reduce((sum, it) => sum + it, 0);
    assertEquals(rows * planes, bytes, layout);
  }
});

Deno.test("transcoder() keeps Q4_K codes, rounding only scales and minima", () => {
  const random = randomNumbers(5);
  const bytes = randomBlocks("Q4_K", 20, random);
  const expected = new Float32Array(20 * 256);
  ggmlType("Q4_K")!.decode(bytes, expected);
  const decoded = decodeRows(LAYOUTS.int4m, transcoder("Q4_K", "int4m").rows(bytes, 256), 256);
  for (let group = 0; group < expected.length; group += 32) {
    const part = expected.subarray(group, group + 32);
    const greatest = Math.max(...part.map(Math.abs));
    const spread = Math.max(...part) - Math.min(...part);
    part.forEach((value, i) =>
      assertAlmostEquals(decoded[group + i], value, (greatest + spread) * 2 ** -10)
    );
  }
});

Deno.test("transcoder() pads rows of float types that are no multiple of 32", () => {
  const values = normalNumbers(5 * 40, randomNumbers(6));
  for (const type of ["f32", "f16", "bf16"] as const) {
    const source = encodeRows(LAYOUTS[type], values, 40);
    for (const name of LAYOUT_NAMES) {
      const expected = encodeRows(LAYOUTS[name], decodeRows(LAYOUTS[type], source, 40), 40);
      assertEquals(transcoder(LAYOUT_TYPES[type], name).rows(source, 40), expected);
    }
  }
});

Deno.test("transcoder() refuses types, rows and values that it cannot convert", () => {
  assertEquals(tensorBlocks(17)?.name, "IQ2_XS");
  assertEquals(tensorBlocks(4), undefined);
  assertThrows(
    () => transcoder("IQ2_XS", "int8", 'tensor "a"'),
    ModelError,
    'Cannot use tensor "a": its type IQ2_XS is not supported, expected one of F32, F16',
  );
  const { rows } = transcoder("Q5_0", "int8", 'tensor "a"');
  assertThrows(() => rows(new Uint8Array(22), 40), ShapeError, 'tensor "a"');
  assertThrows(() => rows(new Uint8Array(23), 32), ShapeError, "23 bytes of Q5_0");
  const infinite = new Uint8Array(144);
  infinite[1] = 0x7c;
  infinite[4] = 1;
  for (const name of BLOCK_LAYOUTS) {
    const { rows } = transcoder("Q4_K", name, 'tensor "a"');
    assertThrows(() => rows(infinite, 256), ModelError, 'Cannot convert tensor "a" from Q4_K');
  }
});
