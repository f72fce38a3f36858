/**
 * The inputs of one run of a compiled graph: every one that was recorded and no other, of its type
 * and size, with indices that are rows of what they index.
 *
 * @module
 */

import { InputError } from "../../errors.ts";
import { quote } from "../../escape.ts";
import { elements, type Op } from "../../kernels/op.ts";
import { OPS } from "../../kernels/ops.ts";
import { accepts, isA, OBJECT } from "../../options.ts";
import type { TensorData } from "./backend.ts";
import type { Graph, GraphNode, Tensor } from "../graph/graph.ts";

/** Checked inputs, copied. */
export interface RunInputs {
  /** Tokens of the run. */
  readonly tokens: number;
  /** Numbers by name. */
  readonly values: ReadonlyMap<string, TensorData>;
}

/** What reads the inputs of a run of `graph`. */
export function inputReader(graph: Graph): (data: unknown) => RunInputs {
  const inputs = new Map(
    graph.tensors.filter((it) => it.origin === "input").map((it) => [it.name, it]),
  );
  const names = Array.from(inputs.keys());
  return (data) => {
    const values = new Map<string, TensorData>(), rowsOf = new Map<string, number>();
    for (const [name, given] of entriesOf(data)) {
      const tensor = inputs.get(name);
      if (!tensor) {
        throw new InputError(
          `Cannot run: there is no input ${quote(name)}, expected ${names.join(", ") || "none"}`,
        );
      }
      const numbers = readNumbers(tensor, given);
      values.set(name, numbers);
      if (tensor.perToken) {
        rowsOf.set(name, numbers.length / (elements(tensor.shape) / tensor.shape[0]!));
      }
    }
    const missing = names.filter((name) => !values.has(name));
    if (missing.length > 0) {
      throw new InputError(
        `Cannot run: input ${missing.map((name) => quote(name)).join(", ")} is missing, expected ` +
          `all of ${names.join(", ")}`,
      );
    }
    const [tokens = graph.tokens, ...others] = new Set(rowsOf.values());
    if (others.length > 0) {
      const found = Array.from(rowsOf, ([name, rows]) => `${rows} of ${quote(name)}`).join(", ");
      throw new InputError(`Cannot run: found rows ${found}, expected one number of tokens`);
    }
    for (const node of graph.nodes) checkIndices(node, tokens, values);
    return { tokens, values };
  };
}

function entriesOf(data: unknown): [string, unknown][] {
  if (!accepts(OBJECT, data)) {
    throw new InputError(
      `Cannot run with inputs ${quote(data)}: expected an object of typed arrays by name`,
    );
  }
  try {
    return Object.entries(data as object);
  } catch (cause) {
    throw new InputError("Cannot run: the inputs cannot be read", { cause });
  }
}

/** A copy of an input's numbers, so that the caller may use the array again at once. */
function readNumbers({ name, shape, perToken, dtype }: Tensor, given: unknown): TensorData {
  const expected = dtype === "i32" ? Int32Array : Float32Array;
  if (!isA<TensorData>(given, expected)) {
    throw new InputError(
      `Cannot run: input ${quote(name)} is ${quote(given)}, expected ${
        dtype === "i32" ? "an Int32Array" : "a Float32Array"
      }`,
    );
  }
  const rows = given.length / (elements(shape) / shape[0]!);
  const fits = perToken
    ? Number.isInteger(rows) && rows >= 1 && rows <= shape[0]!
    : rows === shape[0];
  if (!fits) {
    throw new InputError(
      `Cannot run: input ${quote(name)} has ${given.length} values, expected shape ` +
        `[${[perToken ? `1 to ${shape[0]}` : shape[0], ...shape.slice(1)].join(", ")}]`,
    );
  }
  return given.slice();
}

/** Throws unless every index of an op is a row of what it indexes; kernels do not look. */
function checkIndices(
  { op, inputs, attrs }: GraphNode,
  tokens: number,
  values: ReadonlyMap<string, TensorData>,
): void {
  const { indexes } = OPS[op] as Op<unknown>;
  if (!indexes || indexes.any?.(attrs)) return;
  const { name } = inputs[indexes.input]!, into = inputs[indexes.into]!;
  const rows = indexes.count?.(inputs, attrs) ?? (into.perToken ? tokens : into.shape[0]!);
  const least = indexes.orNone ? -1 : 0;
  const most = indexes.inclusive ? rows : rows - 1;
  for (const value of values.get(name) ?? []) {
    if (Number.isInteger(value) && value >= least && value <= most) continue;
    throw new InputError(
      `Cannot run: input ${quote(name)} ` +
        `has index ${value}, expected a whole number from ${least} to ${most}, ` +
        `the ${indexes.count ? "parts" : "rows"} of ${quote(into.name)}`,
    );
  }
}
