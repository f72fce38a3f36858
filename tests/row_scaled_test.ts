/** Matrices of codes with a scale for each row, as ChatGLM-6B's quantized checkpoints have them. */

import { assert, assertEquals, assertRejects, assertStringIncludes } from "@std/assert";
import { ModelError } from "../errors.ts";
import { loadModel, type WeightsOption } from "../mod.ts";
import { decodeRows, encodeRows, type LayoutName, LAYOUTS } from "../quant/formats.ts";
import { loadWeights } from "../runtime/engine/load_weights.ts";
import { keptMatrix, matrix } from "../runtime/models/weight_spec.ts";
import { openModelFile } from "../runtime/files/open.ts";
import { readVector, resolveWeights } from "../runtime/models/weights.ts";
import { FIXTURES } from "./fixtures.ts";
import { bytesOf, dict, openTorch, pickle, tensor, torchZip } from "./torch_files.ts";

function decodeLayout(layout: LayoutName, bytes: Uint8Array, columns: number): Float32Array {
  return decodeRows(LAYOUTS[layout], bytes, columns);
}

Deno.test("codes with a scale for each row keep their values in a layout that can hold them", async () => {
  for (const columns of [48, 64]) {
    for (const bits of [8, 4]) {
      const rows = 32, width = columns * bits / 8;
      const random = (i: number): number => (i * 2654435761 >>> 7) & 255;
      const codes = Uint8Array.from({ length: rows * width }, (_, i) => random(i + 1));
      const scales = Float16Array.from(
        { length: rows },
        (_, i) => (i + 1) / 256 * (i % 2 ? 1 : -1),
      );
      const expected = Float32Array.from({ length: rows * columns }, (_, at) => {
        const row = Math.floor(at / columns), column = at % columns;
        const byte = codes[row * width + (bits === 8 ? column : column >> 1)]!;
        const nibble = column % 2 === 0 ? byte >> 4 : byte & 15;
        const code = bits === 8 ? byte << 24 >> 24 : nibble < 8 ? nibble : nibble - 16;
        return code * scales[row]!;
      });
      const state = dict({
        w: tensor({
          kind: "Char",
          key: "0",
          count: codes.length,
          shape: [rows, width],
          strides: [width, 1],
        }),
        w_scale: tensor({ kind: "Half", key: "1", count: rows, shape: [rows], strides: [1] }),
      });
      const file = await openTorch(torchZip(pickle(state), { "0": codes, "1": bytesOf(scales) }));
      for (const option of ["as-is", "int8", "int4", "f32"] as const) {
        const half = { tensor: "w", fileShape: [rows, columns], rows: [[16, 16]] as const };
        const specs = [
          matrix("m", rows, columns, "w"),
          matrix("half", 16, columns, half),
          keptMatrix("kept", rows, columns, "w"),
        ];
        const weights = resolveWeights(specs, file, option);
        const stored: Record<string, Float32Array> = {};
        const backend = {
          writeRows(name: string, row: number, bytes: Uint8Array): Promise<void> {
            const { layout, shape } = weights.get(name)!;
            const values = decodeLayout(layout, bytes, columns);
            (stored[name] ??= new Float32Array(shape[0]! * columns)).set(values, row * columns);
            return Promise.resolve();
          },
        };
        await loadWeights(weights, backend as unknown as Parameters<typeof loadWeights>[1]);
        const own = bits === 8 ? "int8" : "int4";
        const { layout, exact, tensors } = weights.get("m")!;
        assertEquals(layout, option === "as-is" ? own : option);
        assertEquals(tensors, ["w", "w_scale"]);
        assertEquals(exact, !(bits === 8 && option === "int4"));
        const wanted = exact ? expected : decodeLayout(
          "int4",
          encodeRows(LAYOUTS.int4, expected, columns),
          columns,
        );
        assertEquals(stored.m, wanted);
        assertEquals(stored.half, wanted.slice(16 * columns));
        assertEquals(stored.kept, expected);
      }
      file.close();
    }
  }
});

