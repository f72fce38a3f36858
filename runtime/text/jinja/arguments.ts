/**
 * Arguments of calls, as Python takes them: by place and by name, and what each must be.
 *
 * @module
 */

import { TemplateError } from "./budget.ts";
import { Text } from "./text.ts";
import { type Arguments, typeName, Undefined, type Value } from "./values.ts";

/** A whole number for a position, width or count. */
export function indexOf(value: Value): number {
  if (typeof value === "boolean") return Number(value);
  if (typeof value === "bigint") return Number(value);
  if (value instanceof Undefined) value.fail();
  throw new TemplateError(`'${typeName(value)}' object cannot be interpreted as an integer`);
}

/** A text, where nothing else will do. */
export function textOf(value: Value, what: string): Text {
  if (value instanceof Text) return value;
  if (value instanceof Undefined) value.fail();
  throw new TemplateError(`${what} must be str, not ${typeName(value)}`);
}

/**
 * Arguments by the names of a function's parameters; undefined where none is given.
 *
 * @param required how many of them must be there
 */
export function takeArguments(
  what: string,
  { args, named }: Arguments,
  parameters: readonly string[],
  required = 0,
): (Value | undefined)[] {
  if (args.length > parameters.length) {
    throw new TemplateError(
      `${what}() takes at most ${parameters.length} arguments, found ${args.length}`,
    );
  }
  const taken: (Value | undefined)[] = parameters.map((_, i) => args[i]);
  for (const [name, value] of named) {
    const i = parameters.indexOf(name);
    if (i < 0) throw new TemplateError(`${what}() got an unexpected keyword argument '${name}'`);
    if (i < args.length) {
      throw new TemplateError(`${what}() got multiple values for argument '${name}'`);
    }
    taken[i] = value;
  }
  for (let i = 0; i < required; i++) {
    if (taken[i] === undefined) {
      throw new TemplateError(`${what}() is missing the argument '${parameters[i]}'`);
    }
  }
  return taken;
}
