/**
 * The benchmarks as programs: what they compare, count and refuse. How long anything takes is no
 * matter here.
 */

import { assert, assertEquals, assertStringIncludes } from "@std/assert";
import { prepareKernel } from "../bench/kernel_case.ts";
import { type KernelRow, kernelRows } from "../bench/kernel_rows.ts";
import { measureGpuKernels } from "../bench/gpu_kernels.ts";
import { readReport } from "../bench/gpu_parity.ts";
import { createCalibrator } from "../bench/limits/calibrate.ts";
import { type LimitName, LIMITS } from "../bench/limits/limits.ts";
import { describeEmbed, embedRatios, measureEmbed } from "../bench/embed.ts";
import { describeRow, measureQuality, type QualityResult } from "../bench/quality.ts";
import { comparePeers, peerRatios } from "../bench/peers.ts";
import { describeEncoder } from "../bench/peers/onnx_encoder.ts";
import { describeModel } from "../bench/peers/onnx_model.ts";
import { measurePrefix } from "../bench/prefix.ts";
import { measureQuantize } from "../bench/quantize.ts";
import { acceptRatios, compareRatios, machineName, type Measured } from "../bench/record.ts";
import { perRepeat, ratios, type Spread, spread } from "../bench/stats.ts";
import {
  drawSentences,
  encoderTensors,
  SENTENCE_TOKENS,
  writeEncoder,
} from "../bench/synthetic_encoder.ts";
import { type OpName, OPS } from "../kernels/ops.ts";
import { createWasmBackend } from "../runtime/backends/wasm/backend.ts";
import { Recorder } from "../cases/recorder.ts";
import { loadModel } from "../mod.ts";
import { tinyBlob } from "./tiny_model.ts";
import { hasWebgpu } from "./webgpu_adapter.ts";

Deno.test("bench prefix measures a prompt that is taken over, and one that is not", async () => {
  await using model = await loadModel(await tinyBlob({ context: 160 }), {
    ...{ backend: "wasm", threads: 1, sequences: 3 },
  });
  const result = await measurePrefix(model, 120, 20, 3);
  assertEquals([result.takenTokens, result.threads], [120, 1]);
  for (const { min, max } of [result.aloneMs, result.sharedMs]) assert(0 < min && min <= max);
});

Deno.test("bench quantize measures a file, and leaves nothing", async () => {
  const path = await Deno.makeTempFile();
  try {
    await Deno.writeFile(path, (await (await tinyBlob()).bytes()) as Uint8Array<ArrayBuffer>);
    const found = await measureQuantize(path, { method: "nearest", type: "Q8_0", tokens: 10 });
    assertEquals([found.method, found.type, found.tokens], ["nearest", "Q8_0", 0]);
    assert(found.seconds > 0 && found.rate > 0 && found.readRate > 0);
  } finally {
    await Deno.remove(path);
  }
});

const around = (median: number, width = 0.01): Spread => ({
  min: median * (1 - width),
  median,
  max: median * (1 + width),
});

const machine = {
  cpu: "Intel(R) Xeon(R) Processor @ 2.50GHz",
  cores: 2,
  memoryBytes: 2 ** 34,
  os: "linux x86_64",
  deno: "2.9.6",
  v8: "15",
};

Deno.test("compareRatios() tells moves from noise", () => {
  const verdict = (before: Spread | undefined, now: Spread | undefined): string =>
    compareRatios(before ? { a: before } : {}, now ? { a: now } : {})[0]!.verdict;
  assertEquals(verdict(around(1), around(1)), "same");
  assertEquals(verdict(around(1), around(0.9)), "worse");
  assertEquals(verdict(around(1), around(1.1)), "better");
  // Both measurements are so uncertain that 10 % are nothing.
  assertEquals(verdict(around(1, 0.2), around(0.9, 0.2)), "same");
  // One slow run of five does not hide that the others are slower.
  assertEquals(verdict({ min: 0.85, median: 1, max: 1.01 }, around(0.8, 0.1)), "worse");
  // Certain, but too little to speak of.
  assertEquals(verdict(around(1, 0.001), around(0.98, 0.001)), "same");
  assertEquals(verdict(undefined, around(1)), "new");
  assertEquals(verdict(around(1), undefined), "absent");
});

