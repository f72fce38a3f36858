import {
  assert,
  assertEquals,
  assertMatch,
  assertRejects,
  assertStringIncludes,
} from "@std/assert";
import fc from "fast-check";
import { FormatError, InputError, SourceError, SparrowError } from "../errors.ts";
import { GGML_TYPES } from "../quant/ggml_types.ts";
import { transcoder } from "../quant/transcode.ts";
import { memoryFolder } from "../runtime/files/folder.ts";
import { openGguf } from "../runtime/files/gguf.ts";
import type { MetadataArray, MetadataValue } from "../runtime/files/gguf_metadata.ts";
import { type GgufTensor, writeGguf } from "../runtime/files/gguf_write.ts";
import { openModelFile } from "../runtime/files/open.ts";
import { openSource } from "../runtime/files/source.ts";
import { concat, FIXTURES, ggufBytes, u32, u64 } from "./fixtures.ts";

const STORIES = "models/stories260K/stories260K.gguf";

async function open(bytes: Uint8Array): ReturnType<typeof openGguf> {
  return await openGguf(await openSource(bytes));
}

async function assertRefused(bytes: Uint8Array, message: string): Promise<void> {
  const error = await assertRejects(() => open(bytes), FormatError);
  assertStringIncludes(error.message, message);
  assertStringIncludes(error.message, 'Cannot read GGUF "bytes": ');
}

/** A string as GGUF stores it. */
function text(value: string | Uint8Array): Uint8Array {
  const bytes = typeof value === "string" ? new TextEncoder().encode(value) : value;
  return concat([u64(bytes.length), bytes]);
}

/** A file from its raw parts; counts default to what is given. */
function raw(
  { version = 3, fields = [], tensors = [], fieldCount, tensorCount, rest = 0 }: {
    version?: number;
    fields?: Uint8Array[];
    tensors?: Uint8Array[];
    fieldCount?: number | bigint;
    tensorCount?: number | bigint;
    rest?: number;
  },
): Uint8Array {
  const header = concat([
    new TextEncoder().encode("GGUF"),
    u32(version),
    u64(tensorCount ?? tensors.length),
    u64(fieldCount ?? fields.length),
    ...fields,
    ...tensors,
  ]);
  return concat([header, new Uint8Array(-header.length & 31), new Uint8Array(rest)]);
}

/** A tensor's description; extents innermost first, as in files. */
function info(
  name: string | Uint8Array,
  extents: (number | bigint)[],
  type: number,
  offset: number | bigint,
): Uint8Array {
  return concat([text(name), u32(extents.length), ...extents.map(u64), u32(type), u64(offset)]);
}

function field(key: string | Uint8Array, type: number, ...value: Uint8Array[]): Uint8Array {
  return concat([text(key), u32(type), ...value]);
}

// Values of every type, as the file's author may choose them.
const numberValue = fc.oneof(
  ...([
    ["u8", 0, 255],
    ["i8", -128, 127],
    ["u16", 0, 65535],
    ["i16", -32768, 32767],
    ["u32", 0, 2 ** 32 - 1],
    ["i32", -(2 ** 31), 2 ** 31 - 1],
  ] as const).map(([type, min, max]) =>
    fc.record({ type: fc.constant(type), value: fc.integer({ min, max }) })
  ),
  fc.record({ type: fc.constant("f32" as const), value: fc.float() }),
  fc.record({ type: fc.constant("f64" as const), value: fc.double() }),
);
const wideValue = fc.oneof(
  fc.record({
    type: fc.constant("u64" as const),
    value: fc.oneof(fc.bigInt(0n, 2n ** 64n - 1n), fc.bigInt(0n, 2n ** 53n)),
  }),
  fc.record({
    type: fc.constant("i64" as const),
    value: fc.oneof(fc.bigInt(-(2n ** 63n), 2n ** 63n - 1n), fc.bigInt(-(2n ** 53n), 0n)),
  }),
);
const wellFormed = fc.string({ unit: "binary" }).map((it) => it.toWellFormed());
const textValue = fc.record({ type: fc.constant("string" as const), value: wellFormed });
const boolValue = fc.record({ type: fc.constant("bool" as const), value: fc.boolean() });
const scalarValue = fc.oneof(numberValue, wideValue, textValue, boolValue);
const { arrayValue } = fc.letrec<{ arrayValue: MetadataArray }>((tie) => ({
  arrayValue: fc.oneof(
    { depthSize: "small", withCrossShrink: true },
    fc.array(scalarValue, { maxLength: 20 }).map((items) => ({
      type: "array",
      items: items[0]?.type ?? "string",
      value: items.filter((it) => it.type === items[0].type).map((it) => it.value),
    } as MetadataArray)),
    fc.array(tie("arrayValue"), { maxLength: 4 })
      .map((value): MetadataArray => ({ type: "array", items: "array", value })),
  ),
}));
const fieldsOf = fc.array(
  fc.tuple(
    wellFormed.filter((it) => it !== "general.alignment"),
    fc.oneof(scalarValue, arrayValue),
  ),
  { maxLength: 12 },
).map((entries) => new Map<string, MetadataValue>(entries as [string, MetadataValue][]));

