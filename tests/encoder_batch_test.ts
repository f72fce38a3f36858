/**
 * Many short texts through an encoder: the same numbers as each by itself, in as few runs as their
 * tokens need, whoever is aborted, too long or generating in the meantime.
 */

import { assert, assertEquals, assertRejects } from "@std/assert";
import { InputError, loadModel, type Model } from "../mod.ts";
import type { Backend, BackendName, Executable } from "../runtime/backends/backend.ts";
import { openBackend } from "../runtime/backends/create.ts";
import { Engine } from "../runtime/engine/engine.ts";
import { loadWeights } from "../runtime/engine/load_weights.ts";
import { textsOfRun } from "../runtime/engine/whole_texts.ts";
import { openModelFile } from "../runtime/files/open.ts";
import { encode } from "../runtime/generation/read_texts.ts";
import { Session } from "../runtime/generation/session.ts";
import type { Output } from "../runtime/models/program.ts";
import { findDefinition } from "../runtime/models/registry.ts";
import { resolveWeights } from "../runtime/models/weights.ts";
import { FIXTURES, randomNumbers } from "./fixtures.ts";
import { hasWebgpu } from "./webgpu_adapter.ts";

const CONTEXT = 32;
const ENCODERS = ["bert", "bert-unilm", "ernie", "roberta", "distilbert", "t5-v1.1", "mt5"];

function golden(name: string): URL {
  return new URL(`golden/${name}/`, FIXTURES);
}

/** Texts of 1 to `most` tokens, below the vocabularies of all fixtures. */
function randomTexts(count: number, seed: number, most = CONTEXT): number[][] {
  const random = randomNumbers(seed);
  return Array.from({ length: count }, () => {
    const length = 1 + Math.floor(random() * most);
    return Array.from({ length }, () => 2 + Math.floor(random() * 90));
  });
}

function assertClose(actual: Float32Array, expected: Float32Array, most: number, what: string) {
  assertEquals(actual.length, expected.length, what);
  const off = actual.reduce((max, it, i) => Math.max(max, Math.abs(it - expected[i]!)), 0);
  assert(off <= most, `${what}: off by ${off}`);
}

/** Reads all texts at once, and each by itself. */
async function compareTogether(model: Model, texts: number[][], most: number): Promise<void> {
  const together = await Promise.all(texts.map((it) => model.encode(it)));
  for (const [i, text] of texts.entries()) {
    const alone = await model.encode(text);
    assertClose(together[i]!.hidden, alone.hidden, most, `hidden of ${i}`);
    if (alone.pooled) assertClose(together[i]!.pooled!, alone.pooled, most, `pooled of ${i}`);
  }
}

const KINDS: readonly (readonly [backend: BackendName, texts: number, most: number])[] = [
  ["reference", 150, 1e-5],
  ["wasm", 1000, 1e-4],
  ["webgpu", 60, 1e-3],
];

for (const [backend, count, most] of KINDS) {
  for (const name of backend === "webgpu" ? ["bert", "t5-v1.1"] : ENCODERS) {
    Deno.test({
      name: `${backend}, ${name}: ${count} texts at once are read as one by one`,
      ignore: backend === "webgpu" && !hasWebgpu,
      async fn() {
        const options = backend === "wasm" ? { threads: 2 } : {};
        await using model = await loadModel(golden(name), {
          ...{ backend, contextLength: CONTEXT, onWarning: () => {} },
          ...options,
        });
        await compareTogether(model, randomTexts(count, 5), most);
      },
    });
  }
}

