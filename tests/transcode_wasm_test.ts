/**
 * The kernel that converts a file's rows as they are loaded gives the very bytes of the TypeScript
 * conversion, which defines them.
 *
 * @module
 */

import { assert, assertEquals } from "@std/assert";
import { ModelError } from "../errors.ts";
import { LAYOUT_NUMBERS } from "../kernels/pack/wasm.ts";
import { type LayoutName, LAYOUTS, rowBytes } from "../quant/formats.ts";
import { GGML_TYPES, type GgmlType } from "../quant/ggml_types.ts";
import { transcoder } from "../quant/transcode.ts";
import { normalNumbers, randomBlocks, randomNumbers } from "./fixtures.ts";
import { Arena, BUILDS } from "./kernel_arena.ts";

/** Converts rows from an odd address to another; undefined where the kernel rejects a value. */
function convert(
  arena: Arena,
  type: GgmlType,
  layout: LayoutName,
  bytes: Uint8Array,
  rows: number,
  cols: number,
): Uint8Array | undefined {
  arena.clear();
  const shifted = new Uint8Array(1 + bytes.length);
  shifted.set(bytes, 1);
  const source = arena.put(shifted) + 1;
  const length = rows * rowBytes(LAYOUTS[layout], cols);
  const target = arena.alloc(length);
  const scratch = arena.alloc(4 * Math.ceil(cols / 32) * 32);
  const rejected = arena.put(new Int32Array(1));
  const { id, blockSize, blockBytes } = type;
  const fromBytes = cols / blockSize * blockBytes, toBytes = rowBytes(LAYOUTS[layout], cols);
  const form = [id, LAYOUT_NUMBERS[layout], fromBytes, toBytes];
  const args = [source, target, rows, cols, ...form, scratch, rejected];
  arena.run({ kernel: "transcode", args }, 1);
  if (arena.bytes(rejected, 1)[0] === 1) return undefined;
  return arena.bytes(target, length).slice();
}

/** What the definition gives for the same rows. */
function expected(
  type: GgmlType,
  layout: LayoutName,
  bytes: Uint8Array,
  cols: number,
): Uint8Array | undefined {
  try {
    return transcoder(type.name, layout).rows(bytes, cols);
  } catch (error) {
    assert(error instanceof ModelError, String(error));
    return undefined;
  }
}

/** Layouts that rows are converted to; of the finer ones only int6k, from Q3_K. */
const CONVERTED: readonly LayoutName[] = ["f32", "f16", "bf16", "int8", "int4", "int4m", "int6k"];

/** Layouts that rows of a type must be converted to; f32, where vectors are copied to, always. */
function conversions({ name }: GgmlType): LayoutName[] {
  return CONVERTED.filter((it) =>
    it === "int6k" ? name === "Q3_K" : it === "f32" || !transcoder(name, it).identity
  );
}

for (const build of BUILDS) {
  const arena = new Arena(build);

  for (const type of GGML_TYPES) {
    Deno.test(`transcode: ${type.name} becomes what the definition says (${build})`, () => {
      const random = randomNumbers(type.id + 1);
      for (const layout of conversions(type)) {
        for (const [rows, blocks] of [[1, 1], [3, 2], [16, 5]] as const) {
          const cols = type.blockSize === 1 ? 29 * blocks : type.blockSize * blocks;
          const count = rows * cols / type.blockSize;
          const bytes = randomBlocks(type.name, count, random);
          const found = convert(arena, type, layout, bytes, rows, cols);
          assertEquals(found, expected(type, layout, bytes, cols), `${layout} [${rows}, ${cols}]`);
        }
      }
    });

    Deno.test(`transcode: ${type.name} of any bytes is converted or refused (${build})`, () => {
      const random = randomNumbers(type.id + 100);
      const cols = Math.max(32, type.blockSize);
      const length = cols / type.blockSize * type.blockBytes;
      for (const layout of conversions(type)) {
        let refused = 0;
        for (let i = 0; i < 200; i++) {
          const bytes = Uint8Array.from({ length }, () => random() * 256);
          const found = convert(arena, type, layout, bytes, 1, cols);
          const wanted = expected(type, layout, bytes, cols);
          assertEquals(comparable(layout, found), comparable(layout, wanted), `${layout} ${bytes}`);
          if (!wanted) refused++;
        }
        assert(refused < 200 || type.blockSize === 1, `${layout}: all refused`);
      }
    });
  }

  Deno.test(`transcode: numbers at the edges of the layouts (${build})`, () => {
    const type = GGML_TYPES.find(({ name }) => name === "F32")!;
    const random = randomNumbers(9);
    const peaks = [0, 1e-45, 1e-38, 3e-6, 7.6e-6, 6e-5, 1, 65503, 65519, 65520, 5e5, 8.3e6, 3e38];
    for (const layout of conversions(type)) {
      for (const peak of [...peaks, Infinity, NaN]) {
        for (const sign of [1, -1]) {
          const values = normalNumbers(64, random).map((value) => value * Math.min(peak, 1e37) / 4);
          values[37] = sign * peak;
          const bytes = new Uint8Array(values.buffer);
          const found = convert(arena, type, layout, bytes, 1, 64);
          const wanted = expected(type, layout, bytes, 64);
          assertEquals(comparable(layout, found), comparable(layout, wanted), `${layout} ${peak}`);
        }
      }
    }
  });
}

/** Bytes, but every NaN of a float layout alike: which one comes out depends on the engine. */
function comparable(layout: LayoutName, bytes: Uint8Array | undefined): unknown {
  if (!bytes || LAYOUTS[layout].blockSize > 1) return bytes;
  const values = new Float32Array(bytes.length / LAYOUTS[layout].blockBytes);
  LAYOUTS[layout].decode(bytes, values);
  return Array.from(values, (value) => Object.is(value, -0) ? "-0" : value);
}
