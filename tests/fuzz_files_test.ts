/**
 * Damaged model files: whatever a few wrong bytes do, a model opens or a typed error is thrown, in
 * little time and memory. Mutations are seeded, so a failure repeats.
 */

import { assert, assertEquals } from "@std/assert";
import { SparrowError } from "../errors.ts";
import { LAYOUT_NAMES } from "../quant/formats.ts";
import { GGML_TYPES } from "../quant/ggml_types.ts";
import { transcoder } from "../quant/transcode.ts";
import { memoryFolder } from "../runtime/files/folder.ts";
import type { MetadataValue } from "../runtime/files/gguf_metadata.ts";
import type { ModelFile } from "../runtime/files/model_file.ts";
import { openModelFile, openModelFolder } from "../runtime/files/open.ts";
import { ggufBytes, normalNumbers, randomNumbers, safetensorsBytes } from "./fixtures.ts";
import { dict, int, pickle, tensor, torchLegacy, torchZip } from "./torch_files.ts";

const ROUNDS = 6000;

/** Numbers at which checks tend to fail. */
const EDGES: readonly bigint[] = [0, 1, 2, 7, 31, 32, 40, 52, 53, 62, 63]
  .flatMap((bit) => [1n << BigInt(bit), (1n << BigInt(bit)) - 1n])
  .concat([2n ** 64n - 1n, 2n ** 64n - 32n]);

/** A copy with one to four kinds of damage. */
function damage(bytes: Uint8Array, random: () => number): Uint8Array {
  let copy = bytes.slice();
  const pick = (length: number) => Math.floor(random() * length);
  for (let times = 1 + pick(4); times > 0 && copy.length > 16; times--) {
    const at = pick(copy.length);
    const view = new DataView(copy.buffer);
    switch (pick(8)) {
      case 0:
        copy[at] ^= 1 << pick(8);
        break;
      case 1:
        copy[at] = pick(256);
        break;
      case 2: // a count or offset becomes an edge case
        view.setBigUint64(Math.min(at, copy.length - 8), EDGES[pick(EDGES.length)], true);
        break;
      case 3:
        view.setUint32(Math.min(at, copy.length - 4), Number(EDGES[pick(14)]), true);
        break;
      case 4:
        copy = copy.slice(0, at);
        break;
      case 5: // bytes move
        copy.copyWithin(at, pick(copy.length), pick(copy.length));
        break;
      case 6: // bytes vanish
        copy = Uint8Array.from([...copy.subarray(0, at), ...copy.subarray(at + 1 + pick(8))]);
        break;
      case 7: // digits and brackets, for JSON
        copy[at] = '0123456789-.eE"{}[],:\\ '.charCodeAt(pick(23));
        break;
    }
  }
  return copy;
}

/** Runs `open` on damaged copies and checks every outcome. */
async function fuzz(
  bytes: Uint8Array,
  seed: number,
  open: (bytes: Uint8Array) => Promise<ModelFile>,
): Promise<void> {
  const random = randomNumbers(seed);
  let opened = 0;
  for (let round = 0; round < ROUNDS; round++) {
    const damaged = damage(bytes, random);
    try {
      const model = await open(damaged);
      opened++;
      for (const { name, source, offset, bytes, shape } of model.tensors.values()) {
        assert(offset + bytes <= source.size && bytes >= 0 && shape.every((it) => it >= 0), name);
        await source.read(offset, bytes);
      }
      model.close();
    } catch (error) {
      if (error instanceof SparrowError) {
        // One readable line, however wild the names in the file.
        // deno-lint-ignore no-control-regex
        assert(!/[\x00-\x1f]/.test(error.message) && error.message.length < 1000, error.message);
        continue;
      }
      throw new Error(`round ${round}: ${error}`, { cause: error });
    }
  }
  // The damage must neither miss nor destroy everything, or this tests nothing.
  assert(opened > ROUNDS / 100 && opened < ROUNDS * 0.9, `${opened} opened`);
}

const FIELDS: [string, MetadataValue][] = [
  ["general.architecture", { type: "string", value: "llama" }],
  ["general.alignment", { type: "u32", value: 32 }],
  ["split.count", { type: "u16", value: 0 }],
  ["flags", { type: "array", items: "bool", value: [true, false] }],
  ["tokens", { type: "array", items: "string", value: ["<s>", "é", "🐦", "", "token"] }],
  ["scores", { type: "array", items: "f32", value: [1, 2, 3] }],
  ["wide", { type: "array", items: "i64", value: [-1, 2n ** 62n] }],
  ["nested", {
    type: "array",
    items: "array",
    value: [{ type: "array", items: "u8", value: [1, 2] }],
  }],
  ["rate", { type: "f64", value: 0.5 }],
];