Deno.test("scales that cannot be are refused, and wider ones are told to be rounded", async () => {
  const file = async (kind: string, scales: Uint8Array, count: number, withScales = true) => {
    const items = {
      w: tensor({ kind: "Char", key: "0", count: 64, shape: [2, 32], strides: [32, 1] }),
      w_scale: tensor({ kind, key: "1", count, shape: [count], strides: [1] }),
    };
    const { w } = items;
    return await openTorch(
      torchZip(pickle(dict(withScales ? items : { w })), {
        "0": new Uint8Array(64).fill(1),
        "1": scales,
      }),
    );
  };
  const specs = [matrix("m", 2, 32, "w")];
  const read = async (it: Awaited<ReturnType<typeof file>>, option: "as-is" | "f32") => {
    const weight = resolveWeights(specs, it, option).get("m")!;
    if (typeof weight.source === "function") throw new Error("it is computed");
    const [{ source, bytes }] = weight.source as readonly [(typeof weight.source)[number]];
    return { weight, bytes: await source.read(0, bytes) };
  };
  const wide = await file("Float", bytesOf(Float32Array.of(0.1, 2)), 2);
  const { weight, bytes } = await read(wide, "as-is");
  assertEquals([weight.layout, weight.exact], ["int8", false]);
  const values = decodeLayout("int8", bytes, 32);
  assertEquals([values[0], values[32]], [Math.f16round(0.1), 2]);
  const large = await file("Float", bytesOf(Float32Array.of(0.1, 1e6)), 2);
  await assertRejects(() => read(large, "as-is"), ModelError, "1000000 is too large");
  assertEquals(new Float32Array((await read(large, "f32")).bytes.slice().buffer)[32], 1e6);
  for (
    const [it, message] of [
      [await file("Half", new Uint8Array(6), 3), "are F16 [3], expected F16 [2]"],
      [await file("Long", new Uint8Array(16), 2), "are I64 [2], expected F16 [2]"],
      [await file("Half", new Uint8Array(4), 2, false), "its type I8 is not supported"],
    ] as const
  ) {
    await assertRejects(() => read(it, "as-is"), ModelError, message);
  }
});

Deno.test("inspect says that quantized checkpoints keep their values", async () => {
  for (const [bits, layout] of [["int4", "int4"], ["int8", "int8"]]) {
    const { stdout } = await new Deno.Command(Deno.execPath(), {
      args: ["run", "-A", "cli/main.ts", "inspect", `tests/golden/chatglm6b-${bits}`],
      cwd: new URL("../", import.meta.url),
      env: { NO_COLOR: "1" },
    }).output();
    const text = new TextDecoder().decode(stdout);
    assertStringIncludes(text, "(torch)");
    assertStringIncludes(text, `12 × I8 stored as ${layout}, exactly`);
    assertStringIncludes(text, "Memory: ");
  }
});

/** A checkpoint of plain numbers, and the same with codes and scales in the place of matrices. */
async function quantized(
  name: string,
  bits: 4 | 8,
): Promise<{ plain: Uint8Array; packed: Uint8Array }> {
  const file = await openModelFile(new URL(`golden/${name}/`, FIXTURES));
  const states = { plain: {}, packed: {} } as Record<string, Record<string, Uint8Array>>;
  const storages = { plain: {}, packed: {} } as Record<string, Record<string, Uint8Array>>;
  const add = (
    to: string,
    name: string,
    kind: string,
    shape: readonly number[],
    data: ArrayBufferView,
  ) => {
    const key = `${Object.keys(storages[to]!).length}`;
    const strides = shape.map((_, i) => shape.slice(i + 1).reduce((a, b) => a * b, 1));
    const count = shape.reduce((a, b) => a * b, 1);
    states[to]![name] = tensor({ kind, key, count, shape, strides });
    storages[to]![key] = bytesOf(data);
  };
  for (const [name, entry] of file.tensors) {
    const values = await readVector(entry), [rows, columns] = entry.shape as [number, number];
    if (entry.shape.length !== 2 || /embedding|output_layer/.test(name)) {
      for (const to of ["plain", "packed"]) add(to, name, "Float", entry.shape, values);
      continue;
    }
    const codes = new Int8Array(rows * columns), scales = new Float16Array(rows);
    for (let row = 0; row < rows; row++) {
      const own = values.subarray(row * columns, (row + 1) * columns);
      scales[row] = own.reduce((most, it) => Math.max(most, Math.abs(it)), 0) /
        (bits === 8 ? 127 : 7);
      own.forEach((it, i) => {
        codes[row * columns + i] = Math.round(it / scales[row]!);
        own[i] = codes[row * columns + i]! * scales[row]!;
      });
    }
    const pairs = Int8Array.from(
      { length: codes.length / 2 },
      (_, i) => codes[2 * i]! << 4 | codes[2 * i + 1]! & 15,
    );
    add("plain", name, "Float", entry.shape, values);
    add("packed", name, "Char", [rows, columns * bits / 8], bits === 8 ? codes : pairs);
    add("packed", `${name}_scale`, "Half", [rows], scales);
  }
  file.close();
  assert(Object.keys(states.packed!).length > Object.keys(states.plain!).length); // scales
  const write = (form: string) => torchZip(pickle(dict(states[form]!)), storages[form]!);
  return { plain: write("plain"), packed: write("packed") };
}

