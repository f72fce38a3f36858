/**
 * The functions of jinja2 and transformers that templates find without being given them.
 *
 * @module
 */

import { rangeLength, rangeOf } from "./ranges.ts";
import { TemplateError, TemplateLimit, TemplateRefusal } from "./budget.ts";
import { reprOf, textFrom } from "./printing.ts";
import type { Run } from "./run.ts";
import { formatTime } from "./strftime.ts";
import { EMPTY, joinTexts, own, Text } from "./text.ts";
import {
  type Arguments,
  callable,
  Dict,
  dictOf,
  listOf,
  type Thing,
  Undefined,
  type Value,
} from "./values.ts";
import { indexOf, takeArguments, textOf } from "./arguments.ts";

/** As jinja2's sandbox bounds it. */
const MAX_RANGE = 100_000;

/** Where `{% set ns.x = … %}` writes to. */
export class Namespace implements Thing {
  /** Its type in Python. */
  readonly type = "Namespace";
  /** What templates have set on it. */
  readonly fields: Map<string, Value>;
  readonly #run: Run;

  /** A namespace with fields to begin with. */
  constructor(run: Run, fields: Map<string, Value>) {
    this.#run = run;
    this.fields = fields;
  }

  /** A field. */
  attribute(name: string): Value | undefined {
    return this.fields.get(name);
  }

  /** As jinja2 prints it. */
  shown(): Text {
    const pairs = Array.from(this.fields, ([name, value]) => [own(name), value] as const);
    const dict = reprOf(this.#run.budget, dictOf(this.#run.budget, pairs));
    return joinTexts([own("<Namespace "), dict, own(">")]);
  }
}

/** What `dict(…)` makes. */
function makeDict({ budget }: Run, { args, named }: Arguments): Dict {
  if (args.length > 1) {
    throw new TemplateError(`dict expected at most 1 argument, got ${args.length}`);
  }
  const pairs: (readonly [Value, Value])[] = [];
  const [from] = args;
  if (from instanceof Undefined) from.fail();
  if (from instanceof Dict) {
    budget.items(from.entries.size);
    pairs.push(...from.entries.values());
  } else if (from !== undefined) {
    for (const pair of listOf(budget, from)) {
      const members = listOf(budget, pair);
      if (members.length !== 2) {
        throw new TemplateError(
          `dictionary update sequence element has length ${members.length}; 2 is required`,
        );
      }
      pairs.push([members[0], members[1]]);
    }
  }
  for (const [name, value] of named) pairs.push([own(name), value]);
  return dictOf(budget, pairs);
}

function range({ budget }: Run, call: Arguments): Value {
  if (call.named.size > 0) throw new TemplateError("range() takes no keyword arguments");
  const parts = takeArguments("range", call, ["start", "stop", "step"], 1).map((part) =>
    part === undefined ? undefined : (indexOf(part), BigInt(part as bigint | boolean))
  );
  const [start, stop] = parts[1] === undefined ? [0n, parts[0]!] : [parts[0]!, parts[1]];
  const step = parts[2] ?? 1n;
  if (step === 0n) throw new TemplateError("range() arg 3 must not be zero");
  const count = rangeLength(start, stop, step);
  if (count > MAX_RANGE) {
    throw new TemplateLimit(`asks for a range of ${count} numbers, more than ${MAX_RANGE}`);
  }
  return rangeOf(budget, start, stop, step);
}

function cycler(_run: Run, { args }: Arguments): Value {
  if (args.length === 0) throw new TemplateError("at least one item has to be provided");
  let at = 0;
  return {
    type: "Cycler",
    attribute(name) {
      switch (name) {
        case "current":
          return args[at];
        case "pos":
          return BigInt(at);
        case "items":
          return undefined;
        case "next":
          return callable("method", () => {
            const current = args[at];
            at = (at + 1) % args.length;
            return current;
          });
        case "reset":
          return callable("method", () => {
            at = 0;
            return null;
          });
      }
      return undefined;
    },
  };
}

function joiner(_run: Run, call: Arguments): Value {
  const [separator = own(", ")] = takeArguments("joiner", call, ["sep"]);
  let isUsed = false;
  return {
    type: "Joiner",
    call() {
      if (isUsed) return separator;
      isUsed = true;
      return EMPTY;
    },
  };
}

/** The functions by name. */
export function globalsOf(run: Run): ReadonlyMap<string, Value> {
  const named = (type: string, call: (run: Run, call: Arguments) => Value): Thing =>
    callable(type, (given) => call(run, given));
  return new Map<string, Value>([
    ["range", named("function", range)],
    ["dict", named("type", makeDict)],
    [
      "namespace",
      named("type", (_run, call) => {
        const fields = new Map<string, Value>();
        for (const [key, value] of makeDict(run, call).entries.values()) {
          if (key instanceof Text) fields.set(key.value, value);
        }
        return new Namespace(run, fields);
      }),
    ],
    ["cycler", named("type", cycler)],
    ["joiner", named("type", joiner)],
    [
      "lipsum",
      named("function", () => {
        throw new TemplateError("lipsum is refused: the same conversation is the same prompt");
      }),
    ],
    [
      "raise_exception",
      named("function", (_run, call) => {
        const [message] = takeArguments("raise_exception", call, ["message"], 1);
        throw new TemplateRefusal(textFrom(run.budget, message!).value);
      }),
    ],
    [
      "strftime_now",
      named("function", (_run, call) => {
        const [format] = takeArguments("strftime_now", call, ["format"], 1);
        if (format instanceof Undefined) format.fail();
        const text = textOf(format!, "strftime() argument").value;
        run.budget.text(text.length * 256);
        return own(formatTime(run.now, text));
      }),
    ],
  ]);
}
