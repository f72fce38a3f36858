/**
 * The tokenizer of Transformer-XL as it is published: the words of the Moses tokenizer, a pickled
 * vocabulary. Compared with what the original makes of the same texts (golden/make_moses.py).
 */

import { assert, assertEquals, assertRejects, assertStringIncludes } from "@std/assert";
import { FormatError, SparrowError } from "../errors.ts";
import { loadModel } from "../mod.ts";
import { openModelFile } from "../runtime/files/open.ts";
import { readPickledDict } from "../runtime/files/pickled_dict.ts";
import * as classes from "../runtime/text/moses/characters.ts";
import { describeTokenizer } from "../runtime/text/model_text.ts";
import { tokenizerFromFolder } from "../runtime/text/tokenizer/published/kinds.ts";
import type { Tokenizer } from "../runtime/text/tokenizer/tokenizer.ts";
import { concat, FIXTURES } from "./fixtures.ts";
import { called, dict, global, op, pickle, text } from "./torch_files.ts";

const FILES = new URL("tokenizers/transfo-xl/", FIXTURES);
const EXPECTED = JSON.parse(await Deno.readTextFile(new URL("expected.json", FILES)));

function build(
  files: Record<string, Uint8Array>,
  config: Record<string, unknown> = {},
): Promise<Tokenizer> {
  const model = { model_type: "transfo-xl" };
  return tokenizerFromFolder({ name: "xl", files, config, model }) as Promise<Tokenizer>;
}

function bytesOf(name: string): Uint8Array {
  return Deno.readFileSync(new URL(name, FILES));
}

function streamed(tokenizer: Tokenizer, ids: readonly number[], skipSpecial: boolean): string {
  const decoder = tokenizer.decoder({ skipSpecial });
  return ids.map((id) => decoder.push(id)).join("") + decoder.flush();
}

const FORMS: readonly (readonly [name: string, file: string])[] = [
  ...[["vocab.pkl", "vocab.pkl"], ["vocab.bin", "vocab.bin"]] as const,
  ...[["vocab-zip.bin", "vocab.bin"], ["saved/vocab.pkl", "vocab.pkl"]] as const,
];

for (const [name, file] of FORMS) {
  Deno.test(`the tokenizer of ${name} gives the original's ids and texts`, async () => {
    const config = name.startsWith("saved")
      ? JSON.parse(await Deno.readTextFile(new URL("saved/tokenizer_config.json", FILES)))
      : {};
    const tokenizer = await build({ [file]: bytesOf(name) }, config);
    assertEquals(tokenizer.eosIds, [0]);
    assert(EXPECTED.cases.length > 400);
    for (const { text, ids, tokens, shown, decoded } of EXPECTED.cases) {
      const found = tokenizer.encode(text, { parseSpecial: true });
      assertEquals(found, ids, JSON.stringify(text));
      const isKnown = (it: string, i: number): boolean => tokenizer.idToToken(ids[i]) === it;
      assert(tokens.every((it: string, i: number) => isKnown(it, i) || ids[i] === 1), text);
      for (const [skips, wanted] of [[false, shown], [true, decoded]] as const) {
        assertEquals(tokenizer.decode(ids, { skipSpecial: skips }), wanted);
        assertEquals(streamed(tokenizer, ids, skips), wanted);
      }
    }
  });
}

Deno.test("any list of words is joined as in the original, and goes on after another", async () => {
  const files = { "vocab.pkl": bytesOf("vocab.pkl") };
  const tokenizer = await build(files);
  const cleaner = await build(files, { clean_up_tokenization_spaces: true });
  for (const { ids, shown, cleaned } of EXPECTED.lists) {
    assertEquals(tokenizer.decode(ids, { skipSpecial: false }), shown);
    assertEquals(cleaner.decode(ids, { skipSpecial: false }), cleaned);
    assertEquals(streamed(tokenizer, ids, false), shown);
    assertEquals(streamed(cleaner, ids, false), cleaned);
    // What was decoded before is not repeated.
    const at = ids.length >> 1, before = ids.slice(0, at);
    const decoder = tokenizer.decoder({ skipSpecial: false, after: before });
    const rest = ids.slice(at).map((id: number) => decoder.push(id)).join("") + decoder.flush();
    const start = tokenizer.decode(before, { skipSpecial: false });
    if (shown.startsWith(start)) assertEquals(start + rest, shown);
  }
});

Deno.test("the classes of characters are those of the original", () => {
  const patterns = {
    ...{ letter: classes.LETTER, letterOrDigit: classes.LETTER_OR_DIGIT, number: classes.NUMBER },
    ...{ currency: classes.CURRENCY, smallLetter: classes.SMALL_LETTER },
  };
  for (const [name, pattern] of Object.entries(patterns)) {
    const one = new RegExp(`^${pattern}$`, "v"), ranges: number[] = [];
    for (let code = 1; code < 0x20000; code++) {
      if (code >= 0xd800 && code < 0xe000 || !one.test(String.fromCodePoint(code))) continue;
      if (ranges.at(-1) === code - 1) ranges[ranges.length - 1] = code;
      else ranges.push(code, code);
    }
    assertEquals(ranges, EXPECTED.classes[name], name);
  }
});

