/**
 * `tojson` as transformers has it: Python's `json.dumps` without its HTML escapes.
 *
 * @module
 */

import { type Budget, TemplateError } from "./budget.ts";
import { floatText, integerText } from "./numbers.ts";
import { repeat } from "./python_text.ts";
import { joinTexts, own, Text } from "./text.ts";
import { Dict, Items, typeName, type Value } from "./values.ts";

/** How JSON is written. */
export interface JsonOptions {
  /** Whether everything beyond ASCII is escaped. */
  readonly ensureAscii: boolean;
  /** What a level is indented by; undefined for one line. */
  readonly indent: Text | undefined;
  /** Between items, and between a key and its value. */
  readonly separators: readonly [Text, Text];
  /** Whether keys are sorted. */
  readonly sortKeys: boolean;
}

/**
 * A value as JSON. Brackets, quotes and separators are the template's, the inside of strings is whose
 * it was.
 *
 * @throws TemplateError for what JSON cannot hold
 */
export function toJson(budget: Budget, value: Value, options: JsonOptions): Text {
  const { indent, separators: [comma, colon], ensureAscii, sortKeys } = options;
  const parts: Text[] = [];
  let depth = 0;

  let length = 0;
  const add = (text: Text): void => {
    length += text.value.length;
    budget.fits(length);
    budget.text(text.value.length);
    parts.push(text);
  };
  const newLine = (): void => {
    if (!indent) return;
    add(own("\n"));
    add(repeat(budget, indent, depth));
  };

  function string(text: Text): void {
    budget.text(6 * text.value.length > 4096 ? text.value.length : 0);
    parts.push(own('"'));
    add(text.marked(false).map((part) => escapeString(part, ensureAscii)));
    parts.push(own('"'));
  }

  function members<T>(
    open: string,
    items: readonly T[],
    close: string,
    one: (item: T) => void,
  ): void {
    if (items.length === 0) return add(own(open + close));
    budget.enter();
    add(own(open));
    depth++;
    items.forEach((item, i) => {
      if (i > 0) add(comma);
      newLine();
      one(item);
    });
    depth--;
    newLine();
    add(own(close));
    budget.leave();
  }

  function write(item: Value): void {
    budget.step();
    if (item === null) add(own("null"));
    else if (typeof item === "boolean") add(own(item ? "true" : "false"));
    else if (typeof item === "bigint") add(own(integerText(item)));
    else if (typeof item === "number") add(own(numberText(item)));
    else if (item instanceof Text) string(item);
    else if (item instanceof Items) members("[", item.items, "]", write);
    else if (item instanceof Dict) {
      const entries = Array.from(item.entries.values(), ([key, value]) => {
        return [keyText(key), value] as const;
      });
      if (sortKeys) entries.sort(([a], [b]) => a.value < b.value ? -1 : a.value > b.value ? 1 : 0);
      members("{", entries, "}", ([key, value]) => {
        string(key);
        add(colon);
        write(value);
      });
    } else throw new TemplateError(`Object of type ${typeName(item)} is not JSON serializable`);
  }

  write(value);
  return joinTexts(parts);
}

function numberText(value: number): string {
  if (Number.isNaN(value)) return "NaN";
  if (!Number.isFinite(value)) return value > 0 ? "Infinity" : "-Infinity";
  return floatText(value);
}

function keyText(key: Value): Text {
  if (key instanceof Text) return key;
  if (key === null) return own("null");
  if (typeof key === "boolean") return own(key ? "true" : "false");
  if (typeof key === "bigint") return own(integerText(key));
  if (typeof key === "number") return own(numberText(key));
  throw new TemplateError(`keys must be str, int, float, bool or None, not ${typeName(key)}`);
}

const SHORT: Readonly<Record<string, string>> = {
  "\n": "\\n",
  "\r": "\\r",
  "\t": "\\t",
  "\b": "\\b",
  "\f": "\\f",
  '"': '\\"',
  "\\": "\\\\",
};

function escapeString(text: string, ensureAscii: boolean): string {
  // deno-lint-ignore no-control-regex -- control characters are what JSON escapes
  const pattern = ensureAscii ? /["\\]|[^ -~]/g : /["\\\x00-\x1f]/g;
  return text.replace(
    pattern,
    (unit) => SHORT[unit] ?? "\\u" + unit.charCodeAt(0).toString(16).padStart(4, "0"),
  );
}
