/**
 * Tokenizer files and texts that are made to take long: the time for a character stays bounded.
 */

import { assert, assertEquals, assertRejects } from "@std/assert";
import { FormatError } from "../errors.ts";
import { finder } from "../runtime/text/search.ts";
import { normalForm } from "../runtime/text/tokenizer/normal_form.ts";
import { tokenizerFromJson } from "../runtime/text/tokenizer/tokenizer.ts";

const LETTERS = Array.from(" abcdefghijklmnopqrstuvwxyz");
const VOCAB = Object.fromEntries(["<unk>", ...LETTERS].map((token, id) => [token, id]));
const BPE = { type: "BPE", vocab: VOCAB, merges: [], unk_token: "<unk>" };
/** Far more than it takes, far less than quadratic work would. */
const PATIENCE_MS = 8000;

function random(seed: number): (below: number) => number {
  let state = seed;
  return (below) => {
    state = (state * 1103515245 + 12345) & 0x7fffffff;
    return Math.floor(state / 0x80000000 * below);
  };
}

Deno.test("finder() finds what indexOf and lastIndexOf find", () => {
  const pick = random(3);
  for (let k = 0; k < 200; k++) {
    const length = 1 + pick(40);
    const part = Array.from({ length }, () => "ab"[pick(2)]).join("");
    // Long enough for the slow way, with and without the part.
    let text = "ab".repeat(pick(2) * 30000 + 10) + part.slice(1) + "a".repeat(pick(90000));
    if (pick(2)) text += part + text.slice(pick(100), 2000);
    const { after, before } = finder(text, part);
    const from = pick(text.length);
    assertEquals(after(0), text.indexOf(part));
    assertEquals(after(from), text.indexOf(part, from));
    assertEquals(before(text.length), text.lastIndexOf(part));
    const end = from < length ? -1 : text.lastIndexOf(part, from - length);
    assertEquals(before(from), end);
  }
});

Deno.test("encode() searches a literal pattern in linear time", async () => {
  const pattern = { String: `ab${"a".repeat(16000)}` };
  const split = { type: "Split", pattern, behavior: "Isolated", invert: false };
  const normalizer = { type: "Replace", pattern, content: "x" };
  const text = "a".repeat(500_000) + pattern.String;
  const begin = performance.now();
  const whole = await tokenizerFromJson({ model: BPE, pre_tokenizer: split });
  assertEquals(whole.encode(text).length, text.length);
  const replaced = await tokenizerFromJson({ model: BPE, normalizer });
  assertEquals(replaced.encode(text).length, 500_001);
  assertEquals(replaced.encode(text).at(-1), VOCAB.x);
  assert(performance.now() - begin < PATIENCE_MS);
});

Deno.test("normalForm() is the engine's, and linear in a run of marks", () => {
  const marks: string[] = [];
  for (let code = 0x300; code < 0x1f000; code++) {
    const mark = String.fromCodePoint(code);
    if (/\p{M}/u.test(mark)) marks.push(mark);
  }
  const pick = random(5);
  const forms = ["NFC", "NFD", "NFKC", "NFKD"] as const;
  for (let k = 0; k < 100; k++) {
    const some = k % 2 ? marks : Array.from({ length: 8 }, () => marks[pick(marks.length)]);
    const run = Array.from({ length: 60 + pick(200) }, () => some[pick(some.length)]).join("");
    const text = `a${run}e\u0301x\u1100\u1161${k % 3 ? "" : run}`;
    for (const form of forms) assertEquals(normalForm(text, form), text.normalize(form));
  }
  const all = `a${marks.join("")}${marks.toReversed().join("")}`;
  for (const form of forms) assertEquals(normalForm(all, form), all.normalize(form));
  const begin = performance.now();
  for (const form of forms) {
    assertEquals(normalForm("a" + "\u0301\u0327".repeat(200_000), form).at(-1), "\u0301");
  }
  assert(performance.now() - begin < PATIENCE_MS);
});

Deno.test("tokenizers with tokens that are too long to look for are refused", async () => {
  const long = "a".repeat(100_000) + "b";
  const files: unknown[] = [
    { model: BPE, added_tokens: [{ id: 99, content: long, special: false, normalized: false }] },
    { model: { type: "Unigram", unk_id: 0, vocab: [["<unk>", 0], ["a", -1], [long, -2]] } },
    { model: { type: "WordPiece", unk_token: "<unk>", vocab: { ...VOCAB, [long]: 99 } } },
  ];
  for (const file of files) {
    await assertRejects(() => tokenizerFromJson(file), FormatError, "has 100001 characters");
  }
});
