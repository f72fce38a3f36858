/** Models on paper: published sizes, the tensors of real files, and what inspect --plan tells. */

import {
  assert,
  assertAlmostEquals,
  assertEquals,
  assertNotEquals,
  assertRejects,
  assertStringIncludes,
} from "@std/assert";
import { ModelError } from "../errors.ts";
import { planOf, type PlanReport } from "../cli/plan.ts";
import { SHAPES } from "../cli/shapes.ts";
import { loadModel } from "../mod.ts";
import { elements } from "../kernels/op.ts";
import { paperModel } from "../runtime/engine/paper_model.ts";
import { readsOf } from "../runtime/engine/needs.ts";
import { resolveModel } from "../runtime/engine/resolve.ts";
import { openModelFile } from "../runtime/files/open.ts";
import { FIXTURES } from "./fixtures.ts";

const BANDWIDTH = 20e9;

function plan(name: string, weights: "as-is" | "int4" = "int4", more = {}): Promise<PlanReport> {
  return planOf(name, SHAPES[name]!, { weights, ...more }, { bandwidth: BANDWIDTH });
}

Deno.test("shapes of published models have the published number of parameters", async () => {
  for (const [name, { parameters, active, without, config }] of Object.entries(SHAPES)) {
    const report = await plan(name);
    if (parameters !== undefined) {
      const left = without && (await paperModel(config, name)).tensors.get(without)!.shape;
      const total = report.parameters.total - (left ? elements(left) : 0);
      assertAlmostEquals(total / parameters, 1, 0.02, name);
    }
    if (active !== undefined) {
      assertAlmostEquals(report.parameters.active / active, 1, 0.02, name);
    }
  }
});

/** Golden models that are no whole model in one file: quantized by others, cases, parts of models. */
const NOT_WHOLE = /130b|gptq|awq|gguf|settings|tasks|tied|transfo/;

Deno.test("a model on paper has the tensors of a real one with the same configuration", async () => {
  let count = 0;
  for (const { name, isDirectory } of Deno.readDirSync(new URL("golden/", FIXTURES))) {
    if (!isDirectory || NOT_WHOLE.test(name)) continue;
    const file = await openModelFile(new URL(`golden/${name}/`, FIXTURES));
    const paper = await paperModel(file.metadata, name);
    const listed = ({ tensors }: typeof file): string[] =>
      Array.from(tensors.values(), (it) => `${it.name} [${it.shape}]`)
        .filter((it) => !it.includes("inv_freq")).sort();
    assertEquals(listed(paper), listed(file), name);
    const [a, b] = await Promise.all(
      [paper, file].map((it) => resolveModel(it, { contextLength: 16 }, () => {})),
    );
    assertEquals([...a!.weights.keys()], [...b!.weights.keys()], name);
    file.close();
    count++;
  }
  assert(count >= 25, `${count} models`);
});

Deno.test("a model on paper whose architectures are no list is one that says nothing of them", async () => {
  const config = { model_type: "bert", vocab_size: 99, num_hidden_layers: 1 };
  const expected = await paperModel(config, "bert");
  for (const architectures of [3, "BertModel", {}, null, []]) {
    const found = await paperModel({ ...config, architectures }, "bert");
    assertEquals([...found.tensors.keys()], [...expected.tensors.keys()]);
  }
});

Deno.test("numbers of layers and experts that no model has are refused before they fill memory", async () => {
  for (
    const [config, message] of [
      [{ model_type: "llama", num_hidden_layers: 2_000_000_000 }, "expected at most 65536"],
      [{ model_type: "llama", num_hidden_layers: 60_000 }, "it has 60000 layers"],
      [{ model_type: "llama", head_dim: 1_000_000_000 }, "a head has 1000000000 rotary elements"],
      [{ model_type: "gpt2", n_layer: 2_000_000_000 }, "it has 2000000000 layers"],
      [{ model_type: "opt", num_hidden_layers: 4097 }, "it has 4097 layers"],
      [
        { model_type: "mixtral", num_hidden_layers: 4096, num_local_experts: 4096 },
        "of tensors at most 262144",
      ],
    ] as const
  ) {
    await assertRejects(() => paperModel(config, "huge"), ModelError, message);
  }
});

