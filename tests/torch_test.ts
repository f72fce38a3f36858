/** Checkpoints of torch: both forms, every type, any strides, and where they are found. */

import { assertEquals, assertRejects } from "@std/assert";
import { FormatError, ModelError } from "../errors.ts";
import { memoryFolder } from "../runtime/files/folder.ts";
import type { ModelFile } from "../runtime/files/model_file.ts";
import { openModelFile, openModelFolder } from "../runtime/files/open.ts";
import { concat, ggufBytes, safetensorsBytes } from "./fixtures.ts";
import {
  BYTES,
  bytesOf,
  called,
  CONFIG,
  dict,
  global,
  int,
  op,
  openTorch,
  pickle,
  storage,
  tensor,
  type TestTensor,
  text,
  torchLegacy,
  torchZip,
  tuple,
  TWELVE,
} from "./torch_files.ts";

/** Every tensor's type, shape and bytes. */
async function contents(model: ModelFile): Promise<Record<string, unknown[]>> {
  const found: Record<string, unknown[]> = {};
  for (const { name, type, shape, source, offset, bytes } of model.tensors.values()) {
    found[name] = [type, [...shape], Array.from(await source.read(offset, bytes))];
  }
  model.close();
  return found;
}

/** One storage of each kind that torch has, with two elements. */
const KINDS: readonly (readonly [kind: string, type: string, bytes: Uint8Array])[] = [
  ["Float", "F32", bytesOf(Float32Array.of(1.5, -2))],
  ["Double", "F64", bytesOf(Float64Array.of(1.5, -2))],
  ["Half", "F16", bytesOf(Float16Array.of(1.5, -2))],
  ["BFloat16", "BF16", bytesOf(Uint16Array.of(0x3fc0, 0xc000))],
  ["Long", "I64", bytesOf(BigInt64Array.of(1n, -2n))],
  ["Int", "I32", bytesOf(Int32Array.of(1, -2))],
  ["Short", "I16", bytesOf(Int16Array.of(1, -2))],
  ["Char", "I8", bytesOf(Int8Array.of(1, -2))],
  ["Byte", "U8", bytesOf(Uint8Array.of(1, 2))],
  ["Bool", "BOOL", bytesOf(Uint8Array.of(1, 0))],
];

Deno.test("torch checkpoints of both forms hold tensors of every type", async () => {
  const items: Record<string, Uint8Array> = {},
    storages: Record<string, Uint8Array> = {},
    widths: Record<string, number> = {};
  const expected: Record<string, unknown[]> = {};
  KINDS.forEach(([kind, type, bytes], i) => {
    items[`a.${type}`] = tensor({ kind, key: `${i}`, count: 2, shape: [2, 1], strides: [1, 1] });
    storages[`${i}`] = bytes;
    widths[`${i}`] = bytes.length / 2;
    expected[`a.${type}`] = [type, [2, 1], Array.from(bytes)];
  });
  const state = pickle(dict(items));
  for (
    const file of [
      torchZip(state, storages),
      torchZip(state, storages, { prefix: "some folder/", wide: true }),
      torchZip(state, storages, { prefix: "" }),
      torchLegacy(state, storages, widths),
    ]
  ) {
    const model = await openTorch(file);
    assertEquals(model.format, "torch");
    assertEquals(await contents(model), expected);
  }
});

Deno.test("torch tensors share storages, and lie in them with any strides", async () => {
  const items: [string, Partial<TestTensor>, number[]][] = [
    ["whole", {}, [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11]],
    ["rows", { first: 4, shape: [2, 4] }, [4, 5, 6, 7, 8, 9, 10, 11]],
    ["turned", { shape: [4, 3], strides: [1, 4] }, [0, 4, 8, 1, 5, 9, 2, 6, 10, 3, 7, 11]],
    ["columns", { first: 1, shape: [3, 2] }, [1, 2, 5, 6, 9, 10]],
    ["permuted", { shape: [2, 2, 3], strides: [1, 6, 2] }, [0, 2, 4, 6, 8, 10, 1, 3, 5, 7, 9, 11]],
    ["every third", { shape: [4], strides: [3] }, [0, 3, 6, 9]],
    ["number", { first: 11, shape: [], strides: [] }, [11]],
    ["one", { first: 7, shape: [1, 1], strides: [99, 99] }, [7]],
    ["nothing", { shape: [0, 4] }, []],
  ];
  const state = dict(
    Object.fromEntries(items.map(([name, it]) => [name, tensor({ ...TWELVE, ...it })])),
  );
  const expected = Object.fromEntries(
    items.map(([name, { shape = [3, 4] }, values]) => [name, ["U8", [...shape], values]]),
  );
  assertEquals(await contents(await openTorch(torchZip(pickle(state), BYTES))), expected);
  assertEquals(
    await contents(await openTorch(torchLegacy(pickle(state), BYTES, { "0": 1 }))),
    expected,
  );
});

