/**
 * Values as text, in Python's spelling: `True`, `None`, `['a', 2.0]`.
 *
 * @module
 */

import type { Budget } from "./budget.ts";
import { escapeForRepr, quoteFor } from "./escapes.ts";
import { floatText, integerText } from "./numbers.ts";
import { EMPTY, joinTexts, own, Text } from "./text.ts";
import { Bytes, Dict, Items, Slice, Undefined, type Value } from "./values.ts";

/** `str(value)`. A text stays what it is, HTML too. */
export function textFrom(budget: Budget, value: Value): Text {
  if (value instanceof Text) return value;
  if (value instanceof Undefined) return EMPTY;
  return reprOf(budget, value);
}

/** `repr(value)`. */
export function reprOf(budget: Budget, value: Value): Text {
  const parts: Text[] = [];
  let length = 0;
  writeRepr(budget, value, (text) => {
    length += text.value.length;
    budget.fits(length);
    budget.text(text.value.length);
    parts.push(text);
  });
  return joinTexts(parts);
}

/** A text as `repr` spells it; the characters keep their writers. */
export function quoted(text: Text, asciiOnly = false): Text {
  const quote = own(quoteFor(text.value));
  const inside = text.marked(false).map((part) => escapeForRepr(part, quote.value, asciiOnly));
  const bare = joinTexts([quote, inside, quote]);
  return text.safe ? joinTexts([own("Markup("), bare, own(")")]) : bare;
}

function writeRepr(budget: Budget, value: Value, add: (text: Text) => void): void {
  budget.enter();
  const addAll = (items: Iterable<Value>, open: string, close: string): void => {
    add(own(open));
    let isFirst = true;
    for (const item of items) {
      if (!isFirst) add(own(", "));
      isFirst = false;
      writeRepr(budget, item, add);
    }
    add(own(close));
  };
  if (value === null) add(own("None"));
  else if (typeof value === "boolean") add(own(value ? "True" : "False"));
  else if (typeof value === "bigint") add(own(integerText(value)));
  else if (typeof value === "number") add(own(floatText(value)));
  else if (value instanceof Text) {
    budget.text(2 * value.value.length);
    add(quoted(value));
  } else if (value instanceof Items) {
    if (value.type === "list") addAll(value.items, "[", "]");
    else addAll(value.items, "(", value.items.length === 1 ? ",)" : ")");
  } else if (value instanceof Dict) {
    add(own("{"));
    let isFirst = true;
    for (const [key, item] of value.entries.values()) {
      if (!isFirst) add(own(", "));
      isFirst = false;
      writeRepr(budget, key, add);
      add(own(": "));
      writeRepr(budget, item, add);
    }
    add(own("}"));
  } else if (value instanceof Undefined) add(own("Undefined"));
  else if (value instanceof Bytes) add(own(bytesText(value.bytes)));
  else if (value instanceof Slice) addAll(value.parts, "slice(", ")");
  else add(value.shown ? value.shown() : own(`<${value.type}>`));
  budget.leave();
}

function bytesText(bytes: Uint8Array): string {
  let text = "";
  for (const byte of bytes) text += String.fromCharCode(byte);
  const quote = quoteFor(text);
  return `b${quote}${escapeForRepr(text, quote, true)}${quote}`;
}
