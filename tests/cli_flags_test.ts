/** Flags of the commands: short ones, what was meant by wrong ones, and how values are written. */

import { quantizeModel } from "../quantize/quantize_model.ts";
import {
  assert,
  assertEquals,
  assertRejects,
  assertStringIncludes,
  assertThrows,
} from "@std/assert";
import { idNotes, loadingNotes, runningNotes, samplingNotes } from "../cli/effects.ts";
import { UsageError } from "../cli/errors.ts";
import { type FlagSpec, readFlags, SHORT } from "../cli/flags.ts";
import { counted, formatMs, formatRate } from "../cli/format.ts";
import { FLAG_OF, withFlags } from "../cli/option_names.ts";
import { nearest } from "../cli/suggest.ts";
import { type BackendName, InputError, loadModel, sampler } from "../mod.ts";
import { editDistance } from "../options.ts";
import { checkOptions } from "../runtime/generation/generate_options.ts";
import { tinyBlob } from "./tiny_model.ts";

const SPEC: FlagSpec = {
  boolean: ["json", "ignore-eos"],
  string: ["model", "file"],
  collect: ["stop"],
  number: ["max-tokens", "threads", "seed", "temperature"],
  choice: { backend: ["auto", "wasm", "webgpu", "reference"] },
  whole: { runs: [1, 10] },
};

const read = (...args: string[]) => readFlags("deno task x", args, SPEC);

Deno.test("flags are read in every form that people write them", () => {
  for (const args of [["-n", "5"], ["-n5"], ["-n=5"], ["--max-tokens", "5"], ["--max-tokens=5"]]) {
    const flags = read(...args, "text");
    assertEquals([flags.number("max-tokens"), flags.rest], [5, ["text"]], args.join(" "));
  }
  assertEquals(read("-n", "-1").number("max-tokens"), -1);
  assertEquals(read("-n-1").number("max-tokens"), -1);
  assertEquals(read("--temperature", ".5").number("temperature"), 0.5);
  assertEquals(read("-m", "a b.gguf", "-").text("model"), "a b.gguf");
  assertEquals(read("-mmodels/a.gguf").text("model"), "models/a.gguf");
  assertEquals(read("--file", "-").text("file"), "-");
  assertEquals(read("-", "--", "--json", "-n").rest, ["-", "--json", "-n"]);
  assertEquals(read("--", "--json").on("json"), false);
  assertEquals(read("a", "--json", "b").rest, ["a", "b"]);
  assertEquals(read("--stop", "x", "--stop=--y").texts("stop"), ["x", "--y"]);
  assertEquals(read("-s", "1", "--seed", "2").number("seed"), 2);
  assertEquals(read("--backend", "wasm").text("backend"), "wasm");
  assertEquals(read("--runs", "10").number("runs"), 10);
  assertEquals([read().text("model"), read().number("seed"), read().on("json")], [
    undefined,
    undefined,
    false,
  ]);
  for (const [short, long] of Object.entries({ m: "model", n: "max-tokens", t: "threads" })) {
    assertEquals(SHORT[short], long);
  }
});

Deno.test("flags that cannot be read are refused by name, with what was meant", () => {
  const refusals: [args: string[], message: string][] = [
    [["--modle", "x"], "--modle: there is no such option (did you mean --model?)"],
    [["--max_tokens", "3"], "--max_tokens: there is no such option (did you mean --max-tokens?)"],
    [["--temp", "0"], "(did you mean --temperature?)"],
    [["--n-predict", "0"], "(did you mean --max-tokens?)"],
    [["-temp", "0"], "-temp: long options have two dashes (did you mean --temperature?)"],
    [["-model", "x"], "-model: long options have two dashes (did you mean --model?)"],
    [["-seed=3"], "-seed: long options have two dashes (did you mean --seed?)"],
    [["-x"], 'Cannot read option -x: there is no such option; "deno task x --help"'],
    [["--zzz"], 'Cannot read option --zzz: there is no such option; "deno task x --help"'],
    [["--json=yes"], "Cannot read --json: it takes no value"],
    [["--seed"], "Cannot read --seed: it has no value"],
    [["--seed", "--json"], "Cannot read --seed: it has no value"],
    [["--seed="], "Cannot read --seed: it has no value"],
    [["-s"], "Cannot read -s: it has no value"],
    [["--seed", "x"], 'Cannot read --seed: "x" is not a number'],
    [["--seed", " "], 'Cannot read --seed: " " is not a number'],
    [["--seed", "1e999"], 'Cannot read --seed: "1e999" is not a number'],
    [["-nmany"], 'Cannot read --max-tokens: "many" is not a number'],
    [
      ["--backend", "wsm"],
      '--backend "wsm": expected auto, wasm, webgpu, reference (did you mean wasm?)',
    ],
    [["--backend", "WASM"], "(did you mean wasm?)"],
    [["--backend", "q"], 'Cannot use --backend "q": expected auto, wasm, webgpu, reference'],
    [["--runs", "0"], "Cannot use --runs 0: expected a whole number from 1 to 10"],
    [["--runs", "1.5"], "Cannot use --runs 1.5: expected a whole number from 1 to 10"],
    [["--seed", "\x1b[2J"], '"\\u001b[2J" is not a number'],
  ];
  for (const [args, message] of refusals) {
    const error = assertThrows(() => read(...args), UsageError);
    assertStringIncludes(error.message, message, args.join(" "));
    assert(!error.message.includes("\n"));
  }
});