Deno.test("texts keep what belongs to them: segments, and a prefix that they see", async () => {
  await using model = await loadModel(golden("bert"), { backend: "wasm", threads: 1 });
  const prompts = randomTexts(60, 8).map((ids, i) => ({
    ids,
    ...(i % 2 && { tokenTypeIds: ids.map((_, k) => Number(2 * k > ids.length)) }),
    ...(i % 3 === 0 && { prefixLength: Math.ceil(ids.length / 2) }),
  }));
  const together = await Promise.all(prompts.map((it) => model.encode(it)));
  const logits = await Promise.all(prompts.map((it) => model.logits(it)));
  const again = await Promise.all(prompts.map((it) => model.encode(it)));
  assertEquals(again, together, "the same list, the same bits");
  for (const [i, prompt] of prompts.entries()) {
    assertClose(together[i]!.hidden, (await model.encode(prompt)).hidden, 1e-4, `hidden of ${i}`);
    assertClose(logits[i]!, await model.logits(prompt), 1e-4, `logits of ${i}`);
  }
});

/** An engine that tells how many tokens each run had. */
async function spied(name: string, contextLength: number): Promise<[Engine, number[]]> {
  const file = await openModelFile(golden(name));
  const definition = await findDefinition(file);
  const config = definition.parseConfig(file);
  const specs = await definition.weights(config, file, contextLength);
  const weights = resolveWeights(specs, file, "as-is");
  const backend = await openBackend("wasm", { threads: 1 });
  const runs: number[] = [];
  const compile: Backend["compile"] = (plan): Executable => {
    const executable = backend.compile(plan);
    return {
      write: executable.write,
      read: executable.read,
      async run(tokens) {
        runs.push(tokens);
        await executable.run(tokens);
      },
    };
  };
  const spy = new Proxy(backend, {
    get: (target, key) => {
      if (key === "compile") return compile;
      const value = Reflect.get(target, key, target);
      return typeof value === "function" ? value.bind(target) : value;
    },
  });
  const engine = new Engine(definition, config, weights, spy, {
    ...{ contextLength, sequences: 1, cacheType: "f32", chunk: 16 },
  });
  await loadWeights(weights, backend);
  file.close();
  return [engine, runs];
}

const sum = (numbers: readonly number[]): number => numbers.reduce((a, b) => a + b, 0);

Deno.test("runs hold as many texts as there is room for, and nothing else", async () => {
  const [engine, runs] = await spied("bert", CONTEXT);
  const texts = randomTexts(1000, 3, 12), tokens = sum(texts.map(({ length }) => length));
  const order: number[] = [];
  await Promise.all(texts.map(async (text, i) => {
    await encode(engine, text, undefined);
    order.push(i);
  }));
  // No padding; what is left empty of a run is less than most texts are long.
  assertEquals(sum(runs), tokens);
  assert(Math.max(...runs) <= CONTEXT, runs.join());
  assert(runs.length <= 1.1 * tokens / CONTEXT, `${runs.length} runs of ${tokens} tokens`);
  // A text is at most a few runs behind those that came before it.
  order.forEach((text, i) => assert(Math.abs(text - i) < 60, `text ${text} is answer ${i}`));
  await engine.dispose();
});

Deno.test("a run is no longer than pays, however long texts may be", async () => {
  const [engine, runs] = await spied("t5-v1.1", 4000);
  await Promise.all(randomTexts(200, 7, 60).map((it) => encode(engine, it, undefined)));
  assert(Math.max(...runs) <= 512 && Math.max(...runs) > 450, runs.join());
  runs.length = 0;
  const long = new Array(1500).fill(3);
  await Promise.all([encode(engine, long, undefined), encode(engine, [4, 5], undefined)]);
  assertEquals(runs, [1500, 2]);
  await engine.dispose();
});

Deno.test("where numbers are reproducible, those of texts at once are with any threads", async () => {
  const texts = randomTexts(80, 9);
  const read = async (threads: number): Promise<unknown> => {
    await using model = await loadModel(golden("bert"), {
      ...{ backend: "wasm", threads, reproducible: true },
    });
    return await Promise.all(texts.map((it) => model.encode(it)));
  };
  assertEquals(await read(2), await read(1));
});

