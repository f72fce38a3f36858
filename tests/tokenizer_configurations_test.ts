/**
 * Whole configurations of tokenizer.json against what the original library (tokenizers 0.23.2) makes of them:
 * ids of texts, with special tokens parsed and added, and texts of ids, as a list and as a stream.
 */

import { assert, assertEquals } from "@std/assert";
import { SparrowError } from "../errors.ts";
import { type Tokenizer, tokenizerFromJson } from "../runtime/text/tokenizer/tokenizer.ts";

interface Row {
  /** A text; rows without one give ids to decode. */
  text?: string;
  ids?: number[];
  /** Decoded with special tokens. */
  dec?: string;
  /** Decoded without. */
  decs?: string;
  /** What the original fails with. */
  error?: string;
}

interface Case {
  name: string;
  json: unknown;
  rows?: Row[];
  error?: string;
}

/** The original panics where it strips the end of an empty text; here the answer is an empty text. */
const PANIC = /out of bounds/;

function streamed(tokenizer: Tokenizer, ids: readonly number[], skipSpecial: boolean): string {
  const decoder = tokenizer.decoder({ skipSpecial });
  return ids.map((id) => decoder.push(id)).join("") + decoder.flush();
}

function checkRow(tokenizer: Tokenizer, row: Row, where: string): void {
  const encode = (): number[] => tokenizer.encode(row.text!, { parseSpecial: true });
  if (row.error !== undefined && !PANIC.test(row.error)) {
    let failed = false;
    try {
      encode();
    } catch (error) {
      assert(error instanceof SparrowError, `${where}: ${error}`);
      failed = true;
    }
    assert(failed, `${where}: expected an error, as ${row.error}`);
    return;
  }
  const ids = row.text === undefined ? row.ids! : encode();
  if (row.ids) assertEquals(ids, row.ids, where);
  for (const skipSpecial of [false, true]) {
    const text = tokenizer.decode(ids, { skipSpecial });
    const expected = skipSpecial ? row.decs : row.dec;
    if (expected !== undefined) assertEquals(text, expected, where);
    assertEquals(streamed(tokenizer, ids, skipSpecial), text, where);
  }
}

for (const file of ["configurations.json", "configurations_random.json"]) {
  Deno.test(`tokenizerFromJson() equals the original on every row of ${file}`, async () => {
    const path = new URL(`tokenizers/${file}`, import.meta.url);
    const { cases } = JSON.parse(await Deno.readTextFile(path)) as { cases: Case[] };
    assert(cases.length > 50);
    for (const { name, json, rows = [] } of cases) {
      const tokenizer = await tokenizerFromJson(json);
      for (const row of rows) {
        checkRow(tokenizer, row, `${name}: ${JSON.stringify(row.text ?? row.ids)}`);
      }
    }
  });
}
