/**
 * Post-processors of tokenizer.json: the tokens that a model expects before and after a text.
 *
 * @module
 */

import { countField, listField, MAX_VOCABULARY, objectField, wrongField } from "./fields.ts";
import type { Fields } from "./fields.ts";
import { bertPair, type PairPart, robertaPair } from "./pair.ts";

/** Token ids before and after a text, and what a pair of texts becomes. */
export interface Around {
  /** Before. */
  readonly prefix: number[];
  /** After. */
  readonly suffix: number[];
  /** Of two texts; absent where nothing is said of them. */
  pair?: readonly PairPart[] | undefined;
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
    case "RobertaProcessing": {
      const cls = pairId(config.cls, `${field}.cls`), sep = pairId(config.sep, `${field}.sep`);
      add([cls], [sep]);
      around.pair = (config.type === "BertProcessing" ? bertPair : robertaPair)(cls, sep);
      return;
    }
    case "TemplateProcessing": {
      const { prefix, suffix, pair } = template(config, field);
      add(prefix, suffix);
      around.pair = pair;
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

/** A part of a template: a text by its letter, or the ids of a special token. */
interface TemplatePart {
  readonly text?: string;
  readonly ids: readonly number[];
  readonly segment: number;
}

function template(config: Fields, field: string): Around {
  const single = templateParts(config, field, "single");
  const at = single.findIndex(({ text }) => text !== undefined);
  if (at < 0 || single.some(({ text }, i) => text !== undefined && i !== at)) {
    throw wrongField(`${field}.single`, config.single, "a template with the text in it, once");
  }
  const idsOf = (parts: readonly TemplatePart[]): number[] => parts.flatMap(({ ids }) => ids);
  return {
    prefix: idsOf(single.slice(0, at)),
    suffix: idsOf(single.slice(at + 1)),
    pair: pairOf(config, field),
  };
}

/** A template of two texts, in which each must stand once; undefined where there is none. */
function pairOf(config: Fields, field: string): readonly PairPart[] | undefined {
  const { pair } = config;
  if (pair === undefined || pair === null || Array.isArray(pair) && pair.length === 0) {
    return undefined;
  }
  const parts = templateParts(config, field, "pair");
  const texts = parts.map(({ text }) => text).filter((it) => it !== undefined);
  if (texts.toSorted().join() !== "A,B") {
    throw wrongField(`${field}.pair`, config.pair, "a template with both texts in it, once each");
  }
  return parts.map(({ text, ids, segment }) => ({
    content: text === "A" ? "first" : text === "B" ? "second" : ids,
    segment,
  }));
}

function templateParts(config: Fields, field: string, name: "single" | "pair"): TemplatePart[] {
  const pieces = listField(config[name], `${field}.${name}`);
  if (pieces.length > MAX_PIECES) {
    throw wrongField(`${field}.${name}`, config[name], `at most ${MAX_PIECES} pieces`);
  }
  const known = config.special_tokens === undefined
    ? {}
    : objectField(config.special_tokens, `${field}.special_tokens`);
  const segmentOf = (fields: Fields, where: string): number =>
    countField(fields.type_id, `${where}.type_id`, 0, MAX_PIECES, 0);
  return pieces.map((piece, i) => {
    const where = `${field}.${name}[${i}]`;
    const fields = objectField(piece, where);
    if (fields.Sequence !== undefined) {
      const sequence = objectField(fields.Sequence, `${where}.Sequence`);
      const segment = segmentOf(sequence, `${where}.Sequence`);
      return { text: String(sequence.id ?? "A"), ids: [], segment };
    }
    const special = objectField(fields.SpecialToken, `${where}.SpecialToken`);
    const token = String(special.id);
    const tokenField = `${field}.special_tokens[${JSON.stringify(token.slice(0, 40))}]`;
    const entry = objectField(Object.hasOwn(known, token) ? known[token] : undefined, tokenField);
    const ids = listField(entry.ids, `${tokenField}.ids`)
      .map((it) => countField(it, `${tokenField}.ids`, 0, MAX_VOCABULARY));
    return { ids, segment: segmentOf(special, `${where}.SpecialToken`) };
  });
}