Deno.test("stages of a plan hold every weight, none more than a memory", async () => {
  for (const [name, least] of [["mt-nlg-530b", 80], ["gpt-3", 27], ["glm-4-9b", 2]] as const) {
    const { stages, memory, parameters } = await plan(name);
    assert(stages!.length >= least, `${name}: ${stages!.length} stages`);
    let weightBytes = 0;
    for (const stage of stages!) {
      assert(stage.weightBytes + stage.cacheBytes + stage.workBytes <= 2 ** 32, name);
      weightBytes += stage.weightBytes;
    }
    // A table that the first and the last stage read is in both.
    assert(weightBytes >= memory.weightBytes * 0.999, name);
    assert(weightBytes <= memory.weightBytes + 4 * parameters.total / stages!.length, name);
    // What is before the layers is gone where the table of words stays in the file.
    assertEquals(stages![0]!.segments[0], memory.inFileBytes > 0 ? "layer 0" : "start");
    assertEquals(stages!.at(-1)!.segments[1], "head");
  }
});

Deno.test("tables of words take a layout of their own, and nothing else does", async () => {
  const options = { wordTables: "int8", lookupTables: "memory" } as const;
  const tables = 2 * 130528 * 4096;
  const { layouts, memory } = await plan("chatglm-6b-int4", "as-is", options);
  const [body, words] = ["int4", "int8"].map((name) => layouts.find((it) => it.layout === name)!);
  assertEquals([words!.parameters, words!.rounded], [tables, tables]);
  assertEquals([body!.parameters, body!.rounded], [28 * 12 * 4096 ** 2, 0]);
  assert(Math.abs(memory.weightBytes / 1e9 - 4.31) < 0.01, `${memory.weightBytes}`);
  // The README's numbers.
  for (
    const [wordTables, size, lookupTables] of [
      ["as-is", 5.32, "memory"],
      ["as-is", 4.25],
      ["int8", 3.74],
      ["int4", 3.48],
    ] as const
  ) {
    const { memory } = await plan("chatglm-6b-int4", "as-is", { wordTables, lookupTables });
    const bytes = memory.weightBytes;
    assert(Math.abs(bytes / 1e9 - size) < 0.01, `${bytes}`);
    assertEquals(memory.inFileBytes, lookupTables === "memory" ? 0 : tables);
  }
  // A table of f32 that no memory holds does not stop the rest.
  assertEquals((await plan("mt5-xxl")).stages, undefined);
  assert((await plan("mt5-xxl", "int4", options)).stages!.length > 2);
});

Deno.test("a plan says when a part is larger than any memory, and still tells the rest", async () => {
  const report = await plan("switch-c");
  assertEquals(report.stages, undefined);
  assertStringIncludes(
    report.problems[0]!,
    `"encoder layer 0" take 29.5 GB, a stage holds at most 3.49 GB`,
  );
  assertStringIncludes(report.problems[0]!, `even with weights "int4"`);
  // The layouts that are advised are enough, and no more than that.
  for (
    const [name, advice, enough] of [
      ["mt5-xxl", `use wordTables "int8"`, { wordTables: "int8" }],
      ["gpt-3", `use weights "int8"`, { weights: "int8" }],
    ] as const
  ) {
    const [problem] = (await plan(name, "as-is")).problems;
    assert(problem!.endsWith(advice), problem);
    assertEquals((await plan(name, "as-is", enough)).problems, []);
  }
  const machines = { memoryBytes: 24e9, count: 4, bandwidth: BANDWIDTH };
  const tooMany = await planOf("glm-130b", SHAPES["glm-130b"]!, { weights: "int8" }, machines);
  assertStringIncludes(tooMany.problems[0]!, "on 4 machines of 24 GB: its stages need");
  assertStringIncludes(tooMany.problems[0]!, `use weights "int4"`);
  assert(report.memory.weightBytes > 800e9);
});

