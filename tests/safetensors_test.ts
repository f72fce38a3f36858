import {
  assert,
  assertEquals,
  assertRejects,
  assertStringIncludes,
  assertThrows,
} from "@std/assert";
import fc from "fast-check";
import { FormatError, ModelError, SourceError, SparrowError } from "../errors.ts";
import { transcoder } from "../quant/transcode.ts";
import { memoryFolder } from "../runtime/files/folder.ts";
import type { ModelFile, TensorEntry } from "../runtime/files/model_file.ts";
import { openModelFile, openModelFolder } from "../runtime/files/open.ts";
import { NotFoundError } from "../runtime/files/source.ts";
import { readModelText } from "../runtime/text/model_text.ts";
import { concat, FIXTURES, ggufBytes, safetensorsBytes, u64 } from "./fixtures.ts";

type Files = Record<string, Uint8Array>;

const json = (value: unknown): Uint8Array => new TextEncoder().encode(JSON.stringify(value));
const CONFIG = { "config.json": json({ model_type: "llama" }) };
const INDEX = "model.safetensors.index.json";

const open = (files: Files): Promise<ModelFile> => openModelFolder(memoryFolder("m/", files));
const openOne = (file: Uint8Array): Promise<ModelFile> =>
  open({ ...CONFIG, "model.safetensors": file });

async function assertRefused(header: unknown, message: string, data = 0): Promise<void> {
  const error = await assertRejects(() => openOne(safetensorsBytes(header, data)), FormatError);
  assertStringIncludes(error.message, message);
}

async function readFloats({ source, offset, bytes, type }: TensorEntry): Promise<Float32Array> {
  const { rows } = transcoder(type, "f32");
  return new Float32Array(rows(await source.read(offset, bytes), 1).slice().buffer);
}

/** A header entry. */
function entry(dtype: string, shape: number[], begin: number, end: number): unknown {
  return { dtype, shape, data_offsets: [begin, end] };
}

const TWO = safetensorsBytes({
  __metadata__: { format: "pt" },
  b: entry("F16", [3], 8, 14),
  a: entry("F32", [2, 1], 0, 8),
}, Uint8Array.of(0, 0, 128, 63, 0, 0, 0, 64, 0, 60, 0, 64, 0, 66));

Deno.test("openModelFile() reads one safetensors file with what lies beside it", async () => {
  const model = await open({
    ...CONFIG,
    "model.safetensors": TWO,
    "tokenizer.json": json({ version: "1.0" }),
    "generation_config.json": json({ eos_token_id: 2 }),
  });
  assertEquals(model.format, "safetensors");
  assertEquals(model.metadata, { model_type: "llama" });
  assertEquals(model.tokenizerJson, { version: "1.0" });
  assertEquals(model.tokenizerConfig, undefined);
  assertEquals(model.generationConfig, { eos_token_id: 2 });
  const entries = [...model.tensors.values()];
  assertEquals(entries.map((it) => [it.name, it.type, it.shape]), [
    ["a", "F32", [2, 1]],
    ["b", "F16", [3]],
  ]);
  assertEquals(await readFloats(entries[0]), Float32Array.of(1, 2));
  assertEquals(await readFloats(entries[1]), Float32Array.of(1, 2, 3));
  model.close();
  await assertRejects(() => entries[0].source.read(0, 1), SourceError, "closed");
});

