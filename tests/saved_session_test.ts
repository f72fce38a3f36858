/** Sessions as bytes: what goes on where it was, what is refused, and what hostile bytes can do. */

import { assert, assertEquals, assertRejects } from "@std/assert";
import {
  FormatError,
  InputError,
  loadModel,
  type LoadOptions,
  type Model,
  type Prompt,
  type Session,
  SparrowError,
} from "../mod.ts";
import { cacheBytes, clearRowsBehind } from "../kernels/cache_store/layout.ts";
import { FIXTURES, randomNumbers } from "./fixtures.ts";
import { tinyBlob, tinyContents, type TinyOptions, tinyVocabulary } from "./tiny_model.ts";
import { ggufBytes } from "./fixtures.ts";
import { hasWebgpu } from "./webgpu_adapter.ts";

const VOCAB = tinyVocabulary();

function randomIds(length: number, seed = 1, vocab = VOCAB): number[] {
  const random = randomNumbers(seed);
  return Array.from({ length }, () => Math.floor(random() * vocab));
}

async function tiny(options: TinyOptions = {}, load: LoadOptions = {}): Promise<Model> {
  const blob = await tinyBlob({ context: 320, ...options });
  return await loadModel(blob, { backend: "wasm", threads: 1, ...load });
}

/** Bits of logits after each of some tokens. */
async function goOn(session: Session, ids: readonly number[]): Promise<number[]> {
  const bits: number[] = [];
  for (const id of ids) bits.push(...new Uint32Array((await session.step(id)).buffer));
  return bits;
}

interface Where {
  name: string;
  options?: TinyOptions;
  load: LoadOptions;
}

const CACHES = ["f32", "f16", "int8"] as const;
const PLACES: Where[] = [
  ...CACHES.flatMap((cacheType): Where[] => [
    { name: `wasm, ${cacheType}`, load: { cacheType } },
    { name: `wasm, ${cacheType}, 2 threads`, load: { cacheType, threads: 2 } },
    { name: `wasm, ${cacheType}, odd heads`, load: { cacheType }, options: { hidden: 36 * 4 } },
    { name: `reference, ${cacheType}`, load: { cacheType, backend: "reference" } },
    { name: `webgpu, ${cacheType}`, load: { cacheType, backend: "webgpu" } },
    {
      name: `webgpu and wasm, ${cacheType}`,
      load: { cacheType, backend: "webgpu", gpuLayers: 1 },
      options: { layers: 3 },
    },
  ]),
];

for (const { name, options, load } of PLACES) {
  Deno.test({
    name: `${name}: a restored session goes on as if it had never been away`,
    ignore: load.backend === "webgpu" && !hasWebgpu,
    async fn(): Promise<void> {
      await using model = await tiny(options, { ...load, sequences: 2 });
      await using later = await tiny(options, { ...load, sequences: 1, contextLength: 200 });
      for (const length of [1, 5, 8, 64, 131]) {
        using session = model.session();
        await session.prefill(randomIds(length));
        if (length === 5) await goOn(session, [4, 5]);
        const bytes = await session.save();
        assertEquals(await session.save(), bytes);
        const { history, cachedTokens } = session;
        const expected = await goOn(session, [1, 2, 3]);
        for (const other of [model, later]) {
          using again = await other.restore(bytes);
          assertEquals([again.history, again.cachedTokens], [history, cachedTokens]);
          assertEquals(await goOn(again, [1, 2, 3]), expected, `${length} tokens`);
          using third = await other.restore(bytes, { share: true });
          assertEquals(await third.save(), bytes);
        }
      }
    },
  });
}

for (const name of ["t5-v1.1", "yuan1", "mixtral", "llama"]) {
  for (const backend of ["reference", "wasm", "webgpu"] as const) {
    Deno.test({
      name: `${backend}, ${name}: what belongs to the tokens is kept, and what an encoder read`,
      ignore: backend === "webgpu" && !hasWebgpu,
      async fn(): Promise<void> {
        const path = new URL(`golden/${name}/`, FIXTURES).pathname, onWarning = (): void => {};
        await using model = await loadModel(path, { backend, threads: 1, sequences: 2, onWarning });
        const ids = randomIds(20, 3, model.config.vocabSize);
        const prompt: Prompt = name === "yuan1"
          ? { ids, prefixLength: 12 }
          : name.startsWith("t5")
          ? { ids, decoderIds: [0, 4, 5] }
          : { ids };
        using session = model.session();
        await session.prefill(prompt);
        const bytes = await session.save();
        const expected = await goOn(session, [1, 2, 3]);
        using again = await model.restore(bytes);
        assertEquals(again.cachedTokens, again.position);
        assertEquals(await goOn(again, [1, 2, 3]), expected);
        // A session that lost its rows has the tokens all the same.
        using third = await model.restore(bytes);
        await model.session().prefill(prompt);
        await model.session().prefill(prompt);
        assertEquals(third.cachedTokens, 0);
        const late = await third.step(1);
        late.forEach((it, i) => {
          const other = new Float32Array(Uint32Array.of(expected[i]!).buffer)[0]!;
          assert(Math.abs(it - other) < 1e-3);
        });
      },
    });
  }
}

