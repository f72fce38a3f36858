/**
 * Loading weights on workers: from local files, which they read, and from everything else, which
 * they are fed. The result is what `writeRows` stores, and faults are typed errors after which
 * nothing is left behind.
 */

import { assert, assertEquals, assertRejects, assertStringIncludes } from "@std/assert";
import { BackendError, loadModel, ModelError, SourceError } from "../mod.ts";
import type { LayoutName } from "../quant/formats.ts";
import { GGML_TYPES, type GgmlType } from "../quant/ggml_types.ts";
import { transcoder } from "../quant/transcode.ts";
import type { Backend, FileRange } from "../runtime/backends/backend.ts";
import { type ByteSource, openSource } from "../runtime/files/source.ts";
import { Graph } from "../runtime/graph/graph.ts";
import { makePlan } from "../runtime/graph/plan.ts";
import { createWasmBackend, type WasmBackendOptions } from "../runtime/backends/wasm/backend.ts";
import { spawnWorker } from "../runtime/backends/wasm/pool.ts";
import { normalNumbers, randomBlocks, randomNumbers } from "./fixtures.ts";
import { tinyBlob, tinyGguf } from "./tiny_model.ts";

const ignore = { onStored(): void {} };

/** A file with `bytes` for as long as `body` runs. */
async function withFile<T>(bytes: Uint8Array, body: (path: string) => Promise<T>): Promise<T> {
  const path = await Deno.makeTempFile();
  try {
    await Deno.writeFile(path, bytes);
    return await body(path);
  } finally {
    await Deno.remove(path);
  }
}

/** Calls `body` with the bytes as a local file and as something that only this thread can read. */
async function inBothWays(
  bytes: Uint8Array<ArrayBuffer>,
  body: (source: ByteSource) => Promise<void>,
): Promise<void> {
  await withFile(bytes, async (path) => {
    for (const location of [path, new Blob([bytes])]) {
      const source = await openSource(location);
      assertEquals(source.path !== undefined, location === path);
      try {
        await body(source);
      } finally {
        source.close();
      }
    }
  });
}

/** A graph whose output are all rows of a table, and a vector. */
function tableGraph(layout: LayoutName, rows: number, cols: number): Graph {
  const g = new Graph({ tokens: rows });
  const table = g.matrix("table", [rows, cols], layout);
  const row = g.op("embed", [g.input("ids", ["tokens"], "i32"), table]);
  g.output("y", g.op("add", [row, g.constant("vector", [cols])]));
  return g;
}

/** Places the weights of a graph, has `load` bring them, and returns all rows plus the vector. */
async function rowsAfter(
  layout: LayoutName,
  rows: number,
  cols: number,
  load: (backend: Backend) => Promise<void>,
  options: WasmBackendOptions = { threads: 2 },
): Promise<Float32Array> {
  const backend = await createWasmBackend(options);
  try {
    const plan = makePlan(tableGraph(layout, rows, cols), backend.bytesOf.bind(backend));
    backend.place(plan);
    await load(backend);
    const executable = backend.compile(plan);
    executable.write("ids", Int32Array.from({ length: rows }, (_, i) => i));
    await executable.run(rows);
    return await executable.read("y", rows * cols);
  } finally {
    await backend.dispose();
  }
}

/** Rows of `type` for a table and a vector, one after the other, and where each is. */
function tableOf(type: GgmlType, rows: number, cols: number, layout: LayoutName, seed: number) {
  const random = randomNumbers(seed);
  const { name, blockSize, blockBytes } = type;
  const table = randomBlocks(name, rows * cols / blockSize, random);
  const vector = new Uint8Array(normalNumbers(cols, random).buffer);
  const start = 3; // tensors of a split file may begin anywhere
  const bytes = new Uint8Array(start + table.length + vector.length);
  bytes.set(table, start);
  bytes.set(vector, start + table.length);
  assertEquals(table.length, rows * cols / blockSize * blockBytes);
  const ranges = (source: ByteSource): FileRange[] => {
    const whole = { source, firstRow: 0 };
    const convert = transcoder(name, layout, 'tensor "t"');
    return [
      { ...whole, name: "table", rows, offset: start, bytes: table.length, convert },
      {
        ...whole,
        name: "vector",
        rows: 1,
        offset: start + table.length,
        bytes: vector.length,
        convert: transcoder("F32", "f32"),
      },
    ];
  };
  return { bytes, table, vector, ranges };
}

for (const type of GGML_TYPES) {
  Deno.test(`loadRanges() stores ${type.name} as writeRows() does, in every layout`, async () => {
    // Rows that do not fill the last panel, and several pieces of 256 KiB for the usual layout.
    for (const layout of new Set([type.layout, "int8"] as const)) {
      const rows = layout === type.layout ? 403 : 37;
      const cols = type.blockSize === 1 ? 232 : 256 * (layout === type.layout ? 4 : 1);
      const { bytes, table, vector, ranges } = tableOf(type, rows, cols, layout, type.id);
      const expected = await rowsAfter(layout, rows, cols, async (backend) => {
        await backend.writeRows("table", 0, transcoder(type.name, layout).rows(table, cols));
        await backend.writeRows("vector", 0, vector);
      });
      await inBothWays(bytes, async (source) => {
        let stored = 0;
        const found = await rowsAfter(
          layout,
          rows,
          cols,
          (backend) =>
            backend.loadRanges!(ranges(source), { onStored: (count) => stored += count }),
          {
            threads: 2,
            guards: true,
          },
        );
        assert(found.every((value, i) => value === expected[i]), layout);
        assertEquals(stored, table.length + vector.length);
      });
    }
  });
}

