/**
 * Post-processors of tokenizer.json: the tokens that a model expects before and after a text.
 *
 * @module
 */

import { countField, listField, MAX_VOCABULARY, objectField, wrongField } from "./fields.ts";
import type { Fields } from "./fields.ts";

/** Token ids before and after a text. */
export interface Around {
  /** Before. */
  readonly prefix: number[];
  /** After. */
  readonly suffix: number[];
}

const MAX_PIECES = 1024;

/**
 * Reads `post_processor`; kinds that add no tokens are passed over.
 *
 * @throws FormatError for an unknown kind or a malformed field
 */
export function postProcessorFromJson(config: unknown): Around {
  const around: Around = { prefix: [], suffix: [] };
  if (config !== null && config !== undefined) read(config, "post_processor", around);
  return around;
}

/** Puts what one processor adds around what is there. */
function read(value: unknown, field: string, around: Around): void {
  const config = objectField(value, field);
  const add = (prefix: number[], suffix: number[]): void => {
    around.prefix.unshift(...prefix);
    around.suffix.push(...suffix);
    if (around.prefix.length + around.suffix.length > MAX_PIECES) {
      throw wrongField(field, value, `at most ${MAX_PIECES} tokens around a text`);
    }
  };
  switch (config.type) {
    case "Sequence":
      // A sequence nested so deep that its path is this long is a cycle.
      if (field.length > 1024) throw wrongField(field, value, "post-processors nested less deep");
      listField(config.processors, `${field}.processors`).forEach((part, i) =>
        read(part, `${field}.processors[${i}]`, around)
      );
      return;
    case "ByteLevel":
      return; // concerns offsets alone
    case "BertProcessing":
    case "RobertaProcessing":
      add([pairId(config.cls, `${field}.cls`)], [pairId(config.sep, `${field}.sep`)]);
      return;
    case "TemplateProcessing": {
      const { prefix, suffix } = template(config, field);
      add(prefix, suffix);
      return;
    }
  }
  throw wrongField(
    `${field}.type`,
    config.type,
    "Sequence, ByteLevel, BertProcessing, RobertaProcessing or TemplateProcessing",
  );
}

/** The id in a pair of a token and its id. */
function pairId(value: unknown, field: string): number {
  return countField(listField(value, field)[1], `${field}[1]`, 0, MAX_VOCABULARY);
}

function template(config: Fields, field: string): Around {
  const pieces = listField(config.single, `${field}.single`);
  if (pieces.length > MAX_PIECES) {
    throw wrongField(`${field}.single`, config.single, `at most ${MAX_PIECES} pieces`);
  }
  const known = config.special_tokens === undefined
    ? {}
    : objectField(config.special_tokens, `${field}.special_tokens`);
  const prefix: number[] = [], suffix: number[] = [];
  let texts = 0;
  pieces.forEach((piece, i) => {
    const where = `${field}.single[${i}]`;
    const fields = objectField(piece, where);
    if (fields.Sequence !== undefined) {
      texts++;
      return;
    }
    const { id } = objectField(fields.SpecialToken, `${where}.SpecialToken`);
    const name = String(id);
    const token = Object.hasOwn(known, name) ? known[name] : undefined;
    const tokenField = `${field}.special_tokens[${JSON.stringify(name.slice(0, 40))}]`;
    const ids = listField(objectField(token, tokenField).ids, `${tokenField}.ids`);
    for (const it of ids) {
      (texts > 0 ? suffix : prefix).push(countField(it, `${tokenField}.ids`, 0, MAX_VOCABULARY));
    }
  });
  if (texts !== 1) {
    throw wrongField(`${field}.single`, config.single, "a template with the text in it, once");
  }
  return { prefix, suffix };
}