/** Values made comparable: 64-bit integers as numbers where exact, all arrays plain. */
function normal(value: unknown): unknown {
  if (typeof value === "bigint") return Number.isSafeInteger(Number(value)) ? Number(value) : value;
  if (Array.isArray(value) || ArrayBuffer.isView(value)) {
    return Array.from(value as unknown as ArrayLike<unknown>, normal);
  }
  if (typeof value !== "object" || value === null) return value;
  return Object.fromEntries(Object.entries(value).map(([key, it]) => [key, normal(it)]));
}

Deno.test("openGguf() reads back what writeGguf() wrote", async () => {
  const depth = (value: MetadataValue): number =>
    value.type !== "array"
      ? 0
      : 1 + Math.max(0, ...Array.from(value.items === "array" ? value.value : [], depth));
  await fc.assert(
    fc.asyncProperty(fieldsOf, async (fields) => {
      fc.pre([...fields.values()].every((value) => depth(value) <= 8));
      const file = await open(await ggufBytes({ fields, tensors: [] }));
      assertEquals([...file.fields.keys()], [...fields.keys()]);
      for (const [key, value] of fields) {
        assertEquals(normal(file.fields.get(key)), normal(value));
      }
      assertEquals(Object.keys(file.metadata).sort(), [...fields.keys()].sort());
    }),
    { seed: 20, numRuns: 300 },
  );
});

Deno.test("openGguf() gives plain metadata, with typed arrays for numbers", async () => {
  const { metadata, format, version, name } = await open(
    await ggufBytes({
      fields: [
        ["name", { type: "string", value: "é" }],
        ["wide", { type: "u64", value: 2n ** 60n }],
        ["small", { type: "i64", value: -5 }],
        ["scores", { type: "array", items: "f32", value: [0.5, -1] }],
        ["tokens", { type: "array", items: "string", value: ["a", "", "é", "🐦b"] }],
        ["none", { type: "array", items: "string", value: [] }],
        ["nested", {
          type: "array",
          items: "array",
          value: [
            { type: "array", items: "u8", value: [1] },
            { type: "array", items: "bool", value: [true, false] },
          ],
        }],
        ["__proto__", { type: "bool", value: true }],
      ],
      tensors: [],
    }),
  );
  assertEquals([format, version, name], ["gguf", 3, "bytes"]);
  assertEquals(Object.entries(metadata), [
    ["name", "é"],
    ["wide", 2n ** 60n],
    ["small", -5],
    ["scores", Float32Array.of(0.5, -1)],
    ["tokens", ["a", "", "é", "🐦b"]],
    ["none", []],
    ["nested", [Uint8Array.of(1), [true, false]]],
    ["__proto__", true],
  ]);
});

Deno.test("openGguf() reads v2 and v3", async () => {
  const bytes = await ggufBytes({
    fields: [["a", { type: "u8", value: 7 }]],
    tensors: [{ name: "t", shape: [2, 3], type: "F32", data: new Uint8Array(24) }],
  });
  for (const version of [2, 3]) {
    bytes[4] = version;
    const file = await open(bytes);
    assertEquals(file.version, version);
    assertEquals(file.metadata, { a: 7 });
    assertEquals(file.tensors.get("t")?.shape, [2, 3]);
  }
});

