/**
 * Decoding: streams against lists, characters spread over tokens, spaces at the ends, bad ids.
 */

import { assert, assertEquals, assertRejects, assertThrows } from "@std/assert";
import fc from "fast-check";
import { FormatError, InputError } from "../errors.ts";
import { tokenizerFromJson } from "../runtime/text/tokenizer/tokenizer.ts";
import { showBytes, tokenText } from "../runtime/text/decoding/token_text.ts";
import { testTokenizer } from "./vocabularies.ts";

// One vocabulary of each kind; the others differ only in size.
const KINDS = ["gpt-2", "llama-spm", "bert-bge"].flatMap((name) =>
  (["json", "gguf"] as const).map((route) => ({ name, route }))
);

for (const { name, route } of KINDS) {
  Deno.test(`decoder() gives in parts what decode() gives at once: ${name}, ${route}`, async () => {
    const subject = await testTokenizer(name, route);
    const id = fc.oneof(
      fc.nat(subject.vocabSize - 1),
      fc.nat(300), // byte tokens are among the first in most vocabularies
    );
    fc.assert(
      fc.property(fc.array(id, { maxLength: 40 }), fc.boolean(), (ids, skipSpecial) => {
        const decoder = subject.decoder({ skipSpecial });
        const parts = ids.map((id) => decoder.push(id));
        const whole = [...parts, decoder.flush()].join("");
        assertEquals(whole, subject.decode(ids, { skipSpecial }));
        for (const part of parts) assert(part.isWellFormed(), "half a character");
      }),
      { numRuns: 300, seed: 4 },
    );
  });
}

/** However many U+FFFD stand for some bytes. */
const joined = (text: string): string => text.replaceAll(/\ufffd+/g, "\ufffd");

for (const { name, route } of KINDS) {
  Deno.test(`byteDecoder() gives the bytes of the text, each with its token: ${name}, ${route}`, async () => {
    const subject = await testTokenizer(name, route);
    const id = fc.oneof(fc.nat(subject.vocabSize - 1), fc.nat(300));
    fc.assert(
      fc.property(
        fc.array(id, { maxLength: 40 }),
        fc.array(id, { maxLength: 3 }),
        fc.boolean(),
        (ids, after, skipSpecial) => {
          const decoder = subject.byteDecoder({ skipSpecial, after });
          const parts = [...ids.map((id) => decoder.push(id)), decoder.flush()];
          const bytes = Uint8Array.from(parts.flatMap((part) => Array.from(part)));
          // After nothing, since a character that others began is not all theirs.
          if (after.length === 0) {
            assertEquals(
              joined(new TextDecoder("utf-8", { ignoreBOM: true }).decode(bytes)),
              joined(subject.decode(ids, { skipSpecial })),
            );
          } else {
            const before = subject.byteDecoder({ skipSpecial });
            const opening = after.flatMap((id) => Array.from(before.push(id)));
            const all = [...opening, ...ids.flatMap((id) => Array.from(before.push(id)))];
            assertEquals([...opening, ...bytes], all);
          }
        },
      ),
      { numRuns: 300, seed: 6 },
    );
  });
}

Deno.test("byteDecoder() gives each token of a character its own bytes", async () => {
  const llama = await testTokenizer("llama-spm", "gguf");
  const bytes = [0xf0, 0x9f, 0xa6, 0x99];
  const decoder = llama.byteDecoder();
  assertEquals(bytes.map((byte) => Array.from(decoder.push(3 + byte))), bytes.map((it) => [it]));
  const gpt = await testTokenizer("gpt-2", "json");
  const ids = gpt.encode("🦙 a", { addSpecial: false }), other = gpt.byteDecoder();
  const parts = ids.map((id) => Array.from(other.push(id)));
  assert(parts.length > 2 && parts.every(({ length }) => length > 0));
  assertEquals(parts.flat(), [...bytes, 0x20, 0x61]);
});

Deno.test("decoder() holds bytes back until they are a character, and never loses them", async () => {
  for (const name of ["llama-spm", "gpt-2"]) {
    const subject = await testTokenizer(name, "gguf");
    const byteId = (byte: number) => {
      if (name === "llama-spm") return 3 + byte;
      const [id] = subject.encode(String.fromCharCode(byte), { addSpecial: false });
      return id;
    };
    const ids = name === "llama-spm"
      ? [0xf0, 0x9f, 0xa6, 0x99].map(byteId)
      : subject.encode("🦙", { addSpecial: false });
    assert(ids.length > 1);
    const decoder = subject.decoder();
    const parts = ids.map((id) => decoder.push(id));
    assertEquals(parts.slice(0, -1).join(""), "");
    assertEquals(parts.at(-1), "🦙");
    assertEquals(decoder.flush(), "");
    assertEquals(subject.decode(ids.slice(0, -1)), "\ufffd");
    const cut = subject.decoder();
    assertEquals(cut.push(ids[0]), "");
    assertEquals(cut.push(byteId(0x41)), "\ufffdA");
    assertEquals(cut.flush(), "");
  }
});

Deno.test("decoder() goes on after a prompt without losing the space between", async () => {
  const llama = await testTokenizer("llama-spm", "gguf");
  const [world] = llama.encode("world", { addSpecial: false });
  assertEquals(llama.decode([world]), "world");
  assertEquals(llama.decoder().push(world), "world");
  const after = llama.encode("Hello");
  assertEquals(llama.decoder({ after }).push(world), " world");
  assertEquals(llama.decoder({ after: [1] }).push(world), "world");
  const begun = llama.decoder({ after: [3 + 0xc3] });
  assertEquals(begun.push(3 + 0xa9), "é");
  assertEquals(llama.decoder({ after: [1 << 20, -1, 0.5] }).push(world), "world");
});

