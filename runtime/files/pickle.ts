/**
 * A machine for the part of Python's pickle language that writes down data: numbers, texts, lists,
 * tuples and dictionaries. It calls nothing but the few functions that it is given, and refuses every
 * instruction that could mean more, by name and place.
 *
 * Source: the comments of `pickletools` in Python's library, which define every instruction.
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
}

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
}

/** A pickle's value, and the first byte behind it. Lists are arrays, tuples frozen ones, dictionaries Maps. */
export interface Pickled {
  /** What it stands for. */
  readonly value: unknown;
  /** First byte that is no part of it. */
  readonly end: number;
}

/** Values that wait; Python itself gathers a thousand at a time. */
const STACK_LIMIT = 1 << 16;
/** Bytes of the longest number that is read. */
const LONG_LIMIT = 16;
/** So many objects and remembered ones may any pickle have, and one more for every two bytes. */
const FREE_OBJECTS = 4096, BYTES_PER_OBJECT = 2;
/** As how many objects a dictionary counts, which takes far more memory than its byte of pickle. */
const DICT_OBJECTS = 4;

/** Instructions that are known and refused, as Python calls them. */
const REFUSED: Readonly<Record<number, string>> = {
  ...{ 0x69: "INST", 0x6f: "OBJ", 0x81: "NEWOBJ", 0x92: "NEWOBJ_EX", 0x50: "PERSID" },
  ...{ 0x82: "EXT1", 0x83: "EXT2", 0x84: "EXT4", 0x97: "NEXT_BUFFER", 0x98: "READONLY_BUFFER" },
  ...{ 0x42: "BINBYTES", 0x43: "SHORT_BINBYTES", 0x8e: "BINBYTES8", 0x96: "BYTEARRAY8" },
  ...{ 0x8f: "EMPTY_SET", 0x90: "ADDITEMS", 0x91: "FROZENSET" },
  ...{ 0x46: "FLOAT", 0x49: "INT", 0x4c: "LONG", 0x53: "STRING", 0x56: "UNICODE" },
  ...{ 0x67: "GET", 0x70: "PUT" },
};

const utf8 = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });
const latin1 = (bytes: Uint8Array): string => {
  let text = "";
  for (const byte of bytes) text += String.fromCharCode(byte);
  return text;
};

/**
 * Reads one pickle from `start`.
 *
 * @throws whatever the rules throw; every other outcome is a value
 */