Deno.test("what is read for a token is what the layouts and the context make it", async () => {
  const config = {
    ...{ model_type: "llama", hidden_size: 64, intermediate_size: 128, num_hidden_layers: 3 },
    ...{ num_attention_heads: 4, num_key_value_heads: 2, vocab_size: 320 },
    ...{ max_position_embeddings: 64, tie_word_embeddings: false },
  };
  const report = await planOf("tiny", { source: "here", config }, { weights: "int8" }, {
    bandwidth: BANDWIDTH,
  });
  const matrices = 3 * (64 * 64 * 2 + 2 * 32 * 64 + 3 * 64 * 128) + 320 * 64;
  const { weightBytes, cacheBytes } = report.reads.decode!;
  // Beside matrices in blocks of 34 bytes: gains, a row of words, a row of rotations.
  const gains = 4 * 7 * 64;
  assert(weightBytes >= matrices * 34 / 32 + gains, `${weightBytes}`);
  assert(weightBytes < matrices * 34 / 32 + gains + 4000, `${weightBytes}`);
  assertEquals(cacheBytes, 3 * 2 * 64 * 2 * 16 * 4);
  assertEquals(report.context, { tokens: 64, cacheType: "f32", cacheBytesPerToken: 768 });
  assertEquals(report.parameters.total, matrices + 320 * 64 + 7 * 64);
  assertEquals(report.tokensPerSecond!.empty, BANDWIDTH / weightBytes);
});

Deno.test("a plan of a quantized model is of its matrices before that, and says so", async () => {
  const url = new URL("golden/llama-gptq/config.json", FIXTURES);
  const config = JSON.parse(await Deno.readTextFile(url));
  const { quantization_config: _, ...before } = config;
  const of = (config: Record<string, unknown>): Promise<PlanReport> =>
    planOf("m", { source: "here", config }, { weights: "int4" }, { bandwidth: BANDWIDTH });
  const [{ warnings, ...report }, { warnings: none, ...expected }] = await Promise.all(
    [config, before].map(of),
  ) as [PlanReport, PlanReport];
  assertEquals({ ...report, config: before }, expected);
  assertEquals(warnings.length, none.length + 1);
  assert(warnings[0]!.includes('"m" is quantized by gptq: this is the model before that'));
});

Deno.test("what a token reads of a Switch follows the experts that it gets, not those there are", async () => {
  const reads = await Promise.all([64, 2048].map(async (num_experts) => {
    const config = { ...SHAPES["switch-c"]!.config, d_model: 64, d_ff: 128, num_experts };
    const model = await resolveModel(await paperModel(config, "switch"), {}, () => {});
    return readsOf(model).decode!.weightBytes;
  }));
  // The routers are read whole; nothing else grows.
  assertEquals(reads[1]! - reads[0]!, 15 * (2048 - 64) * 64 * 4);
});

async function inspect(...args: string[]): Promise<{ code: number; out: string; err: string }> {
  const { code, stdout, stderr } = await new Deno.Command(Deno.execPath(), {
    args: [
      "run",
      "-A",
      "--no-check",
      new URL("../cli/main.ts", import.meta.url).href,
      "inspect",
      ...args,
    ],
  }).output();
  const [out, err] = [stdout, stderr].map((it) => new TextDecoder().decode(it));
  return { code, out: out!, err: err! };
}

