/**
 * Calls of everything public with anything at all: each works, or throws a SparrowError (or the
 * caller's own reason), and none hangs. Seeded; what a call gets is told when it fails.
 */

import { assert, assertEquals, assertRejects, assertThrows } from "@std/assert";
import * as graphs from "../graph.ts";
import * as kernels from "../kernels/ops.ts";
import * as library from "../mod.ts";
import { InputError, loadModel, type Model, SparrowError } from "../mod.ts";
import * as quant from "../quant/formats.ts";
import { randomNumbers } from "./fixtures.ts";
import { CHAT_TEMPLATE, tinyBlob } from "./tiny_model.ts";

const REASON = new Error("the caller's own reason");

function thrower(): never {
  throw new TypeError("a getter of the caller");
}

/** Values that fit nowhere, or somewhere else. Made anew for each call. */
const JUNK: readonly (() => unknown)[] = [
  () => undefined,
  () => null,
  () => true,
  () => false,
  () => 0,
  () => -1,
  () => -0,
  () => 1,
  () => 3,
  () => 0.5,
  () => NaN,
  () => Infinity,
  () => -Infinity,
  () => 1e9,
  () => 2 ** 53,
  () => 1e308,
  () => 5n,
  () => -1n,
  () => "",
  () => "ab",
  () => "3",
  () => "\0\x1b]52;c;Zg==\x07",
  () => "\ud800",
  () => "__proto__",
  () => Symbol("junk"),
  () => [],
  () => [1, 2],
  () => ["ab", "c"],
  () => [NaN, -1, 1e9],
  () => [1n],
  () => [Symbol("junk")],
  () => [[]],
  () => new Array(3),
  () => ({}),
  () => ({ length: 3 }),
  () => ({ length: -1, 0: 1 }),
  () => Object.create(null),
  () => ({ shape: [2, 2], dtype: "f32", role: "dense", perToken: false }),
  () => ({ shape: [1e9, 1e9], dtype: "f32", role: "dense", perToken: false }),
  () => ({ shape: [2], dtype: "f32", data: new Float32Array(2) }),
  () => ({ role: "user", content: "hi" }),
  () => [{ role: "user", content: 5n }],
  () => ({ toString: thrower, valueOf: thrower }),
  () => Object.defineProperty({}, "seed", { get: thrower, enumerable: true }),
  () => Object.defineProperty([], 0, { get: thrower, enumerable: true }),
  () => new Proxy({}, { get: thrower, ownKeys: thrower, getPrototypeOf: thrower }),
  () => new Proxy([], { get: thrower }),
  () => {
    const { proxy, revoke } = Proxy.revocable({}, {});
    revoke();
    return proxy;
  },
  () => {
    const circle: unknown[] = [];
    circle.push(circle);
    return circle;
  },
  () => () => 1,
  () => class {},
  () => new Date(NaN),
  () => new Map([["a", 1]]),
  () => new Set([1]),
  () => /x/g,
  () => Promise.resolve(1),
  () => new Float32Array(3),
  () => new Float32Array([NaN, Infinity]),
  () => new Float64Array(2),
  () => new Int32Array([1, -1]),
  () => new Uint8Array(5),
  () => new BigInt64Array(2),
  () => new DataView(new ArrayBuffer(8)),
  () => new ArrayBuffer(8),
  () => {
    const array = new Float32Array(4);
    structuredClone(array.buffer, { transfer: [array.buffer] });
    return array;
  },
  () => new Uint8Array(new SharedArrayBuffer(8)),
  () => new Blob(["junk"]),
  () => new URL("https://127.0.0.1:1/x"),
  () => new URL("data:text/plain,x"),
  () => AbortSignal.abort(REASON),
];

/** One thing to call: sane arguments, of which some are replaced by junk. */
interface Target {
  readonly name: string;
  call(...args: unknown[]): unknown;
  /** Arguments that work; an object of options is also broken field by field. */
  readonly sane: readonly (() => unknown)[];
  /** Names of options beyond those in the sane object. */
  readonly options?: readonly string[];
  /** Calls; `ROUNDS` where absent. */
  readonly rounds?: number;
}

