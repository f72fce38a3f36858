/**
 * Reads the part of Python's pickle language that writes down data: numbers, texts, lists,
 * tuples and dictionaries. It calls nothing but the few functions that it is given, and refuses every
 * instruction that could mean more, by name and place.
 *
 * Source: the comments of `pickletools` in Python's library, which define every instruction.
 *
 * @module
 */

import { PickledObject, PickleMachine, type PickleRules } from "./pickle_machine.ts";

/** A pickle's value, and the first byte behind it. Lists and sets are arrays, tuples frozen ones, dictionaries Maps. */
export interface Pickled {
  /** What it stands for. */
  readonly value: unknown;
  /** First byte that is no part of it. */
  readonly end: number;
}

/** Instructions that are known and refused, as Python calls them. */
const REFUSED: Readonly<Record<number, string>> = {
  ...{ 0x69: "INST", 0x6f: "OBJ", 0x81: "NEWOBJ", 0x92: "NEWOBJ_EX", 0x50: "PERSID" },
  ...{ 0x82: "EXT1", 0x83: "EXT2", 0x84: "EXT4", 0x97: "NEXT_BUFFER", 0x98: "READONLY_BUFFER" },
  ...{ 0x42: "BINBYTES", 0x43: "SHORT_BINBYTES", 0x8e: "BINBYTES8", 0x96: "BYTEARRAY8" },
  ...{ 0x8f: "EMPTY_SET", 0x90: "ADDITEMS", 0x91: "FROZENSET" },
  ...{ 0x46: "FLOAT", 0x49: "INT", 0x4c: "LONG", 0x53: "STRING", 0x56: "UNICODE" },
  ...{ 0x67: "GET", 0x70: "PUT" },
};

/**
 * Reads one pickle from `start`.
 *
 * @throws whatever the rules throw; every other outcome is a value
 */
export function readPickle(bytes: Uint8Array, start: number, rules: PickleRules): Pickled {
  const it = new PickleMachine(bytes, start, rules);
  for (;;) {
    const code = it.nextInstruction();
    switch (code) {
      case 0x80: { // PROTO
        const version = it.u8();
        if (version > 5) it.fail(`is of version ${version}, expected at most 5`);
        break;
      }
      case 0x95: // FRAME
        it.length64();
        break;
      case 0x2e: { // STOP
        const value = it.pop();
        return { value, end: it.at };
      }
      case 0x28: // MARK
        it.mark();
        break;
      case 0x30: // POP, also of a mark
        it.popAny();
        break;
      case 0x31: // POP_MARK
        it.sinceMark();
        break;
      case 0x32: // DUP
        it.push(it.top());
        break;
      case 0x4e: // NONE
        it.push(null);
        break;
      case 0x88: // NEWTRUE
      case 0x89: // NEWFALSE
        it.push(code === 0x88);
        break;
      case 0x4a: // BININT
        it.push(it.i32());
        break;
      case 0x4b: // BININT1
        it.push(it.u8());
        break;
      case 0x4d: // BININT2
        it.push(it.u16());
        break;
      case 0x8a: // LONG1
        it.push(it.long(it.u8()));
        break;
      case 0x8b: // LONG4
        it.push(it.long(it.u32()));
        break;
      case 0x47: // BINFLOAT
        it.push(it.f64());
        break;
      case 0x58: // BINUNICODE
        it.push(it.text(it.u32()));
        break;
      case 0x8c: // SHORT_BINUNICODE
        it.push(it.text(it.u8()));
        break;
      case 0x8d: // BINUNICODE8
        it.push(it.text(it.length64()));
        break;
      case 0x54: // BINSTRING, of Python 2
      case 0x55: // SHORT_BINSTRING
        it.push(it.oldText(code === 0x54 ? it.u32() : it.u8()));
        break;
      case 0x5d: // EMPTY_LIST
        it.push(it.made([]));
        break;
      case 0x61: { // APPEND
        const value = it.pop();
        it.append([value]);
        break;
      }
      case 0x65: // APPENDS
        it.append(it.sinceMark());
        break;
      case 0x6c: // LIST
        it.push(it.made(it.sinceMark()));
        break;
      case 0x29: // EMPTY_TUPLE
        it.push(NO_ITEMS);
        break;
      case 0x74: // TUPLE
        it.pushTuple(it.sinceMark());
        break;
      case 0x85: // TUPLE1
      case 0x86: // TUPLE2
      case 0x87: // TUPLE3
        it.pushTuple(Array.from({ length: code - 0x84 }, () => it.pop()).reverse());
        break;
      case 0x7d: // EMPTY_DICT
        it.push(it.made(new Map()));
        break;
      case 0x64: { // DICT
        const items = it.sinceMark();
        it.push(it.made(new Map()));
        it.setItems(items);
        break;
      }
      case 0x73: { // SETITEM
        const value = it.pop(), key = it.pop();
        it.setItems([key, value]);
        break;
      }
      case 0x75: // SETITEMS
        it.setItems(it.sinceMark());
        break;
      case 0x71: // BINPUT
        it.remember(it.u8());
        break;
      case 0x72: // LONG_BINPUT
        it.remember(it.u32());
        break;
      case 0x94: // MEMOIZE
        it.remember();
        break;
      case 0x68: // BINGET
        it.recall(it.u8());
        break;
      case 0x6a: // LONG_BINGET
        it.recall(it.u32());
        break;
      case 0x63: { // GLOBAL
        const module = it.line(), name = it.line();
        it.pushGlobal(module, name);
        break;
      }
      case 0x93: { // STACK_GLOBAL
        const name = it.pop(), module = it.pop();
        it.pushGlobal(module, name);
        break;
      }
      case 0x52: // REDUCE
        it.call();
        break;
      case 0x62: { // BUILD
        const state = it.pop();
        // What a dictionary carries beside its items: versions of a model's modules.
        const isDict = it.top() instanceof Map && state instanceof Map;
        if (!isDict && !(it.top() instanceof PickledObject)) {
          it.fail("sets attributes of an object");
        }
        break;
      }
      case 0x51: // BINPERSID
        it.pushOutside();
        break;
      case 0x81: // NEWOBJ
        if (!it.pushObject()) refuse(it, code);
        break;
      case 0x8f: // EMPTY_SET
        if (!it.hasSets) refuse(it, code);
        it.push(it.made([]));
        break;
      case 0x90: // ADDITEMS
        if (!it.hasSets) refuse(it, code);
        it.append(it.sinceMark());
        break;
      default:
        refuse(it, code);
    }
  }
}

function refuse(it: PickleMachine, code: number): never {
  return it.fail(
    `has the instruction ${REFUSED[code] ?? `0x${code.toString(16).padStart(2, "0")}`}, which ` +
      (it.hasSets ? "data do not need" : "tensors do not need"),
  );
}

const NO_ITEMS: readonly unknown[] = Object.freeze([]);
