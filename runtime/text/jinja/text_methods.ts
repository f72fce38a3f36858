/**
 * The methods of Python's `str` and `bytes`.
 *
 * @module
 */

import * as letters from "./letter_case.ts";
import * as python from "./python_text.ts";
import { indexOf, takeArguments, textOf } from "./arguments.ts";
import { type Budget, TemplateError } from "./budget.ts";
import { braceFormat, type Lookup } from "./format.ts";
import { escapeHtml } from "./html.ts";
import { finder } from "../search.ts";
import { stripTags, unescapeHtml } from "./strip_tags.ts";
import { own, Text } from "./text.ts";
import {
  type Arguments,
  Bytes,
  callable,
  Dict,
  Items,
  listOf,
  typeName,
  type Value,
} from "./values.ts";

type Method = (budget: Budget, text: Text, call: Arguments, lookup: Lookup) => Value;

/** A method by its name, bound to a text; undefined where there is none. */
export function textMethod(
  budget: Budget,
  text: Text,
  name: string,
  lookup: Lookup,
): Value | undefined {
  const method = METHODS.get(name);
  return method &&
    callable("builtin_function_or_method", (call) => method(budget, text, call, lookup));
}

/** A method of bytes. */
export function bytesMethod(bytes: Bytes, name: string): Value | undefined {
  if (name !== "decode") return undefined;
  return callable("builtin_function_or_method", () => own(new TextDecoder().decode(bytes.bytes)));
}

/** An argument that is a text, or None for the default. */
function optionalText(value: Value | undefined, what: string): Text | null {
  return value === undefined || value === null ? null : textOf(value, what);
}

/** A text that goes into one that is HTML is escaped. */
function fitting(budget: Budget, text: Text, other: Text): Text {
  return text.safe ? escapeHtml(budget, other) : other.marked(false);
}

/** Where a search begins and ends, in UTF-16 units, from Python's positions. */
function range(text: Text, from: Value | undefined, to: Value | undefined): [number, number] {
  const unit = (position: Value | undefined, fallback: number): number => {
    if (position === undefined || position === null) return fallback;
    const index = indexOf(position);
    return text.at(Math.max(0, index < 0 ? index + text.length : index));
  };
  return [unit(from, 0), unit(to, text.value.length)];
}

/** The position of a UTF-16 unit in characters. */
function positionOf(text: Text, unit: number): bigint {
  return BigInt(unit < 0 ? -1 : new Text(text.value.slice(0, unit)).length);
}

function search(name: string, fromEnd: boolean, mustFind: boolean): Method {
  return (budget, text, call) => {
    const [part, from, to] = takeArguments(name, call, ["sub", "start", "end"], 1);
    const [start, end] = range(text, from, to);
    budget.read(text.value.length);
    const wanted = textOf(part!, `${name}() argument`).value;
    let found = -1;
    if (start <= end) {
      const inside = text.value.slice(start, end);
      const { after, before } = finder(inside, wanted, () => budget.step());
      found = fromEnd ? before(inside.length) : after(0);
    }
    if (found < 0 && mustFind) throw new TemplateError("substring not found");
    return positionOf(text, found < 0 ? -1 : found + start);
  };
}

function ends(name: string, atStart: boolean): Method {
  return (budget, text, call) => {
    const [wanted, from, to] = takeArguments(name, call, ["prefix", "start", "end"], 1);
    const [start, end] = range(text, from, to);
    const options = wanted instanceof Items && wanted.type === "tuple" ? wanted.items : [wanted!];
    const inside = text.value.slice(start, end);
    return options.some((option) => {
      budget.step();
      const { value } = textOf(option, `${name} first arg`);
      return atStart ? inside.startsWith(value) : inside.endsWith(value);
    });
  };
}

function strip(name: string, sides: "l" | "r" | "lr"): Method {
  return (budget, text, call) => {
    const [characters] = takeArguments(name, call, ["chars"]);
    return python.strip(budget, text, optionalText(characters, `${name} arg`), sides);
  };
}

function split(name: string, fromEnd: boolean): Method {
  return (budget, text, call) => {
    const [separator, most] = takeArguments(name, call, ["sep", "maxsplit"]);
    const parts = python.split(
      budget,
      text,
      optionalText(separator, "sep"),
      most === undefined ? -1 : indexOf(most),
      fromEnd,
    );
    return new Items(parts);
  };
}

function partition(name: string, fromEnd: boolean): Method {
  return (budget, text, call) => {
    const [separator] = takeArguments(name, call, ["sep"], 1);
    const { value } = textOf(separator!, "sep");
    if (value === "") throw new TemplateError("empty separator");
    budget.read(text.value.length);
    const { after, before } = finder(text.value, value, () => budget.step());
    const at = fromEnd ? before(text.value.length) : after(0);
    const empty = text.slice(0, 0);
    if (at < 0) return new Items(fromEnd ? [empty, empty, text] : [text, empty, empty], "tuple");
    const end = at + value.length;
    return new Items([text.slice(0, at), text.slice(at, end), text.slice(end)], "tuple");
  };
}

function pad(name: string, side: "left" | "right" | "center"): Method {
  return (budget, text, call) => {
    const [width, fill] = takeArguments(name, call, ["width", "fillchar"], 1);
    const filler = fill === undefined ? own(" ") : textOf(fill, "fillchar");
    return python.pad(budget, text, indexOf(width!), filler, side);
  };
}

function change(name: string, make: (text: Text) => Text): Method {
  return (budget, text, call) => {
    takeArguments(name, call, []);
    budget.text(text.value.length);
    return make(text);
  };
}

