/**
 * Models that are no causal decoders: prefixes that must share a run wherever the borders of chunks
 * are, sources that an encoder reads, texts that run together, and prompts that a model does not take.
 */

import { assert, assertEquals, assertRejects, assertThrows } from "@std/assert";
import { InputError, loadModel, type Model, ModelError, type Prompt } from "../mod.ts";
import { Engine } from "../runtime/engine/engine.ts";
import { openModelFile } from "../runtime/files/open.ts";
import { loadWeights } from "../runtime/engine/load_weights.ts";
import { findDefinition } from "../runtime/models/registry.ts";
import { createReferenceBackend } from "../runtime/backends/reference/backend.ts";
import { Session } from "../runtime/generation/session.ts";
import { createWasmBackend } from "../runtime/backends/wasm/backend.ts";
import { resolveWeights } from "../runtime/models/weights.ts";
import { FIXTURES, randomNumbers } from "./fixtures.ts";

function golden(name: string): URL {
  return new URL(`golden/${name}/`, FIXTURES);
}

/** Ids below the vocabularies of all fixtures, the same for a seed. */
function idsOf(count: number, seed: number): number[] {
  const random = randomNumbers(seed);
  return Array.from({ length: count }, () => 2 + Math.floor(random() * 120));
}

function assertClose(actual: Float32Array, expected: Float32Array, what: string): void {
  assertEquals(actual.length, expected.length, what);
  const off = actual.reduce((max, it, i) => Math.max(max, Math.abs(it - expected[i]!)), 0);
  assert(off <= 1e-4, `${what}: off by ${off}`);
}

/** A session on a model whose prompts run in chunks of a size. */
async function chunked(
  name: string,
  chunk: number,
  kind: "reference" | "wasm",
): Promise<{ session: Session; engine: Engine }> {
  const file = await openModelFile(golden(name));
  const definition = await findDefinition(file);
  const config = definition.parseConfig(file);
  const weights = resolveWeights(await definition.weights(config, file, 40), file, "as-is");
  const backend = kind === "wasm"
    ? await createWasmBackend({ threads: 2 })
    : createReferenceBackend();
  const options = { contextLength: 40, sequences: 1, cacheType: "f32", chunk } as const;
  const engine = new Engine(definition, config, weights, backend, options);
  await loadWeights(weights, backend);
  file.close();
  return { session: new Session({ engine, tokenizer: undefined, stopIds: [] }), engine };
}

for (const kind of ["reference", "wasm"] as const) {
  Deno.test(`a prefix shares one run wherever chunks end, on ${kind}`, async () => {
    const ids = idsOf(31, 1);
    const whole = await chunked("yuan1", 40, kind);
    for (const chunk of [1, 5, 8]) {
      const { session, engine } = await chunked("yuan1", chunk, kind);
      for (const prefixLength of [0, 1, chunk - 1, chunk, chunk + 1, 2 * chunk, 17, 30, 31]) {
        const prompt = { ids, prefixLength };
        whole.session.reset();
        session.reset();
        const expected = await whole.session.logits(prompt);
        const what = `prefix of ${prefixLength}, chunks of ${chunk}`;
        assertClose(await session.logits(prompt), expected, what);
        const last = expected.slice(-expected.length / ids.length);
        session.reset();
        assertClose(await session.prefill(prompt), last, `${what}, prefill`);
        // A part of the prefix is another prefix.
        const kept = Math.max(1, prefixLength - 1);
        whole.session.truncate(kept);
        session.truncate(kept);
        assertClose(
          await session.prefill([5, 6]),
          await whole.session.prefill([5, 6]),
          `${what}, truncated to ${kept}`,
        );
      }
      await engine.dispose();
    }
    await whole.engine.dispose();
  });
}

/** Logits of several prompts by sessions that run at the same time, then a step of each. */
async function atOnce(model: Model, prompts: readonly Prompt[]): Promise<Float32Array[][]> {
  return await Promise.all(prompts.map(async (prompt) => {
    using session = model.session();
    return [
      await session.prefill(prompt),
      await session.step(7),
      await session.step(9),
      await session.logits([3, 4, 5]),
    ];
  }));
}

for (const name of ["yuan1", "t5-v1.1"]) {
  const prompts: Prompt[] = [3, 9, 14, 6].map((length, i) =>
    name === "yuan1"
      ? { ids: idsOf(length, i), prefixLength: i === 1 ? 0 : length - 1 }
      : { ids: idsOf(length, i), decoderIds: [0, ...idsOf(i, 10 + i)] }
  );
  for (const sequences of [1, 3]) {
    Deno.test(`${name}: sessions at once write what they would alone, ${sequences} in the cache`, async () => {
      await using model = await loadModel(golden(name), {
        backend: "wasm",
        threads: 2,
        sequences,
        contextLength: 40,
      });
      const together = await atOnce(model, prompts);
      for (const [i, prompt] of prompts.entries()) {
        const [alone] = await atOnce(model, [prompt]);
        alone!.forEach((rows, k) => assertClose(together[i]![k]!, rows, `prompt ${i}, part ${k}`));
      }
    });
  }
}

