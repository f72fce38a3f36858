/** Types per tensor under a size: what is measured, how bits are spent, and what is refused. */

import { assert, assertEquals, assertRejects } from "@std/assert";
import { InputError } from "../errors.ts";
import { groupsOf } from "../quantize/choose.ts";
import { measureCosts, type TensorGroup } from "../quantize/costs.ts";
import { layersOf, resolveForTexts } from "../quantize/layers.ts";
import { mixedType } from "../quantize/mixtures.ts";
import { quantizeModel, type QuantizeOptions } from "../quantize/quantize_model.ts";
import { type Choice, spend } from "../quantize/spend.ts";
import { openModelFile } from "../runtime/files/open.ts";
import { FIXTURES, randomNumbers } from "./fixtures.ts";
import { inFolder } from "./tiny_model.ts";

const STORIES = new URL("models/stories260K/stories260K.gguf", FIXTURES);

/** All but a few tensors, so that little is measured. */
const MOST = [{ pattern: /^(blk\.[1-4]|token_embd|blk.0.ffn_down)/, type: "F16" }];

Deno.test("spend: never more than there is, and as good as trying everything", () => {
  const random = randomNumbers(5), number = (): number => Math.abs(random());
  for (let round = 0; round < 40; round++) {
    const items = Array.from({ length: 4 }, (): Choice[] => {
      const size = 10 + Math.floor(90 * number()), cost = number();
      return [4, 5, 6, 8].map((bits) => ({
        ...{ type: `${bits}`, bytes: size * bits, cost: cost * 4 ** -bits * (1 + number()) },
      }));
    });
    const all = items.reduce<Choice[][]>(
      (rows, choices) => rows.flatMap((row) => choices.map((it) => [...row, it])),
      [[]],
    );
    const bytes = (row: readonly Choice[]): number => row.reduce((sum, it) => sum + it.bytes, 0);
    const cost = (row: readonly Choice[]): number => row.reduce((sum, it) => sum + it.cost, 0);
    const [least, most] = [bytes(items.map((it) => it[0]!)), bytes(items.map((it) => it[3]!))];
    const budget = least + Math.floor((most - least) * round / 39);
    const chosen = spend(items, budget);
    assert(bytes(chosen) <= budget);
    const best = Math.min(...all.filter((it) => bytes(it) <= budget).map(cost));
    assert(cost(chosen) <= best + 1e-12, `${cost(chosen)} where ${best} can be`);
  }
});

Deno.test("spend: of many items nearly the best, quickly", () => {
  const random = randomNumbers(6);
  const items = Array.from({ length: 150 }, (): Choice[] => {
    const size = 1000 + Math.floor(9000 * Math.abs(random())), cost = Math.exp(4 * random());
    return Array.from({ length: 9 }, (_, i) => ({
      ...{ type: `${i}`, bytes: size * (18 + 2 * i), cost: cost * 2 ** -i },
    }));
  });
  const bytes = (row: readonly Choice[]): number => row.reduce((sum, it) => sum + it.bytes, 0);
  const budget = Math.floor(1.3 * bytes(items.map((it) => it[0]!)));
  const chosen = spend(items, budget);
  assert(bytes(chosen) <= budget && bytes(chosen) > 0.999 * budget);
  // For any price of a byte, what everything costs at best with its bytes paid, less the budget's.
  const bound = (price: number): number =>
    items.reduce(
      (sum, choices) => sum + Math.min(...choices.map((it) => it.cost + price * it.bytes)),
      -price * budget,
    );
  const least = Math.max(...Array.from({ length: 200 }, (_, i) => bound(1e-6 * 1.06 ** i)));
  const cost = chosen.reduce((sum, it) => sum + it.cost, 0);
  assert(cost >= least && cost < 1.02 * least, `${cost} where ${least} may be`);
});

Deno.test("mixedType: what llama.cpp's mixtures give", () => {
  const model = { layers: 3, experts: 1, isTied: true };
  const type = (name: string, columns: number, mixture = "Q4_K_M", more = {}) =>
    mixedType(mixture, name, columns, { ...model, ...more });
  assertEquals(type("token_embd.weight", 256), "Q6_K");
  assertEquals(type("token_embd.weight", 64), "Q8_0");
  assertEquals(type("token_embd.weight", 256, "Q4_K_M", { isTied: false }), "Q4_K");
  assertEquals(type("output.weight", 64), "Q8_0");
  const values = (layers: number, mixture: string) =>
    Array.from(
      { length: layers },
      (_, i) => type(`blk.${i}.attn_v.weight`, 256, mixture, { layers }),
    ).join(" ");
  assertEquals(values(3, "Q4_K_M"), "Q4_K Q4_K Q6_K");
  assertEquals(values(8, "Q4_K_M"), "Q6_K Q4_K Q4_K Q6_K Q4_K Q4_K Q6_K Q6_K");
  assertEquals(values(6, "Q4_K_S"), "Q5_K Q5_K Q5_K Q5_K Q4_K Q4_K");
  assertEquals(type("blk.0.ffn_down.weight", 64), "Q5_0");
  assertEquals(type("blk.2.ffn_down.weight", 64), "Q8_0");
  assertEquals(type("blk.0.ffn_down.weight", 172), "F16");
  assertEquals(type("blk.0.attn_k.weight", 256, "Q4_K_M", { experts: 8 }), "Q8_0");
  assertEquals(type("blk.0.ffn_down_exps.weight", 512, "Q5_K_M", { layers: 8 }), "Q6_K");
});