Deno.test("a strided torch tensor is read in pieces, as often as wanted", async () => {
  const values = Uint16Array.from({ length: 12 }, (_, i) => 1000 + i);
  const it = { ...TWELVE, kind: "Half", shape: [4, 3], strides: [1, 4] };
  const model = await openTorch(
    torchZip(pickle(dict({ a: tensor(it) })), { "0": bytesOf(values) }),
  );
  const { source, offset, bytes } = model.tensors.get("a")!;
  const turned = Uint16Array.of(0, 4, 8, 1, 5, 9, 2, 6, 10, 3, 7, 11).map((i) => values[i]!);
  for (const step of [1, 5, 7, 24, 24]) {
    const pieces: Uint8Array[] = [];
    for (let at = 0; at < bytes; at += step) {
      pieces.push(await source.read(offset + at, Math.min(step, bytes - at)));
    }
    assertEquals(concat(pieces), bytesOf(turned));
  }
  model.close();
});

Deno.test("torch dictionaries may lie in others, hold parameters, and carry versions", async () => {
  const a = tensor(TWELVE), expected = { a: ["U8", [3, 4], Array.from(BYTES["0"])] };
  const parameter = called(
    global("torch._utils", "_rebuild_parameter"),
    ...[a, op(0x88), called(global("collections", "OrderedDict"))],
  );
  const ordered = concat([
    called(global("collections", "OrderedDict")),
    ...[op(0x28), text("a"), a, op(0x75)],
    ...[dict({ _metadata: dict({ "": dict({ version: int(1) }) }) }), op(0x62)],
  ]);
  // As Python 2 wrote it: a list of pairs, and its older function without what training needs.
  const older = called(
    global("torch._utils", "_rebuild_tensor"),
    ...[storage(TWELVE), int(0), tuple(int(3), int(4)), tuple(int(4), int(1))],
  );
  const paired = called(
    global("collections", "OrderedDict"),
    concat([op(0x5d), op(0x5d, 0x28, 0x55, 1, 0x61), older, op(0x65, 0x61)]),
  );
  for (
    const state of [
      dict({ a: parameter }),
      dict({ a, epoch: int(3), name: text("x"), rates: tuple(op(0x47, ...Array(8).fill(0))) }),
      dict({ epoch: int(3), state_dict: ordered }),
      dict({ model: dict({ state_dict: dict({ a }) }), optimizer: dict({}) }),
      ordered,
      paired,
    ]
  ) {
    assertEquals(await contents(await openTorch(torchZip(pickle(state), BYTES))), expected);
  }
});

Deno.test("norms of checkpoints that come from TensorFlow are named as today", async () => {
  const items = ["x.LayerNorm.gamma", "x.LayerNorm.beta", "gamma", "y.LayerNorm.beta"];
  const it = tensor(TWELVE), both = { "y.LayerNorm.bias": it };
  const state = dict({ ...Object.fromEntries(items.map((name) => [name, it])), ...both });
  assertEquals(Object.keys(await contents(await openTorch(torchZip(pickle(state), BYTES)))), [
    ...["x.LayerNorm.weight", "x.LayerNorm.bias", "gamma", "y.LayerNorm.beta", "y.LayerNorm.bias"],
  ]);
});