const Q8_0 = GGML_TYPES.find(({ name }) => name === "Q8_0")!;
const Q4_K = GGML_TYPES.find(({ name }) => name === "Q4_K")!;

Deno.test("loadRanges() stores a weight that comes in several ranges", async () => {
  const { bytes, table, vector, ranges } = tableOf(Q8_0, 100, 64, "int8", 1);
  const expected = await rowsAfter("int8", 100, 64, async (backend) => {
    await backend.writeRows("table", 0, table);
    await backend.writeRows("vector", 0, vector);
  });
  await inBothWays(bytes, async (source) => {
    const [whole, last] = ranges(source), stride = table.length / 100;
    const range = (firstRow: number, rows: number): FileRange => ({
      ...whole!,
      firstRow,
      rows,
      offset: whole!.offset + firstRow * stride,
      bytes: rows * stride,
    });
    const pieces = [range(64, 36), last!, range(0, 16), range(16, 48)];
    const load = (backend: Backend): Promise<void> => backend.loadRanges!(pieces, ignore);
    assertEquals(await rowsAfter("int8", 100, 64, load), expected);
  });
});

Deno.test("loadRanges() grows memory before it reads, and not while it does", async () => {
  const { bytes, ranges } = tableOf(Q8_0, 16_000, 1024, "int8", 1); // 17 MB
  await withFile(bytes, async (path) => {
    const source = await openSource(path);
    const { grow } = WebAssembly.Memory.prototype;
    let grown = 0, read = false;
    WebAssembly.Memory.prototype.grow = function (pages: number): number {
      assert(!read, "it grew while weights were on their way");
      grown++;
      return grow.call(this, pages);
    };
    const backend = await createWasmBackend({ threads: 2 });
    try {
      const plan = makePlan(tableGraph("int8", 16_000, 1024), backend.bytesOf.bind(backend));
      backend.place(plan);
      await backend.loadRanges!(ranges(source), { onStored: () => read = true });
      assertEquals(grown, 1);
    } finally {
      WebAssembly.Memory.prototype.grow = grow;
      await backend.dispose();
      source.close();
    }
  });
});

// Faults.

Deno.test("loadRanges() tells of a file that was cut while open", async () => {
  const { bytes, ranges } = tableOf(Q8_0, 3000, 512, "int8", 1);
  await withFile(bytes, async (path) => {
    const source = await openSource(path);
    await Deno.truncate(path, 1_000_000);
    const error = await assertRejects(
      () => rowsAfter("int8", 3000, 512, (backend) => backend.loadRanges!(ranges(source), ignore)),
      SourceError,
      "it was cut while open",
    );
    assertStringIncludes(error.message, path);
    source.close();
  });
});

Deno.test("loadRanges() tells of a file that workers find no more", async () => {
  const { bytes, ranges } = tableOf(Q8_0, 64, 512, "int8", 1);
  const path = await Deno.makeTempFile();
  await Deno.writeFile(path, bytes);
  const source = await openSource(path);
  await Deno.remove(path);
  await assertRejects(
    () => rowsAfter("int8", 64, 512, (backend) => backend.loadRanges!(ranges(source), ignore)),
    SourceError,
    `of "${path}": a worker found NotFound`,
  );
  source.close();
});

Deno.test("loadRanges() ends with the error of a read that fails midway, and can be called again", async () => {
  const { bytes, ranges, table, vector } = tableOf(Q8_0, 3000, 512, "int8", 1);
  const healthy = await openSource(new Blob([bytes]));
  let reads = 0;
  const failing: ByteSource = {
    ...healthy,
    async read(offset, length, into) {
      if (++reads === 3) throw new SourceError("Cannot read: the line went dead");
      return await healthy.read(offset, length, into);
    },
  };
  const found = await rowsAfter("int8", 3000, 512, async (backend) => {
    for (let i = 0; i < 2; i++) {
      reads = 0;
      await assertRejects(
        () => backend.loadRanges!(ranges(failing), ignore),
        SourceError,
        "the line went dead",
      );
      assertEquals(reads, 3);
    }
    await backend.loadRanges!(ranges(healthy), ignore);
  });
  const expected = await rowsAfter("int8", 3000, 512, async (backend) => {
    await backend.writeRows("table", 0, table);
    await backend.writeRows("vector", 0, vector);
  });
  assertEquals(found, expected);
  healthy.close();
});

