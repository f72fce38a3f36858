/** What files that `quantizeModel` writes say of themselves, and comparing models. */

import { assert, assertAlmostEquals, assertEquals, assertMatch, assertRejects } from "@std/assert";
import { describeProof } from "../cli/proof.ts";
import { InputError, ModelError } from "../errors.ts";
import { windowsOf } from "../quantize/calibration.ts";
import { compareModels, quantizeModel, type QuantizeResult } from "../quantize/quantize_model.ts";
import { readImatrix } from "../quantize/imatrix.ts";
import { resolveForTexts } from "../quantize/layers.ts";
import { compareStreamed } from "../quantize/report/streamed.ts";
import { differences } from "../quantize/vocabularies.ts";
import { openModelFile } from "../runtime/files/open.ts";
import { loadModel } from "../runtime/load.ts";
import { readVector } from "../runtime/models/weights.ts";
import { FIXTURES } from "./fixtures.ts";
import { CHAT_TEMPLATE, tinyGguf, withFolder } from "./tiny_model.ts";

const STORIES = new URL("models/stories260K/stories260K.gguf", FIXTURES);
const QUIET = { onWarning: () => {} };

async function metadataOf(path: string): Promise<Record<string, unknown>> {
  const file = await openModelFile(path);
  file.close();
  return file.metadata;
}

/** Values of a tensor of a file. */
async function valuesOf(path: string | URL, name: string): Promise<Float32Array> {
  const file = await openModelFile(path);
  try {
    return await readVector(file.tensors.get(name)!);
  } finally {
    file.close();
  }
}

/** √(Σ m·(w − ŵ)² ∕ Σ m·w²), written down once more. */
function relativeError(w: Float32Array, found: Float32Array, m: Float32Array): number {
  let lost = 0, whole = 0;
  w.forEach((it, i) => {
    lost += m[i % m.length]! * (it - found[i]!) ** 2;
    whole += m[i % m.length]! * it ** 2;
  });
  return Math.sqrt(lost / whole);
}

Deno.test("a quantized file says what it was made from, how, and what it cost", async () => {
  await withFolder({}, async (folder) => {
    const path = `${folder}/q.gguf`;
    const result = await quantizeModel(STORIES, path, {
      ...{ tokens: 300, seed: 5, threads: 2, type: "Q4_0" },
      tensors: [{ pattern: /attn_v/, type: "Q8_0" }],
    });
    const fields = await metadataOf(path),
      field = (name: string) => fields[`sparrow.quantize.${name}`];
    assertEquals([field("type"), field("method"), field("seed")], ["Q4_0", "gptq", 5]);
    assertEquals([field("calibration"), field("tokens")], ["self", 300]);
    assertEquals(field("options"), '{"tensors":[{"pattern":"attn_v","type":"Q8_0"}]}');
    const bytes = await Deno.readFile(STORIES);
    const hash = new Uint8Array(await crypto.subtle.digest("SHA-256", bytes)).toHex();
    assertEquals(field("source"), ["stories260K.gguf"]);
    assertEquals([field("source_sha256"), field("source_bytes")], [[hash], bytes.length]);
    assertEquals(result.source, {
      ...{ files: ["stories260K.gguf"], sha256: [hash], bytes: bytes.length },
    });
    const { kl, sameTop, perplexity, tokens } = result.comparison!;
    assertEquals([field("verified_on"), field("verified_tokens")], ["self", tokens]);
    for (
      const [name, value] of Object.entries({
        ...{ kl_mean: kl.mean, kl_median: kl.median, kl_99: kl.p99, kl_999: kl.p999 },
        ...{ kl_max: kl.max, same_top: sameTop },
        perplexity_ratio: perplexity[1] / perplexity[0],
      })
    ) assertEquals(field(name), Math.fround(value), name);
    assert(field("verified_sha256") !== field("calibration_sha256"));
    const { errors = [] } = result;
    assertEquals(errors.map((it) => it.error), errors.map((it) => it.error).sort((a, b) => b - a));
    const kept = Array.from(field("tensor_errors") as Float32Array);
    assertEquals(
      kept,
      result.tensors.map(({ name }) =>
        Math.fround(errors.find((it) => it.name === name)?.error ?? 0)
      ),
    );
    const rounded = result.tensors.filter(({ from, type }) => from !== type);
    assertEquals(errors.map((it) => it.name).sort(), rounded.map((it) => it.name).sort());
    assertEquals(errors.find((it) => it.name === "blk.3.ffn_up.weight")!.layer, 3);
    assertEquals(errors.find((it) => it.name === "output.weight")!.layer, undefined);
    // Words are made of them.
    const told = describeProof(fields, result.tensors.map((it) => it.name)).join("\n");
    for (
      const it of ["method gptq, type Q4_0", hash, "300 tokens that the model wrote", "seed 5"]
    ) {
      assert(told.includes(it), `${it}: ${told}`);
    }
    assert(!told.includes("kl_mean"), told);
    // Made again, what was said before is gone.
    const again = `${folder}/again.gguf`;
    await quantizeModel(path, again, { type: "Q8_0", method: "nearest" });
    const names = Object.keys(await metadataOf(again)).filter((it) => it.startsWith("sparrow."));
    assertEquals(names, ["sparrow.quantize.type", "sparrow.quantize.method"]);
  });
});