Deno.test("a torch storage's part counts from where it begins", async () => {
  const part = (...numbers: number[]): Uint8Array =>
    called(
      global("torch._utils", "_rebuild_tensor_v2"),
      ...[storage(TWELVE, tuple(text("part"), ...numbers.map(int))), int(1)],
      ...[tuple(int(3)), tuple(int(1))],
    );
  const file = (state: Uint8Array) => torchLegacy(pickle(dict({ a: state })), BYTES, { "0": 1 });
  assertEquals(await contents(await openTorch(file(part(4, 4)))), { a: ["U8", [3], [5, 6, 7]] });
  await assertRejects(() => openTorch(file(part(4, 3))), FormatError, "leaves its 3 elements");
  await assertRejects(() => openTorch(file(part(10, 4))), FormatError, "leaves its 12 elements");
});

Deno.test("torch files open as paths, whose bytes workers can read, as folders and as URLs", async () => {
  const directory = await Deno.makeTempDir();
  const shard = (name: string) => torchZip(pickle(dict({ [name]: tensor(TWELVE) })), BYTES);
  const files: Record<string, Uint8Array> = {
    "one/config.json": CONFIG["config.json"]!,
    "one/pytorch_model.bin": shard("a"),
    "one/training_args.bin": new Uint8Array(9),
    "many/config.json": CONFIG["config.json"]!,
    "many/x-1.bin": shard("a"),
    "many/x-2.bin": torchLegacy(pickle(dict({ b: tensor(TWELVE) })), BYTES, { "0": 1 }),
    "many/pytorch_model.bin.index.json": new TextEncoder().encode(
      JSON.stringify({ weight_map: { a: "x-1.bin", b: "x-2.bin" } }),
    ),
    "other/config.json": CONFIG["config.json"]!,
    "other/weights.pth": shard("a"),
    "other/optimizer.pt": shard("b"),
  };
  for (const folder of ["one", "many", "other"]) await Deno.mkdir(`${directory}/${folder}`);
  for (const [file, bytes] of Object.entries(files)) {
    await Deno.writeFile(`${directory}/${file}`, bytes);
  }
  const server = Deno.serve({ hostname: "127.0.0.1", port: 0, onListen() {} }, (request) => {
    const file = files[new URL(request.url).pathname.slice(1)];
    if (!file) return new Response("", { status: 404 });
    return new Response(file.slice(), { headers: { "Content-Length": String(file.length) } });
  });
  const url = `http://127.0.0.1:${server.addr.port}`;
  try {
    for (
      const [location, count] of [
        [`${directory}/one`, 1],
        [`${directory}/many`, 2],
        [`${directory}/other`, 1],
        [`${directory}/other/weights.pth`, 1],
        [`${directory}/many/pytorch_model.bin.index.json`, 2],
        [`${url}/one/`, 1],
        [`${url}/many/`, 2],
        [`${url}/other/weights.pth`, 1],
      ] as const
    ) {
      const model = await openModelFile(location);
      assertEquals([model.format, model.tensors.size], ["torch", count], location);
      for (const { source } of model.tensors.values()) {
        assertEquals(source.path !== undefined, !location.startsWith("http"));
      }
      for (const found of Object.values(await contents(model))) {
        assertEquals(found, ["U8", [3, 4], Array.from(BYTES["0"])]);
      }
    }
  } finally {
    await server.shutdown();
    await Deno.remove(directory, { recursive: true });
  }
});

Deno.test("files of torch come last in a folder, and need a configuration", async () => {
  const torch = torchZip(pickle(dict({ a: tensor(TWELVE) })), BYTES);
  const tensors = safetensorsBytes({ a: { dtype: "U8", shape: [1], data_offsets: [0, 1] } }, 1);
  const gguf = await ggufBytes({ fields: [], tensors: [] });
  const format = async (files: Record<string, Uint8Array>): Promise<string> => {
    const model = await openModelFolder(memoryFolder("m/", { ...CONFIG, ...files }));
    model.close();
    return model.format;
  };
  const files = { "pytorch_model.bin": torch };
  assertEquals(await format({ ...files, "model.safetensors": tensors }), "safetensors");
  assertEquals(await format({ ...files, "m.gguf": gguf }), "gguf");
  assertEquals(await format(files), "torch");
  await assertRejects(() => format({ "a.pt": torch, "b.pt": torch }), ModelError, "found a.pt");
  const alone = () => openModelFile(torch);
  await assertRejects(alone, ModelError, "Cannot open torch");
});
