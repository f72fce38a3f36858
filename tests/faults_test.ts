/**
 * Faults: workers that do not start, kernels that trap, memory that cannot be had, and models that
 * are not what they say. Each is one typed error, and the process goes on.
 */

import {
  assert,
  assertEquals,
  assertRejects,
  assertStringIncludes,
  assertThrows,
} from "@std/assert";
import {
  BackendError,
  FormatError,
  InputError,
  loadModel,
  type LoadOptions,
  MemoryError,
  ModelError,
  SourceError,
  type SparrowError,
} from "../mod.ts";
import type { Backend } from "../runtime/backends/backend.ts";
import { Graph } from "../runtime/graph/graph.ts";
import { makePlan } from "../runtime/graph/plan.ts";
import { createWasmBackend } from "../runtime/backends/wasm/backend.ts";
import { spawnWorker } from "../runtime/backends/wasm/pool.ts";
import { StageMemory } from "../runtime/backends/wasm/stage_memory.ts";
import { ggufBytes } from "./fixtures.ts";
import {
  tinyBlob,
  tinyContents,
  tinyGguf,
  type TinyOptions,
  tinySafetensors,
  withFolder,
} from "./tiny_model.ts";

/**
 * Rows of a table of ones, twos, threes and fours, through the contract of backends; of these rows
 * those of some numbers, all where none are given.
 */
async function embedder(
  backend: Backend,
): Promise<(ids: number[], rows?: number[]) => Promise<number[]>> {
  const g = new Graph({ tokens: 64 });
  const x = g.op("embed", [g.input("ids", ["tokens"], "i32"), g.matrix("table", [4, 256])]);
  g.output("y", g.op("selectRows", [x, g.input("rows", ["tokens"], "i32")]));
  const plan = makePlan(g, backend.bytesOf.bind(backend));
  backend.place(plan);
  const rows = Float32Array.from({ length: 4 * 256 }, (_, i) => 1 + Math.floor(i / 256));
  await backend.writeRows("table", 0, new Uint8Array(rows.buffer));
  const executable = backend.compile(plan);
  return async (ids, rows = ids.map((_, i) => i)) => {
    executable.write("ids", Int32Array.from(ids));
    executable.write("rows", Int32Array.from(rows));
    await executable.run(ids.length);
    const y = await executable.read("y", ids.length * 256);
    return ids.map((_, i) => y[256 * i + i % 256]!);
  };
}

/** Runs `body` and returns what it printed with `console.warn`. */
async function warnings(body: () => Promise<void>): Promise<string[]> {
  const seen: string[] = [], { warn } = console;
  console.warn = (...args) => void seen.push(args.join(" "));
  try {
    await body();
  } finally {
    console.warn = warn;
  }
  return seen;
}

function scriptWorker(source: string): Worker {
  const url = URL.createObjectURL(new Blob([source], { type: "text/javascript" }));
  return new Worker(url, { type: "module" });
}

/** Ways in which a worker does not start. */
const FAILING: Record<string, () => Worker> = {
  "throws as it is made": () => {
    throw new Error("no more threads");
  },
  "throws at its start": () => scriptWorker("throw new Error('no more threads')"),
  "fails to set itself up": () =>
    scriptWorker("onmessage = async () => { throw new Error('no more threads'); }"),
};

for (const [name, fail] of Object.entries(FAILING)) {
  Deno.test(`a worker that ${name} is done without, with one warning`, async () => {
    const seen = await warnings(async () => {
      let count = 0;
      const spawn = (): Worker => count++ % 3 === 1 ? fail() : spawnWorker();
      const backend = await createWasmBackend({ threads: 4, spawn });
      const embed = await embedder(backend);
      assertEquals(await embed([3, 0, 2]), [4, 1, 3]);
      assertEquals(backend.threads, 3);
      assertEquals(await embed([1]), [2]);
      await backend.dispose();
    });
    assertEquals(seen.length, 1, seen.join("\n"));
    assertStringIncludes(seen[0]!, "Sparrow runs on 3 of 4 threads: ");
    assertStringIncludes(seen[0]!, "no more threads");
  });
}

