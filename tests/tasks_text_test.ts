/**
 * What people do with encoders: vectors, masked words, labels, ranks. Compared with what
 * sentence-transformers and Transformers give for the tiny models of golden/tasks/.
 */

import { assert, assertAlmostEquals, assertEquals, assertRejects, assertThrows } from "@std/assert";
import {
  type BackendName,
  type EmbedOptions,
  FormatError,
  InputError,
  loadModel,
  type LoadOptions,
  loadTokenizer,
  ModelError,
} from "../mod.ts";
import { ggufBytes } from "./fixtures.ts";
import { tinyContents, tinyGguf } from "./tiny_model.ts";
import { hasWebgpu } from "./webgpu_adapter.ts";

const TASKS = new URL("golden/tasks/", import.meta.url);

/** Bounds of numbers of size 1. */
const BACKENDS: readonly (readonly [BackendName, number])[] = [
  ["reference", 1e-4],
  ["wasm", 1e-3],
  ...(hasWebgpu ? [["webgpu", 1e-3] as const] : []),
];

// deno-lint-ignore no-explicit-any -- a file of the original programs
async function expected(name: string): Promise<any> {
  return JSON.parse(await Deno.readTextFile(new URL(`${name}/expected.json`, TASKS)));
}

function load(name: string, options: LoadOptions = {}): ReturnType<typeof loadModel> {
  const onWarning = (message: string): void => {
    throw new Error(message);
  };
  return loadModel(new URL(`${name}/`, TASKS), { backend: "reference", onWarning, ...options });
}

function assertNear(actual: ArrayLike<number>, wanted: readonly number[], bound: number): void {
  assertEquals(actual.length, wanted.length);
  wanted.forEach((value, i) => assertAlmostEquals(actual[i]!, value, bound));
}

/** A copy of a golden folder, in which some files are others, or are not there (null). */
async function copyOf(
  name: string,
  files: Readonly<Record<string, unknown>>,
): Promise<{ path: string } & Disposable> {
  const path = await Deno.makeTempDir({ prefix: "sparrow_" });
  const copy = async (from: URL, to: string): Promise<void> => {
    await Deno.mkdir(to, { recursive: true });
    for await (const { name, isDirectory } of Deno.readDir(from)) {
      if (isDirectory) await copy(new URL(`${name}/`, from), `${to}/${name}`);
      else await Deno.copyFile(new URL(name, from), `${to}/${name}`);
    }
  };
  await copy(new URL(`${name}/`, TASKS), path);
  for (const [file, content] of Object.entries(files)) {
    if (content === null) await Deno.remove(`${path}/${file}`);
    else await Deno.writeTextFile(`${path}/${file}`, JSON.stringify(content));
  }
  return { path, [Symbol.dispose]: () => Deno.removeSync(path, { recursive: true }) };
}