Deno.test("the nearest word is a likely one, or none", () => {
  const words = ["kernels", "model", "peers", "compare", "gpu"];
  const cases = {
    krnels: "kernels",
    modle: "model",
    Model: "model",
    peer: "peers",
    comp: "compare",
  };
  for (const [word, meant] of Object.entries(cases)) {
    assertEquals(nearest(word, words), meant, word);
  }
  for (const word of ["x", "", "bench", "zzzzzz", "gg"]) {
    assertEquals(nearest(word, words), undefined);
  }
  assertEquals(editDistance("kitten", "sitting"), 3);
  assertEquals(editDistance("ab", "ba"), 1);
  assertEquals(editDistance("", "abc"), 3);
  assertEquals(editDistance("x".repeat(1e6), "abc"), Infinity);
});

Deno.test("messages of the library name the flags that a user has, for every option", async () => {
  const blob = await tinyBlob();
  const load = (options: object) => () => loadModel(blob, { backend: "wasm", ...options });
  const sample = (options: object) => () => Promise.resolve(sampler(options));
  await using model = await loadModel(blob, { backend: "reference" });
  const embed = (options: object) => () => model.embed(["a"], options);
  const folder = new URL("golden/tasks/bert-classify/", import.meta.url);
  await using classifier = await loadModel(folder, { backend: "reference" });
  const mistakes: Record<string, () => Promise<unknown>> = {
    backend: load({ backend: "gpu" }),
    cacheType: load({ cacheType: "f8" }),
    contextLength: load({ contextLength: -5 }),
    dimensions: embed({ dimensions: 0 }),
    frequencyPenalty: sample({ frequencyPenalty: 1000 }),
    gpuLayers: load({ gpuLayers: 2 }),
    logitBias: sample({ logitBias: { 1: NaN } }),
    logprobs: () => Promise.resolve(checkOptions({ logprobs: 500 })),
    lookupTables: load({ lookupTables: "disk" }),
    maxTokens: () => Promise.resolve(checkOptions({ maxTokens: -2 })),
    minP: sample({ minP: 2 }),
    pooling: embed({ pooling: "median" }),
    prefix: embed({ prefix: "a", promptName: "b" }),
    presencePenalty: sample({ presencePenalty: -1000 }),
    promptName: embed({ promptName: "query" }),
    repeatPenalty: sample({ repeatPenalty: 0 }),
    reproducible: load({ reproducible: 1 }),
    saveImatrix: () => quantizeModel("x", "/x.gguf", { saveImatrix: "y", method: "nearest" }),
    seed: sample({ seed: 1.5 }),
    sequences: load({ sequences: 0 }),
    targetBpw: () => quantizeModel("x", "/x.gguf", { targetBpw: 0 }),
    targetSize: () => quantizeModel("x", "/x.gguf", { targetSize: 1.5 }),
    task: () => classifier.classify("a", { task: "x" }),
    temperature: sample({ temperature: -1 }),
    threads: load({ threads: 0 }),
    top: () => model.fillMask("", { top: 0 }),
    topK: sample({ topK: -1 }),
    topP: sample({ topP: NaN }),
    truncate: () => model.embed(["the ".repeat(100)]),
    weights: load({ weights: "q4" }),
    wordTables: load({ wordTables: "q4" }),
  };
  // "context" is what `inspect` calls `contextLength`.
  assertEquals(Object.keys(mistakes), Object.keys(FLAG_OF).filter((it) => it !== "context"));
  for (const [option, make] of Object.entries(mistakes)) {
    const error = await assertRejects(async () => await make(), InputError);
    const message = withFlags(error.message);
    assertStringIncludes(message, `--${FLAG_OF[option]}`);
    assert(!/\b[a-z]+[A-Z]/.test(message), message);
  }
  const shown = withFlags(
    'Cannot load "/contextLength with seed 3/a\\"b topK.gguf": use weights "int4", a shorter ' +
      "contextLength or cacheType int8; weights and caches, goes on with backend wasm",
  );
  assertEquals(
    shown,
    'Cannot load "/contextLength with seed 3/a\\"b topK.gguf": use --weights "int4", a shorter ' +
      "--context or --cache-type int8; weights and caches, goes on with backend wasm",
  );
});

