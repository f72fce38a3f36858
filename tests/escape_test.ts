/** How text of others is shown: names and values in messages, sentences, a model's text. */

import { assert, assertEquals, assertNotMatch } from "@std/assert";
import fc from "fast-check";
import { InputError, SparrowError } from "../errors.ts";
import { plain, quote, safeJson, terminalText, withoutSecrets } from "../escape.ts";

/** What no message holds: controls, marks without width or of direction, separators, halves. */
const UNSAFE = /[\p{Cc}\p{Cf}\p{Cs}\p{Zl}\p{Zp}\p{Default_Ignorable_Code_Point}]/u;

Deno.test("quote() shows what is in a name", () => {
  for (
    const [text, shown] of [
      ["blk.0.attn_q.weight", '"blk.0.attn_q.weight"'],
      ["日本語 é 🐦", '"日本語 é 🐦"'],
      ["", '""'],
      ["a\x1b]52;c;Zg==\x07b", String.raw`"a\u001b]52;c;Zg==\u0007b"`],
      ["two\nlines\tand\rmore", String.raw`"two\nlines\tand\rmore"`],
      ["\x00\x7f\x80\x9b", String.raw`"\u0000\u007f\u0080\u009b"`],
      ["exe\u202egpj.fdp", String.raw`"exe\u202egpj.fdp"`],
      ["zero\u200bwidth\u200d\ufeff", String.raw`"zero\u200bwidth\u200d\ufeff"`],
      ["line\u2028paragraph\u2029", String.raw`"line\u2028paragraph\u2029"`],
      ["half \ud800 and \udc00", String.raw`"half \ud800 and \udc00"`],
      ["tag \u{e0041}", String.raw`"tag \udb40\udc41"`],
      ['C:\\a "b"', String.raw`"C:\\a \"b\""`],
    ]
  ) {
    assertEquals(quote(text), shown);
    assertEquals(JSON.parse(shown!), text);
  }
});

Deno.test("quote() shows values that are no text, never as [object Object]", () => {
  const circle: unknown[] = [];
  circle.push(circle);
  const rude = new Proxy({}, {
    ownKeys: () => {
      throw new Error("no");
    },
  });
  for (
    const [value, shown] of [
      [5, "5"],
      [-0, "-0"],
      [NaN, "NaN"],
      [12n, "12"],
      [null, "null"],
      [undefined, "undefined"],
      [true, "true"],
      [[1, "a\n", [2]], String.raw`[1, "a\n", [2]]`],
      [{ a: { b: [] }, "c\x1b": 1 }, String.raw`{"a": {"b": []}, "c\u001b": 1}`],
      [new Float32Array(3), "[0, 0, 0]"],
      [Array(1e6).fill(0), "[0, 0, 0, 0, 0, 0, 0, 0, …]"],
      [circle, "[[[[…]]]]"],
      [rude, "an object"],
      [Object.create(null), "{}"],
      [new Map(), "an object of class Map"],
      [Symbol("x"), "a symbol"],
      [() => 1, "a function"],
    ]
  ) assertEquals(quote(value), shown);
});

Deno.test("quote() of long text shows both ends", () => {
  const shown = quote("/a/" + "x".repeat(1e7) + "/model.gguf");
  assert(shown.length <= 202, shown);
  assert(shown.startsWith('"/a/xx') && shown.endsWith('xx/model.gguf"') && shown.includes("…"));
  // No pair and no escape is cut in two.
  for (const filler of ["🐦", "\x1b", "\ud800"]) {
    for (let shift = 0; shift < 8; shift++) {
      const [head, tail] = quote("x".repeat(shift) + filler.repeat(500)).split("…");
      assert(JSON.parse(`${head}"`).isWellFormed() || filler === "\ud800");
      assertEquals(JSON.parse(`"${tail}`).replaceAll(filler, ""), "");
    }
  }
});

Deno.test("plain() shows sentences of others without what hides in them", () => {
  assertEquals(
    plain("bad \x1b[31mred\x1b[0m\nC:\\x é"),
    String.raw`bad \u001b[31mred\u001b[0m\nC:\x é`,
  );
  assert(plain("x".repeat(1e6)).length <= 4000);
  const text = "see https://me:pw@h.example:8080/a/b.gguf?X-Amz-Signature=abc&d=(e)#f, then go on";
  assertEquals(plain(text), "see https://h.example:8080/a/b.gguf, then go on");
  assertEquals(plain(`unknown type ${{}}`), "unknown type an object");
});

