/**
 * The filters of jinja2 that make texts and numbers.
 *
 * @module
 */

import * as letters from "./letter_case.ts";
import * as python from "./python_text.ts";
import { indexOf, takeArguments, textOf } from "./arguments.ts";
import { TemplateError } from "./budget.ts";
import { urlEncode, xmlAttributes } from "./filters_markup.ts";
import { fileSize, integer, round, trimmed } from "./filters_numbers.ts";
import { percentFormat } from "./format.ts";
import { escapeHtml } from "./html.ts";
import { toJson } from "./json.ts";
import { parseFloatText, toFloat } from "./numbers.ts";
import { absolute, binary, made, numberOf } from "./operators.ts";
import { pprint } from "./pprint.ts";
import { textFrom } from "./printing.ts";
import type { Filter, Run } from "./run.ts";
import { stripTags } from "./strip_tags.ts";
import { EMPTY, joinTexts, own, Text } from "./text.ts";
import {
  type Arguments,
  dictOf,
  isTrue,
  Items,
  lengthOf,
  listOf,
  Undefined,
  type Value,
} from "./values.ts";
import { wrapLine } from "./wrap.ts";

const NO_CALL: Arguments = { args: [], named: new Map() };

/** A filter that changes a text and takes no arguments. */
function textFilter(name: string, change: (run: Run, text: Text) => Value): Filter {
  return (run, value, call) => {
    takeArguments(name, call, []);
    const text = textFrom(run.budget, value);
    run.budget.text(text.value.length);
    return change(run, text);
  };
}

