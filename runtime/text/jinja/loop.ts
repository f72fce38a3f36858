/**
 * `loop`, which the body of a `for` asks where it is.
 *
 * @module
 */

import type { Budget } from "./budget.ts";
import { isEqual } from "./compare.ts";
import { TemplateError } from "./budget.ts";
import {
  type Arguments,
  callable,
  isThing,
  Items,
  iterate,
  lengthOf,
  type Thing,
  Undefined,
  type Value,
} from "./values.ts";
import { own, type Text } from "./text.ts";

/** A walk over an iterable that can look one item ahead. */
export class Loop implements Thing {
  /** Its type in Python. */
  readonly type = "LoopContext";
  readonly #budget: Budget;
  readonly #depth: number;
  readonly #recurse: ((iterable: Value, depth: number) => Value) | undefined;
  #items: Iterator<Value>;
  #length: number | undefined;
  #index = -1;
  #before: Value | undefined;
  #current: Value | undefined;
  #after: Value | undefined; // looked at already
  #changed: readonly Value[] | undefined;

  /** A loop; `recurse` where it can be called. */
  constructor(
    budget: Budget,
    iterable: Value,
    depth: number,
    recurse?: (iterable: Value, depth: number) => Value,
  ) {
    this.#budget = budget;
    this.#depth = depth;
    this.#recurse = recurse;
    this.#items = iterate(iterable);
    const isLazy = isThing(iterable) && iterable.length === undefined;
    this.#length = isLazy ? undefined : lengthOf(iterable);
  }

  /** Goes on to the next item; undefined after the last. */
  next(): Value | undefined {
    const next = this.#peek();
    this.#after = undefined;
    if (next === undefined) return undefined;
    this.#index++;
    this.#before = this.#current;
    this.#current = next;
    return next;
  }

  #peek(): Value | undefined {
    if (this.#after === undefined) {
      const next = this.#items.next();
      if (!next.done) this.#after = next.value;
    }
    return this.#after;
  }

  #count(): number {
    if (this.#length !== undefined) return this.#length;
    const rest: Value[] = [];
    const isAhead = this.#after !== undefined;
    for (let next = this.#items.next(); !next.done; next = this.#items.next()) {
      this.#budget.items(1);
      rest.push(next.value);
    }
    this.#items = rest[Symbol.iterator]();
    return this.#length = rest.length + this.#index + 1 + Number(isAhead);
  }

  /** A field. */
  attribute(name: string): Value | undefined {
    const index = BigInt(this.#index);
    switch (name) {
      case "index":
        return index + 1n;
      case "index0":
        return index;
      case "first":
        return this.#index === 0;
      case "last":
        return this.#peek() === undefined;
      case "length":
        return BigInt(this.#count());
      case "revindex":
        return BigInt(this.#count()) - index;
      case "revindex0":
        return BigInt(this.#count()) - index - 1n;
      case "depth":
        return BigInt(this.#depth + 1);
      case "depth0":
        return BigInt(this.#depth);
      case "previtem":
        return this.#index === 0 ? new Undefined("there is no previous item") : this.#before;
      case "nextitem":
        return this.#peek() === undefined ? new Undefined("there is no next item") : this.#after;
      case "cycle":
        return callable("method", ({ args }) => {
          if (args.length === 0) throw new TemplateError("no items for cycling given");
          return args[this.#index % args.length];
        });
      case "changed":
        return callable("method", ({ args }) => {
          const last = this.#changed;
          this.#changed = args;
          return last === undefined || !isEqual(this.#budget, new Items(last), new Items(args));
        });
    }
    return undefined;
  }

  /** `loop(children)` in a loop that is `recursive`. */
  call({ args }: Arguments): Value {
    if (!this.#recurse) {
      throw new TemplateError(
        "The loop must have the 'recursive' marker to be called recursively.",
      );
    }
    if (args.length !== 1) throw new TemplateError("loop() takes one iterable");
    return this.#recurse(args[0], this.#depth + 1);
  }

  /** As jinja2 prints it. */
  shown(): Text {
    return own(`<LoopContext ${this.#index + 1}/${this.#count()}>`);
  }
}