Deno.test("fuzz: GGUF files open or fail with a typed error", async () => {
  const bytes = await ggufBytes({
    fields: FIELDS,
    tensors: [
      { name: "a", shape: [2, 2], type: "F32", data: new Uint8Array(16) },
      { name: "b", shape: [1, 32], type: "Q4_0", data: new Uint8Array(18) },
      { name: "c", shape: [1, 1, 1, 8], type: "F16", data: new Uint8Array(16) },
    ],
  });
  await fuzz(bytes, 30, (damaged) => openModelFile(new File([damaged.slice()], "m.gguf")));
});

Deno.test("fuzz: safetensors files open or fail with a typed error", async () => {
  const bytes = safetensorsBytes({
    __metadata__: { format: "pt" },
    a: { dtype: "F32", shape: [2, 2], data_offsets: [0, 16] },
    b: { dtype: "BF16", shape: [4], data_offsets: [16, 24] },
    "c.é": { dtype: "U8", shape: [], data_offsets: [24, 25] },
  }, 25);
  const siblings = { "config.json": new TextEncoder().encode("{}") };
  await fuzz(bytes, 31, (damaged) => {
    return openModelFile(new File([damaged.slice()], "m.safetensors"), { siblings });
  });
});

Deno.test("fuzz: torch checkpoints of both forms open or fail with a typed error", async () => {
  const siblings = { "config.json": new TextEncoder().encode("{}") };
  const open = (bytes: Uint8Array) => openModelFile(bytes, { siblings });
  const shared = { kind: "Float", key: "0", count: 6 };
  const state = pickle(dict({
    a: tensor({ ...shared, shape: [2, 3], strides: [3, 1] }),
    "b.é": tensor({ ...shared, first: 1, shape: [2, 2], strides: [1, 2] }),
    c: tensor({ kind: "Char", key: "1", count: 5, shape: [5], strides: [1] }),
    step: int(7),
  }));
  const storages = { "0": new Uint8Array(24), "1": new Uint8Array(5) };
  await fuzz(torchZip(state, storages), 35, open);
  await fuzz(torchZip(state, storages, { wide: true }), 36, open);
  await fuzz(torchLegacy(state, storages, { "0": 4, "1": 1 }), 37, open);
  // Damage in the pickle alone, in an archive that is whole.
  await fuzz(state, 38, (damaged) => open(torchZip(damaged, storages)));
});

Deno.test("fuzz: shard indexes and configurations open or fail with a typed error", async () => {
  const shard = (name: string) =>
    safetensorsBytes({ [name]: { dtype: "U8", shape: [4], data_offsets: [0, 4] } }, 4);
  const json = (value: unknown) => new TextEncoder().encode(JSON.stringify(value));
  const files = {
    "config.json": json({ model_type: "llama", rope_scaling: { factor: 8 } }),
    "tokenizer.json": json({ model: { vocab: { a: 0 } } }),
    "one.safetensors": shard("a"),
    "two.safetensors": shard("b"),
  };
  const index = json({ weight_map: { a: "one.safetensors", b: "two.safetensors" } });
  const name = "model.safetensors.index.json";
  const folder = (changed: Record<string, Uint8Array>) =>
    openModelFolder(memoryFolder("m/", { ...files, [name]: index, ...changed }));
  await fuzz(index, 32, (damaged) => folder({ [name]: damaged }));
  await fuzz(files["config.json"], 33, (damaged) => folder({ "config.json": damaged }));
});

Deno.test("fuzz: any bytes decode, and convert or are refused with a typed error", () => {
  const random = randomNumbers(34);
  const finite = (values: Float32Array) => values.every(Number.isFinite);
  for (let round = 0; round < 60; round++) {
    for (const type of GGML_TYPES) {
      const cols = Math.max(type.blockSize, 32);
      const length = 2 * cols / type.blockSize * type.blockBytes;
      const bytes = Uint8Array.from({ length }, () => random() * 256);
      const values = new Float32Array(2 * cols);
      type.decode(bytes, values);
      for (const layout of LAYOUT_NAMES) {
        const { rows, identity } = transcoder(type.name, layout);
        try {
          rows(bytes, cols);
        } catch (error) {
          if (!(error instanceof SparrowError)) throw error;
          // Ordinary numbers are never refused.
          const ordinary = finite(values) && values.every((it) => Math.abs(it) < 60_000);
          assertEquals(identity || (ordinary && type.name !== "Q4_K"), false, error.message);
        }
      }
    }
  }
});

Deno.test("fuzz: damage() damages, and repeats for a seed", () => {
  const bytes = new Uint8Array(normalNumbers(100, randomNumbers(1)).buffer);
  const first = damage(bytes, randomNumbers(5));
  assertEquals(first, damage(bytes, randomNumbers(5)));
  assert(first.length !== bytes.length || first.some((byte, i) => byte !== bytes[i]));
});