for (const [backend, bound] of BACKENDS) {
  Deno.test(`embed() gives the vectors of sentence-transformers on ${backend}`, async () => {
    const { texts, cases } = await expected("bert-sentence");
    await using model = await load("bert-sentence", { backend });
    for (const { options, vectors, modules } of cases) {
      if (modules) continue;
      const found = await model.embed(texts, options as EmbedOptions);
      found.forEach((vector, i) => assertNear(vector, vectors[i], bound));
    }
  });

  Deno.test(`classify() gives the labels of Transformers on ${backend}`, async () => {
    for (const name of ["bert-classify", "distilbert-labels"]) {
      const { kind, cases } = await expected(name);
      await using model = await load(name, { backend });
      for (const { input, labels } of cases) {
        const found = await model.classify(input, { truncate: true });
        assertEquals(found.kind, kind);
        const wanted = labels.flat();
        assertEquals(
          found.labels.map((it) => it.label),
          wanted.map((it: { label: string }) => it.label),
        );
        assertNear(
          found.labels.map((it) => it.probability!),
          wanted.map((it: { score: number }) => it.score),
          bound,
        );
      }
    }
  });

  Deno.test(`rerank() gives the scores of a CrossEncoder on ${backend}`, async () => {
    const { query, texts, scores, probabilities } = await expected("roberta-rerank");
    await using model = await load("roberta-rerank", { backend });
    const ranked = await model.rerank(query, texts, { truncate: true });
    assertEquals(ranked.map((it) => it.text), ranked.map((it) => texts[it.index]));
    assertEquals(ranked.map((it) => it.index).toSorted(), [0, 1, 2, 3, 4]);
    assert(ranked.every(({ score }, i) => i === 0 || score <= ranked[i - 1]!.score));
    for (const { index, score, probability } of ranked) {
      assertAlmostEquals(score, scores[index], bound);
      assertAlmostEquals(probability, probabilities[index], bound);
    }
    const [best] = await model.rerank(query, texts, { truncate: true, top: 1 });
    assertEquals(best, ranked[0]);
    assertEquals(await model.rerank(query, []), []);
  });

  Deno.test(`fillMask() gives the words of Transformers on ${backend}`, async () => {
    for (const name of ["bert-mask", "roberta-mask"]) {
      const { cases } = await expected(name);
      await using model = await load(name, { backend });
      for (const { text, masks } of cases) {
        const found = await model.fillMask(text, { top: 4 });
        assertEquals(
          found.map(({ words }) => words.map(({ id }) => id)),
          masks.map((words: { id: number }[]) => words.map(({ id }) => id)),
        );
        found.forEach(({ words }, i) =>
          assertNear(
            words.map(({ probability }) => probability),
            masks[i].map((it: { probability: number }) => it.probability),
            bound,
          )
        );
        // However a mask is spelled.
        assertEquals(await model.fillMask(text.replaceAll("[MASK]", "<mask>"), { top: 4 }), found);
      }
    }
  });
}

Deno.test("embed() follows modules.json: poolings side by side, without the prompt, nothing after", async () => {
  const { texts, cases } = await expected("bert-sentence");
  const { options, vectors } = cases.find((it: { modules?: string }) => it.modules);
  const type = (name: string): string => `sentence_transformers.models.${name}`;
  for (
    const pooling of [
      { pooling_mode: ["cls", "max", "mean"], include_prompt: false },
      // As older versions write it.
      {
        word_embedding_dimension: 32,
        pooling_mode_mean_tokens: true,
        pooling_mode_cls_token: 1,
        pooling_mode_lasttoken: 0,
        pooling_mode_max_tokens: true,
        include_prompt: false,
      },
    ]
  ) {
    using folder = await copyOf("bert-sentence", {
      "modules.json": [
        { idx: 0, name: "0", path: "", type: type("Transformer") },
        { idx: 1, name: "1", path: "1_Pooling", type: type("Pooling") },
      ],
      "1_Pooling/config.json": pooling,
      "sentence_bert_config.json": { max_seq_length: 12, do_lower_case: false },
    });
    await using model = await loadModel(folder.path, { backend: "reference" });
    const found = await model.embed(texts, options);
    found.forEach((vector, i) => assertNear(vector, vectors[i], 1e-4));
  }
});

Deno.test("a most number of tokens that is none is refused, and null says nothing", async () => {
  for (const most of [0, -4, 1.5, "12"]) {
    using folder = await copyOf("bert-sentence", {
      "sentence_bert_config.json": { max_seq_length: most },
    });
    await assertRejects(() => loadModel(folder.path), FormatError, `"max_seq_length" of sentence_`);
  }
  using folder = await copyOf("bert-sentence", {
    "sentence_bert_config.json": { max_seq_length: null },
  });
  await using model = await loadModel(folder.path, { backend: "reference" });
  assertEquals((await model.embed(["a cat"])).length, 1);
});