Deno.test("errors of tensors: relative, and weighted where inputs are known, also behind folded scales", async () => {
  await withFolder({}, async (folder) => {
    const run = async (name: string, options: object): Promise<QuantizeResult> =>
      await quantizeModel(STORIES, `${folder}/${name}`, {
        ...{ verify: true, tokens: 256, type: "Q4_0" },
        ...options,
      });
    const errorIn = ({ errors = [] }: QuantizeResult, name: string) =>
      errors.find((it) => it.name === name)!;
    const name = "blk.1.attn_q.weight", w = await valuesOf(STORIES, name);

    const nearest = errorIn(await run("nearest", { method: "nearest" }), name);
    const found = await valuesOf(`${folder}/nearest`, name);
    assertEquals([nearest.weighted, nearest.type, nearest.layer], [false, "Q4_0", 1]);
    assertAlmostEquals(nearest.error, relativeError(w, found, Float32Array.of(1)), 1e-7);

    const saveImatrix = `${folder}/imatrix`;
    const awq = errorIn(await run("awq", { method: "awq", saveImatrix }), name);
    const { meanSquares } = (await readImatrix(saveImatrix)).get(name)!;
    const [before, after] = [
      await valuesOf(STORIES, "blk.1.attn_norm.weight"),
      await valuesOf(`${folder}/awq`, "blk.1.attn_norm.weight"),
    ];
    assert(before.some((it, i) => it !== after[i]), "scales were folded");
    const folded = (await valuesOf(`${folder}/awq`, name)).map((it, i) =>
      it * after[i % after.length]! / before[i % after.length]!
    );
    assert(awq.weighted);
    assertAlmostEquals(awq.error, relativeError(w, folded, meanSquares), 1e-6);
    assert(awq.error < 0.2);
  });
});

Deno.test("with a text, what follows the calibrated part is compared on", async () => {
  await withFolder({ "tiny.gguf": await tinyGguf({ layers: 1 }) }, async (folder) => {
    const run = async (name: string, repeated: number): Promise<[QuantizeResult, unknown]> => {
      const calibration = { text: "the hen and the rat ran in the rain. ".repeat(repeated) };
      const options = { ...QUIET, calibration, tokens: 100, method: "importance" } as const;
      const result = await quantizeModel(`${folder}/tiny.gguf`, `${folder}/${name}`, options);
      const fields = await metadataOf(`${folder}/${name}`);
      return [result, fields["sparrow.quantize.verified_on"]];
    };
    const [{ tokens, comparison }, from] = await run("long", 20);
    assertEquals([tokens, comparison!.tokens, from], [100, 100, "rest"]);
    // Where too little is left, the model writes texts.
    assertEquals((await run("short", 4))[1], "self");
  });
});

Deno.test("windows of a text begin as texts do, and hold all of it", async () => {
  await using model = await loadModel(STORIES, QUIET);
  const text = "Once upon a time there was a dog. ".repeat(9), { tokenizer } = model;
  const windows = windowsOf(model, text, 20);
  assert(windows.length > 3);
  for (const it of windows) assertEquals([it[0], it.length <= 20], [tokenizer.bosId, true]);
  assertEquals(windows.flatMap((it) => it.slice(1)), tokenizer.encode(text).slice(1));
  assertEquals(windows.slice(0, -1).every((it) => it.length === 20), true);
});

Deno.test("a model beside itself: nothing differs, on each backend", async () => {
  for (const backend of ["reference", "wasm"] as const) {
    await using base = await loadModel(STORIES, { backend, ...QUIET });
    await using model = await loadModel(STORIES, { backend, ...QUIET });
    assertEquals(await differences(base, model), []);
    const { kl, sameTop, perplexity } = await compareModels(base, model, [[1, 403, 407, 261]]);
    assertEquals(Object.values(kl), [0, 0, 0, 0, 0]);
    assertEquals([sameTop, perplexity[0]], [1, perplexity[1]]);
  }
});

Deno.test("other tokens are refused, other templates and openings told", async () => {
  await using plain = await loadModel(new Blob([await tinyGguf({})]), QUIET);
  await using chat = await loadModel(
    new Blob([await tinyGguf({ chatTemplate: CHAT_TEMPLATE })]),
    QUIET,
  );
  await using other = await loadModel(new Blob([await tinyGguf({ tokenizer: "bpe" })]), QUIET);
  const [told, ...more] = await differences(plain, chat);
  assertMatch(told!, /have chat templates that write other prompts$/);
  assertEquals(more, []);
  const ids = [[1, 5, 6]];
  assertEquals((await compareModels(plain, chat, ids)).kl.max, 0);
  await assertRejects(
    () => compareModels(plain, other, ids),
    InputError,
    "they have vocabularies of",
  );
});