Deno.test("chat templates in files of their own stand before tokenizer_config.json", async () => {
  const text = (value: string): Uint8Array => new TextEncoder().encode(value);
  const tokenizer = {
    model: { type: "BPE", vocab: { h: 0, i: 1, "</s>": 2 }, merges: [] },
    added_tokens: [{ id: 2, content: "</s>", special: true }],
  };
  const base: Files = {
    ...CONFIG,
    "model.safetensors": TWO,
    "tokenizer.json": json(tokenizer),
    "tokenizer_config.json": json({ chat_template: "config", eos_token: { content: "</s>" } }),
    "chat_template.json": json({ chat_template: "legacy" }),
  };
  const template = async (model: ModelFile): Promise<unknown> => {
    const found = await readModelText(model);
    model.close();
    assertEquals(found?.specialTokens, base["tokenizer_config.json"] ? { eos_token: "</s>" } : {});
    return found?.chatTemplate;
  };
  assertEquals(await template(await open(base)), "config");
  const named = { ...base, "chat_template.jinja": text("a\r\n天") };
  assertEquals(await template(await open(named)), [{ name: "default", template: "a\r\n天" }]);
  const several = {
    ...named,
    "chat_templates/tool_use.jinja": text("b"),
    "chat_templates/notes.txt": text("c"),
    "other/x.jinja": text("d"),
  };
  const expected = [
    { name: "default", template: "a\r\n天" },
    { name: "tool_use", template: "b" },
  ];
  assertEquals(await template(await open(several)), expected);

  const folder = await Deno.makeTempDir();
  await Deno.mkdir(`${folder}/chat_templates`);
  await Deno.mkdir(`${folder}/other`);
  for (const [name, bytes] of Object.entries(several)) {
    await Deno.writeFile(`${folder}/${name}`, bytes);
  }
  assertEquals(await template(await openModelFile(folder)), expected);
  const server = Deno.serve({ port: 0, hostname: "127.0.0.1", onListen: () => {} }, (request) => {
    const bytes = (several as Files)[decodeURIComponent(new URL(request.url).pathname).slice(3)];
    return bytes ? new Response(bytes.slice()) : new Response(null, { status: 404 });
  });
  try {
    const url = `http://127.0.0.1:${server.addr.port}/m/`;
    assertEquals(await template(await openModelFile(new URL(url))), expected);
  } finally {
    await server.shutdown();
    await Deno.remove(folder, { recursive: true });
  }

  delete base["tokenizer_config.json"];
  assertEquals(await template(await open(base)), "legacy");
  const wrong = { ...base, "chat_template.jinja": Uint8Array.of(0xff, 0xfe, 0xff) };
  await assertRejects(() => open(wrong), FormatError, "it is not UTF-8 text");
});

Deno.test("openModelFile() lists tensors that cannot be used, and empty ones", async () => {
  const { tensors } = await openOne(safetensorsBytes({
    ids: entry("I64", [2], 0, 16),
    none: entry("F32", [0, 7], 16, 16),
    small: entry("F8_E4M3", [3], 16, 19),
    nibbles: entry("F4", [6], 19, 22),
    future: entry("F3_X", [9], 22, 25),
  }, 25));
  assertEquals([...tensors.values()].map((it) => [it.name, it.type, it.bytes]), [
    ["ids", "I64", 16],
    ["none", "F32", 0],
    ["small", "F8_E4M3", 3],
    ["nibbles", "F4", 3],
    ["future", "F3_X", 3],
  ]);
  assertThrows(() => transcoder("I64", "f32", 'tensor "ids"'), ModelError, "type I64");
});

Deno.test("openModelFile() reads what any safetensors header may say", async () => {
  const shape = fc.array(fc.integer({ min: 0, max: 5 }), { maxLength: 4 });
  const tensor = fc.tuple(
    fc.string({ unit: "binary" }).map((it) => it.toWellFormed()).filter((it) =>
      it !== "__metadata__"
    ),
    fc.constantFrom("F32", "F16", "BF16", "I64", "U8"),
    shape,
  );
  const sizes: Record<string, number> = { F32: 4, F16: 2, BF16: 2, I64: 8, U8: 1 };
  await fc.assert(
    fc.asyncProperty(
      fc.uniqueArray(tensor, { selector: ([name]) => name, maxLength: 8 }),
      fc.nat(20),
      async (tensors, spaces) => {
        let end = 0;
        const entries = tensors.map(([name, dtype, shape]): [string, unknown] => {
          const begin = end;
          end += sizes[dtype] * shape.reduce((product, extent) => product * extent, 1);
          return [name, { dtype, shape, data_offsets: [begin, end] }];
        });
        const header = JSON.stringify(Object.fromEntries(entries)) + " ".repeat(spaces);
        const model = await openOne(safetensorsBytes(header, end));
        const found = [...model.tensors.values()].map((it) => [it.name, it.type, it.shape]);
        assertEquals(found.sort(), tensors.map(([...it]) => it).sort());
      },
    ),
    { seed: 21, numRuns: 100 },
  );
});