Deno.test("openGguf() finds tensors of every type, at every alignment", async () => {
  for (const alignment of [1, 8, 32, 64, 4096]) {
    const tensors = GGML_TYPES.map((type, i): GgufTensor => ({
      name: `t.${type.name}`,
      shape: [i % 3 + 1, 256],
      type: type.name,
      data: Uint8Array.from(
        { length: (i % 3 + 1) * 256 / type.blockSize * type.blockBytes },
        (_, k) => k + i,
      ),
    }));
    const file = await open(
      await ggufBytes({
        fields: [["general.alignment", { type: "u32", value: alignment }]],
        tensors,
      }),
    );
    assertEquals([...file.tensors.keys()], tensors.map((it) => it.name));
    for (const { name, shape, type, data } of tensors) {
      const entry = file.tensors.get(name)!;
      assertEquals([entry.name, entry.shape, entry.type], [name, shape, type]);
      assertEquals(entry.offset % alignment, 0);
      assertEquals(await entry.source.read(entry.offset, entry.bytes), data);
      assertEquals(
        transcoder(entry.type, "f32").rows(data as Uint8Array, 256).length,
        shape[0] * 1024,
      );
    }
  }
});

Deno.test("openGguf() lists tensors whose types cannot be used", async () => {
  const bytes = raw({ tensors: [info("ids", [4], 26, 0), info("w", [256], 23, 32)], rest: 200 });
  const { tensors } = await open(bytes);
  assertEquals([...tensors.values()].map((it) => [it.type, it.bytes]), [["I32", 16], [
    "IQ4_XS",
    136,
  ]]);
});

Deno.test("openGguf() takes a header of 150 000 tokens in few reads", async () => {
  const tokens = Array.from({ length: 150_000 }, (_, i) => `${i % 5 ? "tok" : "é🐦"}${i}`);
  const bytes = await ggufBytes({
    fields: [
      ["tokens", { type: "array", items: "string", value: tokens }],
      ["types", { type: "array", items: "i32", value: new Int32Array(150_000).fill(1) }],
    ],
    tensors: [],
  });
  let reads = 0;
  const source = await openSource(bytes);
  const { metadata } = await openGguf({
    ...source,
    read(offset: number, length: number, into?: Uint8Array): Promise<Uint8Array> {
      reads++;
      return source.read(offset, length, into);
    },
  });
  assert((metadata.tokens as string[]).every((token, i) => token === tokens[i]));
  assertEquals((metadata.types as Int32Array).length, 150_000);
  assert(reads < 10, `${reads} reads`);
});

Deno.test("openGguf() refuses every truncation with a typed error", async () => {
  const bytes = await ggufBytes({
    fields: [
      ["general.architecture", { type: "string", value: "llama" }],
      ["tokens", { type: "array", items: "string", value: ["a", "é", ""] }],
      ["nested", {
        type: "array",
        items: "array",
        value: [{ type: "array", items: "u64", value: [1] }],
      }],
      ["wide", { type: "i64", value: -1 }],
    ],
    tensors: [
      { name: "a", shape: [3], type: "F32", data: new Uint8Array(12).fill(1) },
      { name: "b", shape: [2, 32], type: "Q4_0", data: new Uint8Array(36).fill(2) },
    ],
  });
  const { tensors } = await open(bytes);
  const { offset, bytes: length } = tensors.get("b")!;
  for (let size = 0; size < bytes.length; size++) {
    const opened = open(bytes.subarray(0, size));
    if (size >= offset + length) await opened; // only padding is missing
    else {
      const { message } = await assertRejects(() => opened, FormatError);
      assertMatch(message, /fetch it again$|damaged or incomplete$/);
    }
  }
});

Deno.test("openGguf() refuses wrong magic, versions and byte order", async () => {
  await assertRefused(new TextEncoder().encode("GGML" + "x".repeat(40)), "the letters GGUF");
  await assertRefused(raw({ version: 1 }), "has version 1, expected 2 or 3");
  await assertRefused(raw({ version: 4 }), "has version 4, expected 2 or 3");
  await assertRefused(raw({ version: 0x03000000 }), "is big endian");
});

