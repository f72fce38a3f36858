/** Files that are written, replaced or exchanged on a server while a model is read from them. */

import { assert, assertRejects, assertStringIncludes } from "@std/assert";
import { loadModel, type LoadOptions } from "../mod.ts";
import { SourceError } from "../errors.ts";
import { openSource } from "../runtime/files/source.ts";
import { tinyGguf, withFolder } from "./tiny_model.ts";

const CHANGES: Readonly<Record<string, (path: string, bytes: Uint8Array) => void>> = {
  "another of the same length in its place": (path, bytes) => {
    Deno.writeFileSync(`${path}.new`, bytes.toReversed());
    Deno.renameSync(`${path}.new`, path);
  },
  "a byte in its middle": (path, bytes) => {
    const file = Deno.openSync(path, { write: true });
    file.seekSync(bytes.length >> 1, Deno.SeekMode.Start);
    file.writeSync(Uint8Array.of(1, 2, 3));
    file.close();
    // Where a file system counts seconds, writing at once leaves no trace.
    Deno.utimeSync(path, new Date(), new Date(Date.now() + 5000));
  },
  "more at its end": (path) => Deno.writeFileSync(path, Uint8Array.of(0), { append: true }),
};

for (const [what, change] of Object.entries(CHANGES)) {
  for (const backend of ["reference", "wasm"] as const) {
    Deno.test(`a file that is written while it loads is noticed on ${backend}: ${what}`, async () => {
      const bytes = await tinyGguf();
      await withFolder({ "model.gguf": bytes }, async (folder) => {
        const path = `${folder}/model.gguf`;
        let changed = false;
        const options: LoadOptions = {
          backend,
          threads: 1,
          onProgress() {
            if (!changed) change(path, bytes);
            changed = true;
          },
        };
        const load = async (): Promise<void> => {
          await using _model = await loadModel(path, options);
        };
        const { message } = await assertRejects(load, SourceError);
        assert(changed);
        assertStringIncludes(message, "the file was written or replaced meanwhile");
        assertStringIncludes(message, "model.gguf");
      });
    });
  }
}

Deno.test("a file that is deleted while it loads is read to its end", async () => {
  const bytes = await tinyGguf();
  await withFolder({ "model.gguf": bytes }, async (folder) => {
    const path = `${folder}/model.gguf`;
    let there = true;
    await using model = await loadModel(path, {
      backend: "reference",
      onProgress() {
        if (there) Deno.removeSync(path);
        there = false;
      },
    });
    assert((await model.logits({ ids: [1, 2, 3] })).every(Number.isFinite));
  });
});

/** A server whose answers have other headers from the second one on. */
async function readTwice(first: HeadersInit, second: HeadersInit): Promise<void> {
  const length = 4 << 20;
  let answers = 0;
  // A shutdown would wait for connections that were given up.
  const ending = new AbortController(), { signal } = ending;
  const options = { hostname: "127.0.0.1", port: 0, onListen() {}, signal };
  const server = Deno.serve(options, (request) => {
    const begin = Number(/^bytes=(\d+)-$/.exec(request.headers.get("Range") ?? "")![1]);
    return new Response(new Uint8Array(length - begin), {
      status: 206,
      headers: {
        "Content-Range": `bytes ${begin}-${length - 1}/${length}`,
        ...(answers++ === 0 ? first : second),
      },
    });
  });
  try {
    const source = await openSource(`http://127.0.0.1:${server.addr.port}/model.gguf`);
    try {
      await source.read(0, 100);
      await source.read(3 << 20, 100);
      await source.read(0, 100);
    } finally {
      source.close();
    }
  } finally {
    ending.abort();
    await server.finished;
  }
}

const MONDAY = "Mon, 02 Mar 2026 09:00:00 GMT", TUESDAY = "Tue, 03 Mar 2026 09:00:00 GMT";

Deno.test("a file that is exchanged on a server while it is read is noticed", async () => {
  for (
    const [first, second, name] of [
      [{ ETag: '"a"' }, { ETag: '"b"' }, "ETag"],
      [{ "Last-Modified": MONDAY }, { "Last-Modified": TUESDAY }, "Last-Modified"],
      [
        { ETag: '"a"', "Last-Modified": MONDAY },
        { ETag: '"b"', "Last-Modified": MONDAY },
        "ETag",
      ],
      [
        { ETag: 'W/"a"', "Last-Modified": MONDAY },
        { ETag: 'W/"a"', "Last-Modified": TUESDAY },
        "Last-Modified",
      ],
    ] as const
  ) {
    const { message } = await assertRejects(() => readTwice(first, second), SourceError);
    assertStringIncludes(message, `the file changed while it was read: ${name} is`);
  }
  // One address, several servers: the same tag, or nothing to compare.
  const tagged = { ETag: '"a"', "Last-Modified": MONDAY };
  await readTwice(tagged, { ...tagged, "Last-Modified": TUESDAY });
  await readTwice(tagged, {});
  await readTwice({}, tagged);
  await readTwice({ ETag: 'W/"a"' }, { ETag: 'W/"b"' });
});
