/**
 * Sequences that run together: the same text as alone, whoever comes, leaves, fails or waits, in
 * fewer runs.
 */

import { assert, assertEquals, assertRejects } from "@std/assert";
import {
  type GenerateOptions,
  InputError,
  loadModel,
  type LoadOptions,
  type Model,
} from "../mod.ts";
import type { Backend, Executable } from "../runtime/backends/backend.ts";
import { openBackend } from "../runtime/backends/create.ts";
import { Engine } from "../runtime/engine/engine.ts";
import { openModelFile } from "../runtime/files/open.ts";
import { findDefinition } from "../runtime/models/registry.ts";
import { Session } from "../runtime/generation/session.ts";
import { loadWeights } from "../runtime/engine/load_weights.ts";
import { resolveWeights } from "../runtime/models/weights.ts";
import { randomNumbers } from "./fixtures.ts";
import { tinyBlob, type TinyOptions, tinyVocabulary } from "./tiny_model.ts";

const VOCAB = tinyVocabulary(), CONTEXT = 160;

function randomIds(length: number, seed: number): number[] {
  const random = randomNumbers(seed);
  return Array.from({ length }, () => Math.floor(random() * VOCAB));
}

/** Prompts of different lengths, and texts that end at different times. */
const TEXTS = [5, 1, 12, 3, 30, 2, 7, 20].map((length, i) => ({
  prompt: randomIds(length, i + 1),
  options: {
    temperature: i % 2 ? 1 : 0,
    seed: i,
    stopIds: [],
    maxTokens: [40, 25, 12, 60, 8, 33, 50, 1][i]!,
  },
}));

async function ids(
  session: Session,
  { prompt, options }: { prompt: readonly number[]; options: GenerateOptions },
  onToken?: (count: number) => unknown,
): Promise<number[]> {
  const ids: number[] = [];
  for await (const { id } of session.generate(prompt, options)) {
    ids.push(id);
    await onToken?.(ids.length);
  }
  return ids;
}

async function tiny(load: LoadOptions = {}, options: TinyOptions = {}): Promise<Model> {
  const blob = await tinyBlob({ context: CONTEXT, ...options });
  return await loadModel(blob, { backend: "wasm", threads: 2, ...load });
}

/** What each text is when nothing else runs. */
async function alone(model: Model): Promise<number[][]> {
  const texts: number[][] = [];
  for (const text of TEXTS) {
    using session = model.session();
    texts.push(await ids(session, text));
  }
  return texts;
}

for (
  const [backend, type] of [["wasm", "F32"], ["wasm", "Q4_0"], ["reference", "F32"]] as const
) {
  Deno.test(`${backend}, ${type}: texts made together are those made alone`, async () => {
    await using model = await tiny({ backend, sequences: 8 }, { type });
    const expected = await alone(model);
    for (const count of [1, 3, 8]) {
      const sessions = TEXTS.slice(0, count).map(() => model.session());
      const texts = sessions.map((it, i) => ids(it, TEXTS[i]!));
      assertEquals(await Promise.all(texts), expected.slice(0, count), `${count} at once`);
      for (const session of sessions) session.dispose();
    }
    // One begins when another has come some way, or ended; readers take their time.
    const sessions = TEXTS.map(() => model.session());
    const texts: Promise<number[]>[] = [];
    const all = Promise.withResolvers<void>();
    const start = (i: number): void => {
      if (i === TEXTS.length - 1) all.resolve();
      texts[i] = ids(sessions[i]!, TEXTS[i]!, (count) => {
        if (count === 1 + i % 3 && i + 1 < TEXTS.length) start(i + 1);
        return i === 2 || i === 5
          ? new Promise((resolve) => setTimeout(resolve, i % 4))
          : undefined;
      });
    };
    start(0);
    await all.promise;
    assertEquals(await Promise.all(texts), expected);
  });
}