Deno.test("openModelFile() refuses every truncation of a safetensors file", async () => {
  for (let size = 0; size < TWO.length; size++) {
    for (const name of ["model.safetensors", "other.safetensors"]) {
      await assertRejects(() => open({ ...CONFIG, [name]: TWO.subarray(0, size) }), FormatError);
    }
  }
  await assertRejects(
    () => openOne(concat([TWO, Uint8Array.of(0)])),
    FormatError,
    `its tensors end at byte ${TWO.length}, but the file has ${TWO.length + 1}`,
  );
});

Deno.test("openModelFile() refuses safetensors headers that are too long", async () => {
  for (const length of [100, 2 ** 31, 2 ** 53, 2n ** 64n - 1n]) {
    await assertRejects(
      () => openOne(concat([u64(length), json({})])),
      FormatError,
      `its header takes ${length} bytes, but the file has 10`,
    );
  }
  const long = concat([u64(17_000_000), new Uint8Array(17_000_000).fill(32)]);
  await assertRejects(() => openOne(long), FormatError, "expected at most 16777216");
});

Deno.test("openModelFile() refuses malformed safetensors headers", async () => {
  await assertRefused("[]", "expected a JSON object");
  await assertRefused("{", "it is not JSON");
  await assertRefused("[".repeat(100_000), "it is not JSON");
  await assertRefused('{"a": 1}', 'tensor "a" is not described by an object');
  const a = '{"dtype":"U8","shape":[0],"data_offsets":[0,0]}';
  await assertRefused(`{"a":${a},"b":${a},"\\u0061":${a}}`, 'the key "a" occurs twice');
  await assertRefused(
    `{"a":{"dtype":"U8","shape":[0],"dtype":"U8"}}`,
    'the key "dtype" occurs twice',
  );
  const bytes = safetensorsBytes('{"aa":1}', 0);
  bytes[10] = 0xff;
  await assertRejects(() => openOne(bytes), FormatError, "it is not UTF-8 text");

  await assertRefused({ a: { shape: [1], data_offsets: [0, 4] } }, "has no dtype", 4);
  for (const shape of [undefined, 3, [1.5], [-1], ["1"], [2 ** 60], [null]]) {
    await assertRefused(
      { a: { dtype: "F32", shape, data_offsets: [0, 4] } },
      'tensor "a" has no shape of whole numbers',
      4,
    );
  }
  for (const offsets of [undefined, [], [0], [0, 4, 4], [4, 0], [-4, 0], [0, 4.5], [0, "4"]]) {
    await assertRefused(
      { a: { dtype: "F32", shape: [1], data_offsets: offsets } },
      'tensor "a" has no data_offsets of two rising whole numbers',
      4,
    );
  }
  await assertRefused({ a: entry("F32", [2], 0, 4) }, "has 4 bytes, expected 8", 4);
  await assertRefused(
    { a: entry("F32", Array(9).fill(2 ** 50), 0, 4) },
    "has 4 bytes, expected",
    4,
  );
});

Deno.test("openModelFile() refuses tensors that overlap, leave gaps or leave the file", async () => {
  const cases: [unknown, number, string][] = [
    [{ a: entry("U8", [4], 0, 4), b: entry("U8", [4], 2, 6) }, 6, 'tensor "b" begins at byte'],
    [{ a: entry("U8", [4], 0, 4), b: entry("U8", [4], 0, 4) }, 4, "inside the tensor before it"],
    [{ a: entry("U8", [4], 0, 4), b: entry("U8", [4], 5, 9) }, 9, "after a gap"],
    [{ a: entry("U8", [4], 1, 5) }, 5, "after a gap"],
    [{ a: entry("U8", [9], 0, 9) }, 8, 'tensor "a" ends at byte'],
    [{ a: entry("U8", [2 ** 50], 0, 2 ** 50) }, 8, "if it was downloaded, fetch it again"],
    [{ a: entry("U8", [4], 0, 4) }, 5, "its tensors end at byte"],
    [{}, 1, "its tensors end at byte"],
  ];
  for (const [header, data, message] of cases) await assertRefused(header, message, data);
});

