/**
 * Backend `auto`: a GPU where there is one, WebAssembly where there is none or where it fails, at
 * load or in the midst of a text, with one warning and the same text. The GPU is the software
 * adapter in disguise.
 */

import { assert, assertEquals, assertRejects, assertStringIncludes } from "@std/assert";
import {
  BackendError,
  detectBackends,
  type GenerateOptions,
  InputError,
  loadModel,
  type LoadOptions,
  type Model,
  type Session,
  SourceError,
} from "../mod.ts";
import { compile, type CompileOptions, Graph, type Program } from "../graph.ts";
import { tinyBlob, tinyGguf } from "./tiny_model.ts";
import { hasWebgpu } from "./webgpu_adapter.ts";

const ignore = !hasWebgpu;
const GPU = { vendor: "acme", architecture: "", device: "", description: "Acme Rocket 9000" };

/**
 * Whether the next adapter says that it is a GPU. The first one does, by which `auto` decides; the
 * next, which is used, need not, because on what may be a GPU kernels are timed first.
 */
let first = true;

/** How the adapter and its devices differ from what they are. */
interface Disguise {
  /** Own properties of an adapter. */
  readonly adapter?: (adapter: GPUAdapter) => Record<string, unknown>;
  /** Told of every device that is handed out. */
  readonly device?: (device: GPUDevice) => void;
}

/** Runs `task` where the system's adapter says that it is a GPU. */
async function withGpu(disguise: Disguise, task: () => Promise<void>): Promise<void> {
  const { gpu } = navigator, request = gpu.requestAdapter;
  gpu.requestAdapter = async (options) => {
    const adapter = (await request.call(gpu, options))!, open = adapter.requestDevice;
    const properties: Record<string, unknown> = {
      info: first ? GPU : adapter.info,
      requestDevice: async (descriptor: GPUDeviceDescriptor) => {
        const device = await open.call(adapter, descriptor);
        disguise.device?.(device);
        return device;
      },
      ...disguise.adapter?.(adapter),
    };
    first = false;
    for (const [name, value] of Object.entries(properties)) {
      Object.defineProperty(adapter, name, { value, configurable: true });
    }
    return adapter;
  };
  try {
    await task();
  } finally {
    gpu.requestAdapter = request;
  }
}

/** Loads with `auto`, unless told otherwise, and collects warnings. */
async function load(
  options: LoadOptions = {},
  source?: Blob | string,
): Promise<{ model: Model; warnings: string[] }> {
  const warnings: string[] = [];
  first = options.backend === undefined;
  const model = await loadModel(source ?? await tinyBlob({ context: 128 }), {
    threads: 1,
    onWarning: (message) => warnings.push(message),
    ...options,
  });
  return { model, warnings };
}

async function generate(
  session: Session,
  options: GenerateOptions,
  onToken?: (count: number) => void,
): Promise<number[]> {
  const ids: number[] = [];
  for await (const { id } of session.generate([1, 5, 9], { stopIds: [], ...options })) {
    ids.push(id);
    onToken?.(ids.length);
  }
  return ids;
}

/** What the text is on the backend that takes over. */
async function onWasm(options: GenerateOptions): Promise<number[]> {
  const { model } = await load({ backend: "wasm" });
  await using _ = model;
  return await generate(model.session(), options);
}

const SAMPLED: GenerateOptions = { temperature: 1, seed: 4, maxTokens: 60 };
/** With a window like that, tokens are chosen on the CPU on every backend. */
const TEXTS: Record<string, GenerateOptions> = {
  greedy: { temperature: 0, maxTokens: 60 },
  sampled: SAMPLED,
  "with penalties": { ...SAMPLED, repeatPenalty: 1.2, frequencyPenalty: 0.3, presencePenalty: 0.2 },
  "with a bias": { ...SAMPLED, logitBias: { 7: 2.5, 9: -Infinity } },
  "with log-probabilities": { ...SAMPLED, logprobs: 2 },
  constrained: {
    ...SAMPLED,
    constraint: { next: () => ({ mask: Int32Array.of(0xfff0, 0x3f) }), accept: () => {} },
  },
  "longer than the context": { ...SAMPLED, maxTokens: 200, overflow: "slide" },
};