Deno.test("withoutSecrets() takes credentials and signatures out of URLs, and nothing else", () => {
  for (
    const [text, shown] of [
      ['"http://u:p@h/x"', '"http://h/x"'],
      ["https:/u:p@h/x", "https:/h/x"],
      ["https:u:p@h", "https:h"],
      ["https://h?token=1", "https://h"],
      ["(https://h/a?b=c)", "(https://h/a)"],
      ["https://h/@scope/x@1.2.3", "https://h/@scope/x@1.2.3"],
      ["wss://u@h/#a", "wss://h/"],
      ["an https: URL or a path", "an https: URL or a path"],
      ["hf:org/repo@main:Q8_0", "hf:org/repo@main:Q8_0"],
      ["Authorization: Bearer abcdefghijklmnopqrstuvwx", "Authorization: Bearer …"],
      ["token hf_abcdefghijklmnopqrstuvwxyz is", "token hf_… is"],
      ["blk.0?x#y and a@b", "blk.0?x#y and a@b"],
    ]
  ) assertEquals(withoutSecrets(text!), shown);
});

Deno.test("no text makes quote(), plain() or an error hold what a terminal obeys", () => {
  const text = fc.oneof(
    fc.string({ unit: "binary", maxLength: 300 }),
    fc.array(fc.integer({ min: 0, max: 0xffff }), { maxLength: 300 })
      .map((units) => String.fromCharCode(...units)),
  );
  fc.assert(fc.property(text, fc.integer({ min: 8, max: 400 }), (text, limit) => {
    for (const shown of [quote(text), quote([text, { [text]: text }]), quote(text, limit)]) {
      assertNotMatch(shown, UNSAFE);
    }
    assert(quote(text, limit).length <= limit + 2 && plain(text, limit).length <= limit);
    assertNotMatch(plain(text), UNSAFE);
    assertNotMatch(new SparrowError(text).message, UNSAFE);
    if (quote(text).length < 150) assertEquals(JSON.parse(quote(text)), text);
  }));
});

Deno.test("an error's message and stack are safe, and its name is its class", () => {
  const error = new InputError("Cannot use \x1b]0;title\x07\nhttps://u:p@h/?s=1");
  assertEquals(error.message, String.raw`Cannot use \u001b]0;title\u0007\nhttps://h/`);
  assert(!error.stack!.includes("\x1b") && !error.stack!.includes("u:p@"));
  assertEquals(error.name, "InputError");
});

Deno.test("terminalText() shows controls by pictures, however they are cut", () => {
  const text = "a\tb\nc\r\nd\re\x1b[31m\x1b]52;c;Zg==\x07\x00\x7f\x9b2J\x9d0;x\x9c é 🐦 \u200d\r";
  const whole = terminalText()(text);
  assertEquals(whole, "a\tb\nc\nd␍e␛[31m␛]52;c;Zg==␇␀␡�2J�0;x� é 🐦 \u200d");
  for (let size = 1; size < 5; size++) {
    const show = terminalText();
    let shown = "";
    for (let at = 0; at < text.length; at += size) shown += show(text.slice(at, at + size));
    assertEquals(shown, whole);
  }
});

Deno.test("an error's cause is kept where it is safe, and shown safely where it is not", () => {
  const safe = new TypeError("as it is");
  assertEquals(new SparrowError("x", { cause: safe }).cause, safe);
  assertEquals(new SparrowError("x", { cause: 5 }).cause, 5);
  assert(!("cause" in new SparrowError("x")));
  const inner = new Error("https://u:p@h/?sig=1");
  const cause = new Deno.errors.NotFound("stat '\x1b]52;c;Zg==\x07'", { cause: inner });
  const error = new SparrowError("x", { cause });
  const shown = error.cause as Error;
  assert(shown instanceof Deno.errors.NotFound);
  assertEquals(shown.message, String.raw`stat '\u001b]52;c;Zg==\u0007'`);
  assertEquals((shown.cause as Error).message, "https://h/");
  for (const text of [Deno.inspect(error), String(shown.stack)]) {
    assertNotMatch(text.replaceAll("\n", ""), UNSAFE);
    assert(!text.includes("u:p@") && !text.includes("sig=1"));
  }
});

Deno.test("safeJson() is JSON of the same value", () => {
  const value = { "a\x9b": ["\u202e", "\ud800", "\x1b", 1n, null, "🐦 é\u200d\u{e0041}"] };
  for (const indent of [undefined, 2]) {
    const text = safeJson(value, indent);
    assertNotMatch(text.replaceAll("\n", ""), UNSAFE);
    assertEquals(JSON.parse(text), {
      ...value,
      "a\x9b": ["\u202e", "\ud800", "\x1b", "1", null, "🐦 é\u200d\u{e0041}"],
    });
  }
});