Deno.test("no worker at all is an error, each time", async () => {
  const backend = await createWasmBackend({ threads: 2, spawn: FAILING["throws as it is made"]! });
  for (let i = 0; i < 2; i++) {
    await assertRejects(
      () => embedder(backend),
      BackendError,
      "Cannot start WebAssembly workers: none of 2 started",
    );
  }
  await backend.dispose();
});

for (const threads of [1, 2, 4]) {
  Deno.test(`a kernel that traps on ${threads} threads ends its backend and no other`, async () => {
    const other = await createWasmBackend({ threads: 2 });
    const healthy = await embedder(other);
    const backend = await createWasmBackend({ threads });
    const embed = await embedder(backend);
    assertEquals(await embed([3]), [4]);
    for (let i = 0; i < 2; i++) {
      // The last of rows of 2 GiB.
      await assertRejects(
        () => embed(new Array(64).fill(1), [...new Array(63).fill(0), 2 ** 21 - 1]),
        BackendError,
        "Cannot finish a run on the WebAssembly workers: a kernel failed with RuntimeError",
      );
    }
    await assertRejects(() => embed([1]), BackendError, "Cannot finish a run");
    assertEquals(await healthy([0, 1]), [1, 2]);
    await backend.dispose();
    await assertRejects(() => embed([1]), BackendError, "the backend has been disposed");
    await other.dispose();
  });
}

Deno.test("workers that ended for want of work start again", async () => {
  const started: Worker[] = [];
  const spawn = (): Worker => {
    const worker = spawnWorker();
    started.push(worker);
    return worker;
  };
  const backend = await createWasmBackend({ threads: 2, spawn });
  const embed = await embedder(backend);
  assertEquals(await embed([3]), [4]);
  await new Promise((resolve) => setTimeout(resolve, 2500)); // they end after two seconds
  assertEquals(await embed([2, 1]), [3, 2]);
  assertEquals(started.length, 4);
  await backend.dispose();
});

Deno.test("more threads than cores compute the same", async () => {
  const blob = await tinyBlob({ type: "Q4_0" });
  const texts = await Promise.all([1, 8, 17].map(async (threads) => {
    await using model = await loadModel(blob, { threads });
    const ids: number[] = [];
    const options = { temperature: 0, maxTokens: 20, stopIds: [] };
    for await (const { id } of model.session().generate("the man", options)) ids.push(id);
    assertEquals(model.threads, threads);
    return ids.join();
  }));
  assertEquals(new Set(texts).size, 1, texts.join("\n"));
});

// Memory.

Deno.test("a memory that cannot grow says what did not fit, and keeps what it has", () => {
  const memory = new StageMemory(false);
  const address = memory.allocate(1000, "small");
  assertThrows(
    () => memory.allocate(5 * 2 ** 30, "weight"),
    MemoryError,
    "Cannot place weight: it takes 5.37 GB where",
  );
  assert(memory.allocate(1000, "another") >= address + 1000);
});

/** Contexts whose caches no machine has; with and without the right to ask for its memory. */
for (const sys of [true, false]) {
  for (const backend of ["wasm", "reference"] as const) {
    Deno.test({
      name: `a cache that does not fit is refused on ${backend}, ${
        sys ? "knowing" : "not knowing"
      } the memory`,
      permissions: { read: true, sys },
      async fn(): Promise<void> {
        const before = Deno.memoryUsage().rss;
        await assertRejects(
          async () => await loadModel(await tinyBlob(), { backend, contextLength: 2 ** 30 }),
          MemoryError,
          "context",
        );
        await assertRejects(
          async () => await loadModel(await tinyBlob(), { backend, sequences: 2 ** 30 }),
          MemoryError,
          "context",
        );
        assert(Deno.memoryUsage().rss - before < 2 ** 28, "memory was taken all the same");
      },
    });
  }
}

// Models that are not what they say. Each edit is of a file that is right.

type Contents = ReturnType<typeof tinyContents>;

function setField(name: string, type: "u32" | "string" | "f32" | "i32", value: number | string) {
  return ({ fields }: Contents): void => void fields.set(name, { type, value } as never);
}

function dropTensor(name: string) {
  return ({ tensors }: Contents): void => {
    tensors.splice(tensors.findIndex((it) => it.name === name), 1);
  };
}