Deno.test("a context of one token: nothing is read, and nothing else than to nearest is done", async () => {
  await withFolder({ "one.gguf": await tinyGguf({ context: 1 }) }, async (folder) => {
    const source = `${folder}/one.gguf`, made = `${folder}/q.gguf`;
    for (const options of [{}, { method: "awq" }, { method: "nearest", verify: true }] as const) {
      await assertRejects(
        () => quantizeModel(source, made, options),
        ModelError,
        "it takes texts of 1 token, of which",
      );
      assertEquals(Array.from(Deno.readDirSync(folder), (it) => it.name), ["one.gguf"]);
    }
    const { comparison } = await quantizeModel(source, made, { method: "nearest" });
    assertEquals(comparison, undefined);
  });
});

Deno.test("the source is no destination, by whatever name", async () => {
  await withFolder({ "a.gguf": await tinyGguf({}) }, async (folder) => {
    const source = `${folder}/a.gguf`, bytes = await Deno.readFile(source);
    const { mtime } = await Deno.stat(source);
    await Deno.symlink(source, `${folder}/link`);
    await Deno.link(source, `${folder}/hard`);
    for (
      const path of [
        source,
        `${folder}/link`,
        `${folder}/hard`,
        `${folder}/../${folder.split("/").at(-1)}/a.gguf`,
      ]
    ) {
      for (const [from, to] of [[source, path], [path, source]] as const) {
        await assertRejects(
          () => quantizeModel(from, to, { method: "nearest", force: true }),
          InputError,
          "it is the model that is read",
        );
      }
    }
    await assertRejects(
      () => quantizeModel(source, `${folder}/b`, { saveImatrix: `${folder}/link`, force: true }),
      InputError,
      "it is the model that is read",
    );
    assertEquals([await Deno.readFile(source), (await Deno.stat(source)).mtime], [bytes, mtime]);
  });
});

Deno.test("fields that anybody may have written are shown as what they are", () => {
  const lines = describeProof({
    "general.name": "x",
    "sparrow.quantize.method": "\x1b[2J\ngptq",
    "sparrow.quantize.type": 7,
    "sparrow.quantize.kl_mean": "a lot",
    "sparrow.quantize.verified_tokens": 9n,
    "sparrow.quantize.source": ["../../x", 4],
    "sparrow.quantize.tensor_errors": [0.25, 0, "x", 0.5, NaN],
    "sparrow.quantize.unheard_of": { a: 1 },
  }, ["a", "b"]);
  const text = lines.join("\n");
  // deno-lint-ignore no-control-regex
  assert(!/[\x00-\x09\x0b-\x1f]/.test(text), text);
  for (
    const it of [
      "type: 7",
      'kl_mean: "a lot"',
      "9 tokens",
      "errors tensor 3 50.00 %, a 25.00 %",
      'unheard_of: {"a":1}',
    ]
  ) {
    assert(text.includes(it), `${it}: ${text}`);
  }
  assertEquals(describeProof({ "general.name": "x" }, []), []);
});

Deno.test("compareStreamed: layer by layer, two models are as far apart as when both are loaded", async () => {
  await withFolder({}, async (folder) => {
    const out = `${folder}/q.gguf`;
    await quantizeModel(STORIES, out, { method: "nearest", ...QUIET });
    const texts = [[1, 403, 407, 261, 378], Array.from({ length: 40 }, (_, i) => 300 + 3 * i)];
    const [file, made] = [await openModelFile(STORIES), await openModelFile(out)];
    const told: number[] = [];
    const streamed = await compareStreamed(file, made, await resolveForTexts(file), texts, {
      ...{ backend: "wasm", threads: 1, onSection: (done) => told.push(done) },
    });
    for (const it of [file, made]) it.close();
    const load = { ...QUIET, backend: "wasm", contextLength: 64 } as const;
    await using base = await loadModel(STORIES, { ...load, weights: "f32" });
    await using model = await loadModel(out, load);
    const { kl, sameTop, tokens, perplexity } = await compareModels(base, model, texts);
    assertEquals([streamed.tokens, streamed.sameTop], [tokens, sameTop]);
    assert(kl.mean > 0);
    assertAlmostEquals(streamed.kl.mean, kl.mean, 1e-4 * kl.mean);
    assertAlmostEquals(streamed.perplexity[1], perplexity[1], 1e-4 * perplexity[1]);
    assertEquals(told, Array.from(told, (_, i) => i));
  });
});
