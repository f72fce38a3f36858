/**
 * The syntax tree of a template.
 *
 * @module
 */

import type { Text } from "./text.ts";

/** What a filter, test, function or macro is called with. */
export interface CallArguments {
  /** By position. */
  readonly args: readonly Expression[];
  /** By name. */
  readonly named: readonly (readonly [string, Expression])[];
  /** `*list`. */
  readonly rest: Expression | undefined;
  /** `**dict`. */
  readonly namedRest: Expression | undefined;
}

/** Something with a value. */
export type Expression =
  | { readonly kind: "constant"; readonly value: Text | bigint | number | boolean | null }
  | { readonly kind: "name"; readonly name: string }
  | { readonly kind: "list" | "tuple"; readonly items: readonly Expression[] }
  | { readonly kind: "dict"; readonly entries: readonly (readonly [Expression, Expression])[] }
  | { readonly kind: "attribute"; readonly object: Expression; readonly name: string }
  | { readonly kind: "item"; readonly object: Expression; readonly key: Expression }
  | { readonly kind: "slice"; readonly parts: readonly (Expression | undefined)[] }
  | { readonly kind: "call"; readonly callee: Expression; readonly call: CallArguments }
  | FilterExpression
  | {
    readonly kind: "test";
    readonly value: Expression;
    readonly name: string;
    readonly call: CallArguments;
  }
  | { readonly kind: "unary"; readonly operator: "+" | "-" | "not"; readonly value: Expression }
  | {
    readonly kind: "binary";
    readonly operator: string;
    readonly left: Expression;
    readonly right: Expression;
  }
  | {
    readonly kind: "compare";
    readonly first: Expression;
    readonly rest: readonly (readonly [string, Expression])[];
  }
  | { readonly kind: "and" | "or" | "concat"; readonly parts: readonly Expression[] }
  | {
    readonly kind: "if";
    readonly test: Expression;
    readonly then: Expression;
    readonly otherwise: Expression | undefined;
  };

/** `value | name(…)`; without a value it takes a block's text. */
export interface FilterExpression {
  /** Which expression. */
  readonly kind: "filter";
  /** What goes in. */
  readonly value: Expression | undefined;
  /** Which filter. */
  readonly name: string;
  /** With what. */
  readonly call: CallArguments;
}

/** Where `set` and `for` put values. */
export type Target =
  | { readonly kind: "name"; readonly name: string }
  | { readonly kind: "field"; readonly name: string; readonly field: string }
  | { readonly kind: "tuple"; readonly items: readonly Target[] };

/** What macros and call blocks share. */
export interface Callable {
  /** Its name; undefined for a call block. */
  readonly name: string | undefined;
  /** Parameters with their defaults. */
  readonly parameters: readonly { readonly name: string; readonly value: Expression | undefined }[];
  /** What it does. */
  readonly body: readonly Statement[];
  /** Which of `caller`, `kwargs` and `varargs` it reads. */
  readonly reads: ReadonlySet<string>;
}

/** Something that is done. */
export type Statement =
  & { readonly line: number }
  & (
    | { readonly kind: "data"; readonly text: Text }
    | { readonly kind: "output"; readonly value: Expression }
    | {
      readonly kind: "if";
      readonly branches: readonly (readonly [Expression, readonly Statement[]])[];
      readonly otherwise: readonly Statement[];
    }
    | {
      readonly kind: "for";
      readonly target: Target;
      readonly iterable: Expression;
      readonly test: Expression | undefined;
      readonly recursive: boolean;
      readonly body: readonly Statement[];
      readonly otherwise: readonly Statement[];
    }
    | { readonly kind: "set"; readonly target: Target; readonly value: Expression }
    | {
      readonly kind: "setBlock";
      readonly target: Target;
      readonly filter: FilterExpression | undefined;
      readonly body: readonly Statement[];
    }
    | {
      readonly kind: "with";
      readonly values: readonly (readonly [Target, Expression])[];
      readonly body: readonly Statement[];
    }
    | {
      readonly kind: "filterBlock";
      readonly filter: FilterExpression;
      readonly body: readonly Statement[];
    }
    | { readonly kind: "macro"; readonly macro: Callable }
    | { readonly kind: "call"; readonly call: Expression; readonly macro: Callable }
    | { readonly kind: "generation" | "scope" | "block"; readonly body: readonly Statement[] }
    | { readonly kind: "refused"; readonly what: string }
    | { readonly kind: "break" | "continue" }
  );