Deno.test("embed() refuses modules that it does not know, unless a pooling is given", async () => {
  const transformer = { path: "", type: "sentence_transformers.models.Transformer" };
  const pooling = { path: "1_Pooling", type: "sentence_transformers.models.Pooling" };
  const lstm = { path: "2_LSTM", type: "sentence_transformers.models.LSTM" };
  const asked: [Record<string, unknown>, string][] = [
    [{ "modules.json": [transformer, pooling, lstm] }, 'modules.json has "sentence_transformers'],
    [{ "modules.json": [pooling] }, "expected Transformer, Pooling"],
    [
      { "1_Pooling/config.json": { pooling_mode: "median" } },
      'is "median", expected cls, max, mean',
    ],
    [
      { "1_Pooling/config.json": { pooling_mode_cls_token: "true" } },
      'pooling_mode_cls_token of "1_Pooling/config.json" is "true", expected true or false',
    ],
    [{ "1_Pooling/config.json": { pooling_mode: "cls", include_prompt: [] } }, "include_prompt of"],
    // The files at the top of a folder alone.
    [{ "1_Pooling/config.json": null }, 'modules.json names "1_Pooling/config.json", which is not'],
    [{ "2_Dense/config.json": {} }, 'modules.json names "2_Dense/config.json", which is not there'],
    [
      { "2_Dense/config.json": { in_features: 32, out_features: 24, use_residual: true } },
      "use_residual true",
    ],
    [
      {
        "2_Dense/config.json": {
          in_features: 32,
          out_features: 24,
          activation_function: "os.system",
        },
      },
      'activation_function "os.system"',
    ],
    [
      { "sentence_bert_config.json": { module_output_name: "sentence_embedding" } },
      'field "module_output_name"',
    ],
  ];
  for (const [files, message] of asked) {
    using folder = await copyOf("bert-sentence", files);
    await using model = await loadModel(folder.path, { backend: "reference" });
    await assertRejects(() => model.embed(["a cat"]), ModelError, message);
    assertEquals((await model.embed(["a cat"], { pooling: "mean" }))[0]!.length, 32);
  }
  using extents = await copyOf("bert-sentence", {
    "2_Dense/config.json": { in_features: 31, out_features: 24 },
  });
  await assertRejects(() => loadModel(extents.path), FormatError, "expected the extents of linear");
  for (
    const modules of [[{ path: "../x", type: "a.Pooling" }], [7], new Array(17).fill(transformer)]
  ) {
    using damaged = await copyOf("bert-sentence", { "modules.json": modules });
    await assertRejects(() => loadModel(damaged.path), FormatError, "modules.json");
  }
  using other = await copyOf("bert-sentence", { "modules.json": { 0: transformer } });
  await assertRejects(() => loadModel(other.path), FormatError, "expected a JSON list");
});

Deno.test("a module whose weights are no numbers gives no vector", async () => {
  using folder = await copyOf("bert-sentence", {});
  const path = `${folder.path}/2_Dense/model.safetensors`, bytes = await Deno.readFile(path);
  new DataView(bytes.buffer).setFloat32(bytes.length - 4, NaN, true);
  await Deno.writeFile(path, bytes);
  await using model = await loadModel(folder.path, { backend: "reference" });
  await assertRejects(() => model.embed(["a cat"]), ModelError, "of a vector is NaN");
});

Deno.test("a text that does not fit is an error with both lengths, and cut only where that is wanted", async () => {
  await using model = await load("bert-sentence");
  const long = "the cat ".repeat(20);
  await assertRejects(
    () => model.embed(["a cat", long]),
    InputError,
    "Cannot embed text 2: it has 42 tokens, and the model reads 12; shorten it, or use truncate true",
  );
  const [cut] = await model.embed([long], { truncate: true });
  const [same] = await model.embed(["the cat ".repeat(5)]);
  assertEquals(cut, same);
  await using classifier = await load("bert-classify");
  await assertRejects(() => classifier.classify(long), InputError, "the text: it has 42 tokens");
  await assertRejects(
    () => classifier.classify(["a", long]),
    InputError,
    "the pair: it has 44 tokens",
  );
  await using ranker = await load("roberta-rerank");
  await assertRejects(() => ranker.rerank("a", ["b", long]), InputError, "the query with text 2");
  await using masked = await load("bert-mask");
  await assertRejects(() => masked.fillMask(`[MASK] ${long}`), InputError, "43 tokens");
});