/** Replaces a tensor by zeros of another shape or type. */
function setTensor(
  name: string,
  shape: number[],
  type = "F32",
  bytes = 4 * shape.reduce((a, b) => a * b, 1),
) {
  return ({ tensors }: Contents): void => {
    const at = tensors.findIndex((it) => it.name === name);
    tensors[at] = { name, shape, type, data: new Uint8Array(bytes) };
  };
}

const HUGE = 2 ** 31 - 1;

const WRONG_MODELS: [
  name: string,
  edit: (contents: Contents) => void,
  message: string,
  options?: TinyOptions,
][] = [
  [
    "another architecture",
    setField("general.architecture", "string", "rwkv6"),
    'field "general.architecture" is "rwkv6", expected one of bert, chatglm',
  ],
  [
    "an architecture that other files have",
    setField("general.architecture", "string", "marian"),
    'architecture "marian" are read from safetensors and torch, not from gguf',
  ],
  [
    "an architecture by prototype",
    setField("general.architecture", "string", "constructor"),
    'is "constructor", expected one of',
  ],
  [
    "no architecture",
    ({ fields }) => void fields.delete("general.architecture"),
    'field "general.architecture" is missing',
  ],
  [
    "no layers field",
    ({ fields }) => void fields.delete("llama.block_count"),
    'field "llama.block_count" is missing, expected a whole number',
  ],
  [
    "no layers",
    setField("llama.block_count", "u32", 0),
    'field "llama.block_count" is 0, expected a whole number of at least 1',
  ],
  [
    "layers as text",
    setField("llama.block_count", "string", "two"),
    'field "llama.block_count" is "two"',
  ],
  [
    "more layers than tensors",
    setField("llama.block_count", "u32", HUGE),
    'tensor "blk.2.attn_norm.weight" is missing, expected one of shape [32]',
  ],
  [
    "a huge width",
    setField("llama.embedding_length", "u32", 2 ** 30),
    'tensor "token_embd.weight" has shape [43, 32], expected [43, 1073741824]',
  ],
  ["a width of odd heads", setField("llama.embedding_length", "u32", 33), "4 heads"],
  [
    "a huge feed-forward block",
    setField("llama.feed_forward_length", "u32", HUGE),
    'tensor "blk.0.ffn_gate.weight" has shape [64, 32], expected [2147483647, 32]',
  ],
  [
    "huge heads",
    setField("llama.attention.key_length", "u32", 2 ** 30),
    'tensor "blk.0.attn_q.weight" has shape [32, 32], expected [4294967296, 32]',
  ],
  [
    "heads without groups",
    setField("llama.attention.head_count_kv", "u32", 3),
    "4 heads, 3 key/value heads",
  ],
  [
    "a rotation beyond the head",
    setField("llama.rope.dimension_count", "u32", 10),
    "rotary length 10, expected",
  ],
  [
    "an odd rotation",
    setField("llama.rope.dimension_count", "u32", 3),
    "rotary length 3, expected",
  ],
  [
    "a rope base of zero",
    setField("llama.rope.freq_base", "f32", 0),
    "rope base 0, rope factor 1, rope attention factor 1, norm epsilon",
  ],
  [
    "a rope base that is no number",
    setField("llama.rope.freq_base", "f32", NaN),
    'field "llama.rope.freq_base" is',
  ],
  [
    "an unknown rope scaling",
    setField("llama.rope.scaling.type", "string", "magic"),
    'rope.scaling.type" is "magic", expected none, linear, yarn or longrope',
  ],
  [
    "a negative epsilon",
    setField("llama.attention.layer_norm_rms_epsilon", "f32", -1),
    "norm epsilon -1",
  ],
  [
    "another vocabulary",
    setField("llama.vocab_size", "u32", 44),
    'tensor "token_embd.weight" has shape [43, 32], expected [44, 32]',
  ],
  ["no embedding", dropTensor("token_embd.weight"), "token_embd.weight"],
  [
    "no last norm",
    dropTensor("output_norm.weight"),
    'tensor "output_norm.weight" is missing, expected one of shape [32]; the file is incomplete',
  ],
  [
    "a layer without values",
    dropTensor("blk.1.attn_v.weight"),
    'tensor "blk.1.attn_v.weight" is missing, expected one of shape [16, 32]',
  ],
  [
    "a tensor turned around",
    setTensor("blk.0.ffn_up.weight", [32, 64]),
    'tensor "blk.0.ffn_up.weight" has shape [32, 64], expected [64, 32]',
  ],
  [
    "a norm of another length",
    setTensor("blk.0.ffn_norm.weight", [31]),
    'tensor "blk.0.ffn_norm.weight" has shape [31], expected [32]',
  ],
  [
    "integers for weights",
    setTensor("blk.0.attn_q.weight", [32, 32], "I8", 1024),
    'tensor "blk.0.attn_q.weight" of',
  ],
  [
    "frequency factors of another length",
    ({ tensors }) =>
      void tensors.push({
        name: "rope_freqs.weight",
        shape: [3],
        type: "F32",
        data: new Uint8Array(12),
      }),
    "3 divisors of rotary frequencies, expected 4",
  ],
  [
    "qwen2 without its biases",
    dropTensor("blk.1.attn_k.bias"),
    'tensor "blk.1.attn_k.bias" is missing',
    { architecture: "qwen2" },
  ],
  [
    "qwen3 without its norms",
    dropTensor("blk.0.attn_q_norm.weight"),
    'tensor "blk.0.attn_q_norm.weight" is missing',
    { architecture: "qwen3" },
  ],
];