/** The words of `title` begin after these. */
const WORD_BEGINNINGS = /[-\s({[<]+/g;

function title(text: Text): Text {
  const parts: Text[] = [];
  const add = (from: number, to: number): void => {
    const word = text.slice(from, to);
    const first = word.at(1);
    parts.push(
      word.slice(0, first).map((part) => part.toUpperCase()),
      word.slice(first).map((part) => part.toLowerCase()),
    );
  };
  let start = 0;
  for (const { 0: beginning, index } of text.value.matchAll(WORD_BEGINNINGS)) {
    add(start, index);
    parts.push(text.slice(index, index + beginning.length));
    start = index + beginning.length;
  }
  add(start, text.value.length);
  return joinTexts(parts, false);
}

function indent({ budget }: Run, value: Value, call: Arguments): Value {
  const [width, first, blank] = takeArguments("indent", call, ["width", "first", "blank"]);
  const text = textOf(value, "indent() value");
  const fill = width instanceof Text
    ? width
    : python.repeat(budget, own(" "), width === undefined ? 4 : indexOf(width));
  // jinja2 adds a newline, so that a last line end counts as a line, and an empty text is one.
  const lines = python.lines(budget, joinTexts([text, own("\n")]), false);
  const parts: Text[] = [];
  budget.text(text.value.length + lines.length * (fill.value.length + 1));
  lines.forEach((line, i) => {
    if (i > 0) parts.push(own("\n"));
    const isIndented = i === 0
      ? first !== undefined && isTrue(first)
      : line.value !== "" || (blank !== undefined && isTrue(blank));
    if (isIndented) parts.push(fill);
    parts.push(line);
  });
  return python.join(budget, parts, text.safe);
}

function truncateText({ budget }: Run, value: Value, call: Arguments): Value {
  const [lengthValue, kill, endValue, leewayValue] = takeArguments(
    "truncate",
    call,
    ["length", "killwords", "end", "leeway"],
  );
  const length = lengthValue === undefined ? 255 : indexOf(lengthValue);
  const end = endValue === undefined ? own("...") : textOf(endValue, "end");
  const leeway = leewayValue === undefined || leewayValue === null ? 5 : indexOf(leewayValue);
  if (length < end.length) {
    throw new TemplateError(`expected length >= ${end.length}, got ${length}`);
  }
  if (leeway < 0) throw new TemplateError(`expected leeway >= 0, got ${leeway}`);
  if (lengthOf(value) <= length + leeway) return value;
  const text = textOf(value, "truncate() value");
  let cut = text.slice(0, text.at(length - end.length));
  if (kill === undefined || !isTrue(kill)) {
    cut = python.split(budget, cut, own(" "), 1, true)[0];
  }
  return python.join(budget, [cut, end], text.safe);
}

function wordWrap({ budget }: Run, value: Value, call: Arguments): Value {
  const [width, breakLong, wrapper, onHyphens] = takeArguments(
    "wordwrap",
    call,
    ["width", "break_long_words", "wrapstring", "break_on_hyphens"],
  );
  const between = wrapper === undefined || wrapper === null
    ? own("\n")
    : textOf(wrapper, "wrapstring");
  const wrapped = python.lines(budget, textOf(value, "wordwrap() value"), false).map((line) => {
    const lines = wrapLine(budget, line, {
      width: width === undefined ? 79 : indexOf(width),
      breakLongWords: breakLong === undefined || isTrue(breakLong),
      breakOnHyphens: onHyphens === undefined || isTrue(onHyphens),
    });
    return python.join(budget, lines.flatMap((part, i) => i > 0 ? [between, part] : [part]));
  });
  return python.join(budget, wrapped.flatMap((line, i) => i > 0 ? [between, line] : [line]));
}

function json({ budget }: Run, value: Value, call: Arguments): Value {
  const [ascii, indentValue, separators, sortKeys] = takeArguments(
    "tojson",
    call,
    ["ensure_ascii", "indent", "separators", "sort_keys"],
  );
  const isIndented = indentValue !== undefined && indentValue !== null;
  const fill = !isIndented
    ? undefined
    : indentValue instanceof Text
    ? indentValue
    : python.repeat(budget, own(" "), indexOf(indentValue));
  let between: readonly [Text, Text] = [own(fill ? "," : ", "), own(": ")];
  if (separators !== undefined && separators !== null) {
    const list = listOf(budget, separators);
    if (list.length !== 2) throw new TemplateError("tojson needs two separators");
    between = [textOf(list[0], "a separator"), textOf(list[1], "a separator")];
  }
  return toJson(budget, value, {
    ensureAscii: ascii !== undefined && isTrue(ascii),
    indent: fill,
    separators: between,
    sortKeys: sortKeys !== undefined && isTrue(sortKeys),
  });
}

/** The filters by name. */
export const TEXT_FILTERS: ReadonlyMap<string, Filter> = new Map<string, Filter>([
  ["abs", ({ budget }, value, call) => {
    takeArguments("abs", call, []);
    return absolute(budget, value);
  }],
  ["capitalize", textFilter("capitalize", (_run, text) => letters.capitalize(text))],
  ["center", ({ budget }, value, call) => {
    const [width] = takeArguments("center", call, ["width"]);
    const text = textFrom(budget, value);
    return python.pad(budget, text, width === undefined ? 80 : indexOf(width), own(" "), "center");
  }],
  ["escape", (run, value) => escapeHtml(run.budget, value)],
  ["e", (run, value) => escapeHtml(run.budget, value)],
  ["filesizeformat", fileSize],
  ["float", ({ budget }, value, call) => {
    const [fallback] = takeArguments("float", call, ["default"]);
    if (value instanceof Undefined) value.fail();
    const number = value instanceof Text ? parseFloatText(trimmed(budget, value)) : numberOf(value);
    if (number === undefined) return fallback === undefined ? 0 : fallback;
    return typeof number === "bigint" ? toFloat(number) : number;
  }],
  [
    "forceescape",
    (run, value) => escapeHtml(run.budget, textFrom(run.budget, value).marked(false)),
  ],
  ["format", ({ budget }, value, { args, named }) => {
    if (args.length > 0 && named.size > 0) {
      throw new TemplateError("can't handle positional and keyword arguments at the same time");
    }
    const values = named.size > 0
      ? dictOf(budget, Array.from(named, ([name, item]) => [own(name), item] as const))
      : new Items(args, "tuple");
    return percentFormat(budget, textFrom(budget, value), values);
  }],
  ["indent", indent],
  ["int", ({ budget }, value, call) => {
    const [fallback, base] = takeArguments("int", call, ["default", "base"]);
    const found = integer(budget, value, base === undefined ? 10 : indexOf(base));
    if (found !== undefined) return made(budget, found);
    return fallback === undefined ? 0n : fallback;
  }],
  ["lower", textFilter("lower", (_run, text) => text.map((part) => part.toLowerCase()))],
  ["pprint", ({ budget }, value) => pprint(budget, value)],
  ["replace", ({ budget }, value, call) => {
    const [from, to, most] = takeArguments("replace", call, ["old", "new", "count"], 2);
    const limit = most === undefined || most === null ? -1 : indexOf(most);
    return python.replace(
      budget,
      textFrom(budget, value).marked(false),
      textFrom(budget, from!),
      textFrom(budget, to!).marked(false),
      limit < 0 ? Infinity : limit,
    );
  }],
  ["round", round],
  ["safe", ({ budget }, value) => textFrom(budget, value).marked(true)],
  ["string", ({ budget }, value) => textFrom(budget, value)],
  ["striptags", ({ budget }, value) => stripTags(budget, textFrom(budget, value))],
  ["title", textFilter("title", (_run, text) => title(text))],
  ["tojson", json],
  ["trim", ({ budget }, value, call) => {
    const [characters] = takeArguments("trim", call, ["chars"]);
    const set = characters === undefined || characters === null
      ? null
      : textOf(characters, "strip arg");
    return python.strip(budget, textFrom(budget, value), set, "lr");
  }],
  ["truncate", truncateText],
  ["upper", textFilter("upper", (_run, text) => text.map((part) => part.toUpperCase()))],
  ["urlencode", urlEncode],
  ["urlize", () => {
    throw new TemplateError("the filter urlize is refused: prompts have no links");
  }],
  ["random", () => {
    throw new TemplateError(
      "the filter random is refused: the same conversation is the same prompt",
    );
  }],
  [
    "wordcount",
    textFilter(
      "wordcount",
      (_run, text) => BigInt(text.value.match(/[\p{L}\p{N}_]+/gu)?.length ?? 0),
    ),
  ],
  ["wordwrap", wordWrap],
  ["xmlattr", xmlAttributes],
  ["count", (_run, value) => BigInt(lengthOf(value))],
  ["length", (_run, value) => BigInt(lengthOf(value))],
  ["join", (run, value, call) => {
    const [separator, name] = takeArguments("join", call, ["d", "attribute"]);
    const between = separator === undefined ? EMPTY : textFrom(run.budget, separator);
    const source = name === undefined || name === null
      ? value
      : run.filter("map", value, { ...NO_CALL, named: new Map([["attribute", name]]) });
    const parts: Text[] = [];
    for (const item of listOf(run.budget, source)) {
      if (parts.length > 0) parts.push(between);
      parts.push(textFrom(run.budget, item));
    }
    return python.join(run.budget, parts);
  }],
  ["sum", (run, value, call) => {
    const [name, start] = takeArguments("sum", call, ["attribute", "start"]);
    const source = name === undefined || name === null
      ? value
      : run.filter("map", value, { ...NO_CALL, named: new Map([["attribute", name]]) });
    if (start instanceof Text) throw new TemplateError("sum() can't sum strings");
    let total: Value = start === undefined ? 0n : start;
    for (const item of listOf(run.budget, source)) total = binary(run.budget, "+", total, item);
    return total;
  }],
]);