Deno.test({ name: "auto takes a GPU, and no program that plays one", ignore }, async () => {
  const { model, warnings } = await load();
  assertEquals([model.backend, warnings], ["wasm", []]);
  assertEquals((await detectBackends()).auto, "wasm");
  await model.dispose();
  await withGpu({}, async () => {
    const { model, warnings } = await load();
    assertEquals([model.backend, warnings], ["webgpu", []]);
    first = true;
    assertEquals((await detectBackends()).auto, "webgpu");
    assertEquals(await generate(model.session(), SAMPLED), await onWasm(SAMPLED));
    await model.dispose();
  });
});

for (const [name, options] of Object.entries(TEXTS)) {
  Deno.test({ name: `a GPU that is lost does not end a text: ${name}`, ignore }, async () => {
    const expected = await onWasm(options);
    for (const at of [1, 2, 3, 20]) {
      let device: GPUDevice | undefined;
      await withGpu({ device: (it) => device = it }, async () => {
        const { model, warnings } = await load();
        const session = model.session();
        const ids = await generate(session, options, (count) => {
          if (count === at) device!.destroy();
        });
        assertEquals(ids, expected, `lost at token ${at}`);
        assertEquals([model.backend, warnings.length], ["wasm", 1], warnings.join("\n"));
        assertStringIncludes(warnings[0]!, "Sparrow goes on with backend wasm: ");
        assertStringIncludes(warnings[0]!, "the GPU device was lost");
        // The session goes on from where it is.
        session.truncate(20);
        assertEquals((await session.step(7)).length, model.config.vocabSize);
        await model.dispose();
      });
    }
  });
}

Deno.test({ name: "all sessions of a model survive its GPU", ignore }, async () => {
  const greedy = { temperature: 0, maxTokens: 50 };
  const expected = [await onWasm(greedy), await onWasm(SAMPLED)];
  for (const sequences of [1, 2, 4]) {
    let device: GPUDevice | undefined;
    await withGpu({ device: (it) => device = it }, async () => {
      const { model, warnings } = await load({ sequences });
      const lose = (count: number): void => count === 15 ? device!.destroy() : undefined;
      const [texts, logits, again] = await Promise.all([
        Promise.all([
          generate(model.session(), greedy, lose),
          generate(model.session(), SAMPLED),
        ]),
        model.logits({ ids: [1, 2, 3] }),
        model.session().prefill([1, 2, 3]),
      ]);
      assertEquals(texts, expected, `${sequences} sequences`);
      logits.slice(-again.length).forEach((it, i) => assert(Math.abs(it - again[i]!) < 1e-3));
      assertEquals([model.backend, warnings.length], ["wasm", 1]);
      await model.dispose();
    });
  }
});

/** Ways in which a GPU fails; each text is whole all the same. */
const FAULTS: Record<string, Disguise> = {
  "gives no device": {
    adapter: () => ({ requestDevice: () => Promise.reject(new Error("not today")) }),
  },
  "has too little memory": {
    device(device) {
      const { limits } = device;
      const few = new Proxy(limits, {
        get: (_, name) =>
          name === "maxBufferSize" || name === "maxStorageBufferBindingSize"
            ? 1024
            : Reflect.get(limits, name),
      });
      Object.defineProperty(device, "limits", { value: few });
    },
  },
  "runs out of memory": {
    device(device) {
      const pop = device.popErrorScope;
      let scopes = 0;
      device.popErrorScope = async () => {
        const error = await pop.call(device);
        return ++scopes === 200 ? new GPUOutOfMemoryError("all is taken") : error;
      };
    },
  },
  "rejects a shader": {
    device(device) {
      const create = device.createShaderModule;
      device.createShaderModule = ({ code }) =>
        create.call(device, {
          code: code.includes("spans") ? `${code}\nfn broken( {}` : code,
        });
    },
  },
  "finds a command invalid": {
    device(device) {
      const submit = device.queue.submit;
      let submissions = 0;
      device.queue.submit = function (commands) {
        if (++submissions === 5) device.createBuffer({ size: 4, usage: 0 });
        submit.call(device.queue, commands);
      };
    },
  },
  "fails with an exception": {
    device(device) {
      const create = device.createBindGroup;
      let groups = 0;
      device.createBindGroup = (descriptor) => {
        if (++groups === 20) throw new TypeError("no more groups");
        return create.call(device, descriptor);
      };
    },
  },
};