function without(name: string, atStart: boolean): Method {
  return (_budget, text, call) => {
    const { value } = textOf(takeArguments(name, call, ["prefix"], 1)[0]!, `${name}() argument`);
    if (value === "" || !(atStart ? text.value.startsWith(value) : text.value.endsWith(value))) {
      return text;
    }
    return atStart ? text.slice(value.length) : text.slice(0, text.value.length - value.length);
  };
}

const METHODS = new Map<string, Method>([
  ["upper", change("upper", (text) => text.map((part) => part.toUpperCase()))],
  ["lower", change("lower", (text) => text.map((part) => part.toLowerCase()))],
  ["casefold", change("casefold", letters.caseFold)],
  ["title", change("title", letters.title)],
  ["capitalize", change("capitalize", letters.capitalize)],
  ["swapcase", change("swapcase", letters.swapCase)],
  ["strip", strip("strip", "lr")],
  ["lstrip", strip("lstrip", "l")],
  ["rstrip", strip("rstrip", "r")],
  ["split", split("split", false)],
  ["rsplit", split("rsplit", true)],
  ["partition", partition("partition", false)],
  ["rpartition", partition("rpartition", true)],
  ["find", search("find", false, false)],
  ["rfind", search("rfind", true, false)],
  ["index", search("index", false, true)],
  ["rindex", search("rindex", true, true)],
  ["startswith", ends("startswith", true)],
  ["endswith", ends("endswith", false)],
  ["removeprefix", without("removeprefix", true)],
  ["removesuffix", without("removesuffix", false)],
  ["ljust", pad("ljust", "left")],
  ["rjust", pad("rjust", "right")],
  ["center", pad("center", "center")],
  ["count", (budget, text, call) => {
    const [part, from, to] = takeArguments("count", call, ["sub", "start", "end"], 1);
    const [start, end] = range(text, from, to);
    return BigInt(python.count(budget, text.slice(start, end), textOf(part!, "count() argument")));
  }],
  ["replace", (budget, text, call) => {
    const [from, to, most] = takeArguments("replace", call, ["old", "new", "count"], 2);
    const limit = most === undefined ? -1 : indexOf(most);
    const [old, next] = [
      textOf(from!, "replace() argument 1"),
      textOf(to!, "replace() argument 2"),
    ];
    return python.replace(
      budget,
      text,
      old,
      fitting(budget, text, next),
      limit < 0 ? Infinity : limit,
    );
  }],
  ["join", (budget, text, call) => {
    const [items] = takeArguments("join", call, ["iterable"], 1);
    const parts: Text[] = [];
    listOf(budget, items!).forEach((item, i) => {
      if (!(item instanceof Text)) {
        throw new TemplateError(
          `sequence item ${i}: expected str instance, ${typeName(item)} found`,
        );
      }
      if (i > 0) parts.push(text);
      parts.push(fitting(budget, text, item));
    });
    return python.join(budget, parts, text.safe);
  }],
  ["splitlines", (budget, text, call) => {
    const [keep] = takeArguments("splitlines", call, ["keepends"]);
    return new Items(python.lines(budget, text, keep !== undefined && keep !== false));
  }],
  ["expandtabs", (budget, text, call) => {
    const [size] = takeArguments("expandtabs", call, ["tabsize"]);
    budget.text(text.value.length);
    return python.expandTabs(budget, text, size === undefined ? 8 : indexOf(size));
  }],
  ["zfill", (budget, text, call) => {
    const width = indexOf(takeArguments("zfill", call, ["width"], 1)[0]!);
    const sign = /^[+-]/.test(text.value) ? 1 : 0;
    const zeros = python.repeat(budget, own("0"), width - text.length);
    return python.join(budget, [text.slice(0, sign), zeros, text.slice(sign)], text.safe);
  }],
  ["encode", (budget, text) => {
    budget.text(text.value.length * 3);
    return new Bytes(new TextEncoder().encode(text.value));
  }],
  ["translate", (budget, text, call) => {
    const [table] = takeArguments("translate", call, ["table"], 1);
    if (!(table instanceof Dict)) throw new TemplateError("translate() needs a dict here");
    budget.items(text.value.length);
    const parts: Text[] = [];
    for (let at = 0; at < text.value.length;) {
      const code = text.value.codePointAt(at)!;
      const end = at + (code > 0xffff ? 2 : 1);
      const to = table.entries.get(`n${code}`)?.[1];
      if (to === undefined) parts.push(text.slice(at, end));
      else if (to instanceof Text) parts.push(to);
      else if (typeof to === "bigint") parts.push(own(String.fromCodePoint(Number(to) & 0x1fffff)));
      else if (to !== null) {
        throw new TemplateError("character mapping must return integer, None or str");
      }
      at = end;
    }
    return python.join(budget, parts, text.safe);
  }],
  ["format", (budget, text, call, lookup) => braceFormat(budget, text, call, lookup)],
  ["format_map", (budget, text, call, lookup) => {
    const [map] = takeArguments("format_map", call, ["mapping"], 1);
    if (!(map instanceof Dict)) throw new TemplateError("format_map() needs a dict");
    const named = new Map<string, Value>();
    for (const [key, value] of map.entries.values()) {
      if (key instanceof Text) named.set(key.value, value);
    }
    return braceFormat(budget, text, { args: [], named }, lookup);
  }],
  ["unescape", (budget, text) => {
    budget.text(text.value.length);
    return text.map(unescapeHtml).marked(false);
  }],
  ["striptags", (budget, text) => stripTags(budget, text)],
  ...Object.entries(python.TEXT_TESTS).map(([name, test]): [string, Method] => [
    name,
    (budget, text, call) => {
      takeArguments(name, call, []);
      budget.read(text.value.length);
      return name === "isascii" || name === "isprintable" || text.value !== ""
        ? test(text.value)
        : false;
    },
  ]),
]);