Deno.test("openGguf() refuses counts and lengths that the file cannot hold", async () => {
  const huge = 2n ** 64n - 1n;
  const before = Deno.memoryUsage();
  for (const count of [100, 2 ** 31, 2 ** 53, huge]) {
    await assertRefused(raw({ tensorCount: count }), `announces ${count} tensors`);
    await assertRefused(raw({ fieldCount: count }), `announces ${count} metadata fields`);
    const name = concat([u64(count), new Uint8Array(20)]);
    await assertRefused(raw({ fields: [name] }), "the name of metadata field 0 announces");
    await assertRefused(
      raw({ fields: [concat([text("key"), u32(8), u64(count)])] }),
      'metadata field "key" announces',
    );
    for (const items of [0, 5, 7, 8, 10, 12]) {
      const array = field("key", 9, u32(items), u64(count));
      await assertRefused(raw({ fields: [array] }), 'metadata field "key" announces');
    }
  }
  const after = Deno.memoryUsage();
  assert(after.external - before.external < 2 ** 22 && after.heapUsed - before.heapUsed < 2 ** 26);
  // Counts that fit the file, but no memory.
  const deep = Array.from({ length: 20 }, () => concat([u32(9), u64(1)]));
  await assertRefused(
    raw({ fields: [field("key", 9, ...deep)], rest: 100 }),
    "nests arrays more than 8 deep",
  );
  const many = concat([
    text("GGUF").subarray(8),
    u32(3),
    u64(0),
    u64(1),
    field("key", 9, u32(7), u64(5_000_000)),
    new Uint8Array(5_000_000),
  ]);
  await assertRefused(many, "announces 5000000 items, expected at most 4194304");
});

Deno.test("openGguf() refuses malformed fields", async () => {
  const bad = Uint8Array.of(0x61, 0xff);
  await assertRefused(raw({ fields: [field("a", 13)], rest: 9 }), "the unknown value type 13");
  await assertRefused(
    raw({ fields: [field("a", 9, u32(99), u64(0))] }),
    "the unknown value type 99",
  );
  await assertRefused(raw({ fields: [field("a", 7, Uint8Array.of(2))] }), "a boolean of 2");
  await assertRefused(
    raw({ fields: [field(bad, 4, u32(1))] }),
    "field 0 has text that is not UTF-8",
  );
  await assertRefused(
    raw({ fields: [field("a", 8, text(bad))] }),
    '"a" has text that is not UTF-8',
  );
  const one = field("a", 4, u32(1));
  await assertRefused(raw({ fields: [one, one] }), 'metadata field "a" occurs twice');
  const key = field("x\x1b[31m".repeat(50), 7, Uint8Array.of(9));
  const error = await assertRejects(() => open(raw({ fields: [key] })), FormatError);
  assert(!error.message.includes("\x1b") && error.message.length < 300, error.message);
  for (const value of [0, 3, 33, 2 ** 30]) {
    const alignment = field("general.alignment", 4, u32(value));
    await assertRefused(
      raw({ fields: [alignment] }),
      `general.alignment is ${value}, expected a power`,
    );
  }
  const alignment = field("general.alignment", 8, text("32"));
  await assertRefused(
    raw({ fields: [alignment] }),
    'metadata field "general.alignment" is no number',
  );
});

Deno.test("openGguf() refuses arrays of text that is not UTF-8, wherever it is cut", async () => {
  const bird = new TextEncoder().encode("🐦");
  for (
    const strings of [
      [bird.subarray(0, 2), bird.subarray(2)], // valid only together
      [bird.subarray(0, 3), new Uint8Array(0), bird.subarray(3)],
      [Uint8Array.of(0x80)],
      [bird.subarray(0, 3)],
      [Uint8Array.of(0xed, 0xa0, 0x80)], // a surrogate
      [Uint8Array.of(0xc0, 0x80)], // overlong
    ]
  ) {
    const array = field("a", 9, u32(8), u64(strings.length), ...strings.map(text));
    await assertRefused(raw({ fields: [array] }), 'metadata field "a" has text that is not UTF-8');
  }
});