Deno.test("an empty session, one without rows, and one that is generating can be saved", async () => {
  await using model = await tiny();
  using empty = await model.restore(await model.session().save());
  assertEquals([empty.position, empty.cachedTokens], [0, 0]);
  using session = model.session();
  await session.prefill(randomIds(20));
  await model.session().prefill([1]); // takes the rows
  const lost = await session.save();
  assertEquals((await model.restore(lost)).history, session.history);
  const { ids } = await session.complete(randomIds(9), {
    temperature: 0,
    maxTokens: 8,
    stopIds: [],
  });
  const saved: Promise<Uint8Array>[] = [];
  for await (
    const _ of session.generate(randomIds(9), { temperature: 0, maxTokens: 8, stopIds: [] })
  ) {
    saved.push(session.save());
  }
  for (const bytes of await Promise.all(saved)) {
    using again = await model.restore(bytes);
    const all = [...randomIds(9), ...ids];
    assertEquals(again.history, all.slice(0, again.position));
  }
  session.dispose();
  await assertRejects(() => session.save(), InputError, "disposed");
});

for (const cacheType of CACHES) {
  Deno.test(`nothing of other texts is in the bytes: cache of ${cacheType}`, async () => {
    await using fresh = await tiny({}, { cacheType });
    await using used = await tiny({}, { cacheType });
    await used.session().prefill(randomIds(300, 9));
    for (const length of [1, 7, 70]) {
      const saved: Uint8Array[] = [];
      for (const model of [fresh, used]) {
        using session = model.session();
        await session.prefill(randomIds(length, length));
        saved.push(await session.save());
      }
      assertEquals(saved[0], saved[1]);
    }
  });
}

Deno.test("others take over what a restored session has only where that is asked for", async () => {
  await using model = await tiny({}, { sequences: 2 });
  const text = randomIds(100);
  using session = model.session();
  await session.prefill(text);
  const bytes = await session.save();
  session.dispose();
  for (const share of [false, true]) {
    using _ = await model.restore(bytes, { share });
    let reused = -1;
    await model.complete([...text, ...randomIds(20, 2)], {
      maxTokens: 1,
      onFinish: ({ reusedTokens }) => reused = reusedTokens,
    });
    assertEquals(reused, share ? 100 : 0);
  }
});

Deno.test("a session of another model, cache, backend, context or version is refused", async () => {
  await using model = await tiny();
  using session = model.session();
  await session.prefill(randomIds(50));
  const bytes = await session.save();
  const refuses = async (other: Model, message: string): Promise<void> => {
    await using _ = other;
    await assertRejects(() => other.restore(bytes), InputError, message);
  };
  await refuses(await tiny({ seed: 2 }), "of another model");
  await refuses(await tiny({ layers: 3 }), "of another model");
  await refuses(await tiny({ type: "Q8_0" }), "of another model");
  await refuses(await tiny({}, { weights: "int8" }), "of another model");
  await refuses(await tiny({}, { cacheType: "f16" }), "of another cache type");
  await refuses(await tiny({}, { backend: "reference" }), "of another form of cache rows");
  await refuses(await tiny({}, { contextLength: 49 }), "the context holds 49");
  // One weight among all is another one.
  const contents = tinyContents({ context: 320 });
  const { data } = contents.tensors.find(({ name }) => name === "blk.1.ffn_down.weight")!;
  (data as Uint8Array)[3]! ^= 1;
  const changed = new Blob([await ggufBytes(contents)]);
  await refuses(await loadModel(changed, { backend: "wasm" }), "of another model");
  const next = bytes.slice();
  next[8] = 2;
  await assertRejects(() => model.restore(next), FormatError, "of version 2");
  for (const junk of [undefined, null, "SPARROWS", [1, 2], {}, new Float32Array(9)]) {
    await assertRejects(
      () => model.restore(junk as Uint8Array),
      InputError,
      "expected the Uint8Array",
    );
  }
});

