/**
 * Filters that write for URLs and XML.
 *
 * @module
 */

import * as python from "./python_text.ts";
import { takeArguments, textOf } from "./arguments.ts";
import { TemplateError } from "./budget.ts";
import { escapeHtml } from "./html.ts";
import { textFrom } from "./printing.ts";
import type { Run } from "./run.ts";
import { own, Text } from "./text.ts";
import {
  type Arguments,
  Dict,
  isIterable,
  isTrue,
  listOf,
  Undefined,
  type Value,
} from "./values.ts";

function quoteUrl(run: Run, value: Value, forQuery: boolean): Text {
  const text = textFrom(run.budget, value);
  run.budget.text(3 * text.value.length);
  return text.marked(false).map((part) => {
    const quoted = encodeURIComponent(part.toWellFormed())
      .replace(/[!'()*]/g, (unit) => "%" + unit.charCodeAt(0).toString(16).toUpperCase());
    return forQuery ? quoted.replaceAll("%20", "+") : quoted.replaceAll("%2F", "/");
  });
}

export function urlEncode(run: Run, value: Value, call: Arguments): Value {
  takeArguments("urlencode", call, []);
  if (value instanceof Text || !isIterable(value)) return quoteUrl(run, value, false);
  const pairs = value instanceof Dict
    ? Array.from(value.entries.values())
    : listOf(run.budget, value).map((pair) => listOf(run.budget, pair));
  const parts = pairs.flatMap((pair, i) => {
    if (pair.length !== 2) throw new TemplateError("urlencode needs pairs of a key and a value");
    const [key, item] = [quoteUrl(run, pair[0], true), quoteUrl(run, pair[1], true)];
    return [...(i > 0 ? [own("&")] : []), key, own("="), item];
  });
  return python.join(run.budget, parts);
}

export function xmlAttributes({ budget }: Run, value: Value, call: Arguments): Value {
  const [autospace] = takeArguments("xmlattr", call, ["autospace"]);
  if (!(value instanceof Dict)) throw new TemplateError("xmlattr needs a dict");
  const parts: Text[] = [];
  for (const [key, item] of value.entries.values()) {
    if (item === null || item instanceof Undefined) continue;
    const name = textOf(key, "an attribute's name");
    if (/[ \t\n\v\f\r/>=]/.test(name.value)) {
      throw new TemplateError(`Invalid character in attribute name: '${name.value}'`);
    }
    if (parts.length > 0) parts.push(own(" "));
    parts.push(escapeHtml(budget, key), own('="'), escapeHtml(budget, item), own('"'));
  }
  if (parts.length > 0 && (autospace === undefined || isTrue(autospace))) parts.unshift(own(" "));
  return python.join(budget, parts);
}