for (const [name, disguise] of Object.entries(FAULTS)) {
  Deno.test({ name: `a GPU that ${name} is done without, with one warning`, ignore }, async () => {
    const expected = await onWasm(SAMPLED);
    await withGpu(disguise, async () => {
      const { model, warnings } = await load();
      assertEquals(await generate(model.session(), SAMPLED), expected);
      assertEquals([model.backend, warnings.length], ["wasm", 1], warnings.join("\n"));
      await model.dispose();
      // Who wants WebGPU and nothing else is told.
      await assertRejects(async () => {
        const { model } = await load({ backend: "webgpu" });
        await using _ = model;
        await generate(model.session(), SAMPLED);
      });
    });
  });
}

Deno.test({ name: "a GPU without halves and subgroups is used", ignore }, async () => {
  const plain: Disguise = {
    adapter: ({ info: { description, vendor } }) => ({
      features: new Set(),
      info: first ? GPU : { description, vendor, subgroupMaxSize: 0 },
    }),
  };
  await withGpu(plain, async () => {
    const { model, warnings } = await load();
    assertEquals(await generate(model.session(), SAMPLED), await onWasm(SAMPLED));
    assertEquals([model.backend, warnings], ["webgpu", []]);
    await model.dispose();
  });
});

Deno.test({ name: "an adapter that is reached through OpenGL is refused", ignore }, async () => {
  const gl: Disguise = {
    adapter: ({ limits }) => ({
      info: { ...GPU, subgroupMinSize: 4, subgroupMaxSize: 128 },
      features: new Set(["timestamp-query"]),
      limits: new Proxy(limits, {
        get: (_, name) =>
          name === "maxBindingsPerBindGroup" ? 2 ** 32 - 1 : Reflect.get(limits, name),
      }),
    }),
  };
  await withGpu(gl, async () => {
    const message = 'adapter "Acme Rocket 9000" is reached through OpenGL';
    await assertRejects(() => load({ backend: "webgpu" }), BackendError, message);
    const { model, warnings } = await load();
    assertEquals([model.backend, warnings], ["wasm", []]);
    await model.dispose();
  });
});

Deno.test(
  { name: "what is wrong with the model or the call is no fault of the GPU", ignore },
  async () => {
    await withGpu({}, async () => {
      await assertRejects(() => load({}, "/no/such/file.gguf"), SourceError);
      const reason = new Error("changed my mind"), controller = new AbortController();
      const aborted = { signal: controller.signal, onProgress: () => controller.abort(reason) };
      await assertRejects(() => load(aborted), Error, reason.message);
      const { model, warnings } = await load();
      await assertRejects(() => model.session().step(1000), InputError);
      await assertRejects(
        () => generate(model.session(), { signal: AbortSignal.abort(reason) }),
        Error,
        reason.message,
      );
      assertEquals([model.backend, warnings], ["webgpu", []]);
      await model.dispose();
    });
  },
);

/** A graph of one product, compiled on the GPU, and what it gives; `keeping` something in a cache besides. */
async function product(
  options: CompileOptions = {},
  keeping = false,
): Promise<{ program: Program; run: () => Promise<number[]>; warnings: string[] }> {
  const g = new Graph(), x = g.input("x", [1, 4]), warnings: string[] = [];
  const kept = keeping ? { k: new Float32Array(4), rows: Int32Array.of(0) } : {};
  if (keeping) {
    const cache = g.cache("keys", "keyCache", [2, 1, 4]);
    g.op("cacheStore", [cache, g.input("k", [1, 4]), g.input("rows", [1], "i32")]);
  }
  g.output("y", g.op("matmul", [x, g.matrix("w", [2, 4])]));
  const w = Float32Array.of(1, 2, 3, 4, 5, 6, 7, 8);
  const onWarning = (message: string): number => warnings.push(message);
  first = true;
  const program = await compile(g, { threads: 1, weights: { w }, onWarning, ...options });
  w.fill(0); // the caller's again
  const run = async (): Promise<number[]> =>
    Array.from((await program.run({ x: Float32Array.of(1, 1, 1, 2), ...kept })).y!);
  return { program, run, warnings };
}