Deno.test("acceptRatios() keeps what was not measured again", () => {
  const first = acceptRatios(undefined, { machine, ratios: { b: around(1), a: around(2) } }, "1");
  const second = acceptRatios(first, { machine, ratios: { b: around(3) } }, "2");
  assertEquals(Object.keys(second.ratios), ["a", "b"]);
  assertEquals(second.ratios.a, { ...around(2), accepted: "1" });
  assertEquals(second.ratios.b, { ...around(3), accepted: "2" });
});

Deno.test("machineName() is a file name that tells machines apart", () => {
  assertEquals(machineName(machine), "intel-xeon-2.50ghz-2-cores");
  assertEquals(machineName({ ...machine, adapter: "NVIDIA H100 80GB" }), "nvidia-h100-80gb");
});

async function compare(...args: string[]): Promise<{ code: number; out: string; err: string }> {
  const { code, stdout, stderr } = await new Deno.Command(Deno.execPath(), {
    args: ["run", "-A", "--no-check", "bench/main.ts", "compare", ...args],
    cwd: new URL("../", import.meta.url),
  }).output();
  const text = (bytes: Uint8Array): string => new TextDecoder().decode(bytes);
  return { code, out: text(stdout), err: text(stderr) };
}

Deno.test("deno task bench compare ends with 1 when something got worse and is not accepted", async () => {
  const folder = await Deno.makeTempDir();
  try {
    const write = async (name: string, ratios: Measured["ratios"] | null): Promise<string> => {
      const path = `${folder}/${name}.json`;
      await Deno.writeTextFile(path, JSON.stringify(ratios && { machine, ratios }));
      return path;
    };
    const good = await write("good", { gemv: around(0.9), gemm: around(0.6) });
    const bad = await write("bad", { gemv: around(0.5), gemm: around(0.6) });
    const results = `--results=${folder}/kept`;
    assertEquals((await compare(results, "--accept", good)).code, 0);
    assertEquals((await compare(results, good)).code, 0);
    const worse = await compare(results, bad);
    assertEquals(worse.code, 1);
    assertStringIncludes(worse.out, "worse   gemv: 0.9");
    assertStringIncludes(worse.err, "1 of 2 ratios got worse");
    const moves = JSON.parse((await compare(results, "--json", bad)).out);
    assertEquals(moves.map((it: { verdict: string }) => it.verdict).sort(), ["same", "worse"]);
    assertEquals((await compare(results, "--accept", bad)).code, 0);
    assertEquals((await compare(results, bad)).code, 0);

    const broken = await compare(results, await write("broken", null));
    assertEquals(broken.code, 1);
    assertStringIncludes(broken.err, "found no ratios");
    assertStringIncludes((await compare(results, `${folder}/missing`)).err, "Cannot read");
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
});

Deno.test("spread(), ratios() and perRepeat() count as they say", () => {
  assertEquals(spread([3, 1, 2]), { min: 1, median: 2, max: 3 });
  assertEquals(spread([4, 1]), { min: 1, median: 2.5, max: 4 });
  assertEquals(ratios([2, 9], [1, 3]), { min: 2, median: 2.5, max: 3 });
  assertEquals(perRepeat(9, 19, 1, 3), 2);
  // The few took longer than the many: nothing but an upper bound is known.
  assertEquals(perRepeat(8, 16, 1, 20), 2);
  assertEquals(perRepeat(8, 16, 1, 0), 2);
});

Deno.test("the rows of kernels are unique, and can all be recorded", () => {
  const rows = kernelRows(2 ** 20), names = rows.map(({ name }) => name);
  assertEquals(names.filter((name, i) => names.indexOf(name) !== i), []);
  for (
    const name of [
      ...["int4", "int8", "f16", "f32"].map((layout) => `${layout} GEMV from DRAM`),
      ...["int4 GEMM 256x4096x4096", "f32 GEMM 1024x1024x1024"],
      ...["f32", "f16"].flatMap((dtype) =>
        [128, 4096].map((span) =>
          `attention decode, ${dtype} cache, ${span} positions, 16/4 heads of 64`
        )
      ),
      ...["int4 1x4096x4096", "int4 512x4096x4096"],
    ]
  ) assert(names.includes(name), `there is no row ${name}`);
  const seen = new Set<OpName>();
  for (const row of rows) {
    const recorder = new Recorder(row.tokens ?? 1, "row");
    const { graph } = recorder;
    row.record(recorder, (operands, attrs) => {
      const first = graph.op(row.op, operands(0, undefined), attrs as never);
      const { flops, bytes } = OPS[row.op].cost(operands(0, undefined), attrs as never);
      assert(flops >= 0 && bytes > 0, row.name);
      return graph.op(row.op, operands(1, first), attrs as never);
    });
    assertEquals(graph.nodes.filter(({ op }) => op === row.op).length, 2, row.name);
    seen.add(row.op);
  }
  assertEquals(Object.keys(OPS).filter((op) => !seen.has(op as OpName)), []);
});

Deno.test("GEMV from DRAM reads far more than the cache holds", () => {
  for (const cacheBytes of [2 ** 20, 2 ** 25, 2 ** 28]) {
    for (const row of kernelRows(cacheBytes).filter(({ name }) => name.includes("DRAM"))) {
      const recorder = new Recorder(1, "row");
      row.record(recorder, (operands) => {
        const { bytes } = OPS.matmul.cost(operands(0, undefined), {});
        assert(bytes >= 4 * cacheBytes, row.name);
        return recorder.graph.op("matmul", operands(0, undefined));
      });
    }
  }
});

Deno.test("a row is timed as often as it takes to see it", async () => {
  const row: KernelRow = {
    name: "small",
    op: "add",
    record: (r, repeat) => {
      const operands = [r.input(["tokens", 8]), r.constant([8])];
      return repeat(() => operands, {});
    },
  };
  const backend = await createWasmBackend({ threads: 1 });
  try {
    const { cost, limit, time } = await prepareKernel(backend, row);
    assertEquals(cost, { flops: 8, bytes: 96 });
    assertEquals(limit, "cache");
    assert(await time() > 0);
  } finally {
    await backend.dispose();
  }
});

Deno.test("caches of a row are all filled, however few a repetition reads", async () => {
  const row = kernelRows(2 ** 12).find(({ name }) => name.startsWith("attention decode, f16"))!;
  const backend = await createWasmBackend({ threads: 1 });
  try {
    const { cost, time } = await prepareKernel(backend, row);
    assertEquals(cost.flops, 4 * 128 * 16 * 64);
    assert(await time() > 0);
  } finally {
    await backend.dispose();
  }
});

Deno.test("limits can be measured on one and on two threads", async () => {
  const calibrator = await createCalibrator(2, 2 ** 20);
  try {
    for (const name of Object.keys(LIMITS) as LimitName[]) {
      if (name === "dramNative" && !calibrator.native) continue;
      for (const threads of [1, 2]) {
        const rate = await calibrator.measure(name, threads);
        assert(rate > 0 && Number.isFinite(rate), `${name}, ${threads}: ${rate}`);
      }
    }
  } finally {
    calibrator.dispose();
  }
});

Deno.test("peers: what cannot do a work is a row that says so", async () => {
  const work = { kind: "matmul", layout: "int4", tokens: 3, rows: 32, columns: 64 } as const;
  const results = await comparePeers(work, 1, ["sparrow", "llama.cpp", "wllama"], 2);
  const [ours, ...others] = results;
  assertEquals(ours!.work, "int4 3x32x64");
  assert(ours!.ms!.min > 0 && ours!.rate! > 0 && ours!.absent === undefined);
  for (const { absent, ms } of others) {
    assertEquals(ms, undefined);
    assertStringIncludes(absent!, "runs GGUF models only");
  }
  assertEquals(peerRatios(results), {});
  assertEquals(peerRatios([{ ...ours!, peer: "other", sparrowIsFaster: around(2) }]), {
    "peers: int4 3x32x64, 1 thread, over other": around(2),
  });
});

/** The fields of a message of protocol buffers, by number; throws where lengths do not fit. */
function fields(bytes: Uint8Array): Map<number, Uint8Array[]> {
  const found = new Map<number, Uint8Array[]>();
  let at = 0;
  const varint = (): number => {
    let value = 0;
    for (let shift = 1;; shift *= 128) {
      const byte = bytes[at++]!;
      value += (byte & 127) * shift;
      if (byte < 128) return value;
    }
  };
  while (at < bytes.length) {
    const key = varint(), length = varint();
    const content = key & 7 ? bytes.subarray(at, at += length) : Uint8Array.of(length);
    found.set(key >> 3, [...found.get(key >> 3) ?? [], content]);
  }
  assertEquals(at, bytes.length);
  return found;
}

Deno.test("describeModel() writes ONNX with the weights in the graph", () => {
  for (
    const [layout, type, names] of [
      ["int4", "MatMulNBits", ["w", "scales"]],
      ["f32", "MatMul", ["w"]],
    ] as const
  ) {
    const bytes = describeModel({ kind: "matmul", layout, tokens: 5, rows: 48, columns: 320 });
    const graph = fields(fields(bytes).get(7)![0]!);
    const text = (bytes: Uint8Array): string => new TextDecoder().decode(bytes);
    assertEquals(text(fields(graph.get(1)![0]!).get(4)![0]!), type);
    const tensors = graph.get(5)!.map(fields);
    assertEquals(tensors.map((it) => text(it.get(8)![0]!)), names);
    assertEquals(tensors[0]!.get(9)![0]!.length, layout === "int4" ? 48 * 320 / 2 : 48 * 320 * 4);
  }
});

const SMALL = { layers: 2, hidden: 64, inner: 96, heads: 2, vocab: 50, positions: 64 };

Deno.test("describeEncoder() writes ONNX with one attention and two norms for each layer", () => {
  const graph = fields(fields(describeEncoder(SMALL)).get(7)![0]!);
  const text = (bytes: Uint8Array): string => new TextDecoder().decode(bytes);
  const ops = graph.get(1)!.map((node) => text(fields(node).get(4)![0]!));
  const layer = ["Attention", "MatMul", "SkipLayerNormalization"];
  layer.push("MatMul", "BiasGelu", "MatMul", "SkipLayerNormalization");
  const start = ["Gather", "Gather", "Add", "Add", "LayerNormalization"];
  assertEquals(ops, [...start, ...layer, ...layer]);
  // Queries, keys and values are one matrix, and of the types of segments one is there.
  const numbers = graph.get(5)!.map((it) => fields(it).get(9)![0]!.length / 4);
  const all = encoderTensors(SMALL).map(({ shape }) => shape.reduce((a, b) => a * b, 1));
  const sum = (numbers: number[]): number => numbers.reduce((a, b) => a + b);
  assertEquals(sum(numbers), sum(all) - SMALL.hidden);
  const names = graph.get(5)!.map((it) => text(fields(it).get(8)![0]!));
  assertEquals(new Set(names).size, names.length);

  const bytes = fields(fields(describeEncoder(SMALL, "int8")).get(7)![0]!);
  const kinds = bytes.get(1)!.map((node) => text(fields(node).get(4)![0]!));
  assertEquals(kinds.filter((it) => it === "QAttention").length, SMALL.layers);
  assertEquals(kinds.filter((it) => it === "DynamicQuantizeMatMul").length, 3 * SMALL.layers);
  assertEquals(kinds.filter((it) => it === "MatMul" || it === "Attention").length, 0);
});

Deno.test("bench embed lets all read the same sentences, and says who cannot", async () => {
  const [least, most] = SENTENCE_TOKENS;
  for (const ids of drawSentences(200, 50)) {
    assert(ids.length >= least && ids.length <= most && ids.every((id) => id >= 0 && id < 50));
  }
  const folder = await Deno.makeTempDir();
  const folders = { F32: `${folder}/F32`, F16: `${folder}/F16` };
  try {
    await writeEncoder(folders.F32, SMALL, "F32");
    await writeEncoder(folders.F16, SMALL, "F16");
    const rows = await measureEmbed({
      ...{ size: SMALL, texts: 30, threads: 1, runs: 2 },
      weights: ["f32", "f16", "int8"],
      peers: [["tfjs-wasm", "f32"]],
    }, folders);
    const names = ["sparrow f32", "sparrow f16", "sparrow int8", "tfjs-wasm f32"];
    assertEquals(rows.map(({ program }) => program), names);
    for (const { ms, cosine, textsPerSecond, over } of rows.slice(0, 3)) {
      assert(ms!.min > 0 && textsPerSecond! > 0 && over === undefined);
      assert(cosine! > 0.999, `cosine ${cosine}`);
    }
    assertStringIncludes(rows[3]!.absent!, "TensorFlow.js");
    assertStringIncludes(describeEmbed(rows[3]!), "tfjs-wasm f32, 1 thread: ");
    const row = { ...rows[0]!, over: { other: around(2) } };
    assertEquals(embedRatios([row, rows[3]!]), {
      "embed: sparrow f32, 1 thread, over other": around(2),
    });
    assertStringIncludes(describeEmbed(row), "2 times as fast as other (1.98 to 2.02)");
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
});

Deno.test("readReport() counts tests that passed, and names those that failed", () => {
  const xml = `<testsuites><testsuite name="a">
    <testcase name="add: webgpu" classname="x" time="0.1"></testcase>
    <testcase name="mul: webgpu" time="0.1"/>
    <testcase name="rope: webgpu" time="0.1"><skipped></skipped></testcase>
    <testcase name="embed: webgpu" time="0.1">
      <failure message="no">deviation 2</failure>
    </testcase>
  </testsuite></testsuites>`;
  assertEquals(readReport(xml), { passed: 2, failed: ["embed: webgpu"] });
});

Deno.test({
  name: "a kernel is timed on webgpu beside the adapter's limits",
  ignore: !hasWebgpu,
  async fn() {
    const { limits, results, facts } = await measureGpuKernels({
      widths: [64],
      tokens: 2,
      runs: 1,
      filter: "int4 1x64x64",
    });
    assert(facts.name.length > 0);
    assertEquals(results.map(({ name }) => name), ["matmul int4 1x64x64"]);
    const [{ us, share }] = results as [typeof results[0]];
    for (const value of [us.min, share.min, limits.copy!.min]) {
      assert(value > 0 && Number.isFinite(value));
    }
  },
});

Deno.test("bench quality compares files with their source, and says who cannot", async () => {
  const model = new URL("models/stories260K/stories260K.gguf", import.meta.url).pathname;
  const rows: QualityResult[] = [];
  for await (
    const row of measureQuality(model, {
      ...{ types: ["Q8_0"], methods: ["nearest"], tokens: 100, calibration: 20, backend: "wasm" },
      packages: "/nowhere",
    })
  ) rows.push(row);
  assertEquals(rows.map((it) => it.program), ["llama.cpp", "llama.cpp", "sparrow"]);
  assertStringIncludes(rows[0]!.absent!, "is not installed");
  assert(rows[2]!.comparison!.kl.mean < 0.01 && rows[2]!.bytes! < 1e6);
  assertStringIncludes(describeRow(rows[2]!), "bytes  KL ");
});
