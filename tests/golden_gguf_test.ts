/**
 * Golden models written as GGUF files give what the original implementations give for their weights.
 */

import { assert, assertEquals } from "@std/assert";
import { loadModel, type LoadOptions, type Model } from "../mod.ts";
import { FIXTURES, ggufBytes } from "./fixtures.ts";
import { BACKENDS, CHECKS, difference, type GoldenCase, promptOf } from "./golden_checks.ts";
import { type Contents, goldenContents } from "./golden_gguf.ts";
import { withFolder } from "./tiny_model.ts";
import { hasWebgpu } from "./webgpu_adapter.ts";

/** Loads a file of these contents; nothing about it may be worth a warning. */
async function load(contents: Contents, options: LoadOptions): Promise<Model> {
  return await loadModel(new Blob([await ggufBytes(contents)]), {
    ...options,
    onWarning: (message) => assert(false, message),
  });
}

async function casesOf(name: string): Promise<GoldenCase[]> {
  const url = new URL(`golden/${name}/expected.json`, FIXTURES);
  return JSON.parse(await Deno.readTextFile(url)).cases;
}

/** Runs `body` on every backend. */
function onBackends(
  name: string,
  body: (options: LoadOptions, bound: number) => Promise<void>,
): void {
  for (const { bound, ...options } of BACKENDS) {
    const { backend, threads } = options;
    Deno.test({
      name: `GGUF of golden ${name} on ${backend} with ${threads} threads` +
        ("gpuLayers" in options ? ", one layer on the GPU" : ""),
      ignore: backend === "webgpu" && !hasWebgpu,
      fn: () => body(options, bound),
    });
  }
}

for (const name of ["gpt2", "nomic-bert", "t5-v1.0", "mt5"]) {
  onBackends(name, async (options, bound) => {
    await using model = await load(await goldenContents(name), options);
    for (const row of await casesOf(name)) {
      const max = await CHECKS[row.kind]!(model, row);
      assert(max <= bound, `${row.name}: logits differ by ${max}, at most ${bound} expected`);
    }
  });
}

/** Hidden states of every text of a golden model's cases, by the model of its folder. */
async function hiddenOf(name: string, model: Model): Promise<Float32Array[]> {
  const cases = await casesOf(name);
  const prompts = cases.flatMap(({ inputs }) =>
    inputs.input_ids.map((_: unknown, row: number) => promptOf(inputs, row).prompt)
  );
  return await Promise.all(
    prompts.map(async (it) => (await model.encode({ ...it, decoderIds: undefined })).hidden),
  );
}

for (const name of ["bert", "distilbert", "roberta"]) {
  onBackends(name, async (options, bound) => {
    // The folder's model gives the original's numbers (golden_test.ts); a GGUF file has no heads.
    await using original = await loadModel(new URL(`golden/${name}/`, FIXTURES), {
      backend: "reference",
    });
    await using model = await load(await goldenContents(name), options);
    const expected = await hiddenOf(name, original);
    for (const [i, hidden] of (await hiddenOf(name, model)).entries()) {
      const max = difference(hidden, Array.from(expected[i]!));
      assert(max <= bound, `text ${i}: states differ by ${max}, at most ${bound} expected`);
    }
  });
}

Deno.test("GGUF of golden bert: the last layer's states are the original's", async () => {
  await using model = await load(await goldenContents("bert"), { backend: "reference" });
  const [{ inputs, outputs }] = await casesOf("bert") as [GoldenCase];
  const { hidden } = await model.encode(promptOf(inputs, 0).prompt);
  const last = outputs.hidden_states.at(-1), width = model.config.hiddenSize;
  for (const [i, place] of last.positions.entries()) {
    const row = hidden.subarray(place * width, (place + 1) * width);
    assert(difference(row, last.values[i]) <= 1e-4, `token ${place}`);
  }
});

/** Tensors of a GGUF file become one, on top of each other. */
function fuse(contents: Contents, layer: number): void {
  for (const suffix of ["weight", "bias"]) {
    const parts = ["q", "k", "v"].map((it) => {
      const at = contents.tensors.findIndex(({ name }) =>
        name === `blk.${layer}.attn_${it}.${suffix}`
      );
      return contents.tensors.splice(at, 1)[0]!;
    });
    const [rows, ...columns] = parts[0]!.shape as [number, ...number[]];
    const data = new Uint8Array(parts.flatMap((it) => Array.from(it.data as Uint8Array)));
    const name = `blk.${layer}.attn_qkv.${suffix}`;
    contents.tensors.push({ name, shape: [3 * rows, ...columns], type: "F32", data });
  }
}

Deno.test("GGUF of golden bert: queries, keys and values may lie in one tensor", async () => {
  const contents = await goldenContents("bert");
  await using apart = await load(contents, { backend: "reference" });
  for (const layer of [0, 1, 2]) fuse(contents, layer);
  await using fused = await load(contents, { backend: "reference" });
  assertEquals(await hiddenOf("bert", fused), await hiddenOf("bert", apart));
});

