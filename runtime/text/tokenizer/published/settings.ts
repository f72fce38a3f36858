/**
 * What the files of a published tokenizer say beside its vocabulary: `tokenizer_config.json`,
 * `special_tokens_map.json` and `added_tokens.json`, put together as transformers does it for tokenizers
 * without a `tokenizer.json`.
 *
 * @module
 */

import type { TokenizerFiles } from "../../../files/tokenizer_files.ts";
import { parseJson } from "../../../files/json.ts";
import { FormatError } from "../../../../errors.ts";
import { quote } from "../../../../escape.ts";
import type { AddedToken } from "../core.ts";
import {
  countField,
  type Fields,
  flagField,
  MAX_VOCABULARY,
  objectField,
  textField,
  wrongField,
} from "../fields.ts";

/** The files of a published tokenizer. */
export interface Published {
  /** The model's folder, for messages. */
  readonly name: string;
  /** Vocabularies and what is beside them. */
  readonly files: TokenizerFiles;
  /** Contents of `tokenizer_config.json`. */
  readonly config: Fields;
  /** Contents of `config.json`. */
  readonly model: Fields;
}

/** The names under which files have special tokens, in transformers' order. */
const NAMES = [
  "bos_token",
  "eos_token",
  "unk_token",
  "sep_token",
  "pad_token",
  "cls_token",
  "mask_token",
];

/** A class's usual special tokens by name; a mask token takes the space on its left where it says so. */
export type UsualTokens = Readonly<Record<string, string | { content: string; lstrip: true }>>;

/** The special tokens of a tokenizer. */
export interface Specials {
  /** All added tokens, with those that are special. */
  readonly added: readonly AddedToken[];
  /** The id of a token that has a name, as `eos_token`. */
  id(name: string): number | undefined;
}

/** Contents of a JSON file of the folder; empty where there is none. */
export function jsonFile({ files }: Published, file: string): Fields {
  return Object.hasOwn(files, file) ? parseJson(files[file], `JSON ${quote(file)}`) : {};
}

/** A file's text. */
export function textFile({ files }: Published, file: string): string {
  try {
    return new TextDecoder("utf-8", { fatal: true }).decode(files[file]);
  } catch {
    throw new FormatError(`Cannot read the tokenizer: ${quote(file)} is not UTF-8 text`);
  }
}

/**
 * The tokens that the files add, and those that have names.
 *
 * @param usual the class's special tokens, where the files say nothing
 * @param idOf ids of the vocabulary
 * @param size how many ids the vocabulary has; tokens that are not in it come after
 * @param first tokens that the class itself adds
 * @throws FormatError when a field is malformed
 */
export function readSpecials(
  published: Published,
  usual: UsualTokens,
  idOf: (token: string) => number | undefined,
  size: number,
  first: readonly AddedToken[] = [],
): Specials {
  const { config } = published;
  const byId = new Map(first.map((token) => [token.id, token]));
  const decoder = config.added_tokens_decoder;
  const hasDecoder = decoder !== undefined && decoder !== null;
  const map = hasDecoder ? {} : jsonFile(published, "special_tokens_map.json");
  const named = new Map<string, AddedToken>(); // ids not known yet: -1
  for (const name of NAMES) {
    const value = map[name] ?? (Object.hasOwn(config, name) ? config[name] : usual[name]);
    if (value === null || value === undefined) continue;
    named.set(name, tokenField(value, -1, true, `tokenizer_config.json: ${name}`));
  }
  const more = map.additional_special_tokens ?? config.additional_special_tokens ?? [];
  if (!Array.isArray(more)) throw wrongField("additional_special_tokens", more, "a list");
  const others = more.map((value: unknown, i) =>
    tokenField(value, -1, true, `additional_special_tokens[${i}]`)
  );
  const special = new Set([...named.values(), ...others].map(({ content }) => content));

  if (hasDecoder) {
    const field = "tokenizer_config.json: added_tokens_decoder";
    for (const [key, value] of Object.entries(objectField(decoder, field))) {
      const where = `${field}[${JSON.stringify(key.slice(0, 20))}]`;
      const id = countField(Number(key), where, 0, MAX_VOCABULARY);
      const isSpecial = special.has(String((value as Fields | null)?.content));
      byId.set(id, tokenField(value, id, isSpecial, where));
    }
  } else {
    for (const [content, value] of Object.entries(jsonFile(published, "added_tokens.json"))) {
      const field = `added_tokens.json: ${JSON.stringify(content.slice(0, 40))}`;
      const id = countField(value, field, 0, MAX_VOCABULARY);
      if (byId.has(id)) continue;
      const isSpecial = special.has(content);
      byId.set(id, { ...tokenField(content, id, isSpecial, field), normalized: !isSpecial });
    }
  }
  const ids = new Map([...byId.values()].map((token) => [token.content, token.id]));
  let next = size + [...ids.keys()].filter((token) => idOf(token) === undefined).length;
  for (const token of [...named.values(), ...others]) {
    if (ids.has(token.content)) continue;
    const id = idOf(token.content) ?? next++;
    ids.set(token.content, id);
    byId.set(id, { ...token, id });
  }
  return {
    added: [...byId.values()].sort((a, b) => a.id - b.id),
    id: (name) => {
      const token = named.get(name);
      return token && ids.get(token.content);
    },
  };
}

function tokenField(value: unknown, id: number, special: boolean, field: string): AddedToken {
  if (typeof value === "string") {
    return {
      ...{ id, content: value, special },
      ...{ leftStrip: false, rightStrip: false, singleWord: false, normalized: false },
    };
  }
  const fields = objectField(value, field);
  const flag = (name: string): boolean => flagField(fields[name], `${field}.${name}`, false);
  return {
    id,
    content: textField(fields.content, `${field}.content`),
    special: special || flag("special"),
    leftStrip: flag("lstrip"),
    rightStrip: flag("rstrip"),
    singleWord: flag("single_word"),
    normalized: false,
  };
}