Deno.test("prompts are put before texts by name, by the model's default, or as they are", async () => {
  using folder = await copyOf("bert-sentence", {
    "config_sentence_transformers.json": {
      prompts: { query: "query: ", passage: "passage: " },
      default_prompt_name: "passage",
    },
  });
  await using model = await loadModel(folder.path, { backend: "reference" });
  const plain = await model.embed(["query: a cat", "passage: a cat"], { prefix: "" });
  assertEquals(await model.embed(["a cat"]), [plain[1]]);
  assertEquals(await model.embed(["a cat"], { promptName: "query" }), [plain[0]]);
  assertEquals(await model.embed(["a cat"], { prefix: "query: " }), [plain[0]]);
  await assertRejects(
    () => model.embed(["a cat"], { promptName: "title" }),
    InputError,
    'has "query", "passage"; use prefix',
  );
  await assertRejects(
    () => model.embed(["a cat"], { promptName: "query", prefix: "x" }),
    InputError,
    "give one of them",
  );
});

Deno.test("dimensions keep the first numbers of a vector, which are scaled as all would be", async () => {
  await using model = await load("bert-sentence");
  const options = { pooling: "mean", normalize: false } as const;
  const [whole] = await model.embed(["a cat"], options);
  const [part] = await model.embed(["a cat"], { ...options, dimensions: 4 });
  assertEquals(part, whole!.slice(0, 4));
  const [scaled] = await model.embed(["a cat"], { ...options, normalize: true, dimensions: 4 });
  const length = Math.hypot(...part!);
  scaled!.forEach((value, i) => assertAlmostEquals(value, part![i]! / length, 1e-6));
  const width = whole!.length;
  assertEquals(await model.embed(["a cat"], { ...options, dimensions: width }), [whole]);
  await assertRejects(
    () => model.embed(["a cat"], { ...options, dimensions: width + 1 }),
    InputError,
    `have ${width} numbers, expected at most as many`,
  );
});

Deno.test("the default pooling of a GGUF file is its pooling_type", async () => {
  const pooled = async (type: number | undefined, pooling?: EmbedOptions["pooling"]) => {
    const contents = tinyContents();
    if (type !== undefined) {
      contents.fields.set("llama.pooling_type", { type: "u32", value: type });
    }
    const bytes = await ggufBytes(contents);
    await using model = await loadModel(new Blob([bytes]), { backend: "reference" });
    return await model.embed(["the man"], pooling ? { pooling } : {});
  };
  assertEquals(await pooled(1), await pooled(undefined, "mean"));
  assertEquals(await pooled(2), await pooled(undefined, "first"));
  assertEquals(await pooled(3), await pooled(undefined));
  for (const type of [0, 4]) assertEquals(await pooled(type), await pooled(3)); // a decoder's default
  await assertRejects(() => pooled(9), ModelError, '"llama.pooling_type" is 9, expected 0 (none)');
  assertEquals(await pooled(9, "last"), await pooled(3));
});

Deno.test("a model without the head of a task says what it has", async () => {
  await using sentence = await load("bert-sentence");
  await assertRejects(
    () => sentence.fillMask("a [MASK]"),
    ModelError,
    "it has a pooled first token, hidden states, and not a head for masked words",
  );
  await assertRejects(() => sentence.classify("a"), ModelError, "and not a classifier");
  await assertRejects(() => sentence.rerank("a", ["b"]), ModelError, "and not a classifier");
  await using masked = await load("bert-mask");
  await assertRejects(() => masked.classify("a"), ModelError, "it has a head for masked words");
  await using classifier = await load("bert-classify");
  await assertRejects(() => classifier.fillMask("a [MASK]"), ModelError, "it has a classifier");
  await assertRejects(
    () => classifier.rerank("a", ["b"]),
    ModelError,
    "it gives 3 scores for a pair, expected one; use classify",
  );
  await using decoder = await loadModel(new Blob([await tinyGguf()]), { backend: "reference" });
  await assertRejects(() => decoder.fillMask("a [MASK]"), ModelError, "logits of the next word");
  await assertRejects(() => decoder.classify("a"), ModelError, "logits of the next word");
});

