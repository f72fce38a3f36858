/**
 * PanGu-α's tokenizer against the steps of its published class (tests/golden/make_pangu.py): words by
 * jieba, ids and texts by the SentencePiece library.
 */

import { assert, assertEquals, assertRejects, assertStringIncludes } from "@std/assert";
import { FormatError, loadModel, loadTokenizer } from "../mod.ts";
import { wordCutter } from "../runtime/text/tokenizer/published/chinese_words.ts";
import {
  readCharacterModel,
  readWordCounts,
} from "../runtime/text/tokenizer/published/jieba_files.ts";
import { folderNotes, tokenizerFromFolder } from "../runtime/text/tokenizer/published/kinds.ts";
import type { Tokenizer } from "../runtime/text/tokenizer/tokenizer.ts";
import { FIXTURES } from "./fixtures.ts";
import { withFolder } from "./tiny_model.ts";

interface Expected {
  readonly files: Readonly<Record<string, string>>;
  readonly eot: number;
  readonly cases: readonly {
    readonly text: string;
    readonly words: readonly string[];
    readonly ids: readonly number[];
    readonly decoded: string;
  }[];
}

const EXPECTED: Expected = JSON.parse(
  Deno.readTextFileSync(new URL("tokenizers/pangu.json", import.meta.url)),
);
const FILES: Record<string, Uint8Array> = Object.fromEntries(
  Object.entries(EXPECTED.files).map(([name, it]) => [name, Uint8Array.fromBase64(it)]),
);
const textOf = (file: string): string => new TextDecoder().decode(FILES[file]);

/** The folder with some of its files, as the published configurations have it. */
function published(names: readonly string[], changed: Record<string, string> = {}) {
  const files = Object.fromEntries(names.map((name) => [name, FILES[name]!]));
  for (const [name, text] of Object.entries(changed)) files[name] = new TextEncoder().encode(text);
  const model = { model_type: "pangu", tokenizer_class: "GPTPanguTokenizer" };
  return { name: "pangu/", files, config: {}, model };
}

/** With the token for what is unknown. */
const SHOWN = { skipSpecial: false };

const build = async (...args: Parameters<typeof published>): Promise<Tokenizer> =>
  (await tokenizerFromFolder(published(...args)))!;

Deno.test("texts are cut into words as jieba cuts them", () => {
  const cut = wordCutter(
    readWordCounts(textOf("dict.txt"), "dict.txt"),
    readCharacterModel(textOf),
  );
  assert(EXPECTED.cases.length > 150);
  for (const { text, words } of EXPECTED.cases) {
    assertEquals(cut(text), words, JSON.stringify(text));
  }
});

Deno.test("PanGu's tokenizer gives the original's ids and texts", async () => {
  const tokenizer = await build(Object.keys(FILES));
  assertEquals(tokenizer.eosIds, [EXPECTED.eot]);
  for (const { text, ids, decoded } of EXPECTED.cases) {
    assertEquals(tokenizer.encode(text), ids, JSON.stringify(text));
    assertEquals(tokenizer.decode(ids, SHOWN), decoded, JSON.stringify(text));
    assertEquals(tokenizer.decode(ids), decoded.replaceAll("<unk>", ""), JSON.stringify(text));
    const decoder = tokenizer.decoder(SHOWN);
    assertEquals(ids.map((id) => decoder.push(id)).join("") + decoder.flush(), decoded);
  }
  assertEquals(folderNotes(published(Object.keys(FILES))), []);
});