Deno.test("measureCosts: costs of types that were not measured rank as if they had been", async () => {
  const file = await openModelFile(STORIES);
  const model = await resolveForTexts(file), layers = layersOf(file.name, model);
  const types = ["Q4_0", "Q4_1", "Q5_1", "Q8_0"];
  const groups = groupsOf(file, model, MOST).map(({ tensors }) => ({ tensors, types }))
    .filter(({ tensors }) => /attn_v|attn_output|ffn_up|output/.test(tensors[0]!.name));
  assertEquals(groups.length, 4);
  const ids = [Array.from({ length: 200 }, (_, i) => (i * i) % 512)];
  const costs = (groups: readonly TensorGroup[]): Promise<number[][]> =>
    measureCosts(file, model, layers, groups, ids, { backend: "wasm", onSection: () => {} });
  const estimated = (await costs(groups)).flat(), measured: number[] = [];
  for (const type of types) {
    const each = await costs(groups.map((it) => ({ ...it, types: [type] })));
    each.forEach(([cost], i) => measured[i * types.length + types.indexOf(type)] = cost!);
  }
  file.close();
  const ranks = (values: readonly number[]): number[] =>
    values.map((value) => values.filter((it) => it < value).length);
  const [a, b] = [ranks(estimated), ranks(measured)], n = a.length;
  const off = a.reduce((sum, it, i) => sum + (it - b[i]!) ** 2, 0);
  const spearman = 1 - 6 * off / (n * (n * n - 1));
  assert(spearman > 0.95, `${spearman}: ${estimated} where ${measured}`);
});

Deno.test("quantizeModel: a target is kept to, and what was measured is in the file", async () => {
  await inFolder(async (path) => {
    const quiet = { tokens: 200, verify: false, tensors: MOST } as const;
    const size = 560_000;
    const made = await quantizeModel(STORIES, path("size.gguf"), { ...quiet, targetSize: size });
    assert(made.bytes <= size && made.bytes > 0.99 * size, `${made.bytes} bytes`);
    assertEquals(Deno.statSync(path("size.gguf")).size, made.bytes);
    const measured = made.tensors.filter(({ cost }) => cost !== undefined);
    assertEquals(measured.length, 7); // six of the first layer, and the head
    assert(new Set(measured.map(({ type }) => type)).size > 1);
    const file = await openModelFile(path("size.gguf"));
    assertEquals(file.metadata["sparrow.quantize.target"], "560000 bytes");
    assertEquals(
      file.metadata["sparrow.quantize.costs"],
      Float32Array.from(made.tensors, ({ cost }) => cost ?? 0),
    );
    file.close();
    const few = await quantizeModel(STORIES, path("bpw.gguf"), {
      ...{ ...quiet, targetBpw: 16, method: "importance" },
      tensors: [...MOST, { pattern: /^blk.0.(attn_[qko]|ffn_(up|gate))/, type: "F16" }],
    });
    assert(few.bitsPerWeight <= 16 && few.bitsPerWeight > 15.9, `${few.bitsPerWeight}`);
    const refused = (options: QuantizeOptions, message: string) =>
      assertRejects(
        () => quantizeModel(STORIES, path("x.gguf"), { ...quiet, ...options }),
        InputError,
        message,
      );
    await refused({ targetBpw: 3 }, "to 3 bits per weight: expected from ");
    await refused({ targetSize: 2_000_000 }, "to 2000000 bytes: expected from ");
    await refused({ targetBpw: 12, targetSize: 9 }, "with targetBpw and targetSize");
    await refused({ targetBpw: 12, type: "Q4_0" }, "with type and targetBpw");
    await refused({ targetBpw: NaN }, "targetBpw");
  });
});

Deno.test("quantizeModel: a mixture is no larger than llama.cpp's", async () => {
  await inFolder(async (path) => {
    const own = await quantizeModel(STORIES, path("own.gguf"), {
      ...{ type: "Q4_K_M", method: "nearest", verify: false },
    });
    const types = (pattern: RegExp) =>
      own.tensors.filter(({ name }) => pattern.test(name)).map(({ type }) => type);
    assertEquals(types(/attn_v/), ["Q5_0", "Q5_0", "Q8_0", "Q5_0", "Q8_0"]);
    assertEquals(types(/token_embd|^output.w/), ["Q5_0", "Q8_0"]);
    assert(Math.abs(own.bytes - 304_096) < 200, `${own.bytes} bytes`); // llama.cpp's, but for fields
    const made = await quantizeModel(STORIES, path("made.gguf"), {
      ...{ type: "Q4_K_M", method: "importance", tokens: 200, verify: false },
      tensors: [{ pattern: /^blk\.[0-3]\.(attn_[qkvo]|ffn_(up|gate))/, type: "Q5_0" }],
    });
    assert(made.bytes <= 304_096, `${made.bytes} bytes`);
    const file = await openModelFile(path("made.gguf"));
    assertEquals(file.metadata["general.file_type"], 15);
    file.close();
  });
});

Deno.test("quantizeModel: without a type a mixture; its own types where nothing can be chosen", async () => {
  await inFolder(async (path) => {
    // So small that what is said of it takes more room than its types could save.
    const source = new URL("golden/gpt2/", import.meta.url), told: string[] = [];
    const options = { tokens: 64, verify: false, onWarning: (it: string) => void told.push(it) };
    const [made, asked] = [
      await quantizeModel(source, path("a.gguf"), { ...options, method: "importance" }),
      await quantizeModel(source, path("b.gguf"), {
        ...options,
        method: "nearest",
        type: "Q4_K_M",
      }),
    ];
    assertEquals(made.tensors, asked.tensors);
    assert(made.tensors.some(({ type }) => type === "F16")); // rows of 36 numbers
    assertEquals(told.length, 2); // it has no tokenizer
  });
});