Deno.test("openGguf() refuses tensors that the file cannot hold", async () => {
  const refused = (message: string, tensors: Uint8Array[], rest = 256) =>
    assertRefused(raw({ tensors, rest }), message);
  await refused('tensor "t" has the unknown type 4, expected one of F32, F16', [
    info("t", [8], 4, 0),
  ]);
  await refused('tensor "t" has 5 dimensions', [info("t", [1, 1, 1, 1, 1], 0, 0)]);
  await refused('tensor "t" has an extent of 0', [info("t", [8, 0], 0, 0)]);
  await refused('tensor "t" has an extent of 18446744073709551615', [
    info("t", [2n ** 64n - 1n], 0, 0),
  ]);
  await refused('tensor "t" ends at byte', [info("t", [2 ** 40, 2 ** 40, 2 ** 40, 2 ** 40], 0, 0)]);
  await refused('tensor "t" ends at byte', [info("t", [2 ** 32, 2 ** 32], 0, 0)]);
  await refused('tensor "t" ends at byte', [info("t", [65], 0, 0)]);
  await refused('tensor "t" has its data at offset 4, expected a multiple of 32', [
    info("t", [1], 0, 4),
  ]);
  await refused('tensor "t" has its data at offset 9223372036854775808', [
    info("t", [1], 0, 2n ** 63n),
  ]);
  await refused('tensor "t" ends at byte', [info("t", [1], 0, 2 ** 52)]);
  await refused('tensor "t" has rows of 48, but Q4_0 needs a multiple of 32', [
    info("t", [48, 2], 2, 0),
  ]);
  await refused('tensor "t" occurs twice', [info("t", [1], 0, 0), info("t", [1], 0, 32)]);
  await refused("the name of tensor 0 has text that is not UTF-8", [
    info(Uint8Array.of(255), [1], 0, 0),
  ]);
  await refused(
    'tensor "a" begins at byte',
    [info("a", [8], 0, 32), info("b", [16], 0, 0)],
  );
});

Deno.test("writeGguf() takes data in pieces and refuses what does not fit", async () => {
  async function* pieces(...lengths: number[]): AsyncGenerator<Uint8Array> {
    for (const length of lengths) yield await Promise.resolve(new Uint8Array(length).fill(length));
  }
  const write = (tensor: Partial<GgufTensor>, fields: [string, MetadataValue][] = []) =>
    ggufBytes({
      fields,
      tensors: [{ name: "t", shape: [4], type: "F32", data: pieces(5, 11), ...tensor }],
    });
  const { tensors } = await open(await write({}));
  const { source, offset } = tensors.get("t")!;
  assertEquals(await source.read(offset + 4, 2), Uint8Array.of(5, 11));
  const refused: [Promise<unknown>, string][] = [
    [write({ data: pieces(5, 10) }), 'tensor "t" gives 15 bytes, expected 16'],
    [write({ data: pieces(5, 12) }), 'tensor "t" gives 17 bytes, expected 16'],
    [write({ data: new Uint8Array(3) }), "gives 3 bytes"],
    [write({ type: "Q9" }), "unknown type Q9"],
    [write({ shape: [2, 0] }), "shape [2,0]"],
    [write({ shape: [1, 1, 1, 1, 1] }), "up to 4 positive extents"],
    [write({ type: "Q8_0" }), "rows of 4, but Q8_0 needs a multiple of 32"],
    [write({}, [["a", { type: "u8", value: 256 }]]), 'field "a" has the value 256, expected a u8'],
    [write({}, [["a", { type: "i32", value: 0.5 }]]), "expected a i32"],
    [write({}, [["a", { type: "u64", value: -1 }]]), "expected a u64"],
    [write({}, [["a", { type: "i64", value: 2n ** 63n }]]), "expected a i64"],
    [write({}, [["a", { type: "i64", value: 1.5 }]]), "expected a i64"],
    [write({}, [["general.alignment", { type: "u32", value: 3 }]]), "general.alignment is 3"],
  ];
  for (const [written, message] of refused) await assertRejects(() => written, InputError, message);
  let aborted: unknown;
  const sink = new WritableStream({ abort: (reason) => void (aborted = reason) });
  const twice = [1, 2].map((): GgufTensor => ({ name: "t", shape: [1], type: "I8", data: [] }));
  const error = await assertRejects(
    () => writeGguf({ fields: [], tensors: twice }, sink),
    InputError,
    "occurs twice",
  );
  assertEquals(aborted, error);
});