/** Bytes of a session with another header, and a checksum that is right. */
async function forged(bytes: Uint8Array, change: (text: string) => string): Promise<Uint8Array> {
  const length = new DataView(bytes.buffer).getUint32(12, true);
  const text = new TextDecoder().decode(bytes.subarray(16, 16 + length));
  const header = new TextEncoder().encode(change(text));
  const all = new Uint8Array([
    ...bytes.subarray(0, 12),
    ...new Uint8Array(Uint32Array.of(header.length).buffer),
    ...header,
    ...bytes.subarray(16 + length, -32),
  ]);
  const sum = new Uint8Array(await crypto.subtle.digest("SHA-256", all));
  return new Uint8Array([...all, ...sum]);
}

Deno.test("damaged bytes are an error, whatever the damage", async () => {
  await using model = await tiny({ context: 16 });
  using session = model.session();
  await session.prefill([3, 4, 5]);
  const bytes = await session.save(), random = randomNumbers(5);
  const pick = (n: number): number => Math.floor(random() * n);
  for (let i = 0; i < 4000; i++) {
    let wrong = bytes.slice();
    const kind = pick(5);
    // Most of the damage at the front, where lengths are.
    const at = pick(pick(2) ? bytes.length : 300);
    if (kind === 0) wrong = wrong.slice(0, at);
    else if (kind === 1) wrong = new Uint8Array([...wrong, ...wrong.subarray(0, 1 + pick(40))]);
    else if (kind === 2) wrong[at]! ^= 1 << pick(8);
    else if (kind === 3) wrong.fill(pick(256), at, at + 1 + pick(16));
    else wrong.copyWithin(at, pick(bytes.length), pick(bytes.length));
    if (wrong.length === bytes.length && wrong.every((it, k) => it === bytes[k])) continue;
    await assertRejects(() => model.restore(wrong), FormatError, "Cannot restore a session");
  }
  using again = await model.restore(bytes);
  assertEquals(again.history, [3, 4, 5]);
});

Deno.test("a forged header is refused, or makes a session that is what it says", async () => {
  await using model = await tiny({ context: 16 });
  using session = model.session();
  await session.prefill([3, 4, 5]);
  const bytes = await session.save(), random = randomNumbers(6);
  const pick = (n: number): number => Math.floor(random() * n);
  const edits: [RegExp, string][] = [
    [/"cached":3/, '"cached":4'],
    [/"cached":3/, '"cached":1e300'],
    [/"cached":3/, '"cached":-1'],
    [/"cached":3/, '"cached":null'],
    [/"standard":\d+/, '"standard":9'],
    [/"encoded":false/, '"encoded":true'],
    [/"prompt":\{[^}]*\}/, '"prompt":{"ids":[1e9]}'],
    [/"prompt":\{[^}]*\}/, '"prompt":{"ids":[3,4,5],"prefixLength":2}'],
    [/"prompt":\{[^}]*\}/, '"prompt":{"ids":[3,4,5],"__proto__":{"source":1}}'],
    [/"prompt":\{[^}]*\}/, '"prompt":null'],
    [/"ids":\[\]/, '"ids":"abc"'],
    [/"ids":\[\]/, `"ids":[${Array(20).fill(1)}]`],
    [/"ids":\[\]/, '"ids":{"length":4294967295}'],
    [/^.*$/, "null"],
    [/^.*$/, "[".repeat(100_000)],
    [/^.*$/, "{}"],
  ];
  for (const [from, to] of edits) {
    const wrong = await forged(bytes, (text) => {
      assert(from.test(text), `${from} in ${text}`);
      return text.replace(from, to);
    });
    await assertRejects(() => model.restore(wrong), SparrowError, "Cannot restore a session");
  }
  for (let i = 0; i < 1000; i++) {
    const wrong = await forged(bytes, (text) => {
      const at = pick(text.length), characters = '0123456789-,:[]{}"aceildnu';
      return text.slice(0, at) + characters[pick(characters.length)] + text.slice(at + pick(3));
    });
    try {
      using again = await model.restore(wrong);
      assert(again.cachedTokens <= again.position && again.position < 16);
      await again.step(1);
    } catch (error) {
      assert(error instanceof SparrowError, `${(error as Error).stack}`);
    }
  }
});

for (const role of ["keyCache", "valueCache"] as const) {
  for (const dtype of CACHES) {
    Deno.test(`${role} of ${dtype}: rows behind the kept ones, and no others, are cleared`, () => {
      for (const headDim of [8, 9, 40, 64]) {
        const type = { shape: [128, 1, headDim], dtype, role, perToken: false } as const;
        const rowBytes = cacheBytes(type) / 128;
        for (let rows = 1; rows <= 128; rows++) {
          const unit = cacheBytes({ ...type, shape: [rows, 1, headDim] });
          const block = new Uint8Array(unit).fill(1);
          clearRowsBehind(type, block, rows);
          assertEquals(block.reduce((a, b) => a + b, 0), rows * rowBytes);
        }
      }
    });
  }
}