const ROUNDS = 70;

function pick<T>(list: readonly T[], random: () => number): T {
  return list[Math.floor(random() * list.length)]!;
}

/** Arguments of a call. */
function argumentsOf({ sane, options = [] }: Target, random: () => number): unknown[] {
  const args = sane.map((make) => make());
  const count = 1 + Math.floor(random() * Math.max(1, sane.length));
  for (let i = 0; i < count; i++) {
    const at = Math.floor(random() * (sane.length + 1)); // sometimes one too many
    const value = sane[at]?.();
    const isOptions = typeof value === "object" && value !== null &&
      Object.getPrototypeOf(value) === Object.prototype;
    if (isOptions && random() < 0.7) {
      const names = [...Object.keys(value), ...options, "unknown", "__proto__"];
      args[at] = { ...value, [pick(names, random)]: pick(JUNK, random)() };
    } else args[at] = pick(JUNK, random)();
  }
  return args;
}

/** Lets a result come to its end: promises, generators, functions that are returned. */
async function settle(result: unknown): Promise<void> {
  const value = await result as Record<PropertyKey, unknown> | undefined;
  if (typeof value !== "object" || value === null) return;
  if (typeof value.next === "function" && Symbol.asyncIterator in value) {
    const stream = value as unknown as AsyncGenerator<unknown>;
    for (let i = 0; i < 3; i++) if ((await stream.next()).done) break;
    await stream.return(undefined);
  }
  if (value instanceof library.Model) await value.dispose();
  else if (typeof value.dispose === "function") await (value.dispose as () => unknown)();
}

