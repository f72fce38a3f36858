/**
 * Regular expressions of tokenizer files: against Oniguruma's answers, in time that is linear in the text, and
 * in parts as at once.
 */

import { assert, assertEquals, assertThrows } from "@std/assert";
import fc from "fast-check";
import { compilePatternSource } from "../runtime/text/tokenizer/pattern/pattern.ts";
import { PatternError } from "../runtime/text/tokenizer/pattern/tree.ts";
import { PRE_TOKENIZER_RULES } from "../runtime/text/tokenizer/pre.ts";
import { GPT2_PATTERN } from "../runtime/text/tokenizer/split.ts";

interface Row {
  text: string;
  /** The text with "<>" for every match. */
  replaced: string;
  /** Matches and what lies between them, in order, without empty ones. */
  parts: string[];
}

const FILE = new URL("tokenizers/patterns.json", import.meta.url);
const cases: { pattern: string; rows: Row[] }[] = JSON.parse(await Deno.readTextFile(FILE));

function parts(matches: readonly number[], text: string): string[] {
  const borders = [0, ...matches, text.length];
  return borders.slice(1).map((end, i) => text.slice(borders[i], end)).filter((it) => it !== "");
}

Deno.test("patterns match what Oniguruma matches", () => {
  assert(cases.length > 500);
  for (const { pattern, rows } of cases) {
    const subject = compilePatternSource(pattern);
    for (const { text, replaced, parts: expected } of rows) {
      const where = `${pattern} on ${JSON.stringify(text)}`;
      assertEquals(subject.replace(text, "<>"), replaced, where);
      assertEquals(parts(subject.matches(text), text), expected, where);
    }
  }
});

Deno.test("patterns replace in parts as at once", () => {
  for (const { pattern, rows } of cases) {
    const subject = compilePatternSource(pattern);
    for (const { text, replaced } of rows) {
      const replacer = subject.replacer?.("<>");
      if (!replacer) continue;
      const pieces = [...text].map((it) => replacer.push(it));
      assertEquals(pieces.join("") + replacer.end(), replaced, `${pattern} on ${text}`);
    }
  }
});

/** Compares with JavaScript's own engine, on patterns that mean the same there. */
Deno.test("patterns match what JavaScript matches, in long texts too", () => {
  const patterns = [GPT2_PATTERN, "\\p{N}{1,3}|[ab]+?c|\\s+(?!\\S)", "(?:a|ab)(?=b|c)|b+"];
  const letter = fc.constantFrom(..."aabbc  1'st\n\té漢🙂!");
  const text = fc.array(letter, { minLength: 1, maxLength: 300 }).map((it) => it.join(""));
  for (const pattern of patterns) {
    const subject = compilePatternSource(pattern);
    const reference = new RegExp(pattern, "gu");
    fc.assert(
      fc.property(text, (it) => {
        const expected = Array.from(
          it.matchAll(reference),
          (m) => [m.index, m.index + m[0].length],
        );
        assertEquals(subject.matches(it), expected.flat());
      }),
      { numRuns: 200, seed: 5 },
    );
  }
});

const LONG = 200_000;

Deno.test("no pattern takes more than linear time", () => {
  const rows: [string, string, number | undefined][] = [
    ["(a|a)*b", "a".repeat(LONG), 0],
    ["(a+)+b", "a".repeat(LONG), 0],
    ["(x+x+)+y", "x".repeat(LONG), 0],
    ["((a*)*)*b", "a".repeat(LONG), 0],
    ["\\s+$", " ".repeat(LONG) + "x", 0],
    ["\\s++$", " ".repeat(LONG) + "x", 0],
    ["(?>a+)b|a", "a".repeat(LONG), LONG],
    ["a*b|a", "a".repeat(LONG), LONG],
    ["(?=.*x)a", "a".repeat(LONG) + "x", LONG],
    ["(?<=a.*)b", "a" + "b".repeat(LONG), LONG],
    ["(?=(\\d{3})+(?!\\d))", "1".repeat(LONG), Math.floor(LONG / 3)],
    ["(a|aa|aaa|aaaa)*$", "a".repeat(LONG) + "b", 1],
    ["(.*)(.*)(.*)(.*)x", "a".repeat(LONG), 0],
    ["(?:\\r?\\n)+(?!\\r?\\n)", "\r\n".repeat(LONG), 1],
  ];
  // Quadratic time on the first of them would be hours; seconds leave room for a slow machine.
  for (const [pattern, text, expected] of rows) {
    const start = performance.now();
    const found = compilePatternSource(pattern).matches(text).length / 2;
    if (expected !== undefined) assertEquals(found, expected, pattern);
    const seconds = (performance.now() - start) / 1000;
    assert(seconds < 30, `${pattern} took ${seconds} s`);
  }
});

Deno.test("every published pre-tokenizer is linear on long runs of every kind", () => {
  const kinds = ["a", "A", "é", "漢", "1", " ", "\n", "\r\n", "!", "'", "a ", " a", "\u0301", "🙂"];
  for (const { names, patterns } of PRE_TOKENIZER_RULES) {
    for (const pattern of patterns) {
      const subject = compilePatternSource(pattern);
      for (const kind of kinds) {
        const start = performance.now();
        subject.matches(kind.repeat(50_000) + "x");
        const seconds = (performance.now() - start) / 1000;
        assert(seconds < 20, `${names[0]}: ${pattern} on ${JSON.stringify(kind)}: ${seconds} s`);
      }
    }
  }
});

Deno.test("a pattern with large counts on a large text ends in an error or an answer", () => {
  const subject = compilePatternSource("(?:.{1,2000}x|a)");
  const start = performance.now();
  assertThrows(() => subject.matches("a".repeat(LONG)), Error, "takes too long");
  assert(performance.now() - start < 60_000);
});

Deno.test("patterns that are malformed or not regular are refused", () => {
  for (
    const pattern of [
      "(",
      ")",
      "[a",
      "*a",
      "a|*",
      "[z-a]",
      "\\",
      "(a)\\1",
      "\\k<n>",
      "(?<n>a)\\g<n>",
      "(?~ab)",
      "(?(1)a|b)",
      "\\p{Magic}",
      "[[:magic:]]",
      "(?s:a)",
      "a{100001}",
      "(?:a{999}){999}",
      "\\x{110000}",
      "(".repeat(5000),
      "[".repeat(5000),
      "(?<=(?>a+))b",
    ]
  ) assertThrows(() => compilePatternSource(pattern), PatternError, "", pattern);
});