/** A model in two shards. */
function shards(weightMap: Record<string, unknown> = { a: "one.bin", b: "two.bin" }): Files {
  const shard = (name: string, value: number) =>
    safetensorsBytes({ [name]: entry("U8", [1], 0, 1) }, Uint8Array.of(value));
  return {
    ...CONFIG,
    "one.bin": shard("a", 7),
    "two.bin": shard("b", 8),
    [INDEX]: json({ metadata: {}, weight_map: weightMap }),
  };
}

Deno.test("openModelFile() reads shards by their index or their folder", async () => {
  const files = shards();
  const path = await Deno.makeTempDir();
  try {
    for (const name in files) await Deno.writeFile(`${path}/${name}`, files[name]);
    for (const location of [path, `${path}/`, `${path}/${INDEX}`]) {
      const model = await openModelFile(location);
      assertEquals(model.metadata, { model_type: "llama" });
      for (const [name, value] of [["a", 7], ["b", 8]] as const) {
        const { source, offset } = model.tensors.get(name)!;
        assertEquals(await source.read(offset, 1), Uint8Array.of(value));
      }
      model.close();
    }
  } finally {
    await Deno.remove(path, { recursive: true });
  }
});

Deno.test("openModelFile() refuses an index that does not fit its shards", async () => {
  const cases: [Files, string][] = [
    [shards({ a: "one.bin", b: "none.bin" }), `"none.bin" is missing beside it`],
    [shards({ a: "one.bin", b: "one.bin" }), 'tensor "b" is not in "one.bin"'],
    [shards({ a: "one.bin", b: "two.bin", c: "one.bin" }), 'tensor "c" is not in "one.bin"'],
    [shards({ a: "../one.bin" }), 'tensor "a" is in "../one.bin", expected a file name'],
    [shards({ a: 1 }), 'tensor "a" is in 1, expected a file name'],
    [{ ...shards(), [INDEX]: json({}) }, "weight_map is missing"],
    [{ ...shards(), [INDEX]: json([]) }, "expected a JSON object"],
    [{ ...shards(), "two.bin": shards()["one.bin"] }, 'tensor "a" is also in another file'],
    [{ ...shards(), "two.bin": new Uint8Array(3) }, "too few for a header"],
  ];
  for (const [files, message] of cases) {
    await assertRejects(() => open(files), SparrowError, message);
  }
  await assertRejects(() => open(shards({ a: "none.bin" })), NotFoundError);
});

Deno.test("openModelFile() says what to pass when config.json is missing or broken", async () => {
  const path = await Deno.makeTempDir();
  try {
    const file = `${path}/model.safetensors`;
    await Deno.writeFile(file, TWO);
    await assertRejects(() => openModelFile(file), ModelError, "pass the model's folder");
    await Deno.writeTextFile(`${path}/config.json`, "{");
    await assertRejects(() => openModelFile(file), FormatError, `"${path}/config.json"`);
    await Deno.writeTextFile(`${path}/config.json`, "{}");
    (await openModelFile(file)).close();
  } finally {
    await Deno.remove(path, { recursive: true });
  }
  const blob = new File([TWO], "model.safetensors");
  await assertRejects(() => openModelFile(blob), ModelError, "there is no config.json");
  const model = await openModelFile(blob, { siblings: CONFIG });
  assertEquals(model.metadata, { model_type: "llama" });
});

Deno.test("openModelFile() opens the one model of a folder, or lists what it found", async () => {
  const gguf = await ggufBytes({ fields: [], tensors: [] });
  assertEquals((await open({ "m.gguf": gguf, "README.md": gguf })).format, "gguf");
  assertEquals((await open({ ...CONFIG, "m.gguf": gguf })).format, "gguf");
  assertEquals((await open({ ...CONFIG, "weights.safetensors": TWO })).format, "safetensors");
  const cases: [Files, string][] = [
    [{}, "found no files"],
    [{ "a.txt": gguf }, "found a.txt, expected one .gguf model, or config.json and"],
    [{ "model.safetensors": TWO }, "it has model.safetensors and no config.json, which says what"],
    [{ "latest": gguf }, "divided among processes, and there is no config.json"],
    [{ "a.gguf": gguf, "b.gguf": gguf }, "found a.gguf, b.gguf, expected"],
    [
      Object.fromEntries(
        Array.from({ length: 20 }, (_, i) => [`${String(i).padStart(2, "0")}`, gguf]),
      ),
      "11 and 8 more",
    ],
  ];
  for (const [files, message] of cases) await assertRejects(() => open(files), ModelError, message);
});