Deno.test("quantized checkpoints give the logits of their numbers, in both generations of ChatGLM", async () => {
  const directory = await Deno.makeTempDir();
  try {
    for (const name of ["chatglm2", "chatglm6b"]) {
      for (const bits of [4, 8] as const) {
        const config = new URL(`golden/${name}/config.json`, FIXTURES);
        const fields = { ...JSON.parse(await Deno.readTextFile(config)), quantization_bit: bits };
        await Deno.writeTextFile(`${directory}/config.json`, JSON.stringify(fields));
        const logits: Float32Array[] = [];
        for (const bytes of Object.values(await quantized(name, bits))) {
          await Deno.writeFile(`${directory}/pytorch_model.bin`, bytes);
          await using model = await loadModel(directory, { backend: "reference" });
          const [gmask, bos] = name === "chatglm6b"
            ? [fields.gmask_token_id, fields.bos_token_id]
            : [3, 4];
          logits.push(await model.logits([5, 6, gmask, bos, 7]));
        }
        assert(
          logits[0]!.length > 5 &&
            logits[0]!.every((it, i) => Math.abs(it - logits[1]![i]!) < 1e-5),
        );
      }
    }
  } finally {
    await Deno.remove(directory, { recursive: true });
  }
});

/**
 * Ids that a model chooses greedily after a prompt, with the logits that it chose them by; with `forced`,
 * what it would choose after those.
 */
async function greedy(
  backend: "reference" | "wasm",
  weights: WeightsOption,
  prompt: readonly number[],
  forced?: readonly number[],
): Promise<{ ids: number[]; logits: Float32Array[] }> {
  const folder = new URL("golden/chatglm6b-int4/", FIXTURES);
  await using model = await loadModel(folder, { backend, weights, onWarning() {} });
  using session = model.session();
  const ids: number[] = [], logits: Float32Array[] = [];
  let last = await session.prefill(prompt);
  while (ids.length < 12) {
    logits.push(last.slice());
    ids.push(last.indexOf(last.reduce((most, it) => Math.max(most, it), -Infinity)));
    last = await session.step((forced ?? ids)[ids.length - 1]!);
  }
  return { ids, logits };
}

Deno.test("a published INT4 checkpoint gives the ids and, where all is exact, the logits of its f32 weights", async () => {
  for (const prompt of [[5, 6, 127, 129], [90, 11, 40, 7, 33, 127, 129]]) {
    const exact = await greedy("reference", "f32", prompt);
    assertEquals(await greedy("reference", "as-is", prompt), exact);
    assertEquals((await greedy("wasm", "f32", prompt)).ids, exact.ids);
    // Products of whole numbers round what the matrices are multiplied with, which decides near ties.
    const { ids, logits } = await greedy("wasm", "as-is", prompt, exact.ids);
    let same = 0;
    exact.logits.forEach((expected, k) => {
      const change = expected.reduce(
        (most, it, i) => Math.max(most, Math.abs(it - logits[k]![i]!)),
        0,
      );
      const margin = expected[exact.ids[k]!]! - expected[ids[k]!]!;
      assert(change < 0.05, `logits of step ${k} change by ${change}`);
      assert(margin <= 2 * change, `step ${k} is no near tie: ${margin}, changes of ${change}`);
      same += margin === 0 ? 1 : 0;
    });
    assert(same >= 10, `${same} of 12 ids are the same`);
  }
});

/** The values of a matrix as the released quantizer of ChatGLM-6B rounds them to 4 bits. */
function publishedInt4(values: Float32Array, columns: number): Float32Array {
  const rounded = new Float32Array(values.length);
  for (let row = 0; row < values.length; row += columns) {
    const own = values.subarray(row, row + columns);
    const scale = Math.f16round(own.reduce((most, it) => Math.max(most, Math.abs(it)), 0) / 7);
    own.forEach((it, i) => rounded[row + i] = Math.round(it / scale) * scale);
  }
  return rounded;
}

Deno.test("our own INT4 is nearer to the numbers than the published quantizer's", () => {
  const columns = 4096, values = new Float32Array(16 * columns); // Gaussian
  let state = 1;
  const random = (): number => (state = Math.imul(state, 48271) >>> 1) / 2 ** 31 || 0.5;
  for (let i = 0; i < values.length; i++) {
    values[i] = Math.sqrt(-2 * Math.log(random())) * Math.cos(2 * Math.PI * random());
  }
  const own = (from: Float32Array): Float32Array =>
    decodeLayout("int4", encodeRows(LAYOUTS.int4, from, columns), columns);
  const error = (found: Float32Array): number =>
    Math.sqrt(
      found.reduce((sum, it, i) => sum + (it - values[i]!) ** 2, 0) / values.length,
    );
  const published = publishedInt4(values, columns);
  const [ours, theirs] = [error(own(values)), error(published)];
  assert(ours > 0.06 && ours < 0.1, `${ours} of the deviation`);
  assert(theirs > 0.13 && theirs < 0.19, `${theirs} of the deviation`);
});