Deno.test("what is no text is refused", async () => {
  await using masked = await load("bert-mask");
  await assertRejects(() => masked.fillMask("the cat"), InputError, "write [MASK] where a word");
  await assertRejects(() => masked.fillMask(7 as never), InputError, "expected a text");
  await assertRejects(() => masked.fillMask("[MASK]", { top: 0 }), InputError, "top");
  await using classifier = await load("bert-classify");
  for (const input of [7, ["a"], ["a", "b", "c"], ["a", 7], null]) {
    await assertRejects(() => classifier.classify(input as never), InputError, "a pair of texts");
  }
  await using ranker = await load("roberta-rerank");
  await assertRejects(() => ranker.rerank(7 as never, []), InputError, "expected a text");
  await assertRejects(() => ranker.rerank("a", "b" as never), InputError, "a list of texts");
});

Deno.test("a regression is told as such, labels without names are numbered, and counts must agree", async () => {
  const config = JSON.parse(await Deno.readTextFile(new URL("bert-classify/config.json", TASKS)));
  const { id2label: _, label2id: _2, ...plain } = config;
  using regression = await copyOf("bert-classify", {
    "config.json": { ...plain, problem_type: "regression" },
  });
  await using model = await loadModel(regression.path, { backend: "reference" });
  const { kind, labels } = await model.classify("a dog ran");
  assertEquals([kind, labels.map(({ label }) => label)], ["regression", [
    "LABEL_0",
    "LABEL_1",
    "LABEL_2",
  ]]);
  assert(labels.every(({ probability }) => probability === undefined));
  await using named = await load("bert-classify");
  const scores = new Map(
    (await named.classify("a dog ran")).labels.map((it) => [it.label, it.score]),
  );
  assertEquals(
    labels.map(({ score }) => score),
    Object.values(config.id2label).map((it) => scores.get(it as string)),
  );
  for (const id2label of [{ 0: "a", 1: "b" }, { 1: "a", 2: "b", 3: "c" }, "abc"]) {
    using folder = await copyOf("bert-classify", { "config.json": { ...plain, id2label } });
    await assertRejects(() => loadModel(folder.path), ModelError, "gives 3 scores");
  }
});

Deno.test("a pair needs a tokenizer whose files say how two texts go together", async () => {
  const json = JSON.parse(await Deno.readTextFile(new URL("bert-sentence/tokenizer.json", TASKS)));
  json.post_processor.pair = undefined;
  using folder = await copyOf("bert-sentence", { "tokenizer.json": json });
  const { surround, encode } = await loadTokenizer(folder.path);
  assertEquals(surround(encode("a cat", { addSpecial: false })).ids, encode("a cat"));
  assertThrows(() => surround([7], [8]), InputError, "put tokenizer.json with its post_processor");
  assertThrows(() => surround([7, 1e9]), InputError, "token id");
});

/** A tokenizer.json of letters, a few words and filling, with an end and sentinels as T5 has them. */
function unigram(vocabSize: number, specials: readonly string[], sentinels: number): unknown {
  const words = ["▁", "▁the", "▁cat", "▁dog", "▁sat", "▁on", ..."abcdefghijklmnopqrstuvwxyz"];
  const vocab: [string, number][] = [
    ...specials.map((it): [string, number] => [it, 0]),
    ...words.map((it): [string, number] => [it, it.length === 1 ? -2.01 : -1]),
  ];
  while (vocab.length < vocabSize - sentinels) vocab.push([`▁w${vocab.length}`, -5]);
  for (let i = sentinels - 1; i >= 0; i--) vocab.push([`<extra_id_${i}>`, 0]);
  const end = specials.indexOf("</s>");
  return {
    added_tokens: vocab.flatMap(([content], id) =>
      content.startsWith("<") ? [{ id, content, special: true, normalized: false }] : []
    ),
    pre_tokenizer: { type: "Metaspace", replacement: "▁", prepend_scheme: "always", split: true },
    post_processor: {
      type: "TemplateProcessing",
      single: [{ Sequence: { id: "A" } }, { SpecialToken: { id: "</s>" } }],
      special_tokens: { "</s>": { id: "</s>", ids: [end], tokens: ["</s>"] } },
    },
    decoder: { type: "Metaspace", replacement: "▁", prepend_scheme: "always", split: true },
    model: { type: "Unigram", unk_id: specials.indexOf("<unk>"), vocab },
  };
}

