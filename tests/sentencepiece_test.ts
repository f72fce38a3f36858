/**
 * SentencePiece `.model` files against the original library (0.1.97): ids of texts and texts of ids, as a
 * list and as a stream, for models of all kinds and settings; and files that are damaged.
 */

import { assert, assertEquals, assertThrows } from "@std/assert";
import fc from "fast-check";
import { FormatError } from "../errors.ts";
import type { Tokenizer } from "../runtime/text/tokenizer/tokenizer.ts";
import { WireReader } from "../runtime/text/tokenizer/sentencepiece/protobuf.ts";
import { tokenizerFromSentencePiece } from "../runtime/text/tokenizer/sentencepiece/tokenizer.ts";
import { FIXTURES } from "./fixtures.ts";

interface Case {
  /** A text; null where only ids are given. */
  text: string | null;
  ids: number[];
  decoded: string;
}

function check(tokenizer: Tokenizer, { text, ids, decoded }: Case, where: string): void {
  if (text !== null) assertEquals(tokenizer.encode(text), ids, `${where}: ${JSON.stringify(text)}`);
  assertEquals(tokenizer.decode(ids), decoded, `${where}: ${ids}`);
  const stream = tokenizer.decoder();
  const streamed = ids.map((id) => stream.push(id)).join("") + stream.flush();
  assertEquals(streamed, decoded, `${where}, as a stream: ${ids}`);
}

const FOLDER = new URL("tokenizers/", FIXTURES);
const NAMES = ["bpe-bytes", "bpe-nfkc-nodummy", "unigram-bytes", "unigram-nmt"];
const bytesOf = (name: string): Uint8Array =>
  Deno.readFileSync(new URL(`sentencepiece/${name}.model`, FOLDER));

for (const name of NAMES) {
  Deno.test(`tokenizerFromSentencePiece() gives the library's ids and texts, ${name}`, () => {
    const tokenizer = tokenizerFromSentencePiece(bytesOf(name), name);
    const file = new URL(`sentencepiece/${name}.json`, FOLDER);
    const { cases } = JSON.parse(Deno.readTextFileSync(file)) as { cases: Case[] };
    assert(cases.length > 20);
    for (const it of cases) check(tokenizer, it, name);
  });
}

interface Model {
  name: string;
  /** The file, as base64. */
  model: string;
  cases: Case[];
}

const SETTINGS: Model[] =
  JSON.parse(Deno.readTextFileSync(new URL("sentencepiece_settings.json", FOLDER))).models;

for (const { name, model, cases } of SETTINGS) {
  Deno.test(`tokenizerFromSentencePiece() gives the library's ids and texts, settings of ${name}`, () => {
    const bytes = Uint8Array.from(atob(model), (unit) => unit.charCodeAt(0));
    const tokenizer = tokenizerFromSentencePiece(bytes, name);
    assert(cases.length > 50);
    for (const it of cases) check(tokenizer, it, name);
  });
}

Deno.test("tokenizerFromSentencePiece() finds control pieces in text only when asked", () => {
  const tokenizer = tokenizerFromSentencePiece(bytesOf("unigram-nmt"), "unigram-nmt");
  const end = tokenizer.tokenToId("</s>")!;
  assertEquals(tokenizer.eosIds, [end]);
  assert(!tokenizer.encode("a</s>b").includes(end));
  assert(tokenizer.encode("a</s>b", { parseSpecial: true }).includes(end));
});

Deno.test("byteDecoder() gives each byte piece's byte with its own id", () => {
  const tokenizer = tokenizerFromSentencePiece(bytesOf("bpe-bytes"), "bpe-bytes");
  const text = "naïve ☃ 😀 x";
  const ids = tokenizer.encode(text);
  const decoder = tokenizer.byteDecoder();
  const parts = ids.map((id) => [...decoder.push(id)]);
  assertEquals([...decoder.flush()], []);
  assertEquals(parts.flat(), [...new TextEncoder().encode(text)]);
  const snow = ids.indexOf(tokenizer.tokenToId("<0xE2>")!);
  assertEquals(parts.slice(snow, snow + 3), [[0xe2], [0x98], [0x83]]);
});

/** Everything that a model does with a file that may be damaged. */
function useAll(bytes: Uint8Array): void {
  const tokenizer = tokenizerFromSentencePiece(bytes, "mutated.model");
  const ids = tokenizer.encode("Hello, 北京 ﬁ <n>  x");
  tokenizer.decode(ids);
  tokenizer.decode([0, tokenizer.vocabSize - 1]);
}