/** A model of `count` files, each with one tensor; `change` edits the split fields of each. */
async function splitFiles(
  count: number,
  change: (fields: Map<string, MetadataValue>, index: number) => void = () => {},
): Promise<Record<string, Uint8Array>> {
  const files: Record<string, Uint8Array> = {};
  for (let i = 0; i < count; i++) {
    const fields = new Map<string, MetadataValue>([
      ["split.no", { type: "u16", value: i }],
      ["split.count", { type: "u16", value: count }],
      ["split.tensors.count", { type: "i32", value: count }],
    ]);
    if (i === 0) fields.set("general.architecture", { type: "string", value: "llama" });
    change(fields, i);
    const data = new Uint8Array(4).fill(i);
    files[`m-0000${i + 1}-of-0000${count}.gguf`] = await ggufBytes({
      fields,
      tensors: [{ name: `t${i}`, shape: [1], type: "F32", data }],
    });
  }
  return files;
}

Deno.test("openModelFile() opens a split model by any of its files or its folder", async () => {
  const files = await splitFiles(3);
  const path = await Deno.makeTempDir();
  try {
    for (const name in files) await Deno.writeFile(`${path}/${name}`, files[name]);
    for (const name of ["", ...Object.keys(files)]) {
      const model = await openModelFile(`${path}/${name}`);
      assertEquals(model.metadata["general.architecture"], "llama");
      assertEquals([...model.tensors.keys()], ["t0", "t1", "t2"]);
      for (const [i, { source, offset }] of [...model.tensors.values()].entries()) {
        assertEquals(await source.read(offset, 4), new Uint8Array(4).fill(i));
      }
      model.close();
      await assertRejects(() => model.tensors.get("t2")!.source.read(0, 1), SourceError, "closed");
    }
  } finally {
    await Deno.remove(path, { recursive: true });
  }
});

Deno.test("openGguf() refuses split models whose parts do not fit together", async () => {
  const first = "m-00001-of-00003.gguf";
  async function refused(files: Record<string, Uint8Array>, message: string, name = first) {
    const source = await openSource(new File([files[first].slice()], name));
    await assertRejects(() => openGguf(source, memoryFolder("", files)), SparrowError, message);
    await assertRejects(() => source.read(0, 1), SourceError, "closed");
  }
  const files = await splitFiles(3);
  await refused(files, "expected a name that ends in -00001-of-00003.gguf", "renamed.gguf");
  await refused(files, "expected a name that ends in", "m-00001-of-00004.gguf");
  const source = await openSource(new File([files[first].slice()], first));
  await assertRejects(() => openGguf(source), FormatError, "its other 2 files cannot be found");
  const { [`m-00003-of-00003.gguf`]: third, ...others } = files;
  await refused(others, "m-00003-of-00003.gguf is missing beside it");
  await refused({ ...files, "m-00002-of-00003.gguf": third }, "is part 3 of 3 by its metadata");
  await refused(
    await splitFiles(3, (fields) => fields.set("split.tensors.count", { type: "i32", value: 9 })),
    "its files have 3 tensors, expected 9",
  );
  const same = await splitFiles(3);
  const count: [string, MetadataValue] = ["split.count", { type: "u16", value: 3 }];
  same["m-00002-of-00003.gguf"] = await ggufBytes({
    fields: [["split.no", { type: "u16", value: 1 }], count],
    tensors: [{ name: "t0", shape: [1], type: "F32", data: new Uint8Array(4) }],
  });
  await refused(same, 'tensor "t0" occurs twice');
});

Deno.test({
  name: "openModelFile() reads the stories model",
  async fn() {
    const model = await openModelFile(new URL(STORIES, FIXTURES));
    assertEquals(model.metadata["general.architecture"], "llama");
    const tokens = model.metadata["tokenizer.ggml.tokens"] as string[];
    assertEquals(tokens.length, 512);
    assertEquals(model.tensors.get("token_embd.weight")?.shape, [512, 64]);
    const { source, offset, bytes, type } = model.tensors.get("output_norm.weight")!;
    const norm = new Float32Array(
      transcoder(type, "f32").rows(await source.read(offset, bytes), bytes / 4).buffer,
    );
    assert(norm.every((value) => value > 0 && value < 100));
    model.close();
  },
});