Deno.test("GGUF of golden t5-v1.1: the files' distances reach to 128", async () => {
  // The format does not carry the 20 of this model; its weights with 128 are another model.
  const folder = new URL("golden/t5-v1.1/", FIXTURES);
  const config = JSON.parse(await Deno.readTextFile(new URL("config.json", folder)));
  await withFolder({
    "config.json": JSON.stringify({ ...config, relative_attention_max_distance: 128 }),
    "model.safetensors": await Deno.readFile(new URL("model.safetensors", folder)),
  }, async (path) => {
    await using original = await loadModel(path, { backend: "reference" });
    await using model = await load(await goldenContents("t5-v1.1"), { backend: "reference" });
    for (const { inputs } of await casesOf("t5-v1.1")) {
      const ids = inputs.input_ids[0], decoderIds = [0, 5, 6, 7, 8, 9, 10, 11, 12];
      const prompt = { ids, decoderIds };
      const expected = await original.logits(prompt);
      assert(difference(await model.logits(prompt), Array.from(expected)) <= 1e-6);
    }
  });
});

Deno.test("GGUF of golden t5-v1.0: a head that repeats the words is tied as well", async () => {
  const contents = await goldenContents("t5-v1.0");
  await using tied = await load(contents, { backend: "reference" });
  const words = contents.tensors.find(({ name }) => name === "token_embd.weight")!;
  contents.tensors.push({ ...words, name: "output.weight" });
  await using repeated = await load(contents, { backend: "reference" });
  const prompt = { ids: [3, 4, 5, 1], decoderIds: [0, 7] };
  assertEquals(await repeated.logits(prompt), await tied.logits(prompt));
  // Another head is one of its own, which nothing divides.
  const other = new Float32Array((words.data as Uint8Array).slice().buffer).map((it) => 2 * it);
  contents.tensors.splice(-1, 1, {
    ...words,
    name: "output.weight",
    data: new Uint8Array(other.buffer),
  });
  await using own = await load(contents, { backend: "reference" });
  const factor = 2 * Math.sqrt(own.config.hiddenSize);
  const expected = Array.from(await tied.logits(prompt), (it) => factor * it);
  assert(difference(await own.logits(prompt), expected) <= 1e-3);
});

Deno.test("GGUF of golden t5-v1.0: a head that repeats the words is tied on a server, too", async () => {
  const contents = await goldenContents("t5-v1.0");
  await using tied = await load(contents, { backend: "reference" });
  const words = contents.tensors.find(({ name }) => name === "token_embd.weight")!;
  contents.tensors.push({ ...words, name: "output.weight" });
  const bytes = await ggufBytes(contents);
  await using server = Deno.serve({ port: 0, hostname: "127.0.0.1", onListen() {} }, (request) => {
    const found = /^bytes=(\d+)-(\d+)$/.exec(request.headers.get("range") ?? "");
    if (!found) return new Response(bytes);
    const [first, last] = [Number(found[1]), Math.min(Number(found[2]), bytes.length - 1)];
    return new Response(bytes.slice(first, last + 1), {
      status: 206,
      headers: { "content-range": `bytes ${first}-${last}/${bytes.length}` },
    });
  });
  const url = `http://127.0.0.1:${server.addr.port}/t5.gguf`;
  await using repeated = await loadModel(url, { backend: "reference" });
  const prompt = { ids: [3, 4, 5, 1], decoderIds: [0, 7] };
  assertEquals(await repeated.logits(prompt), await tied.logits(prompt));
});

Deno.test("GGUF of golden t5-v1.0: an encoder alone", async () => {
  const contents = await goldenContents("t5-v1.0");
  await using whole = await load(contents, { backend: "reference" });
  const fields = Array.from(contents.fields).flatMap(([field, value]) =>
    /decoder_/.test(field) ? [] : [[field.replace(/^t5\./, "t5encoder."), value] as const]
  );
  const encoder: Contents = {
    fields: new Map([...fields, ["general.architecture", { type: "string", value: "t5encoder" }]]),
    tensors: contents.tensors.filter(({ name }) => !name.startsWith("dec.")),
  };
  for (const backend of ["reference", "wasm"] as const) {
    await using model = await load(encoder, { backend });
    const found = await hiddenOf("t5-v1.0", model), expected = await hiddenOf("t5-v1.0", whole);
    found.forEach((it, i) => assert(difference(it, Array.from(expected[i]!)) <= 1e-3));
    assertEquals(model.accepts, ["ids"]);
  }
});

Deno.test("GGUF of golden t5-v1.0: layers with distances of their own", async () => {
  const contents = await goldenContents("t5-v1.0");
  await using shared = await load(contents, { backend: "reference" });
  const first = contents.tensors.find(({ name }) => name === "enc.blk.0.attn_rel_b.weight")!;
  for (const layer of [1, 2]) {
    contents.tensors.push({ ...first, name: `enc.blk.${layer}.attn_rel_b.weight` });
  }
  await using same = await load(contents, { backend: "reference" });
  assertEquals(await hiddenOf("t5-v1.0", same), await hiddenOf("t5-v1.0", shared));
  const zeros = new Uint8Array((first.data as Uint8Array).length);
  contents.tensors.splice(-1, 1, { ...contents.tensors.at(-1)!, data: zeros });
  await using other = await load(contents, { backend: "reference" });
  const [a, b] = [await hiddenOf("t5-v1.0", other), await hiddenOf("t5-v1.0", shared)];
  assert(difference(a[0]!, Array.from(b[0]!)) > 1e-2);
});
