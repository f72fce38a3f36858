/**
 * Transformer-XL beyond its golden values: the memory of zeros and of segments, whatever runs together,
 * in whichever rows of the caches, and across sessions that take over, save and cut their tokens.
 */

import { assert, assertEquals, assertRejects } from "@std/assert";
import { loadModel, type LoadOptions, type Model, ModelError, type Session } from "../mod.ts";
import { FIXTURES, randomNumbers } from "./fixtures.ts";
import { withFolder } from "./tiny_model.ts";
import { hasWebgpu } from "./webgpu_adapter.ts";

/** One with a memory for each token, one with a memory for each segment. */
const NAMES = ["transfo-xl-pre", "transfo-xl-segments"] as const;
const PLACES: readonly { name: string; load: LoadOptions; bound: number }[] = [
  { name: "reference", load: { backend: "reference" }, bound: 1e-5 },
  { name: "wasm", load: { backend: "wasm", threads: 2 }, bound: 1e-4 },
  { name: "webgpu", load: { backend: "webgpu" }, bound: 1e-4 },
  { name: "webgpu and wasm", load: { backend: "webgpu", gpuLayers: 1 }, bound: 1e-4 },
];

const golden = (name: string): URL => new URL(`golden/${name}/`, FIXTURES);

function randomIds(length: number, seed: number): number[] {
  const random = randomNumbers(seed);
  return Array.from({ length }, () => Math.floor(random() * 97));
}

function assertClose(actual: Float32Array, expected: Float32Array, bound: number, what: string) {
  assertEquals(actual.length, expected.length, what);
  const off = actual.reduce((max, it, i) => Math.max(max, Math.abs(it - expected[i]!)), 0);
  assert(off <= bound, `${what}: off by ${off}`);
}

/** What a fresh session says after a prompt and some tokens behind it. */
async function afresh(model: Model, prompt: number[], tokens: number[]): Promise<Float32Array> {
  using session = model.session();
  let logits = await session.prefill(prompt);
  for (const id of tokens) logits = await session.step(id);
  return logits;
}

for (const name of NAMES) {
  for (const { name: place, load, bound } of PLACES) {
    const ignore = load.backend === "webgpu" && !hasWebgpu;

    Deno.test({ name: `${name} on ${place}: chunks make no difference`, ignore }, async () => {
      await using model = await loadModel(golden(name), load);
      for (const length of [300, 513]) {
        const ids = randomIds(length, length);
        using session = model.session(), other = model.session();
        const all = await session.logits(ids); // in chunks of 64
        assertClose(await other.prefill(ids), all.slice(-97), bound, `${length} tokens`);
        const sum = all.slice(-97).reduce((sum, it) => sum + Math.exp(it), 0);
        assert(Math.abs(sum - 1) < 1e-4, "logits are logarithms of probabilities");
      }
    });

    Deno.test({ name: `${name} on ${place}: sessions at the same time`, ignore }, async () => {
      await using alone = await loadModel(golden(name), load);
      await using model = await loadModel(golden(name), { ...load, sequences: 3 });
      const texts = [5, 20, 33, 14, 1].map((length) => randomIds(length, length));
      await Promise.all(texts.map(async (ids) => {
        using session = model.session();
        let logits = await session.prefill(ids.slice(0, 4));
        for (const id of ids.slice(4)) logits = await session.step(id);
        const expected = await afresh(alone, ids.slice(0, 4), ids.slice(4));
        assertClose(logits, expected, bound, `${ids.length} tokens`);
      }));
    });

    Deno.test({ name: `${name} on ${place}: saved, lost and cut sessions`, ignore }, async () => {
      await using model = await loadModel(golden(name), load);
      await using later = await loadModel(golden(name), { ...load, sequences: 2 });
      const prompt = randomIds(17, 1), tokens = randomIds(9, 2), more = randomIds(4, 3);
      const expected = await afresh(model, prompt, [...tokens, ...more]);
      const goOn = async (session: Session, what: string): Promise<void> => {
        let logits = expected;
        for (const id of more) logits = await session.step(id);
        assertClose(logits, expected, bound, what);
      };
      using session = model.session();
      await session.prefill(prompt);
      for (const id of tokens) await session.step(id);
      const bytes = await session.save();
      for (const other of [model, later]) {
        using restored = await other.restore(bytes);
        await goOn(restored, "restored");
        using again = await other.restore(bytes, { share: true });
        using third = other.session(); // another text takes the rows
        await third.prefill(randomIds(30, 5));
        await goOn(again, "restored and computed again");
      }
      await goOn(session, "computed again");
      for (const length of [22, 17, 11, 3]) {
        session.truncate(length);
        const logits = await session.step(6);
        const kept = prompt.slice(0, length);
        const behind = [...tokens.slice(0, Math.max(0, length - 17)), 6];
        assertClose(logits, await afresh(model, kept, behind), bound, `cut to ${length}`);
        session.reset();
        await session.prefill(prompt);
        for (const id of tokens) await session.step(id);
      }
    });

    Deno.test({ name: `${name} on ${place}: prompts with a common start`, ignore }, async () => {
      await using model = await loadModel(golden(name), { ...load, sequences: 3 });
      await using alone = await loadModel(golden(name), load);
      const start = randomIds(290, 7);
      for (const [i, length] of [290, 290, 270, 40, 290].entries()) {
        const prompt = [...start.slice(0, length), ...randomIds(9, i)];
        using session = model.session();
        const { ids, reusedTokens } = await session.complete(prompt, {
          temperature: 0,
          maxTokens: 6,
          stopIds: [],
        });
        const expected = await alone.complete(prompt, {
          temperature: 0,
          maxTokens: 6,
          stopIds: [],
        });
        assertEquals(ids, expected.ids);
        // A segment is computed as a whole.
        if (name === "transfo-xl-segments") assertEquals(reusedTokens, 0);
        // In one session, too.
        const next = [...prompt, ...ids, 8, 9];
        const { ids: second } = await session.complete(next, {
          temperature: 0,
          maxTokens: 4,
          stopIds: [],
        });
        const fresh = await alone.complete(next, { temperature: 0, maxTokens: 4, stopIds: [] });
        assertEquals(second, fresh.ids);
      }
    });
  }

  for (const cacheType of ["f16", "int8"] as const) {
    Deno.test(`${name}: the memory is zeros in caches of ${cacheType}, too`, async () => {
      await using exact = await loadModel(golden(name), { backend: "reference" });
      for (const backend of ["reference", "wasm"] as const) {
        await using model = await loadModel(golden(name), { backend, threads: 1, cacheType });
        await afresh(model, randomIds(200, 3), []); // fills the rows before
        const ids = randomIds(3, 4), bound = cacheType === "f16" ? 0.02 : 0.3;
        assertClose(
          await afresh(model, ids, []),
          await afresh(exact, ids, []),
          bound,
          `${cacheType} on ${backend}`,
        );
      }
    });
  }
}