for (const [name, edit, message, options] of WRONG_MODELS) {
  Deno.test(`loadModel() refuses a file with ${name}`, async () => {
    const contents = tinyContents(options);
    edit(contents);
    const blob = new Blob([await ggufBytes(contents)]);
    for (const backend of ["reference", "wasm"] as const) {
      await assertRejects(() => loadModel(blob, { backend, threads: 1 }), ModelError, message);
    }
  });
}

Deno.test("loadModel() refuses a damaged tokenizer, while weights are on their way", async () => {
  const contents = tinyContents();
  contents.fields.set("tokenizer.ggml.model", { type: "string", value: "tarot" });
  for (let i = 0; i < 3; i++) {
    await assertRejects(
      async () => await loadModel(new Blob([await ggufBytes(contents)]), { threads: 3 }),
      FormatError,
      'tokenizer.ggml.model is the text "tarot"',
    );
  }
});

const text = (value: unknown): Uint8Array => new TextEncoder().encode(JSON.stringify(value));

/** Edits of a safetensors folder: the kind of error and its message. */
const WRONG_FOLDERS: [
  name: string,
  edit: (files: Record<string, Uint8Array>) => void,
  type: typeof SparrowError,
  message: string,
][] = [
  ["no config.json", (it) => delete it["config.json"], ModelError, "config.json"],
  ["no weights", (it) => delete it["model.safetensors"], ModelError, "found config.json, expected"],
  [
    "a config that is no JSON",
    (it) => it["config.json"] = new Uint8Array([123, 123]),
    FormatError,
    "config.json",
  ],
  ["a config that is a list", (it) => it["config.json"] = text([]), FormatError, "config.json"],
  [
    "an empty config",
    (it) => it["config.json"] = text({}),
    ModelError,
    'field "model_type" is missing',
  ],
  [
    "another model type",
    (it) => it["config.json"] = text({ model_type: "bloom" }),
    ModelError,
    'field "model_type" is "bloom"',
  ],
  [
    "weights cut short",
    (it) => it["model.safetensors"] = it["model.safetensors"]!.subarray(0, -100),
    FormatError,
    "model.safetensors",
  ],
];

Deno.test("loadModel() refuses folders that lack something", async () => {
  for (const [name, edit, type, message] of WRONG_FOLDERS) {
    const files = tinySafetensors();
    edit(files);
    await withFolder(files, async (path) => {
      const error = await assertRejects(() => loadModel(path, { threads: 1 }), type, message, name);
      assertStringIncludes((error as Error).message, path, name);
    });
  }
});