Deno.test("inspect --plan tells stages, machines and speed, as text and as JSON", async () => {
  const rate = ["--bandwidth", "20GB/s"];
  const [text, json, few] = await Promise.all([
    inspect("--plan", "chatglm-6b-int4", ...rate),
    inspect("--plan", "gpt2", "--json", "--weights", "int8", "-c", "128", ...rate),
    inspect("--plan", "glm-4-9b", "--memory", "4GB", "--machines", "2", ...rate),
  ]);
  assertEquals([text.code, json.code, few.code], [0, 0, 0], text.err + json.err + few.err);
  for (const it of ["6.71 billion", "published 6.20 billion", "int4: 5.64 billion in 3.17 GB"]) {
    assertStringIncludes(text.out, it);
  }
  assertStringIncludes(text.out, "At 20 GB/s: at most 4.7");
  const report = JSON.parse(json.out);
  assertEquals(report.shape, "gpt2");
  assertEquals(report.bandwidth, { bytesPerSecond: 20e9, measured: false });
  assertEquals(report.context.tokens, 128);
  assertEquals(report.parameters.published, 124e6);
  assertStringIncludes(few.out, "machine 1, 1 stage: layer 0 to ");
  assertStringIncludes(few.out, "\nRead from the file as words come: 1.24 GB\n");
  assertStringIncludes(few.err, `Cannot place "glm-4-9b" on 2 machines of 4 GB`);
});

Deno.test("a model runs with tables of words in int8, near to what it gives without", async () => {
  const path = new URL("golden/llama/", FIXTURES);
  const [plain, rounded] = await Promise.all(
    [{}, { wordTables: "int8" as const }].map(async (it) => {
      await using model = await loadModel(path, { backend: "reference", ...it });
      return await model.logits([3, 1, 4, 1, 5, 9]);
    }),
  );
  assertNotEquals(plain, rounded);
  const power = (values: Float32Array): number => values.reduce((sum, it) => sum + it * it, 0);
  const ratio = power(plain!.map((it, i) => it - rounded![i]!)) / power(plain!);
  assert(ratio < 1e-3, `${ratio}`);
});

Deno.test("inspect --plan reads a config.json, and refuses what is none", async () => {
  const folder = await Deno.makeTempDir();
  const file = (name: string): string => `${folder}/${name}`;
  await Deno.writeTextFile(file("config.json"), JSON.stringify(SHAPES["t5-small"]!.config));
  await Deno.writeTextFile(file("list.json"), "[1]");
  await Deno.writeTextFile(file("cut.json"), "{");
  await Deno.writeTextFile(file("other.json"), `{"model_type":"nobody"}`);
  const rate = ["--bandwidth", "1GB/s"];
  const good = await inspect("--plan", file("config.json"), "--json", ...rate);
  assertEquals(JSON.parse(good.out).parameters.total, 60506624);
  const idle = await inspect("--plan", file("config.json"), "--tensors", ...rate);
  assertEquals([idle.code, idle.err], [0, "inspect: --tensors has no effect with --plan\n"]);
  const mistakes: [string[], number, string][] = [
    [["--plan", file("list.json"), ...rate], 2, "expected the object of a config.json"],
    [["--plan", file("cut.json"), ...rate], 2, "it is no JSON"],
    [["--plan", file("other.json"), ...rate], 1, `field "model_type" is "nobody"`],
    [["--plan", file("none.json"), ...rate], 1, "none.json"],
    [["--plan", "gpt-2", ...rate], 2, "expected a config.json or one of"],
    [["--plan", "llama-3.1-9b", ...rate], 2, "expected a config.json or one of"],
    [["--plan", "nowhere/config.json", ...rate], 1, 'Cannot read "nowhere/config.json"'],
    [["--plan", "gpt2", "--bandwidth", "fast"], 2, "expected a size as 20GB/s"],
    [["--plan", "gpt2", "--memory", "20GB/s"], 2, "expected a size as 24GB"],
    [["--plan", "gpt2", "--machines", "2", ...rate], 2, "without the --memory"],
    [["--plan", "gpt2", "model.gguf", ...rate], 2, "expected one of them"],
    [["--memory", "2GB", "model.gguf"], 2, "Cannot use --memory without --plan"],
  ];
  await Promise.all(mistakes.map(async ([args, code, message]) => {
    const found = await inspect(...args);
    assertEquals(found.code, code, `${args}: ${found.err}`);
    assertStringIncludes(found.err, message);
    assertEquals(found.err.trim().split("\n").length, 1, found.err);
  }));
  await Deno.remove(folder, { recursive: true });
});