Deno.test("loadRanges() names the tensor with a value that its layout cannot hold", async () => {
  for (const [layout, threads] of [["int4m", 1], ["int8", 3], ["int4", 2]] as const) {
    const { bytes, ranges, table } = tableOf(Q4_K, 1000, 512, layout, 1);
    bytes[3 + table.length - 288 + 1] = 0x7c; // the last row's scale is infinite
    bytes.fill(63, 3 + table.length - 288 + 4, 3 + table.length - 288 + 16);
    await inBothWays(bytes, async (source) => {
      await assertRejects(
        () =>
          rowsAfter(
            layout,
            1000,
            512,
            (backend) => backend.loadRanges!(ranges(source), ignore),
            { threads },
          ),
        ModelError,
        'Cannot convert tensor "t" from Q4_K',
      );
    });
  }
});

Deno.test("loadRanges() ends by its signal and by an error of its caller, and reports no more", async () => {
  const { bytes, ranges } = tableOf(Q8_0, 3000, 512, "int8", 1);
  await inBothWays(bytes, async (source) => {
    for (const way of ["signal", "error", "late"] as const) {
      const controller = new AbortController(), reason = new Error(`by ${way}`);
      let reports = 0;
      const onStored = (): void => {
        reports++;
        if (way === "signal") controller.abort(reason);
        if (way === "error") throw reason;
      };
      const { signal } = controller;
      await rowsAfter("int8", 3000, 512, async (backend) => {
        const loading = backend.loadRanges!(ranges(source), { onStored, signal });
        if (way !== "late") {
          await assertRejects(() => loading, Error, reason.message);
          assertEquals(reports, 1);
          return;
        }
        await loading;
        const all = reports;
        controller.abort(reason);
        await backend.writeRows("vector", 0, new Uint8Array(4 * 512));
        assertEquals(reports, all);
      });
    }
    await rowsAfter("int8", 3000, 512, async (backend) => {
      const signal = AbortSignal.abort(new Error("before"));
      await assertRejects(
        () => backend.loadRanges!(ranges(source), { ...ignore, signal }),
        Error,
        "before",
      );
    });
  });
});

Deno.test("loadRanges() does without workers that do not start, and ends with those that die", async () => {
  const { bytes, ranges } = tableOf(Q8_0, 3000, 512, "int8", 1);
  const { warn } = console;
  console.warn = () => {};
  const script = (source: string): Worker => {
    const url = URL.createObjectURL(new Blob([source], { type: "text/javascript" }));
    return new Worker(url, { type: "module" });
  };
  try {
    await inBothWays(bytes, async (source) => {
      const load = (backend: Backend): Promise<void> => backend.loadRanges!(ranges(source), ignore);
      const expected = await rowsAfter("int8", 3000, 512, load, { threads: 1 });
      let count = 0;
      const some = (): Worker =>
        count++ % 2 ? script("throw new Error('no more threads')") : spawnWorker();
      assertEquals(await rowsAfter("int8", 3000, 512, load, { threads: 4, spawn: some }), expected);
      // Both: a good one could have stored everything before.
      const dying = (): Worker =>
        script(`onmessage = ({ data }) => {
          if ("module" in data) postMessage("ready");
          else setTimeout(() => { throw new Error("out of breath"); }, 10);
        };`);
      await assertRejects(
        () => rowsAfter("int8", 3000, 512, load, { threads: 2, spawn: dying }),
        BackendError,
        "out of breath",
      );
    });
  } finally {
    console.warn = warn;
  }
});

// Whole models.

Deno.test("loadModel() computes the same from a path, a file: URL, a Blob and a server", async () => {
  for (const type of ["F32", "Q4_0"] as const) {
    const bytes = await tinyGguf({ type });
    const server = Deno.serve(
      { hostname: "127.0.0.1", port: 0, onListen: () => {} },
      () => new Response(bytes),
    );
    await withFile(bytes, async (path) => {
      const seen: Float32Array[] = [];
      const places = [path, new URL(`file://${path}`), await tinyBlob({ type })];
      for (const place of [...places, `http://127.0.0.1:${server.addr.port}/m.gguf`]) {
        const progress: number[] = [];
        await using model = await loadModel(place, {
          threads: 2,
          onProgress({ loaded, total }): void {
            assert(loaded > (progress.at(-1) ?? 0) && loaded <= total);
            progress.push(loaded === total ? Infinity : loaded);
          },
        });
        assertEquals(progress.at(-1), Infinity);
        seen.push(await model.logits({ ids: [1, 5, 9, 12] }));
      }
      for (const logits of seen) assertEquals(logits, seen[0]);
    });
    await server.shutdown();
  }
});

for (const weights of ["int8", "f32"] as const) {
  Deno.test(`loadModel() converts weights to ${weights} on workers as it does here`, async () => {
    const blob = await tinyBlob({ type: "F16", hidden: 64 });
    const ids = [1, 5, 9, 12, 3];
    await using workers = await loadModel(blob, { weights, threads: 2 });
    await using here = await loadModel(blob, { weights, backend: "reference" });
    const [a, b] = [await workers.logits({ ids }), await here.logits({ ids })];
    // What remains is the price of int8 activations.
    const limit = weights === "f32" ? 1e-3 : 0.2;
    a.forEach((value, i) => assert(Math.abs(value - b[i]!) < limit, `${value}, not ${b[i]}`));
  });
}