Deno.test("without jieba's files words are the vocabulary's own, no text is lost, and it is told", async () => {
  const tokenizer = await build(["vocab.model"]);
  const ids = (text: string): number[] => tokenizer.encode(text);
  // Unknown characters beside each other are one token.
  const known = (text: string): string => text.replaceAll("<unk>", "");
  let same = 0;
  for (const { text, ids: expected, decoded } of EXPECTED.cases) {
    assertEquals(known(tokenizer.decode(ids(text), SHOWN)), known(decoded), JSON.stringify(text));
    if (JSON.stringify(ids(text)) === JSON.stringify(expected)) same++;
  }
  assert(same > EXPECTED.cases.length / 3, `${same} of ${EXPECTED.cases.length}`);
  const sentence = EXPECTED.cases.find(({ text }) => text === "北京是中国的首都")!;
  assertEquals(ids(sentence.text), sentence.ids);
  const [note, ...more] = folderNotes(published(["vocab.model"]));
  assertEquals(more, []);
  assertStringIncludes(note!, "dict.txt, prob_start.py, prob_trans.py, prob_emit.py");
  const loneNotes: string[] = [];
  const files = { "config.json": '{"model_type": "pangu"}', "vocab.model": FILES["vocab.model"]! };
  await withFolder(files, async (path) => {
    await loadTokenizer(path, { onWarning: (message) => loneNotes.push(message) });
  });
  assertEquals(loneNotes.length, 1);
  assertStringIncludes(loneNotes[0]!, "put these files of the Python package jieba");
  assertStringIncludes(
    folderNotes(published(["vocab.model", "dict.txt"]))[0]!,
    "files prob_start.py",
  );
});

Deno.test("PanGu's special tokens are not spelled by a text, and are left out of one", async () => {
  const tokenizer = await build(Object.keys(FILES));
  assert(!tokenizer.encode("北京<eot>").includes(EXPECTED.eot));
  const ids = tokenizer.encode("北京<eot>", { parseSpecial: true });
  assertEquals(ids.at(-1), EXPECTED.eot);
  assertEquals(tokenizer.decode(ids), "北京");
});

Deno.test("jieba's files that are damaged are refused by file and place", async () => {
  const all = Object.keys(FILES);
  const damaged: readonly (readonly [file: string, text: string, says: string])[] = [
    ["dict.txt", "", "it has no words"],
    ["dict.txt", "北京 900 ns\n大学\n", "line 2 is"],
    ["dict.txt", "北京 -1 ns\n", "line 1 is"],
    ["dict.txt", `${"北".repeat(101)} 1\n`, "line 1 is"],
    ["prob_start.py", "", `"prob_start.py"`],
    ["prob_start.py", "P={'B': __import__('os')}", "at character"],
    ["prob_start.py", "P={'B': {'x': 1}}", "a table of numbers"],
    ["prob_trans.py", "P={'B': 1}", `"prob_trans.py"`],
    ["prob_emit.py", "P={'B': {'x': {'y': 1}}}", "at character"],
    ["prob_emit.py", `P=${"{'B':".repeat(100_000)}`, "at character"],
    ["prob_emit.py", "P={'B': {}, 'M': {}, 'E': {}}", `"prob_emit.py"`],
  ];
  for (const [file, text, says] of damaged) {
    await assertRejects(() => build(all, { [file]: text }), FormatError, says, `${file}: ${text}`);
  }
});

Deno.test("PanGu runs under both of its published names, and has nothing to tell", async () => {
  const folder = new URL("golden/pangu-alpha/", FIXTURES);
  const config = JSON.parse(await Deno.readTextFile(new URL("config.json", folder)));
  const weights = await Deno.readFile(new URL("model.safetensors", folder));
  const answers: Float32Array[] = [], told: string[] = [];
  // As the published files of the second name have them.
  const more = { model_name_or_path: "pangu", summary_type: "cls_index", summary_use_proj: true };
  for (const fields of [{}, { model_type: "pangu", pad_token_id: 6, ...more }]) {
    const files = { "config.json": JSON.stringify({ ...config, ...fields }) };
    await withFolder({ ...files, "model.safetensors": weights }, async (path) => {
      const onWarning = (message: string): void => void told.push(message);
      await using model = await loadModel(path, { backend: "reference", onWarning });
      answers.push(await model.logits([3, 1, 4, 1, 5]));
    });
  }
  assertEquals(answers[0], answers[1]);
  assertEquals(told, []);
});