Deno.test("a text's own <eos> is no special token, and long texts cost what they are long", async () => {
  const tokenizer = await build({ "vocab.pkl": bytesOf("vocab.pkl") });
  assertEquals(tokenizer.encode("the <eos> dog", { parseSpecial: true })[1], 0);
  assert(!tokenizer.encode("the <eos> dog").includes(0));
  for (const part of [".", ". ", "'", "a'", '"', "<EOS>", "(", "- ", "a-", ",5"]) {
    assert(tokenizer.encode(part.repeat(40_000)).length > 0);
  }
  const upper = await build({ "vocab.pkl": bytesOf("vocab.pkl") }, { lower_case: true });
  assertEquals(upper.encode("THE DOG"), tokenizer.encode("the dog"));
});

Deno.test("a folder with a list of words writes text", async () => {
  const folder = await Deno.makeTempDir({ prefix: "sparrow_" });
  try {
    for (const name of ["config.json", "model.safetensors"]) {
      await Deno.copyFile(new URL(`golden/transfo-xl/${name}`, FIXTURES), `${folder}/${name}`);
    }
    const words = ["<eos>", "<unk>", "the", "dog", "@-@", "@,@", ",", ".", "'s"];
    const { vocab_size: length } = JSON.parse(await Deno.readTextFile(`${folder}/config.json`));
    const list = Array.from({ length }, (_, i) => words[i] ?? `word${i}`);
    await Deno.writeTextFile(`${folder}/vocab.txt`, list.join("\n") + "\n");
    await using model = await loadModel(folder, { backend: "reference" });
    const prompt = model.tokenizer.encode("the dog's word20, word30.");
    assertEquals(prompt, [2, 3, 8, 20, 6, 30, 7]);
    const options = { maxTokens: 8, temperature: 0 };
    const { text, ids } = await model.complete("the dog's word20, word30.", options);
    const whole = model.tokenizer.decode([...prompt, ...ids]);
    assertEquals("the dog's word20, word30." + text, whole);
    const file = await openModelFile(folder);
    assertEquals(
      await describeTokenizer(file),
      `TransfoXLTokenizer of vocab.txt, ${length} tokens`,
    );
    file.close();
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
});

Deno.test("vocabularies that lie or would run something are refused", async () => {
  const refused: readonly (readonly [Uint8Array, string])[] = [
    [pickle(called(global("os", "system"), text("id"))), '"os.system" at byte'],
    [pickle(called(global("builtins", "eval"), text("1"))), "nothing of it was run"],
    [pickle(concat([global("os", "system"), op(0x29, 0x81)])), '"os.system"'],
    [pickle(concat([global("re", "_compile"), op(0x29, 0x81)])), "the instruction NEWOBJ"],
    [pickle(called(global("sacremoses.tokenize", "MosesTokenizer"))), "calls what is no function"],
    [pickle(called(global("collections", "Counter"), text("a"))), "a Counter is made of"],
    [pickle(concat([text("x"), op(0x51)])), "outside of its pickle"],
    [pickle(op(0x92)), "the instruction NEWOBJ_EX, which data do not need"],
    [pickle(text("x")), 'it holds "x", expected a dictionary'],
    [pickle(dict({})), "idx2sym undefined and sym2idx undefined"],
    [new TextEncoder().encode("PK no archive"), "zip"],
    [new Uint8Array(0), "its pickle is cut"],
  ];
  for (const [bytes, message] of refused) {
    const error = await assertRejects(() => build({ "vocab.pkl": bytes }), FormatError);
    assertStringIncludes(error.message, message);
  }
  const config = { language: "de" };
  await assertRejects(() => build({ "vocab.pkl": bytesOf("vocab.pkl") }, config), FormatError);
  for (const list of ["", "a\nb\n"]) {
    const files = { "vocab.txt": new TextEncoder().encode(list) };
    await assertRejects(() => build(files), FormatError);
  }
  // Whatever is wrong with one byte or its length, it is told or does not matter.
  for (const name of ["vocab.pkl", "saved/vocab.pkl"]) {
    const whole = bytesOf(name);
    let seed = 1, failed = 0;
    const draw = (below: number): number => (seed = seed * 48271 % 0x7fffffff) % below;
    for (let i = 0; i < 600; i++) {
      const bytes = i % 2 ? whole.slice() : whole.slice(0, draw(whole.length));
      if (i % 2) bytes[draw(bytes.length)] = draw(256);
      await readPickledDict(bytes, name).catch((error) => {
        if (!(error instanceof SparrowError)) throw error;
        failed++;
      });
    }
    assert(failed > 300);
  }
});