Deno.test("flags without effect are told, and others are not", () => {
  const spec: FlagSpec = {
    boolean: ["ids", "special", "show-special"],
    string: ["gpu-kernels"],
    collect: ["stop"],
    number: ["temperature", "top-k", "top-p", "min-p", "seed", "threads", "gpu-layers"],
    choice: SPEC.choice!,
  };
  const flags = (text: string) => readFlags("x", text.split(" ").filter(Boolean), spec);
  const named = (notes: string[]): string[] =>
    notes.map((it) => {
      assertStringIncludes(it, " has no effect ");
      return it.slice(2, it.indexOf(" has"));
    });
  const sampling: [string, string[]][] = [
    ["--seed 3 --temperature 0.1 --top-k 2 --top-p 0.5 --min-p 0.1", []],
    ["--temperature 0", []],
    ["--seed 3 --temperature 0 --top-k 2 --min-p 0.1", ["seed", "top-k", "min-p"]],
    ["--top-k 1 --temperature 2 -s 3", ["seed", "temperature"]],
    ["--top-p 0 -s 3", ["seed"]],
    ["--min-p 1 -s 3", ["seed"]],
  ];
  for (const [text, expected] of sampling) {
    assertEquals(named(samplingNotes(flags(text))), expected, text);
  }
  assertEquals(named(idNotes(flags("--ids --special"))), ["special"]);
  assertEquals(named(idNotes(flags("--ids --show-special"))), ["show-special"]);
  assertEquals([...idNotes(flags("--ids")), ...idNotes(flags("--special"))], []);
  const loading: [string, string[]][] = [
    ["--threads 2 --gpu-kernels f16", []],
    ["--threads 2 --backend wasm", []],
    ["--threads 2 --backend webgpu", ["threads"]],
    ["--threads 2 --backend webgpu --gpu-layers 3", []],
    ["--threads 2 --gpu-kernels f16 --backend reference", ["threads", "gpu-kernels"]],
    ["--gpu-kernels f16 --backend wasm", ["gpu-kernels"]],
    ["--gpu-kernels f16 --backend auto", []],
  ];
  for (const [text, expected] of loading) {
    assertEquals(named(loadingNotes(flags(text))), expected, text);
  }
  const running: [string, BackendName, boolean, string[]][] = [
    ["--threads 2", "wasm", true, []],
    ["--threads 2 --gpu-kernels f16", "webgpu", true, ["threads"]],
    ["--gpu-kernels f16 --gpu-layers 3", "wasm", true, ["gpu-kernels", "gpu-layers"]],
    ["--gpu-layers 0", "wasm", true, []],
    ["--stop x", "wasm", true, []],
    ["--stop x", "wasm", false, ["stop"]],
  ];
  for (const [text, backend, hasTokenizer, expected] of running) {
    assertEquals(named(runningNotes(flags(text), { backend, hasTokenizer })), expected, text);
  }
});

Deno.test("times, speeds and counts are written for people", () => {
  const times: [number, string][] = [
    [0, "0 ms"],
    [0.042, "0.042 ms"],
    [4.23, "4.2 ms"],
    [9.96, "10 ms"],
    [474.6, "475 ms"],
    [999.4, "999 ms"],
    [999.6, "1.0 s"],
    [1234, "1.2 s"],
    [9_960, "10 s"],
    [94_600, "95 s"],
    [725_000, "12 min 5 s"],
    [3_725_000, "1 h 2 min"],
  ];
  for (const [ms, text] of times) assertEquals(formatMs(ms), text);
  const rates: [number, number, string][] = [
    [325, 1000, "325/s"],
    [7, 2000, "3.5/s"],
    [1, 48_000, "0.021/s"],
    [995, 100_000, "10/s"],
    [0, 1000, "-"],
    [3, 0, "-"],
    [3, NaN, "-"],
    [-1, 5, "-"],
  ];
  for (const [count, ms, text] of rates) assertEquals(formatRate(count, ms), text);
  assertEquals(counted(1, "thread"), "1 thread");
  assertEquals([counted(0, "token"), counted(2, "token")], ["0 tokens", "2 tokens"]);
});