Deno.test("loadModel() names the field of config.json that is wrong", async () => {
  const edits: [Record<string, unknown>, string][] = [
    [{ num_hidden_layers: "2" }, 'field "num_hidden_layers" is "2", expected a whole number'],
    [{ num_attention_heads: 0 }, 'field "num_attention_heads" is 0'],
    [{ hidden_size: null }, "has shape [43, 32], expected [43, 4096]"], // Transformers' default
    [{ rms_norm_eps: "x" }, 'field "rms_norm_eps" is "x", expected a number'],
    [{ hidden_act: "relu" }, 'field "hidden_act" is "relu", expected "silu"'],
    [{ rope_scaling: { type: "spiral", factor: 2 } }, '"spiral", expected default, linear'],
    [
      { rope_scaling: { rope_type: "linear" } },
      'field "rope_scaling.factor" is missing, expected a number',
    ],
    [{ rope_scaling: "linear" }, 'field "rope_scaling" is "linear", expected an object'],
    [{ head_dim: 7 }, "head length 7"],
  ];
  for (const [edit, message] of edits) {
    const files = tinySafetensors();
    const config = JSON.parse(new TextDecoder().decode(files["config.json"]));
    files["config.json"] = text({ ...config, ...edit });
    await withFolder(files, async (path) => {
      await assertRejects(() => loadModel(path, { threads: 1 }), ModelError, message);
    });
  }
});

Deno.test("loadModel() tells what a server did not give", async () => {
  const model = await tinyGguf();
  const server = Deno.serve({ hostname: "127.0.0.1", port: 0, onListen: () => {} }, (request) => {
    const { pathname } = new URL(request.url);
    if (pathname === "/short.gguf") {
      const body = new ReadableStream({
        start(controller): void {
          controller.enqueue(model.subarray(0, model.length / 2));
          controller.close();
        },
      });
      return new Response(body, { headers: { "Content-Length": String(model.length) } });
    }
    if (pathname === "/cut.gguf") return new Response(model.subarray(0, model.length - 1000));
    if (pathname === "/page.gguf") return new Response("<!DOCTYPE html><p>Log in");
    return new Response("there is none", { status: 404 });
  });
  const origin = `http://127.0.0.1:${server.addr.port}`;
  try {
    const cases = [
      ["none.gguf", SourceError, "status 404"],
      ["short.gguf", SourceError, `${origin}/short.gguf`],
      ["cut.gguf", FormatError, `the file has ${model.length - 1000}`],
      ["page.gguf", FormatError, "is a web page"],
    ] as const;
    for (const [path, type, message] of cases) {
      const error = await assertRejects(
        () => loadModel(`${origin}/${path}`, { threads: 1 }),
        type,
        message,
      );
      assertStringIncludes((error as Error).message, path);
    }
  } finally {
    await server.shutdown();
  }
});

Deno.test("loadModel() refuses options by name", async () => {
  const blob = await tinyBlob();
  const cases: [LoadOptions, string][] = [
    [{ weights: "q4" as "int4" }, 'weights "q4": expected as-is, int4, int4m, int8, f32'],
    [{ cacheType: "f8" as "f16" }, 'cacheType "f8": expected f32, f16, int8'],
    [{ backend: "tpu" as "wasm" }, 'backend "tpu": expected auto'],
    [{ contextLength: 0 }, "contextLength 0: expected a whole number"],
    [{ contextLength: 1.5 }, "contextLength 1.5"],
    [{ contextLength: "9" as unknown as number }, 'contextLength "9"'],
    [{ sequences: 0 }, "sequences 0"],
    [{ threads: 1000 }, "threads 1000: expected a whole number from 1 to 256"],
  ];
  for (const [options, message] of cases) {
    await assertRejects(() => loadModel(blob, options), InputError, message);
  }
});

Deno.test("loadModel() ends by its signal, before and in the midst", async () => {
  const blob = await tinyBlob();
  const reason = new Error("changed my mind");
  await assertRejects(
    () => loadModel(blob, { signal: AbortSignal.abort(reason) }),
    Error,
    reason.message,
  );
  for (const backend of ["reference", "wasm"] as const) {
    const controller = new AbortController();
    const progress: number[] = [];
    await assertRejects(
      () =>
        loadModel(blob, {
          backend,
          signal: controller.signal,
          onProgress({ loaded, total }): void {
            assert(loaded <= total);
            if (progress.push(loaded) === 3) controller.abort(reason);
          },
        }),
      Error,
      reason.message,
    );
    assertEquals(progress.length, 3);
  }
});
