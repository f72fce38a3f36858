/**
 * Ops that look at what they are given before their own rules do: lists of tensors, attributes that
 * exist and are of their type, numbers that fill their shapes. So a call with anything at all ends
 * in a `ShapeError` that says what was expected.
 *
 * @module
 */

import { ShapeError } from "../errors.ts";
import { quote } from "../escape.ts";
import { didYouMean } from "../options.ts";
import { LAYOUTS } from "../quant/formats.ts";
import type { AttributeType, OpForm, OpInput } from "./forms.ts";
import { CACHE_TYPES, elements, type Op, type TensorType, type View } from "./op.ts";
import { describe } from "./shape.ts";

/** Everything that a tensor's element type can be. */
const DTYPES = new Set<unknown>(["i32", "a8", ...CACHE_TYPES, ...Object.keys(LAYOUTS)]);
const ROLES = new Set<unknown>(["dense", "matrix", "keyCache", "valueCache"]);

/** An op that checks its arguments by a form. */
function checkedOp<A>(name: string, op: Op<A>, form: OpForm<A>): Op<A> {
  const shape = (inputs: readonly TensorType[], attrs: A): TensorType =>
    op.shape(readList(name, "inputs", inputs, isType), readAttributes(name, attrs, form));
  return {
    ...op,
    shape,
    reference(out, inputs, attrs) {
      const read = readAttributes(name, attrs, form);
      const views = readList(name, "inputs", inputs, isView);
      const [target] = readList(name, "result", [out], isView);
      const names = operandsOf(form, read);
      const types = views.map((view, i) => typeOf(view, names[i]));
      const result = op.shape(types, read);
      if (!sameExtents(target!.shape, result.shape)) {
        throw new ShapeError(
          `Cannot run ${name}: the result is [${target!.shape.join(", ")}], expected ` +
            describe(result),
        );
      }
      checkIndices(name, op, types, read, (input) => views[input]!.data);
      op.reference(target!, views, read);
    },
    cost(inputs, attrs) {
      const read = readAttributes(name, attrs, form);
      const types = readList(name, "inputs", inputs, isType);
      op.shape(types, read);
      return op.cost(types, read);
    },
  };
}

/** Every op of a table, checking its arguments. */
export function checkedOps<T extends object>(
  ops: T,
  forms: { readonly [N in keyof T]: unknown },
): T {
  return Object.fromEntries(
    Object.entries(ops).map(([name, op]) => [
      name,
      checkedOp(name, op as Op<unknown>, forms[name as keyof T] as OpForm<unknown>),
    ]),
  ) as T;
}

/** The inputs that a call with these attributes may have, in order. */
function operandsOf<A>({ inputs }: OpForm<A>, attrs: A): readonly OpInput[] {
  return inputs.filter(({ when }) => {
    if (when === undefined) return true;
    const asked = (attrs as Record<string, unknown>)[when];
    return asked !== undefined && asked !== false;
  });
}

/**
 * Throws unless every index is a row of what it indexes; kernels do not look.
 *
 * @param valuesOf numbers of an input, or undefined where they are computed
 */
export function checkIndices<A>(
  name: string,
  { indexes }: Op<A>,
  inputs: readonly TensorType[],
  attrs: A,
  valuesOf: (input: number) => ArrayLike<number> | undefined,
): void {
  if (!indexes || indexes.any?.(attrs)) return;
  const { input, into, inclusive, orNone, count } = indexes;
  const rows = count?.(inputs, attrs) ?? inputs[into]!.shape[0]!;
  const most = inclusive ? rows : rows - 1, values = valuesOf(input) ?? [];
  for (let i = 0; i < values.length; i++) {
    const value = values[i]!;
    if (Number.isInteger(value) && value >= (orNone ? -1 : 0) && value <= most) continue;
    throw new ShapeError(
      `Cannot run ${name}: number ${i} of input ${input} is ${value}, expected a whole number ` +
        `from ${orNone ? -1 : 0} to ${most}`,
    );
  }
}

/** A copy of a list whose items pass a test. */
function readList<T>(
  op: string,
  what: string,
  list: readonly T[],
  test: (item: unknown) => boolean,
): T[] {
  try {
    const items = Array.isArray(list) ? Array.from(list) as T[] : undefined;
    if (items?.every((item) => test(item))) return items;
  } catch {
    // It throws when it is looked at.
  }
  const expected = test === isView ? "{ shape, dtype, data }" : "tensors";
  throw new ShapeError(
    `Cannot record ${op}: its ${what} are ${quote(list)}, expected a list of ${expected}`,
  );
}

type Given = Exclude<AttributeType, `${string}?`>;

/** What `typeof` says of an attribute, and what messages say. */
const ATTRIBUTE_TYPES: Readonly<Record<Given, { isOf: string; expected: string }>> = {
  number: { isOf: "number", expected: "a number" },
  text: { isOf: "string", expected: "a text" },
  flag: { isOf: "boolean", expected: "true or false" },
};

/** A copy of attributes that are known and of their types. */
function readAttributes<A>(op: string, attrs: A, { attributes }: OpForm<A>): A {
  const types = attributes as Record<string, AttributeType>, known = Object.keys(types);
  const copy: Record<string, unknown> = {};
  let entries: [string, unknown][];
  try {
    const given: unknown = attrs ?? {};
    if (typeof given !== "object" || Array.isArray(given)) {
      throw new ShapeError(
        `Cannot record ${op}: its attributes are ${quote(given)}, expected an object`,
      );
    }
    entries = Object.entries(given as object);
  } catch (cause) {
    if (cause instanceof ShapeError) throw cause;
    throw new ShapeError(`Cannot record ${op}: its attributes cannot be read`, { cause });
  }
  for (const [name, value] of entries) {
    if (value === undefined) continue;
    if (!Object.hasOwn(types, name)) {
      const meant = known.length > 0 ? didYouMean(name, known) : ", it has none";
      throw new ShapeError(`Cannot record ${op}: there is no attribute ${quote(name)}${meant}`);
    }
    copy[name] = value;
  }
  for (const name of known) {
    const type = types[name]!, value = copy[name];
    if (value === undefined && type.endsWith("?")) continue;
    const { isOf, expected } = ATTRIBUTE_TYPES[type.replace("?", "") as Given];
    const found: string = typeof value;
    if (found !== isOf) {
      throw new ShapeError(
        `Cannot record ${op}: ${name} is ${quote(value)}, expected ${expected}`,
      );
    }
  }
  return copy as A;
}

function isShape(value: unknown): value is readonly number[] {
  if (!Array.isArray(value) || value.length === 0) return false;
  let product = 1;
  for (const extent of value) {
    if (!Number.isInteger(extent) || extent < 1) return false;
    product *= extent;
  }
  return Number.isSafeInteger(product);
}

function isType(value: unknown): boolean {
  const { shape, dtype, role, perToken } = value as TensorType;
  return isShape(shape) && DTYPES.has(dtype) && ROLES.has(role) &&
    typeof perToken === "boolean";
}

function isView(value: unknown): boolean {
  const { shape, dtype, data } = value as View;
  return isShape(shape) && DTYPES.has(dtype) && ArrayBuffer.isView(data) &&
    !(data instanceof DataView) && typeof data[0] === "number" && data.length === elements(shape);
}

/** What the graph would know of a view. */
function typeOf({ shape, dtype }: View, input: OpInput | undefined): TensorType {
  return { shape, dtype, role: input?.role ?? "dense", perToken: false };
}

function sameExtents(a: readonly number[], b: readonly number[]): boolean {
  return a.length === b.length && a.every((extent, i) => extent === b[i]);
}
