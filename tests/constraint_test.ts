/** Constraints: masks, required tokens, ends; alone and among free texts, with every option beside. */

import { assert, assertEquals, assertRejects } from "@std/assert";
import {
  type Allowance,
  type Constraint,
  type GenerateOptions,
  InputError,
  loadModel,
  type LoadOptions,
  type Model,
} from "../mod.ts";
import { tinyBlob } from "./tiny_model.ts";
import { hasWebgpu } from "./webgpu_adapter.ts";

async function tiny(options: LoadOptions = {}): Promise<Model> {
  const blob = await tinyBlob({ context: 64 });
  return await loadModel(blob, { backend: "wasm", threads: 1, ...options });
}

function maskOf(ids: readonly number[], words = 2): Int32Array {
  const mask = new Int32Array(words);
  for (const id of ids) mask[id >> 5]! |= 1 << id % 32;
  return mask;
}

/** Gives allowances one after another, the last one for ever, and keeps what it is told. */
function script(...steps: Allowance[]): Constraint & { readonly told: number[] } {
  const told: number[] = [];
  return {
    told,
    next: () => steps.length > 1 ? steps.shift()! : steps[0]!,
    accept: (id) => void told.push(id),
  };
}

const FREE: GenerateOptions = { temperature: 1, topK: 0, topP: 1, maxTokens: 20, stopIds: [] };

Deno.test("a constraint leaves its ids, then requires some, then ends the text", async () => {
  await using model = await tiny();
  const allowed = [4, 9, 31, 32, 40];
  for (let seed = 0; seed < 20; seed++) {
    const constraint = script(
      { mask: maskOf(allowed) },
      { mask: Uint32Array.from(maskOf(allowed)) },
      { required: [41, 5] },
      { mask: maskOf([7]) },
      { end: "must" },
    );
    const result = await model.complete([3, 4], { ...FREE, seed, constraint });
    const { ids, stopReason } = result;
    assertEquals([ids.length, stopReason], [5, "stop"]);
    assert(ids.slice(0, 2).every((id) => allowed.includes(id)), `${ids}`);
    assertEquals(ids.slice(2), [41, 5, 7]);
    assertEquals(constraint.told, ids);
  }
});

Deno.test("a constraint draws from what it leaves as the sampler does", async () => {
  await using model = await tiny();
  const seen = new Set<number>(), allowed = [6, 12, 33];
  for (let seed = 0; seed < 60; seed++) {
    const constraint = script({ mask: maskOf(allowed) });
    const { ids } = await model.complete([3], { ...FREE, seed, maxTokens: 1, constraint });
    seen.add(ids[0]!);
  }
  assertEquals(Array.from(seen).sort((a, b) => a - b), allowed);
  // One that allows everything changes nothing, whatever the options.
  const all = new Int32Array(2).fill(-1);
  const rows: GenerateOptions[] = [
    { temperature: 0 },
    { seed: 3 },
    { seed: 4, repeatPenalty: 1.5, frequencyPenalty: 0.3, logitBias: { 5: 2 }, topK: 7 },
    { seed: 5, maxTokens: 100, overflow: "slide" },
  ];
  for (const row of rows) {
    const options = { ...FREE, ...row };
    const { ids } = await model.complete([3, 4], options);
    for (const allowance of [{ mask: all }, {}, { end: "may" as const }]) {
      const constrained = await model.complete([3, 4], {
        ...options,
        constraint: script(allowance),
      });
      assertEquals(constrained.ids, ids);
    }
  }
});

Deno.test("a constraint says where a text may end", async () => {
  await using model = await tiny();
  const options: GenerateOptions = { ...FREE, temperature: 0, stopIds: [8], maxTokens: 6 };
  const run = (constraint: Constraint, more: GenerateOptions = {}) =>
    model.complete([3, 4], { ...options, ...more, constraint });
  const only = maskOf([8]);
  // The mask decides on stop tokens, or what is said of the end.
  assertEquals((await run(script({ mask: only }))).stopReason, "stop");
  const may = script({ mask: maskOf([9]), end: "may" });
  const { ids } = await run(may, { logitBias: { 9: -1e6 } });
  assertEquals([ids, may.told], [[], []]);
  const no = await run(script({ mask: maskOf([8, 9]), end: "no" }), { logitBias: { 8: 1e6 } });
  assertEquals([no.ids, no.stopReason], [[9, 9, 9, 9, 9, 9], "length"]);
  const free = await run(script({ end: "no" }), { logitBias: { 8: 1e6 } });
  assertEquals([free.ids.length, free.ids.includes(8)], [6, false]);
  // Nothing is left but to end: no stop token is needed.
  const empty = await run(script({ mask: maskOf([9]) }, { mask: maskOf([]), end: "may" }));
  assertEquals([empty.ids, empty.stopReason], [[9], "stop"]);
  const nothing = script({ end: "must" });
  const none = await run(nothing);
  assertEquals([none.ids, none.text, none.stopReason, nothing.told], [[], "", "stop", []]);
  // It is not asked again after the end.
  let asked = 0;
  await run({ next: () => (asked++, { mask: only }), accept: () => {} });
  assertEquals(asked, 1);
});

