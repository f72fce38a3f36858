/** Stop strings: as text, as special tokens, and as text with special tokens in its midst. */

import { assert, assertEquals } from "@std/assert";
import fc from "fast-check";
import { type GenerateOptions, type GenerationResult, loadModel, type Model } from "../mod.ts";
import { StopScanner } from "../runtime/generation/stop_scanner.ts";
import { tinyBlob } from "./tiny_model.ts";

/** A piece: text, or a special token's spelling that is hidden. */
interface Piece {
  text?: string;
  hidden?: string;
}

function scan(
  stops: readonly string[],
  pieces: readonly Piece[],
): { text: string; stopped: boolean } {
  const scanner = new StopScanner(stops);
  let text = "";
  for (const { text: piece = "", hidden } of pieces) {
    text += scanner.push(piece, hidden);
    if (scanner.stopped) break;
  }
  if (!scanner.stopped) text += scanner.end("");
  assertEquals(scanner.text, text);
  return { text, stopped: scanner.stopped };
}

Deno.test("a stop string may be a special token, or have some in it", () => {
  const SEP: Piece = { hidden: "<|sep|>" }, END: Piece = { hidden: "<|end|>" };
  const rows: [string[], Piece[], string, boolean][] = [
    [["<|sep|>"], [{ text: "ab" }, SEP, { text: "c" }], "ab", true],
    [["\n<|sep|>"], [{ text: "ab\n" }, SEP], "ab", true],
    [["\n<|sep|>"], [{ text: "ab" }, SEP, { text: "\n" }, SEP], "ab", true],
    [["\n<|sep|>x"], [{ text: "ab\n" }, SEP, { text: "y" }], "ab\ny", false],
    [["\n<|sep|>x"], [{ text: "ab\n" }, SEP, { text: "xy" }], "ab", true],
    [["<|sep|><|end|>"], [{ text: "a" }, SEP, SEP, END], "a", true],
    [["<|sep|><|end|>"], [{ text: "a" }, SEP, { text: "b" }, END], "ab", false],
    [["sep"], [{ text: "a" }, SEP, { text: "b" }], "ab", false], // no part of a token's spelling
    [["a<|"], [{ text: "a" }, SEP, { text: "b" }], "ab", false],
    [["ab"], [{ text: "xa" }, SEP, { text: "b" }], "x", true], // what is seen is "xab"
    [["<|sep|>"], [{ text: "x<|se" }, { text: "p|>y" }], "x", true], // spelled out
    [["<|sep|>", "b"], [{ text: "ab" }, SEP], "a", true],
    [["<|sep|>"], [SEP], "", true],
    [["q"], [{ text: "a" }, SEP, END], "a", false],
  ];
  for (const [stops, pieces, text, stopped] of rows) {
    assertEquals(scan(stops, pieces), { text, stopped }, JSON.stringify([stops, pieces]));
  }
});

Deno.test("stop strings with special tokens equal their definition", () => {
  const piece = fc.oneof(
    fc.constantFrom("a", "b", "ab", "<").map((text): Piece => ({ text })),
    fc.constantFrom("<s>", "<t>").map((hidden): Piece => ({ hidden })),
  );
  const stop = fc.array(fc.constantFrom("a", "b", "<s>", "<t>"), { minLength: 1, maxLength: 3 });
  fc.assert(
    fc.property(fc.array(piece, { maxLength: 12 }), stop, (pieces, parts) => {
      const wanted = parts.join("");
      // By definition: the first place, in what is seen or in all of it, where the stop string ends first.
      const units = pieces.flatMap(({ text, hidden }) =>
        [...(text ?? "")].map((unit) => ({ unit, hidden: false }))
          .concat(hidden ? [{ unit: hidden, hidden: true }] : [])
      );
      const seen = (list: typeof units): string =>
        list.filter((it) => !it.hidden).map((it) => it.unit).join("");
      let expected = { text: seen(units), stopped: false };
      search: for (let end = 1; end <= units.length; end++) {
        for (let start = 0; start < end; start++) {
          const part = units.slice(start, end);
          if (part.map((it) => it.unit).join("") === wanted || seen(part) === wanted) {
            expected = { text: seen(units.slice(0, start)), stopped: true };
            break search;
          }
        }
      }
      assertEquals(scan([wanted], pieces), expected);
    }),
    { numRuns: 3000, seed: 8 },
  );
});

async function run(model: Model, options: GenerateOptions): Promise<GenerationResult> {
  let result: GenerationResult | undefined;
  using session = model.session();
  const stream = session.generate("the", {
    ...{ temperature: 0, stopIds: [], maxTokens: 24 },
    ...options,
    onFinish: (it) => {
      result = it;
    },
  });
  let text = "";
  for await (const token of stream) text += token.text;
  assertEquals(text, result!.text);
  return result!;
}

Deno.test("generate() stops at a special token that is a stop string", async () => {
  for (const backend of ["wasm", "reference"] as const) {
    const load = { backend, threads: 1 };
    await using plain = await loadModel(await tinyBlob({ tokenizer: "bpe" }), load);
    const { ids } = await run(plain, {});
    const at = ids.findIndex((id, i) => i > 2 && ids.indexOf(id) === i);
    assert(at > 2, "the text has no token that comes late for the first time");
    const controls = [ids[at]!];
    await using model = await loadModel(await tinyBlob({ tokenizer: "bpe", controls }), load);
    const spelled = model.tokenizer.idToToken(ids[at]!)!;
    const free = await run(model, {});
    assertEquals(free.ids, ids);
    const before = model.tokenizer.decode(ids.slice(0, at));
    const stopped = await run(model, { stop: ["never", spelled] });
    assertEquals([stopped.stopReason, stopped.ids.length], ["stop", at + 1]);
    assert(before.startsWith(stopped.text));
    assert(!free.text.includes(spelled) || stopped.text.length < free.text.length);
  }
});