Deno.test("an encoder reads many texts in one run, each as if it were alone", async () => {
  await using model = await loadModel(golden("bert"), { backend: "wasm", threads: 2 });
  const prompts: Prompt[] = Array.from({ length: 30 }, (_, i) => ({
    ids: idsOf(1 + (7 * i) % 40, i),
    ...(i % 3 === 0 && { prefixLength: 1 + i % 5 > 1 + (7 * i) % 40 ? 1 : 1 + i % 5 }),
  })).filter(({ ids, prefixLength = 0 }) => prefixLength <= ids.length);
  const together = await Promise.all(prompts.map((it) => model.encode(it)));
  const logits = await Promise.all(prompts.map((it) => model.logits(it)));
  for (const [i, prompt] of prompts.entries()) {
    const alone = await model.encode(prompt);
    assertClose(together[i]!.hidden, alone.hidden, `hidden of ${i}`);
    assertClose(together[i]!.pooled!, alone.pooled!, `pooled of ${i}`);
    assertClose(logits[i]!, await model.logits(prompt), `logits of ${i}`);
  }
});

Deno.test("an encoder–decoder encodes its source by itself, too", async () => {
  await using model = await loadModel(golden("t5-v1.0"), { backend: "reference" });
  const { hidden, pooled } = await model.encode(idsOf(9, 3));
  assertEquals([hidden.length, pooled], [9 * model.config.hiddenSize, undefined]);
});

Deno.test("prompts are refused where a model has no use for them", async () => {
  await using bert = await loadModel(golden("bert"), { backend: "reference" });
  await using t5 = await loadModel(golden("t5-v1.0"), { backend: "reference" });
  await using yuan = await loadModel(golden("yuan1"), { backend: "reference" });
  assertEquals(bert.accepts, ["ids", "prefixLength", "tokenTypeIds"]);
  assertEquals(t5.accepts, ["ids", "decoderIds"]);
  assertEquals(yuan.accepts, ["ids", "prefixLength"]);
  const ids = [1, 2, 3];
  const cases: [Model, unknown, string][] = [
    [
      bert,
      { ids, taskTypeIds: [0, 0, 0] },
      'with "taskTypeIds": this model takes ids, prefixLength',
    ],
    [bert, { ids, tokenTypeIds: [0, 0] }, "with tokenTypeIds [0, 0]: expected 3 numbers"],
    [bert, { ids, tokenTypeIds: [0, 2, 0] }, "tokenTypeIds 2 at index 1: expected a whole number"],
    [bert, { ids, tokenTypeIds: "001" }, "expected 3 numbers, one for each id"],
    [yuan, { ids, prefixLength: 4 }, "prefixLength 4: expected a whole number from 0 to 3"],
    [yuan, { ids, prefixLength: -1 }, "prefixLength -1"],
    [yuan, { ids, prefixLength: 1.5 }, "prefixLength 1.5"],
    [t5, { ids, decoderIds: [] }, "no tokens"],
    [t5, { ids, decoderIds: [137] }, "token id 137 at index 0"],
    [t5, { ids, prefixLength: 1 }, 'with "prefixLength": this model takes ids, decoderIds'],
    [yuan, { ids: idsOf(41, 1) }, "a prompt of 41 tokens: the context holds 40"],
    [yuan, { ids: [] }, "no tokens"],
    [yuan, "text", "expected token ids, or an object with ids; tokenizer.encode"],
    [yuan, null, "expected token ids, an object with ids, or a text where the call takes one"],
  ];
  for (const [model, prompt, message] of cases) {
    await assertRejects(() => model.logits(prompt as Prompt), InputError, message);
  }
  using session = yuan.session();
  await session.prefill({ ids, prefixLength: 2 });
  await assertRejects(
    () => session.prefill({ ids, prefixLength: 2 }),
    InputError,
    'Cannot append a prompt with "prefixLength" to a session: it can only begin one',
  );
  await session.prefill({ ids });
  assertEquals(session.position, 6);
  await assertRejects(() => bert.session().prefill(ids), InputError, "Cannot decode");
  await assertRejects(() => bert.complete(ids), ModelError, "it reads texts and writes none");
  await assertRejects(
    () => yuan.complete({ ids, prefixLength: 2 }, { overflow: "slide" }),
    InputError,
    'overflow "slide"',
  );
  assertThrows(() => session.truncate(-1), InputError);
});

Deno.test("a session keeps its prefix and what follows for a prompt that begins alike", async () => {
  await using model = await loadModel(golden("yuan1"), {
    backend: "wasm",
    threads: 1,
    sequences: 2,
  });
  using session = model.session();
  const options = { temperature: 0, maxTokens: 3, stopIds: [] };
  const reused: number[] = [];
  const complete = async (prompt: Prompt): Promise<readonly number[]> => {
    const onFinish = ({ reusedTokens }: { reusedTokens: number }) => void reused.push(reusedTokens);
    const { ids } = await session.complete(prompt, { ...options, onFinish });
    assertEquals((await model.complete(prompt, options)).ids, ids);
    return ids;
  };
  const ids = idsOf(12, 4);
  await complete({ ids, prefixLength: 8 });
  await complete({ ids: [...ids.slice(0, 10), 5], prefixLength: 8 }); // 10 in common
  await complete({ ids, prefixLength: 7 }); // another prefix
  await complete({ ids: [9, ...ids.slice(1)], prefixLength: 7 }); // differs within it
  await complete({ ids }); // none
  assertEquals(reused, [0, 10, 0, 0, 0]);
});