Deno.test("encoder–decoders answer texts: T5 fills sentinels, Marian translates", async () => {
  const folderOf = async (name: string, tokenizer: unknown): Promise<string> => {
    const path = await Deno.makeTempDir({ prefix: "sparrow_" });
    for (const file of ["config.json", "model.safetensors"]) {
      await Deno.copyFile(new URL(`golden/${name}/${file}`, import.meta.url), `${path}/${file}`);
    }
    await Deno.writeTextFile(`${path}/tokenizer.json`, JSON.stringify(tokenizer));
    await Deno.writeTextFile(`${path}/tokenizer_config.json`, '{ "eos_token": "</s>" }');
    return path;
  };
  const greedy = { temperature: 0, maxTokens: 10 } as const;
  const t5 = await folderOf("t5-v1.1", unigram(151, ["<pad>", "</s>", "<unk>"], 10));
  const marian = await folderOf("marian", unigram(142, ["</s>", "<unk>"], 0));
  try {
    await using filler = await loadModel(t5, { backend: "reference" });
    const prompt = "the <extra_id_0> sat on the cat", special = { parseSpecial: true };
    assertEquals(filler.tokenizer.encode(prompt, special), [4, 3, 150, 7, 8, 4, 5, 1]);
    // What Transformers generates, with and without its special tokens.
    const shown = await filler.complete(prompt, { ...greedy, ...special, skipSpecial: false });
    assertEquals(shown.ids, [98, 138, 98, 56, 117, 22, 104, 146, 55, 69]);
    assertEquals(shown.text, "w98 w138 w98 w56 w117n w104<extra_id_4> w55 w69");
    await assertRejects(
      () => filler.fillMask(prompt),
      ModelError,
      'has tokens as "<extra_id_0>", which it fills by writing; generate from a text with them',
    );
    // What it would give is the likelihood of an answer without its question.
    await assertRejects(
      () => filler.score("the cat sat"),
      ModelError,
      "writes one text about another, expected a model that continues one",
    );
    const hidden = await filler.complete(prompt, { ...greedy, ...special });
    assertEquals(hidden.text, "w98 w138 w98 w56 w117n w104 w55 w69");
    assertEquals(
      (await filler.complete("the dog sat", greedy)).text,
      "w98 w98 w51 w41 w51 w51 w51 w51 w98 w51",
    );
    const command = new Deno.Command(Deno.execPath(), {
      args: [
        ...["run", "-A", "cli/main.ts", "generate", "-m", t5, "-n", "10", "--temperature", "0"],
        ...["--special", "--show-special", prompt],
      ],
      cwd: new URL("../", import.meta.url),
    });
    assertEquals(new TextDecoder().decode((await command.output()).stdout), `${shown.text}\n`);
    await using translator = await loadModel(marian, { backend: "reference" });
    const { ids } = await translator.complete("a b c", greedy);
    assertEquals(ids, [95, 66, 86, 66, 95, 66, 95, 66, 98, 86]);
  } finally {
    for (const path of [t5, marian]) await Deno.remove(path, { recursive: true });
  }
});