async function abuse(targets: readonly Target[], seed: number): Promise<void> {
  const random = randomNumbers(seed);
  const wrong: string[] = [];
  let calls = 0, refused = 0;
  for (const target of targets) {
    for (let round = 0; round < (target.rounds ?? ROUNDS); round++) {
      const args = argumentsOf(target, random);
      let timer: ReturnType<typeof setTimeout> | undefined;
      try {
        calls++;
        const late = new Promise<never>((_, reject) => {
          timer = setTimeout(() => reject(new Error("it hangs")), 30_000);
        });
        await Promise.race([settle(target.call(...args)), late]);
      } catch (error) {
        refused++;
        if (error instanceof SparrowError || error === REASON) {
          const { message } = error as Error;
          const isBad = /\[object |undefined undefined|\n/.test(message) || message.length > 5000;
          if (isBad) wrong.push(`${target.name}(${show(args)}): ${message}`);
        } else wrong.push(`${target.name}(${show(args)}): ${(error as Error)?.stack ?? error}`);
      } finally {
        clearTimeout(timer);
      }
    }
  }
  assertEquals(wrong.slice(0, 5), [], `${wrong.length} of ${calls} calls`);
  assert(refused > calls / 4, `${refused} of ${calls} calls were refused`);
}

function show(args: readonly unknown[]): string {
  try {
    return Deno.inspect(args, { depth: 3 }).slice(0, 300);
  } catch {
    return "what cannot be shown";
  }
}

const GENERATE = [
  ...["maxTokens", "stopIds", "stop", "overflow", "sinkTokens", "parseSpecial", "addSpecial"],
  "skipSpecial",
  ...["temperature", "topK", "topP", "minP", "repeatPenalty", "repeatWindow", "seed"],
  ...["presencePenalty", "frequencyPenalty", "logitBias", "logprobs", "constraint"],
  ...["signal", "onFinish", "onPrompt"],
];
const LOAD = [
  ...["backend", "threads", "gpuLayers", "webgpu", "reproducible", "contextLength", "weights"],
  ...["wordTables", "lookupTables"],
  ...["cacheType", "sequences", "hub", "onProgress", "onWarning", "onOpened", "signal"],
];
const few = () => ({ maxTokens: 3, onFinish: () => {} });
const messages = () => [{ role: "user", content: "the man" }];

/** What a model and its sessions and tokenizer answer. */
function modelTargets(model: Model): Target[] {
  const { tokenizer } = model;
  const session = <T>(body: (session: library.Session) => T) => body(model.session());
  const any = (f: unknown) => f as (...args: unknown[]) => unknown;
  const at = (object: object, name: string) => (...args: unknown[]): unknown =>
    any((object as Record<string, unknown>)[name]).apply(object, args);
  const inSession = (name: string) => (...args: unknown[]): unknown =>
    session((it) => at(it, name)(...args));
  return [
    { name: "logits", call: at(model, "logits"), sane: [() => ({ ids: [3, 4] })] },
    {
      name: "embed",
      call: at(model, "embed"),
      sane: [() => ["the"], () => ({ pooling: "mean" })],
      options: ["normalize", "prefix", "promptName", "truncate", "signal"],
    },
    // Of a decoder each is refused, whatever it is asked.
    { name: "fillMask", call: at(model, "fillMask"), sane: [() => "a [MASK]"] },
    { name: "chatPrompt", call: at(model, "chatPrompt"), sane: [messages, () => ({ tools: [] })] },
    { name: "complete", call: at(model, "complete"), sane: [() => "the", few], options: GENERATE },
    { name: "chat", call: at(model, "chat"), sane: [messages, few], options: GENERATE },
    {
      name: "score",
      call: at(model, "score"),
      sane: [() => "the man", () => ({ addSpecial: true })],
      options: ["parseSpecial", "signal"],
    },
    {
      name: "session.generate",
      call: inSession("generate"),
      sane: [() => [3], few],
      options: GENERATE,
    },
    {
      name: "session.complete",
      call: inSession("complete"),
      sane: [() => "a", few],
      options: GENERATE,
    },
    { name: "session.chat", call: inSession("chat"), sane: [messages, few], options: GENERATE },
    { name: "session.chatStream", call: inSession("chatStream"), sane: [messages, few] },
    {
      name: "session.prefill",
      call: inSession("prefill"),
      sane: [() => [3, 4], () => ({})],
      options: ["signal", "onProgress"],
    },
    { name: "session.save", call: inSession("save"), sane: [] },
    {
      name: "restore",
      call: at(model, "restore"),
      sane: [() => new TextEncoder().encode("SPARROWS and no session"), () => ({ share: true })],
      options: ["share"],
    },
    { name: "session.step", call: inSession("step"), sane: [() => 3] },
    { name: "session.truncate", call: inSession("truncate"), sane: [() => 3] },
    {
      name: "new Model",
      call: (...args) => Reflect.construct(library.Model, args),
      sane: [() => ({})],
    },
    {
      name: "new Session",
      call: (...args) => Reflect.construct(library.Session, args),
      sane: [() => ({})],
      options: ["engine", "tokenizer", "stopIds"],
    },
    {
      name: "encode",
      call: at(tokenizer, "encode"),
      sane: [() => "the", () => ({ addSpecial: false })],
      options: ["parseSpecial"],
    },
    {
      name: "decode",
      call: at(tokenizer, "decode"),
      sane: [() => [3, 4], () => ({ skipSpecial: false })],
    },
    {
      name: "decoder",
      call: (options, id) => {
        const decoder = tokenizer.decoder(options as never);
        return decoder.push(id as number) + decoder.flush();
      },
      sane: [() => ({ after: [3] }), () => 4],
      options: ["skipSpecial"],
    },
    { name: "surround", call: at(tokenizer, "surround"), sane: [() => [3, 4]] },
    { name: "idToToken", call: at(tokenizer, "idToToken"), sane: [() => 3] },
    { name: "tokenToId", call: at(tokenizer, "tokenToId"), sane: [() => "a"] },
  ];
}

Deno.test("what encoders are asked, with junk", async () => {
  const load = (name: string): Promise<Model> =>
    loadModel(new URL(`golden/tasks/${name}/`, import.meta.url), { backend: "reference" });
  await using masked = await load("bert-mask");
  await using classifier = await load("bert-classify");
  await using ranker = await load("roberta-rerank");
  const any = (f: unknown) => f as (...args: unknown[]) => unknown;
  await abuse([
    {
      name: "fillMask",
      call: (...args) => any(masked.fillMask).apply(masked, args),
      sane: [() => "a [MASK]", () => ({ top: 2 })],
      options: ["signal"],
    },
    {
      name: "classify",
      call: (...args) => any(classifier.classify).apply(classifier, args),
      sane: [() => ["a", "b"], () => ({ truncate: true })],
      options: ["task", "signal"],
    },
    {
      name: "rerank",
      call: (...args) => any(ranker.rerank).apply(ranker, args),
      sane: [() => "a", () => ["a", "b"], () => ({ top: 1 })],
      options: ["task", "truncate", "signal"],
    },
  ], 9);
});

Deno.test("a model, its sessions and its tokenizer, with junk", async () => {
  const blob = await tinyBlob({ chatTemplate: CHAT_TEMPLATE });
  await using model = await loadModel(blob, { backend: "wasm", threads: 1 });
  await abuse(modelTargets(model), 1);
  // It still works.
  const { ids } = await model.complete([3, 4], { temperature: 0, maxTokens: 3, stopIds: [] });
  assertEquals(ids.length, 3);
});

Deno.test("loading, sampling and detecting, with junk", async () => {
  const blob = await tinyBlob();
  const load = (source: unknown, options: unknown) =>
    loadModel(source as Blob, options as library.LoadOptions);
  await abuse([
    {
      name: "loadModel",
      call: load,
      sane: [() => blob, () => ({ backend: "wasm", threads: 1, onWarning: () => {} })],
      options: LOAD,
      rounds: 250,
    },
    {
      name: "loadTokenizer",
      call: (it, options) => library.loadTokenizer(it as Blob, options as object),
      sane: [() => blob, () => ({})],
      options: ["hub", "signal", "onProgress", "onWarning"],
    },
    {
      name: "sampler",
      call: (options, logits, history, draw) =>
        library.sampler(options as library.SamplerOptions)(
          logits as Float32Array,
          history as number[],
          draw as number,
        ),
      sane: [
        () => ({ seed: 1 }),
        () => Float32Array.of(1, 2, 3),
        () => [1],
        () => 3,
      ],
      options: GENERATE,
      rounds: 400,
    },
    {
      name: "detectBackends",
      call: (options) => library.detectBackends(options as library.DetectOptions),
      sane: [() => ({ webgpu: { measure: false } })],
      rounds: 12,
    },
  ], 2);
});

Deno.test("graphs and programs, with junk", async () => {
  /** A graph with some of everything; `change` calls one method more. */
  const graph = (change: (g: graphs.Graph, x: graphs.Tensor) => unknown): unknown => {
    const g = new graphs.Graph({ tokens: 4 });
    return change(g, g.input("x", ["tokens", 8]));
  };
  const method = (name: string) => (...args: unknown[]): unknown =>
    graph((g) => (g as unknown as Record<string, (...args: unknown[]) => unknown>)[name]!(...args));
  const g = new graphs.Graph();
  const x = g.input("x", [2, 3]), ids = g.input("ids", [2], "i32");
  g.output("y", g.op("matmul", [x, g.matrix("w", [4, 3])]));
  g.output("z", g.op("embed", [ids, g.matrix("table", [5, 2])]));
  const weights = () => ({ w: new Float32Array(12), table: new Float32Array(10) });
  await using program = await graphs.compile(g, { backend: "reference", weights: weights() });
  const ops = Object.keys(kernels.OPS) as kernels.OpName[];
  await abuse([
    {
      name: "new Graph",
      call: (it) => new graphs.Graph(it as object),
      sane: [() => ({ tokens: 3 })],
    },
    { name: "input", call: method("input"), sane: [() => "a", () => ["tokens", 3], () => "f32"] },
    { name: "matrix", call: method("matrix"), sane: [() => "a", () => [2, 3], () => "int4"] },
    { name: "constant", call: method("constant"), sane: [() => "a", () => [2, 3]] },
    {
      name: "cache",
      call: method("cache"),
      sane: [() => "a", () => "keyCache", () => [8, 1, 4], () => "f16"],
    },
    { name: "adopt", call: method("adopt"), sane: [() => x] },
    { name: "output", call: method("output"), sane: [() => "a", () => x] },
    { name: "cut", call: method("cut"), sane: [() => "a", () => 1] },
    ...ops.map((op): Target => ({
      name: `op ${op}`,
      call: (first, second, third, attrs) =>
        graph((g, x) =>
          g.op(
            op,
            [first === "x" ? x : first, second, third].filter((it) => it !== 0) as never,
            attrs as never,
          )
        ),
      sane: [() => "x", () => 0, () => 0, () => ({})],
      options: ["kind", "heads", "scale", "eps", "count", "pairing", "experts", "factor", "gate"],
    })),
    { name: "op", call: method("op"), sane: [() => "softmax", () => [x], () => ({})] },
    {
      name: "compile",
      call: (graph, options) => graphs.compile(graph as graphs.Graph, options as object),
      sane: [() => g, () => ({ backend: "reference", weights: weights() })],
      options: ["threads", "reproducible"],
      rounds: 150,
    },
    {
      name: "run",
      call: (inputs) => program.run(inputs as never),
      sane: [() => ({ x: new Float32Array(6), ids: Int32Array.of(4, 0) })],
      rounds: 200,
    },
  ], 3);
});

Deno.test("ops and layouts, with junk", async () => {
  const type = (...shape: number[]) => ({ shape, dtype: "f32", role: "dense", perToken: false });
  const view = (...shape: number[]) => ({
    shape,
    dtype: "f32",
    data: new Float64Array(shape.reduce((a, b) => a * b, 1)),
  });
  const ops = Object.entries(kernels.OPS) as [string, kernels.Op<unknown>][];
  const layouts = Object.values(quant.LAYOUTS);
  const options = [
    "kind",
    "heads",
    "scale",
    "eps",
    "count",
    "pairing",
    "experts",
    "factor",
    "over",
  ];
  await abuse([
    ...ops.flatMap(([name, op]): Target[] => [
      {
        name: `${name}.shape`,
        call: (inputs, attrs) => op.shape(inputs as never, attrs),
        sane: [() => [type(2, 4), type(2, 4)], () => ({})],
        options,
      },
      {
        name: `${name}.cost`,
        call: (inputs, attrs) => op.cost(inputs as never, attrs),
        sane: [() => [type(2, 4), type(4)], () => ({})],
        options,
      },
      {
        name: `${name}.reference`,
        call: (out, inputs, attrs) => op.reference(out as never, inputs as never, attrs),
        sane: [() => view(2, 4), () => [view(2, 4), view(4)], () => ({})],
        options,
      },
    ]),
    ...layouts.flatMap((layout): Target[] => {
      const { blockBytes, blockSize } = layout;
      const bytes = () => new Uint8Array(blockBytes), values = () => new Float32Array(blockSize);
      return [
        {
          name: `${layout.name}.decode`,
          call: (a, b) => layout.decode(a as Uint8Array, b as Float32Array),
          sane: [bytes, values],
        },
        {
          name: `${layout.name}.encode`,
          call: (a, b) => layout.encode(a as Float32Array, b as Uint8Array),
          sane: [values, bytes],
        },
        {
          name: `encodeRows ${layout.name}`,
          call: (a, b, c, d) => quant.encodeRows(a as never, b as never, c as never, d as never),
          sane: [() => layout, values, () => blockSize],
        },
        {
          name: `decodeRows ${layout.name}`,
          call: (a, b, c, d) => quant.decodeRows(a as never, b as never, c as never, d as never),
          sane: [() => layout, bytes, () => blockSize],
        },
        {
          name: `rowBytes ${layout.name}`,
          call: (a, b) => quant.rowBytes(a as never, b as never),
          sane: [() => layout, () => 64],
        },
      ];
    }),
    {
      name: "checkBlocks",
      call: (a, b, c, d) => quant.checkBlocks(a as never, b as never, c as never, d as never),
      sane: [
        () => "decode",
        () => quant.LAYOUTS.int8,
        () => new Uint8Array(34),
        () => new Float32Array(32),
      ],
    },
  ], 4);
});

Deno.test("every function and class that is exported is among those that get junk", () => {
  const covered = [
    ...["loadModel", "loadTokenizer", "sampler", "detectBackends", "Model", "Session"],
    ...["Graph", "compile", "checkBlocks", "rowBytes", "encodeRows", "decodeRows"],
  ];
  const exported = [library, graphs, quant, kernels].flatMap((it) => Object.entries(it))
    .filter(([, value]) => typeof value === "function")
    // Errors are thrown, not called.
    .filter(([, value]) => !(value === SparrowError || value.prototype instanceof SparrowError));
  assertEquals(exported.map(([name]) => name).sort(), covered.sort());
});

Deno.test("a mistyped option is refused and the right name is told", async () => {
  const blob = await tinyBlob();
  await using model = await loadModel(blob, { backend: "wasm", threads: 1 });
  const untyped = (it: object) => it as never;
  const cases: [call: () => Promise<unknown>, message: string][] = [
    [() => model.session().generate([3], untyped({ temprature: 0 })).next(), '"temperature"'],
    [() => model.complete([3], untyped({ max_tokens: 3 })), '"maxTokens"'],
    [() => model.complete([3], untyped({ topk: 3 })), '"topK"'],
    [() => model.score([3, 4], untyped({ addspecial: true })), '"addSpecial"'],
    [() => model.embed(["a"], untyped({ poling: "mean" })), '"pooling"'],
    [() => loadModel(blob, untyped({ contextlength: 3 })), '"contextLength"'],
    [() => loadModel(blob, untyped({ webgpu: { arithmatic: "f16" } })), '"arithmetic"'],
    [() => graphs.compile(new graphs.Graph(), untyped({ bakend: "wasm" })), '"backend"'],
  ];
  for (const [call, meant] of cases) {
    await assertRejects(call, InputError, `there is no such option; did you mean ${meant}?`);
  }
  assertThrows(
    () => library.sampler(untyped({ sead: 1 })),
    InputError,
    'Cannot sample with "sead": there is no such option; did you mean "seed"?',
  );
  assertThrows(
    () => library.sampler(untyped({ zzz: 1 })),
    InputError,
    "expected temperature, topK, topP, minP, repeatPenalty, repeatWindow, presencePenalty, " +
      "frequencyPenalty, logitBias, seed",
  );
  assertThrows(
    () => model.tokenizer.encode("a", untyped({ addSpecials: false })),
    InputError,
    '"addSpecial"',
  );
  await assertRejects(
    () => model.embed("ab" as never),
    InputError,
    'Cannot embed "ab": expected a',
  );
  const g = new graphs.Graph(), x = g.input("x", [1, 2]);
  assertThrows(
    () => g.op("activation", [x], untyped({ knd: "relu" })),
    library.ShapeError,
    'there is no attribute "knd"; did you mean "kind"?',
  );
});

Deno.test("lists that only have room for items, and proxies that are gone, are refused at once", async () => {
  await using model = await loadModel(await tinyBlob({ chatTemplate: CHAT_TEMPLATE }), {
    backend: "reference",
  });
  using session = model.session();
  // Going over the places of such a list takes minutes.
  const empty = (): never => new Array(2 ** 32 - 1) as never;
  const holes = (): never => [, ,] as never;
  const content = (list: never) => [{ role: "user", content: list }];
  const begin = performance.now();
  for (const list of [empty, holes]) {
    const calls: (() => Promise<unknown>)[] = [
      () => session.prefill(list()),
      () => session.logits({ ids: list() }),
      () => session.generate("a", { stop: list() }).next(),
      () => session.generate("a", { stopIds: list() }).next(),
      () => model.embed(list()),
      () => model.classify(list()),
      () => model.rerank("a", list()),
      () => model.encode(list()),
      () => model.chatPrompt(list()),
      () => Promise.resolve().then(() => model.tokenizer.encode(list())),
    ];
    for (const call of calls) await assertRejects(call, InputError);
  }
  const revoked = Proxy.revocable({}, {});
  revoked.revoke();
  await assertRejects(() => loadModel(revoked.proxy as never), InputError);
  await assertRejects(() => model.chatPrompt(content(empty())), InputError, "4294967295 items");
  assert(performance.now() - begin < 10_000);
});
