/**
 * The machine that runs a pickle: a place in its bytes, a stack of values with marks, and a memory of
 * values that are used again. Everything is counted and checked here; which instruction does what,
 * pickle.ts knows.
 *
 * @module
 */

import { quote } from "../../escape.ts";

/** Something that a pickle refers to by its module and name. */
export interface PickleGlobal {
  /** `MODULE.NAME`. */
  readonly name: string;
  /** What it makes of arguments; absent where it cannot be called. */
  readonly call?: (args: readonly unknown[]) => unknown;
  /** What stands for an object of it, before anything is known of that; absent where it is no class. */
  readonly make?: () => unknown;
}

/** Stands for an object of a class that is known and does not matter. */
export class PickledObject {}

/** What a pickle may do. */
export interface PickleRules {
  /** Ends it with what was found. */
  fail(found: string): never;
  /** Ends it because its bytes end before it does. */
  cut(): never;
  /** What it may refer to; undefined for everything else. */
  find(name: string): PickleGlobal | undefined;
  /** The object that lies outside of it under this id. */
  outside(id: unknown): unknown;
  /** Whether there may be sets, which become lists. */
  readonly sets?: true;
  /** What it may hold, in words; where absent, what checkpoints do. */
  readonly expected?: string;
}

/** Values that wait; Python itself gathers a thousand at a time. */
const STACK_LIMIT = 1 << 16;
/** Bytes of the longest number that is read. */
const LONG_LIMIT = 16;
/** So many objects and remembered ones may any pickle have, and one more for every two bytes. */
const FREE_OBJECTS = 4096, BYTES_PER_OBJECT = 2;
/** As how many objects a dictionary counts, which takes far more memory than its byte of pickle. */
const DICT_OBJECTS = 4;

const CHECKPOINT =
  "nothing but tensors, dictionaries and lists; nothing of it was run; convert the " +
  "weights to safetensors where it was written";

const utf8 = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });
const latin1 = (bytes: Uint8Array): string => {
  let text = "";
  for (const byte of bytes) text += String.fromCharCode(byte);
  return text;
};

/** A pickle under way. */
export class PickleMachine {
  readonly #bytes: Uint8Array;
  readonly #view: DataView;
  readonly #rules: PickleRules;
  /** Most objects that so many bytes can be meant for. */
  readonly #most: number;
  readonly #stack: unknown[] = [];
  readonly #marks: number[] = [];
  readonly #memo = new Map<number, unknown>();
  /** Globals that this pickle has named: nothing else can be called. */
  readonly #named = new Set<unknown>();
  /** The next byte. */
  at: number;
  /** The byte of the instruction under way. */
  #op: number;
  #objects = 0;

  /** A machine at byte `start`. */
  constructor(bytes: Uint8Array, start: number, rules: PickleRules) {
    this.#bytes = bytes;
    this.#view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
    this.#rules = rules;
    this.#most = FREE_OBJECTS + bytes.length / BYTES_PER_OBJECT;
    this.at = this.#op = start;
  }

  /** The code of the next instruction. */
  nextInstruction(): number {
    this.#op = this.at;
    return this.u8();
  }

  /** Ends the pickle with what was found in it, and where. */
  fail(found: string, more = ""): never {
    return this.#rules.fail(`its pickle ${found} at byte ${this.#op}${more}`);
  }