Deno.test("MT-DNN's tasks have a classifier each", async () => {
  const { cases } = await expected("mt-dnn");
  await using model = await load("mt-dnn");
  for (const { input, scores: [mnli, stsb, qnli] } of cases) {
    const found = await model.classify(input, { task: "mnli" });
    assertEquals(found.kind, "single-label");
    const names = ["contradicts", "neutral", "entails"];
    assertNear(
      names.map((it) => found.labels.find(({ label }) => label === it)!.score),
      mnli,
      1e-4,
    );
    const { kind, labels } = await model.classify(input, { task: "1" });
    assertEquals(kind, "regression");
    assertNear(labels.map(({ score }) => score), stsb, 1e-4);
    const [ranked] = await model.rerank(input[0], [input[1]], { task: "qnli" });
    assertNear([ranked!.score], qnli, 1e-4);
  }
  const asked: [string | undefined, string][] = [
    [undefined, 'expected one of them, as with task "mnli"'],
    ["sst", 'has "mnli", "stsb", "qnli", expected one of them'],
  ];
  for (const [task, message] of asked) {
    await assertRejects(
      () => model.classify("a", task === undefined ? {} : { task }),
      InputError,
      message,
    );
  }
  using damaged = await copyOf("mt-dnn", {
    "config.json": {
      ...JSON.parse(await Deno.readTextFile(new URL("mt-dnn/config.json", TASKS))),
      task_specific_params: { mnli: { id2label: { 0: "a", 1: "b" } } },
    },
  });
  await using two = await loadModel(damaged.path, { backend: "reference" });
  await assertRejects(() => two.classify("a", { task: "mnli" }), ModelError, "names 2 labels");
  await using other = await load("bert-classify");
  await assertRejects(
    () => other.classify("a", { task: "mnli" }),
    InputError,
    "has one classifier; leave task away",
  );
});

Deno.test("fields of published encoders that change nothing are not told", async () => {
  const config = JSON.parse(await Deno.readTextFile(new URL("bert-classify/config.json", TASKS)));
  using folder = await copyOf("bert-classify", {
    "config.json": {
      ...config,
      ...{ classifier_dropout: 0.1, directionality: "bidi", pooler_fc_size: 768 },
      ...{ pooler_type: "first_token_transform", output_past: true },
      sbert_ce_default_activation_function: "torch.nn.modules.linear.Identity",
      sentence_transformers: { activation_fn: "torch.nn.modules.linear.Identity" },
    },
  });
  const warnings: string[] = [];
  const onWarning = (message: string): number => warnings.push(message);
  await using model = await loadModel(folder.path, { backend: "reference", onWarning });
  assertEquals([model.name.length > 0, warnings], [true, []]);
});

Deno.test("pairs of the classes with a SentencePiece model are those of Transformers", async () => {
  const folder = await Deno.makeTempDir({ prefix: "sparrow_" });
  const piece = new URL("tokenizers/sentencepiece/unigram-nmt.model", import.meta.url);
  const rows: [string, string, number[], number[]][] = [
    [
      ...["XLMRobertaTokenizer", "sentencepiece.bpe.model"] as const,
      [0, 12, 119, 174, 2, 2, 19, 371, 40, 2],
      [0, 0, 0, 0, 0, 0, 0, 0, 0, 0],
    ],
    [
      ...["XLNetTokenizer", "spiece.model"] as const,
      [11, 118, 173, 1601, 18, 370, 39, 1601, 1602],
      [0, 0, 0, 0, 1, 1, 1, 1, 2],
    ],
  ];
  try {
    for (const [name, file, ids, tokenTypeIds] of rows) {
      const path = `${folder}/${name}`;
      await Deno.mkdir(path);
      await Deno.copyFile(piece, `${path}/${file}`);
      const config = JSON.stringify({ tokenizer_class: name });
      await Deno.writeTextFile(`${path}/tokenizer_config.json`, config);
      const { encode, surround } = await loadTokenizer(path);
      const [first, second] = ["the cat", "a dog"].map((it) => encode(it, { addSpecial: false }));
      assertEquals(surround(first!, second), { ids, tokenTypeIds }, name);
    }
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
});
