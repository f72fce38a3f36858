/** Logits that are NaN or infinite: a ModelError on every backend, by every way out of the model. */

import { assert, assertEquals, assertRejects } from "@std/assert";
import { loadModel, type LoadOptions, type Model, ModelError } from "../mod.ts";
import { ggufBytes } from "./fixtures.ts";
import { tinyContents, type TinyOptions } from "./tiny_model.ts";
import { hasWebgpu } from "./webgpu_adapter.ts";

/** A model of which one tensor has one number too many. */
async function broken(
  tensor: string,
  value: number,
  load: LoadOptions,
  options: TinyOptions = {},
  at: number | "all" = "all",
): Promise<Model> {
  const contents = tinyContents(options);
  const { data } = contents.tensors.find(({ name }) => name === tensor)!;
  const values = new Float32Array((data as Uint8Array).buffer, (data as Uint8Array).byteOffset);
  if (at === "all") values.fill(value);
  else values[at] = value;
  return await loadModel(new Blob([await ggufBytes(contents)]), load);
}

const BACKENDS: readonly LoadOptions[] = [
  { backend: "reference" },
  { backend: "wasm", threads: 2 },
  { backend: "wasm", threads: 2, reproducible: true },
  { backend: "wasm", threads: 1, cacheType: "int8" },
  ...(hasWebgpu
    ? [{ backend: "webgpu" } as const, { backend: "webgpu", gpuLayers: 1 } as const]
    : []),
];

async function generateAll(model: Model): Promise<number> {
  let count = 0;
  for await (const _ of model.session().generate([3, 4, 5], { maxTokens: 5 })) count++;
  return count;
}

/** Every way out of a model. */
const WAYS: Readonly<Record<string, (model: Model) => Promise<unknown>>> = {
  generate: generateAll,
  complete: (model) => model.complete([3, 4, 5]),
  prefill: (model) => model.session().prefill([3, 4, 5]),
  step: (model) => model.session().step(3),
  logits: (model) => model.logits({ ids: [3, 4, 5] }),
  embed: (model) => model.embed(["the"]),
  "embed by mean": (model) => model.embed(["the"], { pooling: "mean" }),
  score: (model) => model.score([3, 4, 5]),
};

for (const load of BACKENDS) {
  for (const value of [NaN, Infinity]) {
    Deno.test(`${value} is a ModelError by every way: ${JSON.stringify(load)}`, async () => {
      await using model = await broken("output_norm.weight", value, load);
      for (const [way, take] of Object.entries(WAYS)) {
        const error = await assertRejects(() => take(model), ModelError, "Cannot go on with", way);
        assert(/are not finite numbers|is NaN or infinite/.test(error.message), error.message);
        assert(error.message.includes("its weights are damaged"), error.message);
        assert(error.message.includes(`on backend ${model.backend}`), error.message);
      }
    });
  }
}

Deno.test("the message says where, how many, and what may be the cause", async () => {
  const load = { backend: "wasm", threads: 1, cacheType: "f16" } as const;
  // One row of the head: one logit of each token.
  await using model = await broken("output.weight", NaN, load, {}, 7 * 32);
  await assertRejects(
    () => model.logits({ ids: [3, 4, 5] }),
    ModelError,
    "after token 0, 1 of 43 logits are not finite numbers (number 7 is NaN); its weights are " +
      'damaged, or keys or values are too large for caches of f16 (cacheType "f32" helps)',
  );
  await assertRejects(() => model.session().prefill([3, 4, 5]), ModelError, "after token 2, 1 of");
});

Deno.test("a text that meets a broken word ends; others that run with it go on", async () => {
  const load = { backend: "wasm", threads: 2, sequences: 4 } as const;
  // The word of id 5 is broken: texts without it are not.
  await using model = await broken("token_embd.weight", NaN, load, {}, 5 * 32 + 3);
  const options = { maxTokens: 20, temperature: 0, stopIds: [] };
  const prompts = [[3, 4, 6], [7, 8], [9, 10, 11, 12]];
  const alone = [];
  for (const prompt of prompts) {
    alone.push(await model.complete(prompt, options).then((it) => it.ids, () => "broken"));
  }
  const together = await Promise.all([
    ...prompts.map((it) => model.complete(it, options).then((it) => it.ids, () => "broken")),
    assertRejects(() => model.complete([3, 5], options), ModelError, "Cannot go on with"),
  ]);
  assertEquals(together.slice(0, 3), alone);
  assert(alone.some((it) => it !== "broken"));
});

Deno.test({
  name: "what the GPU chooses by itself is looked at too",
  ignore: !hasWebgpu,
  async fn() {
    // The prompt is sound; every later token is the broken word, or sees one.
    await using model = await broken("token_embd.weight", NaN, { backend: "webgpu" }, {}, 5 * 32);
    const session = model.session();
    await session.prefill([3, 4]);
    await assertRejects(() => session.step(5), ModelError);
    const greedy = model.session().generate([3, 4], { temperature: 0, maxTokens: 30, stopIds: [] });
    const ids: number[] = [];
    try {
      for await (const { id } of greedy) ids.push(id);
    } catch (error) {
      assert(error instanceof ModelError, String(error));
      assertEquals(ids.at(-1), 5);
      return;
    }
    assert(!ids.slice(0, -1).includes(5));
  },
});

Deno.test("auto goes on with wasm where the GPU's numbers are not finite, and then says so", async () => {
  // Without a GPU auto is wasm; the error is the same.
  await using model = await broken("output_norm.weight", NaN, { onWarning: () => {} });
  await assertRejects(() => generateAll(model), ModelError, "on backend wasm");
});