Deno.test("what is held back for a stop string is text where a constraint ends it", async () => {
  await using model = await tiny();
  const { tokenizer } = model;
  const required = tokenizer.encode("th", { addSpecial: false });
  for (const end of ["must", "may"] as const) {
    const constraint = script({ required }, { mask: maskOf([]), end });
    const result = await model.complete("a", { ...FREE, constraint, stop: ["the"] });
    assertEquals([result.stopReason, result.text.trim()], ["stop", "th"]);
  }
});

for (const backend of ["wasm", "webgpu"] as const) {
  const ignore = backend === "webgpu" && !hasWebgpu;
  Deno.test({
    name: `${backend}: constrained texts and free ones at once are those made alone`,
    ignore,
    fn: async () => {
      await using model = await tiny({ backend, sequences: 3 });
      const constraints = [
        () => script({ mask: maskOf([4, 9, 31, 32, 40]) }),
        () => undefined,
        () => script({ mask: maskOf([5, 6]) }, { required: [7, 8, 9] }, { mask: maskOf([10, 11]) }),
      ];
      const run = (i: number): Promise<readonly number[]> => {
        const constraint = constraints[i]!();
        const options = { ...FREE, seed: i, maxTokens: 12, ...(constraint && { constraint }) };
        return model.complete([3, 4 + i], options).then(({ ids }) => ids);
      };
      const alone = [await run(0), await run(1), await run(2)];
      assertEquals(await Promise.all([run(0), run(1), run(2)]), alone);
      assertEquals(alone[2]!.slice(1, 4), [7, 8, 9]);
      assert(alone[0]!.every((id) => [4, 9, 31, 32, 40].includes(id)));
    },
  });
}

Deno.test("a constraint may be asynchronous, and its errors are the caller's", async () => {
  await using model = await tiny();
  const later: Constraint = {
    next: () => new Promise((done) => setTimeout(() => done({ mask: maskOf([9]) }), 1)),
    accept: () => {},
  };
  const { ids } = await model.complete([3], { ...FREE, maxTokens: 3, constraint: later });
  assertEquals(ids, [9, 9, 9]);
  for (const name of ["next", "accept"] as const) {
    const constraint = {
      ...script({}),
      [name]: () => {
        throw new RangeError("the caller's own");
      },
    };
    await assertRejects(() => model.complete([3], { ...FREE, constraint }), RangeError, "own");
  }
});

Deno.test("an abort does not wait for a constraint", async () => {
  await using model = await tiny();
  using session = model.session();
  let asked = 0;
  const constraint: Constraint = {
    next: () => ++asked < 3 ? { mask: maskOf([9]) } : new Promise(() => {}),
    accept: () => {},
  };
  const controller = new AbortController(), { signal } = controller;
  const whole = session.complete([3], { ...FREE, constraint, signal });
  setTimeout(() => controller.abort(new RangeError("enough")), 50);
  await assertRejects(() => whole, RangeError, "enough");
  assertEquals(asked, 3);
  const next = await session.complete([3], { ...FREE, constraint: script({ end: "must" }) });
  assertEquals(next.ids, []);
});

Deno.test("what a constraint gives is checked", async () => {
  await using model = await tiny();
  const rows: [unknown, string][] = [
    [undefined, "the constraint gave undefined, expected an object with mask, required or end"],
    [{ mask: [1, 2] }, "expected an Int32Array or Uint32Array of bits"],
    [{ mask: new Uint8Array(8) }, "expected an Int32Array or Uint32Array of bits"],
    [{ required: [43] }, "expected a list of ids, each a whole number from 0 to 42"],
    [{ required: 3 }, "expected a list of ids"],
    [{ end: "now" }, 'the constraint gave end "now", expected no, may, must'],
    [{ mask: maskOf([]) }, "after 0 tokens: the constraint allows no token"],
    [{ mask: new Int32Array(0), end: "no" }, "the constraint allows no token"],
  ];
  for (const [allowance, message] of rows) {
    const constraint = script(allowance as Allowance);
    const run = () => model.complete([3], { ...FREE, constraint });
    await assertRejects(run, InputError, message);
  }
  for (const constraint of [{}, [], { next: 1, accept: 2 }, () => ({})]) {
    await assertRejects(
      () => model.complete([3], { constraint: constraint as unknown as Constraint }),
      InputError,
      "expected an object with the functions next and accept",
    );
  }
  // Bits beyond the vocabulary are nobody's; ids beyond the mask are not allowed.
  const long = script({ mask: maskOf([9, 100, 127], 4) }), short = script({ mask: maskOf([9], 1) });
  for (const constraint of [long, short]) {
    const { ids } = await model.complete([3], { ...FREE, maxTokens: 3, constraint });
    assertEquals(ids, [9, 9, 9]);
  }
});