Deno.test("decoders of tokenizer.json spell as their kind says", async () => {
  const tokens = ["▁a", "##b", "b</w>", "<0xC3>", "<0xA9>", ".", "▁▁c", "n't"];
  const spell = async (decoder: unknown, ids: number[]) => {
    const vocab = Object.fromEntries(tokens.map((token, id) => [token, id]));
    const subject = await tokenizerFromJson({ model: { type: "WordLevel", vocab }, decoder });
    return subject.decode(ids);
  };
  assertEquals(await spell({ type: "Metaspace" }, [0, 0, 6]), "a a  c");
  assertEquals(await spell({ type: "Metaspace", prepend_scheme: "never" }, [0, 0]), " a a");
  assertEquals(await spell({ type: "WordPiece" }, [2, 1, 5, 7]), "b</w>b.n't");
  assertEquals(await spell({ type: "WordPiece", cleanup: false }, [5, 5]), ". .");
  assertEquals(await spell({ type: "BPEDecoder" }, [2, 2, 5]), "b b .");
  assertEquals(await spell({ type: "BPEDecoder" }, [2, 2]), "b b");
  assertEquals(await spell(null, [5, 5]), ". .");
  const fallback = { type: "Sequence", decoders: [{ type: "ByteFallback" }, { type: "Fuse" }] };
  assertEquals(await spell(fallback, [3, 4, 3]), "é\ufffd");
  await assertRejects(() => spell({ type: "Magic" }, [0]), FormatError, "decoder.type");
});

Deno.test("decode() refuses ids outside the vocabulary", async () => {
  const subject = await testTokenizer("llama-spm", "gguf");
  for (const id of [-1, 32000, 0.5, NaN, Infinity]) {
    assertThrows(() => subject.decode([id]), InputError, `token id ${id}`);
    assertThrows(() => subject.decoder().push(id), InputError, "32000 tokens");
  }
  assertEquals(subject.decode([]), "");
  assertEquals(subject.idToToken(32000), undefined);
  assertEquals(subject.tokenToId("no such token"), undefined);
});

Deno.test("tokenText() shows tokens as text, and bytes that are no character as bytes", async () => {
  for (const name of ["gpt-2", "llama-bpe"]) {
    const subject = await testTokenizer(name, "json");
    const shown = (text: string) =>
      subject.encode(text, { addSpecial: false }).map((id) => tokenText(subject, id));
    assertEquals(shown("Hello world"), ["Hello", " world"]);
    assertEquals(shown("é"), ["é"]);
    const parts = shown("\u{1f999}"); // no token of its own
    assert(
      parts.length > 1 && parts.every((part) => /^(?:<[0-9A-F]{2}>| )+$/.test(part)),
      `${parts}`,
    );
  }
  const gpt2 = await testTokenizer("gpt-2", "gguf");
  assertEquals(gpt2.encode("春").map((id) => tokenText(gpt2, id)).join(""), "<E6><98><A5>");
  const llama = await testTokenizer("llama-spm", "json");
  assertEquals(llama.encode("hi there").map((id) => tokenText(llama, id)), [
    "<s>",
    " hi",
    " there",
  ]);
  assertEquals(tokenText(llama, 3 + 0xe6), "<E6>");
  assertEquals(tokenText(llama, 3 + 0x41), "A");
  assertEquals(tokenText(llama, 1 << 20), "");
  const bert = await testTokenizer("bert-bge", "json");
  assertEquals(bert.encode("embeddings").map((id) => tokenText(bert, id)).slice(1, 3), [
    " em",
    "bed",
  ]);
  assertEquals(
    showBytes(Uint8Array.of(0x61, 0xe6, 0x98, 0xe6, 0x98, 0xa5, 0xff)),
    "a<E6><98>春<FF>",
  );
});

Deno.test("decoder() goes on after ids whose text is held back", async () => {
  const tokens = ["a</w>", "b", "x</w>"];
  const vocab = Object.fromEntries(tokens.map((token, id) => [token, id]));
  const model = { type: "WordLevel", vocab };
  const chains: unknown[] = [
    { type: "BPEDecoder" },
    { type: "Sequence", decoders: [{ type: "BPEDecoder" }, { type: "WordPiece", prefix: "#" }] },
    {
      type: "Sequence",
      decoders: [
        { type: "Fuse" },
        { type: "Replace", pattern: { Regex: "</w>(?:bb)?" }, content: " " },
        { type: "Strip", content: " ", start: 0, stop: 1 },
      ],
    },
    {
      type: "Sequence",
      decoders: [{ type: "Fuse" }, { type: "Replace", pattern: { Regex: "\\b" }, content: "|" }],
    },
  ];
  for (const decoder of chains) {
    const subject = await tokenizerFromJson({ model, decoder });
    for (const [after, rest] of [[[0, 1], [2, 0]], [[0, 0], [0]], [[1], [1, 0]]]) {
      const stream = subject.decoder({ after });
      const text = rest.map((id) => stream.push(id)).join("") + stream.flush();
      const [whole, before] = [subject.decode([...after, ...rest]), subject.decode(after)];
      if (whole.startsWith(before)) {
        assertEquals(text, whole.slice(before.length), JSON.stringify([decoder, after, rest]));
      }
    }
  }
});