Deno.test("one that is aborted, one that is disposed and one that fails leave the others alone", async () => {
  await using model = await tiny({ sequences: 8 });
  const expected = await alone(model);
  const sessions = TEXTS.map(() => model.session());
  const controller = new AbortController();
  const settled = await Promise.allSettled(sessions.map((session, i) => {
    const text = TEXTS[i]!;
    if (i === 0) {
      const options = { ...text.options, signal: controller.signal };
      return ids(session, { ...text, options }, (count) => {
        if (count === 9) controller.abort(new Error("enough"));
      });
    }
    return ids(session, text, (count) => {
      if (i === 3 && count === 7) session.dispose();
      if (i === 5 && count === 5) session.truncate(2);
      if (i === 6 && count === 3) throw new Error("the reader failed");
    });
  }));
  const reasons = settled.map((it, i) => {
    if (it.status === "rejected") return String(it.reason.message).slice(0, 45);
    assertEquals(it.value, expected[i], `text ${i}`);
    return undefined;
  });
  assertEquals(reasons, [
    "enough",
    undefined,
    undefined,
    "Cannot run a session that has been disposed",
    undefined,
    "Cannot go on generating: another call changed",
    "the reader failed",
    undefined,
  ]);
  // Nothing is left behind.
  sessions[0]!.dispose();
  assertEquals(await ids(sessions[1]!, TEXTS[0]!), expected[0]);
});

Deno.test("a request that waits ends by its signal, and by its session's end", async () => {
  await using model = await tiny({ sequences: 2 });
  const [a, b, c] = [model.session(), model.session(), model.session()];
  const controller = new AbortController();
  const long = a.prefill(randomIds(CONTEXT, 1));
  const aborted = b.prefill(randomIds(150, 2), { signal: controller.signal });
  const disposed = c.prefill(randomIds(150, 3));
  controller.abort(new Error("not now"));
  c.dispose();
  await assertRejects(() => aborted, Error, "not now");
  await assertRejects(() => disposed, InputError, "a session that has been disposed");
  assertEquals((await long).length, VOCAB);
  assertEquals([a.position, b.position, c.position], [CONTEXT, 0, 0]);
});