  /** Goes on by so many bytes; returns where they begin. */
  take(length: number): number {
    if (length > this.#bytes.length - this.at) this.#rules.cut();
    this.at += length;
    return this.at - length;
  }

  /** A byte. */
  u8(): number {
    return this.#bytes[this.take(1)]!;
  }

  /** Two bytes, without sign. */
  u16(): number {
    return this.#view.getUint16(this.take(2), true);
  }

  /** Four bytes, without sign. */
  u32(): number {
    return this.#view.getUint32(this.take(4), true);
  }

  /** Four bytes, with sign. */
  i32(): number {
    return this.#view.getInt32(this.take(4), true);
  }

  /** Eight bytes, a length of something in the pickle. */
  length64(): number {
    const value = this.#view.getBigUint64(this.take(8), true);
    return value > this.#bytes.length ? this.#rules.cut() : Number(value);
  }

  /** Eight bytes, a float, the largest byte first. */
  f64(): number {
    return this.#view.getFloat64(this.take(8));
  }

  /** A whole number of so many bytes, with sign. */
  long(length: number): number | bigint {
    if (length > LONG_LIMIT) return this.fail(`has a number of ${length} bytes`);
    const from = this.take(length);
    let value = 0n;
    for (let i = length - 1; i >= 0; i--) value = value << 8n | BigInt(this.#bytes[from + i]!);
    value = BigInt.asIntN(8 * length, value);
    return BigInt.asIntN(53, value) === value ? Number(value) : this.made(value);
  }

  /** Text in UTF-8 of so many bytes. */
  text(length: number): string {
    const from = this.take(length);
    try {
      return utf8.decode(this.#bytes.subarray(from, this.at));
    } catch {
      return this.fail("has text that is not UTF-8");
    }
  }

  /** Text of Python 2 of so many bytes, each of them one character. */
  oldText(length: number): string {
    const from = this.take(length);
    return latin1(this.#bytes.subarray(from, this.at));
  }

  /** Text up to the end of a line. */
  line(): string {
    const end = this.#bytes.indexOf(10, this.at);
    if (end < 0) return this.#rules.cut();
    const found = this.text(end - this.at);
    this.at++;
    return found;
  }

  /** Counts something that takes memory of its own. */
  made<T>(object: T, count = object instanceof Map ? DICT_OBJECTS : 1): T {
    this.#objects += count;
    if (this.#objects > this.#most) {
      this.fail(`has more objects than its ${this.#bytes.length} bytes can be meant for`);
    }
    return object;
  }

  /** Puts a value on the stack. */
  push(value: unknown): void {
    if (this.#stack.length >= STACK_LIMIT) this.fail(`has more than ${STACK_LIMIT} values waiting`);
    this.#stack.push(value);
  }

  /** Takes the last value, if it is not below a mark. */
  pop(): unknown {
    if (this.#stack.length <= this.#bottom) return this.fail("takes a value where none is");
    return this.#stack.pop();
  }

  /** The last value, if it is not below a mark. */
  top(): unknown {
    return this.#stack.length > this.#bottom ? this.#stack.at(-1) : this.fail("needs a value");
  }

  /** Marks a place of the stack. */
  mark(): void {
    if (this.#marks.length >= STACK_LIMIT) this.fail(`has more than ${STACK_LIMIT} marks`);
    this.#marks.push(this.#stack.length);
  }

  /** Takes the last value away, or the last mark where nothing lies on it. */
  popAny(): void {
    if (this.#marks.length > 0 && this.#stack.length === this.#bottom) this.#marks.pop();
    else this.pop();
  }

  /** Takes the last mark, and what lies on it. */
  sinceMark(): unknown[] {
    const from = this.#marks.pop();
    return from === undefined ? this.fail("has no mark, which it needs") : this.#stack.splice(from);
  }

  /** Puts a tuple on the stack. */
  pushTuple(items: unknown[]): void {
    this.push(this.made(Object.freeze(items)));
  }

  /** Appends to the list that is the last value. */
  append(items: readonly unknown[]): void {
    const list = this.top();
    if (!Array.isArray(list) || Object.isFrozen(list)) {
      return this.fail("appends to what is no list");
    }
    for (const item of items) list.push(item);
    this.made(list, items.length);
  }

  /** Sets items of the dictionary that is the last value: keys, each followed by its value. */
  setItems(items: readonly unknown[]): void {
    const dict = this.top();
    if (!(dict instanceof Map)) return this.fail("sets an item of what is no dictionary");
    if (items.length % 2 !== 0) return this.fail("has a key without a value");
    for (let i = 0; i < items.length; i += 2) {
      const key = items[i];
      if (typeof key !== "string" && typeof key !== "number") {
        return this.fail("has a key that is neither text nor a number");
      }
      dict.set(key, items[i + 1]);
      this.made(key);
    }
  }

  /** Remembers the last value under a number, or the next one that is free. */
  remember(index = this.#memo.size): void {
    this.#memo.set(index, this.top());
    this.made(index);
  }

  /** Puts a value on the stack that was remembered. */
  recall(index: number): void {
    const value = this.#memo.has(index)
      ? this.#memo.get(index)
      : this.fail(`recalls ${index}, which it has not remembered`);
    this.push(value);
  }

  /** Puts what a module has under a name on the stack. */
  pushGlobal(module: unknown, name: unknown): void {
    if (typeof module !== "string" || typeof name !== "string") {
      return this.fail("refers to no name");
    }
    const full = `${module}.${name}`;
    const found = this.#rules.find(full) ?? this.fail(
      `refers to ${quote(full)}`,
      `, expected ${this.#rules.expected ?? CHECKPOINT}`,
    );
    this.#named.add(found);
    this.push(found);
  }

  /** Calls a function with arguments, both from the stack. */
  call(): void {
    const args = this.pop(), called = this.pop() as Partial<PickleGlobal> | null;
    if (!Array.isArray(args) || typeof called?.call !== "function" || !this.#named.has(called)) {
      return this.fail("calls what is no function");
    }
    this.push(this.made(called.call(args)));
  }

  /** Whether sets may be in it. */
  get hasSets(): boolean {
    return this.#rules.sets === true;
  }

  /** Puts what stands for an object in the place of its class and arguments; false where there is no class. */
  pushObject(): boolean {
    if (this.#stack.length < this.#bottom + 2) return false;
    const named = this.#stack.at(-2) as Partial<PickleGlobal> | null;
    if (typeof named?.make !== "function" || !this.#named.has(named)) return false;
    this.#stack.length -= 2;
    this.push(this.made(named.make()));
    return true;
  }

  /** Puts an object on the stack that lies outside of the pickle; its id is the last value. */
  pushOutside(): void {
    this.push(this.made(this.#rules.outside(this.pop())));
  }

  get #bottom(): number {
    return this.#marks.at(-1) ?? 0;
  }
}