Deno.test("a damaged SentencePiece model is a FormatError or a model, never another error", () => {
  const small = SETTINGS.filter(({ model }) => model.length < 12_000).map(({ model }) =>
    Uint8Array.from(atob(model), (unit) => unit.charCodeAt(0))
  );
  assert(small.length > 10);
  const edits = fc.array(
    fc.record({ at: fc.nat(), byte: fc.nat(255), cut: fc.nat(19), insert: fc.boolean() }),
    { minLength: 1, maxLength: 4 },
  );
  fc.assert(
    fc.property(fc.nat(small.length - 1), edits, (which, list) => {
      let bytes = small[which].slice();
      for (const { at, byte, cut, insert } of list) {
        // Half of the edits go to the end, where the settings are.
        const place = at % 2 === 0
          ? at % bytes.length
          : Math.max(0, bytes.length - 1 - (at % Math.min(400, bytes.length)));
        bytes[place] = byte;
        if (cut === 0) bytes = bytes.slice(0, place);
        if (insert && cut === 1) bytes = Uint8Array.from([...bytes, byte, ...bytes.slice(0, 40)]);
        if (bytes.length === 0) break;
      }
      try {
        useAll(bytes);
      } catch (error) {
        assert(error instanceof FormatError, `${error}`);
      }
    }),
    { numRuns: 1500, seed: 12 },
  );
});

Deno.test("a character map that is damaged is a FormatError or a map", () => {
  const whole = bytesOf("bpe-nfkc-nodummy");
  const start = whole.length - 243_000; // the map is most of the file
  let state = 5;
  for (let run = 0; run < 60; run++) {
    const bytes = whole.slice();
    for (let k = 0; k < 200; k++) {
      state = (Math.imul(state, 1103515245) + 12345) >>> 0;
      bytes[start + state % 243_000] = state >>> 24;
    }
    try {
      useAll(bytes);
    } catch (error) {
      assert(error instanceof FormatError, `${error}`);
    }
  }
});

/** The numbers of a message's varints. */
function varints(bytes: Uint8Array, start = 0, end = bytes.length): number[] {
  const reader = new WireReader(bytes, "x.model"), found: number[] = [];
  reader.enter(start, end);
  while (reader.next()) found.push(reader.varint);
  return found;
}

Deno.test("WireReader refuses lengths and numbers that leave the message", () => {
  const bad: Record<string, number[]> = {
    "a length beyond the message": [0x0a, 0x05, 1],
    "a length of 2^63": [0x0a, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f],
    "a varint of 11 bytes": [0x08, ...Array(10).fill(0x80), 1],
    "a varint that is cut off": [0x08, 0x80],
    "field number 0": [0x00, 0x00],
    "a group": [0x0b],
    "four bytes of which two are there": [0x0d, 1, 2],
  };
  for (const [what, bytes] of Object.entries(bad)) {
    assertThrows(() => varints(Uint8Array.from(bytes)), FormatError, "x.model", what);
    // The same inside a file that goes on: what follows is not the message's.
    const inside = Uint8Array.from([1, ...bytes, ...Array(12).fill(1)]);
    assertThrows(() => varints(inside, 1, 1 + bytes.length), FormatError, "x.model", what);
  }
  assertEquals(varints(Uint8Array.from([0x08, 0xac, 0x02])), [300]);
  assertEquals(varints(Uint8Array.from([1, 0x08, 0xac, 0x02, 1]), 1, 4), [300]);
});

Deno.test("tokenizerFromSentencePiece() says what is wrong with a file", () => {
  const piece = (text: string, type: number): number[] => {
    const utf8 = [...new TextEncoder().encode(text)];
    const body = [0x0a, utf8.length, ...utf8, 0x15, 0, 0, 0, 0, 0x18, type];
    return [0x0a, body.length, ...body];
  };
  const read = (...parts: number[][]): unknown =>
    tokenizerFromSentencePiece(Uint8Array.from(parts.flat()), "x.model");
  const unknown = piece("<unk>", 2), settings = [0x1a, 0];
  assert(read(unknown, piece("a", 1), settings));
  assertThrows(() => read(), FormatError, "it has no pieces");
  assertThrows(() => read(unknown, piece("a", 1)), FormatError, "no normalizer_spec");
  assertThrows(() => read(piece("a", 1), settings), FormatError, "no unknown piece");
  assertThrows(() => read(unknown, unknown, settings), FormatError, "are both");
  assertThrows(() => read(unknown, piece("a", 9), settings), FormatError, "type 9");
  assertThrows(() => read(unknown, piece("<0x41>", 6), settings), FormatError, "byte pieces");
  assertThrows(() => read(unknown, settings, [0x12, 2, 0x18, 9]), FormatError, "model_type is 9");
});