/** An engine on a backend that tells how many tokens each run had, and fails where `fail` says so. */
async function spied(
  sequences: number,
  fail: (run: number) => boolean = () => false,
): Promise<{ engine: Engine; runs: number[]; session: () => Session }> {
  const file = await openModelFile(await tinyBlob({ context: 600 }));
  const definition = await findDefinition(file);
  const config = definition.parseConfig(file);
  const weights = resolveWeights(await definition.weights(config, file, 600), file, "as-is");
  const backend = await openBackend("wasm", { threads: 1 });
  const runs: number[] = [];
  const compile: Backend["compile"] = (plan): Executable => {
    const executable = backend.compile(plan);
    return {
      write: executable.write,
      read: executable.read,
      run: async (tokens) => {
        runs.push(tokens);
        if (fail(runs.length)) throw new Error("the backend failed");
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
    contextLength: 600,
    sequences,
    cacheType: "f32",
    chunk: 256,
  });
  await loadWeights(weights, backend);
  return {
    engine,
    runs,
    session: () => new Session({ engine, tokenizer: undefined, stopIds: [] }),
  };
}

Deno.test("sequences that generate at the same time run together", async () => {
  const { engine, runs, session } = await spied(8);
  const sessions = Array.from({ length: 8 }, () => session());
  for (const [i, it] of sessions.entries()) await it.prefill(randomIds(3 + i, i));
  // Readers that ask for the next token at once, and some that do something else first.
  const pause = (): Promise<void> => new Promise((resolve) => setTimeout(resolve, 0));
  for (const [between, most] of [[undefined, 35], [pause, 30 * 4]] as const) {
    runs.length = 0;
    await Promise.all(sessions.map(async (it, i) => {
      for (let step = 0; step < 30; step++) {
        await it.step((i + step) % VOCAB);
        await between?.();
      }
    }));
    assertEquals(runs.reduce((sum, tokens) => sum + tokens), 8 * 30);
    assert(runs.length <= most, runs.join());
  }
  await engine.dispose();
});

Deno.test("a long prompt does not keep others from their next token, nor they it", async () => {
  const { engine, runs, session } = await spied(4);
  const options = { temperature: 0, maxTokens: 400, stopIds: [] };
  const controller = new AbortController();
  const steppers = [1, 2].map((i) =>
    ids(session(), { prompt: [i], options: { ...options, signal: controller.signal } })
      .catch((error) => error)
  );
  const prompts = [3, 4].map((i) => session().prefill(randomIds(590, i)));
  await Promise.all(prompts);
  controller.abort(new Error("the prompts are done"));
  const chunks = runs.map((tokens, i) => tokens > 2 ? i : -1).filter((i) => i >= 0);
  assert(chunks.length >= 2 * 10 && runs[chunks[0]!]! <= 64, runs.join());
  // Between two chunks, each stepper has its turn.
  for (let i = 1; i < chunks.length; i++) {
    const between = runs.slice(chunks[i - 1]! + 1, chunks[i]!);
    assert(between.includes(2), `${between} between chunks ${i - 1} and ${i}`);
  }
  for (const end of await Promise.all(steppers)) assertEquals(end.message, "the prompts are done");
  await engine.dispose();
});

Deno.test("more sessions than sequences: the same texts, and little is computed twice", async () => {
  const whole = await spied(6), scarce = await spied(3);
  const texts = Array.from({ length: 6 }, (_, i) => ({
    prompt: randomIds(30, i),
    options: { temperature: 1, seed: i, maxTokens: 120, stopIds: [] },
  }));
  const make = (session: () => Session) => Promise.all(texts.map((it) => ids(session(), it)));
  assertEquals(await make(scarce.session), await make(whole.session));
  const tokens = ({ runs }: { runs: number[] }): number => runs.reduce((a, b) => a + b, 0);
  assert(tokens(scarce) < 5 * tokens(whole), `${tokens(scarce)} against ${tokens(whole)} tokens`);
  assert(tokens(scarce) > tokens(whole), "nobody lost its rows");
  await whole.engine.dispose();
  await scarce.engine.dispose();
});

Deno.test("a run that fails ends those that were in it, and the others go on", async () => {
  let failing = false;
  const { engine, session } = await spied(3, () => failing);
  const sessions = [session(), session(), session()];
  for (const [i, it] of sessions.entries()) await it.prefill([1, 2 + i]);
  failing = true;
  const failed = await Promise.allSettled(sessions.slice(0, 2).map((it) => it.step(5)));
  assertEquals(failed.map((it) => it.status), ["rejected", "rejected"]);
  failing = false;
  assertEquals(sessions.map((it) => it.position), [2, 2, 2]);
  const logits = await Promise.all(sessions.map((it) => it.step(5)));
  const fresh = session();
  // Sums of a few tokens are in another order than those of one.
  (await fresh.prefill([1, 2, 5])).forEach((value, i) => {
    assert(Math.abs(logits[0]![i]! - value) < 1e-4, `${logits[0]![i]} ${value}`);
  });
  await engine.dispose();
  await assertRejects(() => sessions[0]!.step(1), InputError, "a model that has been disposed");
});

Deno.test("logits() and embed() find their place between texts", async () => {
  await using model = await tiny({ sequences: 4 });
  const input = randomIds(150, 9);
  const [logits, vectors] = [await model.logits({ ids: input }), await model.embed(["the man"])];
  const expected = await alone(model);
  const sessions = TEXTS.map(() => model.session());
  const [texts, ...others] = await Promise.all([
    Promise.all(sessions.map((it, i) => ids(it, TEXTS[i]!))),
    model.logits({ ids: input }),
    model.embed(["the man"]),
    model.logits({ ids: input }),
  ]);
  assertEquals(texts, expected);
  assertEquals(others, [logits, vectors, logits]);
});
