/**
 * Special tokens of a GGUF file: their ids, and which of them go around a text.
 *
 * @module
 */

import { ModelError } from "../../errors.ts";
import { quote } from "../../escape.ts";
import type { ModelFile } from "../../runtime/files/model_file.ts";
import { stopIdsOf } from "../../runtime/text/model_text.ts";
import type { Tokenizer } from "../../runtime/text/tokenizer/tokenizer.ts";
import { type Fields, flag, u32 } from "./fields.ts";
import type { Vocabulary } from "./vocabulary.ts";

/** Names of `tokenizer_config.json` and of GGUF. */
const NAMES: readonly (readonly [json: string, gguf: string])[] = [
  ["bos_token", "bos_token_id"],
  ["eos_token", "eos_token_id"],
  ["unk_token", "unknown_token_id"],
  ["sep_token", "seperator_token_id"], // spelled so in the format
  ["pad_token", "padding_token_id"],
  ["cls_token", "cls_token_id"],
  ["mask_token", "mask_token_id"],
];

/** Fields, and what has no place in them. */
interface Special {
  readonly fields: Fields;
  readonly notes: readonly string[];
}

/**
 * Ids of special tokens: those that the tokenizer's files name, else those of config.json.
 *
 * @throws ModelError when other tokens go around a text than GGUF files can say
 */
export function specialFields(
  file: ModelFile,
  config: Readonly<Record<string, unknown>>,
  kind: Vocabulary["kind"],
  tokenizer: Tokenizer,
): Special {
  const ids = new Map<string, number>();
  for (const [json, gguf] of NAMES) {
    const value = config[json] as { content?: unknown } | string | null | undefined;
    const content = typeof value === "object" && value !== null ? value.content : value;
    const named = typeof content === "string" ? tokenizer.tokenToId(content) : undefined;
    const listed = file.metadata[`${json}_id`];
    const id = named ?? (Array.isArray(listed) ? listed[0] : listed);
    if (Number.isInteger(id) && id >= 0 && id < tokenizer.vocabSize) ids.set(gguf, id);
  }
  const [before, after] = aroundTexts(tokenizer);
  const fail = (): never => {
    throw new ModelError(
      `Cannot convert the tokenizer of ${quote(file.name)}: tokens ${
        quote(before)
      } go before a text ` +
        `and ${quote(after)} after it, expected at most one each${
          kind === "bert" ? ", [CLS] and [SEP]" : ""
        }; use the model as it is`,
    );
  };
  if (before.length > 1 || after.length > 1) fail();
  if (kind === "bert") {
    if (before.length === 0 || after.length === 0) fail();
    ids.set("bos_token_id", before[0]!).set("cls_token_id", before[0]!);
    ids.set("seperator_token_id", after[0]!);
    if (!ids.has("eos_token_id")) ids.set("eos_token_id", after[0]!);
  } else {
    if (before.length > 0) ids.set("bos_token_id", before[0]!);
    const eos = ids.get("eos_token_id");
    if (after.length > 0) {
      if (eos !== undefined && eos !== after[0] && !ids.has("eot_token_id")) {
        ids.set("eot_token_id", eos);
      }
      ids.set("eos_token_id", after[0]!);
    }
  }
  const notes = addEnds(ids, stopIdsOf(file, tokenizer), tokenizer);
  const fields: Fields = {};
  for (const [name, id] of ids) fields[`tokenizer.ggml.${name}`] = u32(id);
  if (kind !== "bert") {
    fields["tokenizer.ggml.add_bos_token"] = flag(before.length > 0);
    fields["tokenizer.ggml.add_eos_token"] = flag(after.length > 0);
  }
  return { fields, notes };
}

/** What goes before and after a text. */
function aroundTexts(tokenizer: Tokenizer): readonly [before: number[], after: number[]] {
  const { ids: empty } = tokenizer.surround([]);
  const marker = Array.from({ length: tokenizer.vocabSize }, (_, id) => id)
    .find((id) => !empty.includes(id));
  if (marker === undefined) return [[], []];
  const { ids } = tokenizer.surround([marker]), at = ids.indexOf(marker);
  return [ids.slice(0, at), ids.slice(at + 1)];
}

/** Tokens that end an answer beyond the end of a text; readers know some by their spelling. */
function addEnds(
  ids: Map<string, number>,
  stops: readonly number[],
  { eosIds }: Tokenizer,
): string[] {
  const known = [ids.get("eos_token_id"), ...eosIds];
  const left = stops.filter((it) => !known.includes(it));
  for (const name of ["eot_token_id", "eom_token_id"]) {
    if (!ids.has(name) && left.length > 0) ids.set(name, left.shift()!);
  }
  return left.length > 0
    ? [`tokens ${left.join(", ")} also end an answer, which has no place in GGUF`]
    : [];
}