export function readPickle(bytes: Uint8Array, start: number, rules: PickleRules): Pickled {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  const most = FREE_OBJECTS + bytes.length / BYTES_PER_OBJECT;
  const stack: unknown[] = [], marks: number[] = [], memo = new Map<number, unknown>();
  let at = start, op = start, objects = 0;

  const fail = (found: string, more = ""): never =>
    rules.fail(`its pickle ${found} at byte ${op}${more}`);
  const take = (length: number): number => {
    if (length > bytes.length - at) rules.cut();
    at += length;
    return at - length;
  };
  const u8 = (): number => bytes[take(1)]!;
  const u32 = (): number => view.getUint32(take(4), true);
  const u64 = (): number => {
    const value = view.getBigUint64(take(8), true);
    return value > bytes.length ? rules.cut() : Number(value);
  };
  const text = (length: number): string => {
    const from = take(length);
    try {
      return utf8.decode(bytes.subarray(from, at));
    } catch {
      return fail("has text that is not UTF-8");
    }
  };
  const line = (): string => {
    const end = bytes.indexOf(10, at);
    if (end < 0) return rules.cut();
    const found = text(end - at);
    at++;
    return found;
  };
  const push = (value: unknown): void => {
    if (stack.length >= STACK_LIMIT) fail(`has more than ${STACK_LIMIT} values waiting`);
    stack.push(value);
  };
  /** Counts something that takes memory of its own. */
  const made = <T>(object: T, count = object instanceof Map ? DICT_OBJECTS : 1): T => {
    objects += count;
    if (objects > most) fail(`has more objects than its ${bytes.length} bytes can be meant for`);
    return object;
  };
  const bottom = (): number => marks.at(-1) ?? 0;
  const pop = (): unknown => {
    if (stack.length <= bottom()) return fail("takes a value where none is");
    return stack.pop();
  };
  const top = (): unknown => stack.length > bottom() ? stack.at(-1) : fail("needs a value");
  const sinceMark = (): unknown[] => {
    const from = marks.pop();
    return from === undefined ? fail("has no mark, which it needs") : stack.splice(from);
  };
  const tuple = (items: unknown[]): readonly unknown[] => made(Object.freeze(items));
  const append = (items: readonly unknown[]): void => {
    const list = top();
    if (!Array.isArray(list) || Object.isFrozen(list)) return fail("appends to what is no list");
    for (const item of items) list.push(item);
    made(list, items.length);
  };
  const setItems = (items: readonly unknown[]): void => {
    const dict = top();
    if (!(dict instanceof Map)) return fail("sets an item of what is no dictionary");
    if (items.length % 2 !== 0) return fail("has a key without a value");
    for (let i = 0; i < items.length; i += 2) {
      const key = items[i];
      if (typeof key !== "string" && typeof key !== "number") {
        return fail("has a key that is neither text nor a number");
      }
      dict.set(key, items[i + 1]);
      made(key);
    }
  };
  const remember = (index: number): void => {
    memo.set(index, top());
    made(index);
  };
  const recall = (index: number): unknown =>
    memo.has(index) ? memo.get(index) : fail(`recalls ${index}, which it has not remembered`);
  const global = (module: unknown, name: unknown): PickleGlobal => {
    if (typeof module !== "string" || typeof name !== "string") return fail("refers to no name");
    const full = `${module}.${name}`;
    return rules.find(full) ?? fail(
      `refers to ${quote(full)}`,
      ", expected nothing but tensors, dictionaries and lists; nothing of it was run; convert the " +
        "weights to safetensors where it was written",
    );
  };
  const long = (length: number): number | bigint => {
    if (length > LONG_LIMIT) return fail(`has a number of ${length} bytes`);
    const from = take(length);
    let value = 0n;
    for (let i = length - 1; i >= 0; i--) value = value << 8n | BigInt(bytes[from + i]!);
    value = BigInt.asIntN(8 * length, value);
    return BigInt.asIntN(53, value) === value ? Number(value) : made(value);
  };
  const reduce = (): unknown => {
    const args = pop(), called = pop() as Partial<PickleGlobal> | null;
    if (!Array.isArray(args) || typeof called?.call !== "function" || !calls.has(called)) {
      return fail("calls what is no function");
    }
    return called.call(args);
  };
  /** Globals that this pickle has named: nothing else can be called. */
  const calls = new Set<unknown>();
  const named = (found: PickleGlobal): PickleGlobal => {
    calls.add(found);
    return found;
  };

  for (;;) {
    op = at;
    const code = u8();
    switch (code) {
      case 0x80: { // PROTO
        const version = u8();
        if (version > 5) fail(`is of version ${version}, expected at most 5`);
        break;
      }
      case 0x95: // FRAME
        u64();
        break;
      case 0x2e: { // STOP
        const value = pop();
        return { value, end: at };
      }
      case 0x28: // MARK
        if (marks.length >= STACK_LIMIT) fail(`has more than ${STACK_LIMIT} marks`);
        marks.push(stack.length);
        break;
      case 0x30: // POP, also of a mark
        if (marks.length > 0 && stack.length === bottom()) marks.pop();
        else pop();
        break;
      case 0x31: // POP_MARK
        sinceMark();
        break;
      case 0x32: // DUP
        push(top());
        break;
      case 0x4e: // NONE
        push(null);
        break;
      case 0x88: // NEWTRUE
      case 0x89: // NEWFALSE
        push(code === 0x88);
        break;
      case 0x4a: // BININT
        push(view.getInt32(take(4), true));
        break;
      case 0x4b: // BININT1
        push(u8());
        break;
      case 0x4d: // BININT2
        push(view.getUint16(take(2), true));
        break;
      case 0x8a: // LONG1
        push(long(u8()));
        break;
      case 0x8b: // LONG4
        push(long(u32()));
        break;
      case 0x47: // BINFLOAT
        push(view.getFloat64(take(8)));
        break;
      case 0x58: // BINUNICODE
        push(text(u32()));
        break;
      case 0x8c: // SHORT_BINUNICODE
        push(text(u8()));
        break;
      case 0x8d: // BINUNICODE8
        push(text(u64()));
        break;
      case 0x54: // BINSTRING, of Python 2
      case 0x55: { // SHORT_BINSTRING
        const length = code === 0x54 ? u32() : u8();
        const from = take(length);
        push(latin1(bytes.subarray(from, from + length)));
        break;
      }
      case 0x5d: // EMPTY_LIST
        push(made([]));
        break;
      case 0x61: { // APPEND
        const value = pop();
        append([value]);
        break;
      }
      case 0x65: // APPENDS
        append(sinceMark());
        break;
      case 0x6c: // LIST
        push(made(sinceMark()));
        break;
      case 0x29: // EMPTY_TUPLE
        push(NO_ITEMS);
        break;
      case 0x74: // TUPLE
        push(tuple(sinceMark()));
        break;
      case 0x85: // TUPLE1
      case 0x86: // TUPLE2
      case 0x87: { // TUPLE3
        const items = Array.from({ length: code - 0x84 }, pop).reverse();
        push(tuple(items));
        break;
      }
      case 0x7d: // EMPTY_DICT
        push(made(new Map()));
        break;
      case 0x64: { // DICT
        const items = sinceMark();
        push(made(new Map()));
        setItems(items);
        break;
      }
      case 0x73: { // SETITEM
        const value = pop(), key = pop();
        setItems([key, value]);
        break;
      }
      case 0x75: // SETITEMS
        setItems(sinceMark());
        break;
      case 0x71: // BINPUT
        remember(u8());
        break;
      case 0x72: // LONG_BINPUT
        remember(u32());
        break;
      case 0x94: // MEMOIZE
        remember(memo.size);
        break;
      case 0x68: // BINGET
        push(recall(u8()));
        break;
      case 0x6a: // LONG_BINGET
        push(recall(u32()));
        break;
      case 0x63: { // GLOBAL
        const module = line(), name = line();
        push(named(global(module, name)));
        break;
      }
      case 0x93: { // STACK_GLOBAL
        const name = pop(), module = pop();
        push(named(global(module, name)));
        break;
      }
      case 0x52: // REDUCE
        push(made(reduce()));
        break;
      case 0x62: { // BUILD
        const state = pop();
        // What a dictionary carries beside its items: versions of a model's modules.
        if (!(top() instanceof Map) || !(state instanceof Map)) {
          fail("sets attributes of an object");
        }
        break;
      }
      case 0x51: // BINPERSID
        push(made(rules.outside(pop())));
        break;
      default:
        fail(
          `has the instruction ${REFUSED[code] ?? `0x${code.toString(16).padStart(2, "0")}`}, ` +
            `which tensors do not need`,
        );
    }
  }
}

const NO_ITEMS: readonly unknown[] = Object.freeze([]);