Deno.test("texts that are aborted or too long leave the others alone", async () => {
  const [engine, runs] = await spied("bert", CONTEXT);
  const texts = randomTexts(1000, 4, 12), alone = await encode(engine, texts[999]!, undefined);
  texts[500] = new Array(CONTEXT + 1).fill(3);
  const controller = new AbortController();
  runs.length = 0;
  const settled = await Promise.allSettled(texts.map(async (text, i) => {
    const { hidden } = await encode(engine, text, i % 4 === 1 ? controller.signal : undefined);
    if (i === 100) controller.abort(new Error("enough"));
    return hidden;
  }));
  const failures = settled.map((it, i) => it.status === "rejected" ? [i, it.reason] as const : [])
    .filter(({ length }) => length > 0);
  const tooLong = failures.find(([i]) => i === 500)![1] as Error;
  assert(tooLong instanceof InputError && tooLong.message.includes("33 tokens"), tooLong.message);
  const aborted = failures.filter(([i]) => i !== 500);
  assert(aborted.length > 200 && aborted.length < 250, `${aborted.length} were aborted`);
  for (const [i, reason] of aborted) assertEquals([i! % 4, reason!.message], [1, "enough"]);
  // What was aborted did not run.
  const read = texts.filter((_, i) => settled[i]!.status === "fulfilled");
  assertEquals(sum(runs), sum(read.map(({ length }) => length)));
  const last = settled[999] as PromiseFulfilledResult<Float32Array>;
  assertClose(last.value, alone.hidden, 1e-4, "the last");
  await assertRejects(() => encode(engine, [1], controller.signal), Error, "enough");
  await engine.dispose();
});

Deno.test("sessions generate while many texts are read", async () => {
  const [engine, runs] = await spied("t5-v1.1", 100);
  const session = new Session({ engine, tokenizer: undefined, stopIds: [] });
  const prompt = { ids: [5, 9, 23, 40], decoderIds: [0] };
  const options = { temperature: 0, maxTokens: 30, stopIds: [] };
  const generate = async (): Promise<number[]> => {
    const ids: number[] = [];
    for await (const { id } of session.generate(prompt, options)) ids.push(id);
    return ids;
  };
  const expected = await generate();
  session.reset();
  const texts = randomTexts(600, 6), alone = await encode(engine, texts[599]!, undefined);
  runs.length = 0;
  const reading = Promise.all(texts.map((it) => encode(engine, it, undefined)));
  assertEquals(await generate(), expected);
  // It began while texts waited that had come before it; between two of its tokens there was a run
  // of texts at most, and none of more than 64 tokens.
  assert(runs.indexOf(prompt.ids.length) <= 1, runs.join());
  const steps = runs.map((tokens, i) => tokens === 1 ? i : -1).filter((i) => i >= 0);
  const between = steps.slice(1).map((at, i) => runs.slice(steps[i]! + 1, at));
  assert(between.every(({ length }) => length <= 1), runs.join());
  assert(between.flat().every((tokens) => tokens <= 64), runs.join());
  const read = await reading;
  assertEquals(read.length, 600);
  assertClose(read[599]!.hidden, alone.hidden, 1e-4, "the last");
  await engine.dispose();
});

Deno.test("textsOfRun() takes the first, and those behind it that fit", () => {
  const hidden: Output = { program: "encode", names: ["hidden"], rows: "all" };
  const other: Output = { ...hidden, names: ["logits"] };
  const waiting = [[90], [5], [70, other], [100], [5]].map(([count, output = hidden]) => ({
    sequence: { ids: new Array(count as number).fill(1) },
    request: { output: output as Output },
  }));
  const counts = (output: Output, most: number): [number, number][] =>
    textsOfRun(waiting, output, most).parts.map(({ count, offset }) => [count, offset]);
  assertEquals(counts(hidden, 100), [[90, 0], [5, 90], [5, 95]]);
  assertEquals(counts(hidden, 10), [[90, 0]], "however long it is");
  assertEquals(counts(other, 10), [[70, 0]]);
  assertEquals(counts(hidden, 200), [[90, 0], [5, 90], [100, 95], [5, 195]]);
});