Deno.test({ name: "compile() goes on with another backend as loading does", ignore }, async () => {
  const refusing: Disguise = {
    adapter: () => ({ requestDevice: () => Promise.reject(new Error("not today")) }),
  };
  await withGpu(refusing, async () => {
    const { program, run, warnings } = await product();
    assertEquals([program.backend, await run()], ["wasm", [14, 34]]);
    assertEquals(warnings.length, 1);
    assertStringIncludes(warnings[0]!, "Sparrow goes on with backend wasm: ");
    await program.dispose();
    await assertRejects(() => product({ backend: "webgpu" }), BackendError, "not today");
  });
  let device: GPUDevice | undefined;
  await withGpu({ device: (it) => device = it }, async () => {
    const { program, run, warnings } = await product();
    assertEquals([program.backend, await run(), warnings], ["webgpu", [14, 34], []]);
    device!.destroy();
    assertEquals(await Promise.all([run(), run()]), [[14, 34], [14, 34]]);
    assertEquals([program.backend, warnings.length], ["wasm", 1]);
    await program.dispose();
    await assertRejects(run, InputError, "has been disposed");
  });
});

Deno.test(
  { name: "compile() does not go on where a cache is lost with its GPU", ignore },
  async () => {
    let device: GPUDevice | undefined;
    await withGpu({ device: (it) => device = it }, async () => {
      const { program, run, warnings } = await product({}, true);
      assertEquals(await run(), [14, 34]);
      device!.destroy();
      await assertRejects(run, BackendError, "the GPU device was lost");
      assertEquals([program.backend, warnings], ["webgpu", []]);
      await program.dispose();
    });
  },
);

Deno.test({ name: "where nothing can take over, every call says why", ignore }, async () => {
  const path = await Deno.makeTempFile({ suffix: ".gguf" });
  await Deno.writeFile(path, await tinyGguf({ context: 128 }));
  let device: GPUDevice | undefined;
  await withGpu({ device: (it) => device = it }, async () => {
    const { model, warnings } = await load({}, path);
    await Deno.remove(path);
    const session = model.session();
    const message = 'Cannot go on after "Cannot go on: the GPU device was lost';
    await assertRejects(
      () => generate(session, SAMPLED, (count) => count === 9 ? device!.destroy() : undefined),
      BackendError,
      message,
    );
    await assertRejects(() => session.step(1), BackendError, message);
    await assertRejects(() => model.logits({ ids: [1] }), BackendError, message);
    assertEquals(warnings.length, 1);
    await model.dispose();
  });
});

Deno.test(
  { name: "a table of words in its file serves the backend that takes over", ignore },
  async () => {
    const expected = await onWasm(SAMPLED);
    const path = await Deno.makeTempFile({ suffix: ".gguf" });
    const gguf = await tinyGguf({ context: 128 });
    for (const isReplaced of [false, true]) {
      await Deno.writeFile(path, gguf);
      let device: GPUDevice | undefined;
      await withGpu({ device: (it) => device = it }, async () => {
        const { model } = await load({ lookupTables: "file" }, path);
        assertEquals(model.backend, "webgpu");
        const run = (): Promise<number[]> =>
          generate(model.session(), SAMPLED, (count) => {
            if (count === 9) device!.destroy();
            if (count !== 9 || !isReplaced) return;
            // Its weights would be loaded from there, and rows be read from the one that is open.
            Deno.writeFileSync(`${path}.new`, gguf);
            Deno.renameSync(`${path}.new`, path);
          });
        if (isReplaced) await assertRejects(run, BackendError, "was written or replaced meanwhile");
        else assertEquals([await run(), model.backend], [expected, "wasm"]);
        await model.dispose();
      });
    }
    await Deno.remove(path);
  },
);