Deno.test("openModelFile() names what is no model", async () => {
  const text = (value: string) => new TextEncoder().encode(value);
  const cases: [Uint8Array, string, string][] = [
    [text(""), "m.gguf", "it is empty"],
    [text("\n<!DOCTYPE html>"), "m.gguf", "is a web page"],
    [text("<html>"), "m.safetensors", "is a web page"],
    [text("version https://git-lfs.github.com/spec/v1"), "m.gguf", "is a Git LFS pointer"],
    [text("PK\x03\x04"), "m.bin", "too few for an archive"],
    [Uint8Array.of(0x80, 2, 0x8a), "m.bin", "its pickles are cut"],
    [text("tjgg\x03\0\0\0"), "m.bin", "older than GGUF"],
    [text('{"a": 1}'), "config.json", "is JSON; pass the model's folder"],
    [text("nonsense"), "m.bin", "begins with bytes 6e 6f 6e 73 65 6e 73 65, expected a GGUF"],
    [text("nonsense"), "m.gguf", "does not begin with the letters GGUF"],
    [text("nonsense"), "m.safetensors", "its header takes"],
  ];
  for (const [bytes, name, message] of cases) {
    const file = new File([bytes.slice()], name);
    const error = await assertRejects(() => openModelFile(file), FormatError, message);
    assertStringIncludes(error.message, `"${name}"`);
  }
});

Deno.test("openModelFile() opens models on a server", async () => {
  const gguf = await ggufBytes({ fields: [["a", { type: "u8", value: 1 }]], tensors: [] });
  const files: Files = {
    "/m.gguf": gguf,
    ...Object.fromEntries(
      Object.entries({ ...CONFIG, "model.safetensors": TWO }).map(([k, v]) => [`/one/${k}`, v]),
    ),
    ...Object.fromEntries(Object.entries(shards()).map(([k, v]) => [`/many/${k}`, v])),
  };
  const server = Deno.serve({ hostname: "127.0.0.1", port: 0, onListen() {} }, (request) => {
    const file = files[new URL(request.url).pathname];
    if (!file) return new Response("<html>not here</html>", { status: 404 });
    return new Response(file.slice(), { headers: { "Content-Length": String(file.length) } });
  });
  const url = `http://127.0.0.1:${server.addr.port}`;
  try {
    for (const path of ["/one/", "/many/", "/one/model.safetensors", `/many/${INDEX}`, "/m.gguf"]) {
      const model = await openModelFile(url + path);
      assertEquals(model.tensors.size, path === "/m.gguf" ? 0 : 2);
      for (const { source, offset, bytes } of model.tensors.values()) {
        await source.read(offset, bytes);
      }
      model.close();
    }
    await assertRejects(() => openModelFile(`${url}/none.gguf`), NotFoundError, "status 404");
    await assertRejects(() => openModelFile(`${url}/none/`), ModelError, "it has neither");
  } finally {
    await server.shutdown();
  }
});

Deno.test({
  name: "openModelFile() reads every golden model",
  async fn() {
    let count = 0;
    for await (const { name } of Deno.readDir(new URL("golden/", FIXTURES))) {
      const folder = new URL(`golden/${name}/`, FIXTURES);
      const files = await Array.fromAsync(Deno.readDir(folder)).catch(() => []);
      if (!files.some((it) => it.name === "model.safetensors")) continue;
      const model = await openModelFile(folder);
      assert(model.tensors.size > 0);
      assertEquals(typeof model.metadata.model_type, "string", name);
      for (const entry of model.tensors.values()) {
        if (entry.type !== "F32") continue;
        const values = await readFloats(entry);
        assertEquals(values.length, entry.shape.reduce((a, b) => a * b, 1));
        assert(values.every(Number.isFinite), `${name} ${entry.name}`);
      }
      model.close();
      count++;
    }
    assert(count > 30);
  },
});