Deno.test("transfo-xl: a text goes on beyond the context", async () => {
  await using model = await loadModel(golden("transfo-xl-pre"), {
    backend: "wasm",
    contextLength: 32,
  });
  const { ids, stopReason } = await model.complete(randomIds(20, 1), {
    temperature: 0,
    maxTokens: 60,
    stopIds: [],
    overflow: "slide",
  });
  assertEquals([ids.length, stopReason], [60, "length"]);
});

const WRONG: Record<string, [fields: Record<string, unknown>, message: string]> = {
  "no memory of the same length": [{ mem_len: 0 }, "mem_len is 0 with same_length true"],
  "another attention": [{ attn_type: 2 }, '"attn_type" is 2'],
  "an extended context": [{ ext_len: 3 }, '"ext_len" is 3'],
  "cutoffs that fall": [{ cutoffs: [90, 40] }, "cutoffs are [90, 40] of 151 words"],
  "cutoffs beyond the words": [{ cutoffs: [40, 151] }, "cutoffs are [40, 151]"],
  "cutoffs that are no list": [{ cutoffs: 40 }, "cutoffs are 40"],
  "rows without numbers": [{ div_val: 32 }, "d_embed 32 and div_val 32"],
  "too few projections": [{ tie_projs: [true] }, "tie_projs is [true], expected"],
  "an odd width": [{ d_model: 31 }, "d_model is 31"],
  "half a distance": [{ clamp_len: 1.5 }, "clamp_len 1.5"],
  "other heads": [{ n_head: 2, d_head: 14 }, "has shape [4, 7], expected [2, 14]"],
  "another table": [{ cutoffs: [50, 90] }, '"transformer.word_emb.emb_layers.0.weight" has shape'],
  "untied words": [{ tie_weight: false }, '"tie_weight" is false'],
};

for (const [name, [fields, message]] of Object.entries(WRONG)) {
  Deno.test(`loadModel() refuses a Transformer-XL with ${name}`, async () => {
    const folder = golden("transfo-xl");
    const config = JSON.parse(await Deno.readTextFile(new URL("config.json", folder)));
    const weights = await Deno.readFile(new URL("model.safetensors", folder));
    const files = {
      "config.json": JSON.stringify({ ...config, ...fields }),
      "model.safetensors": weights,
    };
    await withFolder(files, async (path) => {
      await assertRejects(() => loadModel(path, { backend: "reference" }), ModelError, message);
    });
  });
}
