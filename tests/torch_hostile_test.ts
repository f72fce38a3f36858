/** Checkpoints of torch that must not be read: what calls, what lies, and what is cut. */

import { assert, assertRejects } from "@std/assert";
import { FormatError } from "../errors.ts";
import { concat } from "./fixtures.ts";
import {
  BYTES,
  called,
  dict,
  global,
  int,
  op,
  openTorch,
  pickle,
  tensor,
  type TestTensor,
  text,
  torchLegacy,
  torchZip,
  TWELVE,
  zip,
} from "./torch_files.ts";

/** A checkpoint whose one tensor is such a one. */
function one(change: Partial<TestTensor>): Uint8Array {
  return torchZip(pickle(dict({ a: tensor({ ...TWELVE, ...change }) })), BYTES);
}

/** The same instructions again and again. */
function repeated(times: number, ...codes: number[]): Uint8Array {
  return Uint8Array.from({ length: times * codes.length }, (_, i) => codes[i % codes.length]!);
}

/** Checkpoints that must not be read, and what is said of them. */
const REFUSED: readonly (readonly [file: Uint8Array, message: string])[] = [
  // What calls, imports or builds.
  ...([
    [called(global("os", "system"), text("id")), '"os.system" at byte 2, expected nothing but'],
    [called(global("builtins", "eval"), text("1")), '"builtins.eval"'],
    [called(global("torch", "load"), text("x")), '"torch.load"'],
    [called(global("torch.nn", "Linear")), '"torch.nn.Linear"'],
    [global("__proto__", "constructor"), '"__proto__.constructor"'],
    [concat([text("posix"), text("system"), op(0x93)]), '"posix.system"'],
    [concat([int(1), int(2), op(0x93)]), "refers to no name"],
    [op(0x28, 0x69, 0x6f, 0x73, 10, 0x61, 10), "the instruction INST"],
    [op(0x28, 0x6f), "the instruction OBJ"],
    [op(0x81), "the instruction NEWOBJ"],
    [op(0x92), "the instruction NEWOBJ_EX"],
    [op(0x82, 1), "the instruction EXT1"],
    [op(0x97), "the instruction NEXT_BUFFER"],
    [op(0xff), "the instruction 0xff"],
    [called(global("torch", "FloatStorage")), "calls what is no function"],
    [called(text("os.system"), text("id")), "calls what is no function"],
    [called(dict({ name: text("x"), call: text("y") })), "calls what is no function"],
    [concat([tensor(TWELVE), dict({}), op(0x62)]), "sets attributes of an object"],
    [concat([dict({}), text("x"), op(0x62)]), "sets attributes of an object"],
    [called(global("collections", "OrderedDict"), int(1)), "an OrderedDict is made of"],
    [called(global("torch._utils", "_rebuild_parameter"), int(1)), "a parameter is no tensor"],
    [called(global("data_utils.task_def", "TaskType"), text("x")), 'TaskType is made of "x"'],
    [called(global("experiments.exp_def", "TaskDef")), "calls what is no function"],
    [concat([global("collections", "OrderedDict"), op(0x29, 0x81)]), "the instruction NEWOBJ"],
    [called(global("torch._utils", "_rebuild_tensor_v2"), int(1)), "a tensor has no storage"],
    [concat([text("x"), op(0x51)]), 'refers to "x" outside of its pickle'],
    // A machine that is led astray.
    [op(0x30), "takes a value where none is"],
    [op(0x75), "has no mark"],
    [op(0x28, 0x75), "needs a value"],
    [op(0x7d, 0x28, 0x4e, 0x75), "a key without a value"],
    [op(0x7d, 0x4e, 0x4e, 0x73), "neither text nor a number"],
    [op(0x29, 0x4e, 0x61), "appends to what is no list"],
    [op(0x5d, 0x4e, 0x4e, 0x73), "what is no dictionary"],
    [op(0x68, 9), "recalls 9"],
    [op(0x8a, 200), "a number of 200 bytes"],
    [op(0x58, 255, 255, 255, 255), "is cut"],
    [op(0x8d, ...Array(8).fill(255)), "is cut"],
    [op(0x58, 1, 0, 0, 0, 0xff), "not UTF-8"],
    [op(0x80, 9), "version 9"],
    [repeated(70_000, 0x4e), "more than 65536 values waiting"],
    [repeated(70_000, 0x28), "more than 65536 marks"],
    [repeated(70_000, 0x7d, 0x30), "more objects than"],
    [
      repeated(40_000, 0x29, 0x94, 0x94, 0x94, 0x94, 0x94, 0x94, 0x30),
      "more obj",
    ],
    [int(1), "no dictionary of tensors"],
    [dict({}), "holds no tensors"],
    [concat([dict({}), op(0x71, 0), text("model"), op(0x68, 0, 0x73)]), "hold no tensors"],
  ] as const).map(([state, message]) => [torchZip(pickle(state), BYTES), message] as const),
  // Tensors that are not there.
  [one({ first: 1 }), "leaves its 12 elements"],
  [one({ strides: [5, 1] }), "leaves its 12 elements"],
  [one({ shape: [3, 4, 2], strides: [4, 1, 0] }), "24 elements, more than the 12"],
  [one({ shape: [2n ** 40n], strides: [0] }), "more than the 12"],
  [one({ shape: [-3, -4] }), "has extents"],
  [one({ strides: [-4, 1] }), "and strides"],
  [one({ first: -1 }), "begins at -1"],
  [one({ shape: [3] }), "has extents"],
  [one({ shape: [2n ** 62n, 4] }), "has extents"],
  [one({ shape: Array(65).fill(1), strides: Array(65).fill(1) }), "65 extents"],
  [one({ count: 13 }), "has 12 bytes, expected 13"],
  [one({ count: -1 }), "has -1 elements"],
  [one({ count: 2n ** 50n }), "elements, expected a number that a file can have"],
  [one({ key: "1" }), 'storage "1" is missing'],
  [one({ key: "../0" }), 'storage "../0" is missing'],
  [one({ kind: "ComplexFloat" }), '"torch.ComplexFloatStorage"'],
  [
    torchZip(
      pickle(dict({ a: tensor(TWELVE), b: tensor({ ...TWELVE, kind: "Half", shape: [3, 4] }) })),
      BYTES,
    ),
    "and elsewhere 12 of U8",
  ],
  // Archives that are none.
  [torchZip(pickle(dict({ a: tensor(TWELVE) })), BYTES, { method: 8 }), "compressed (method 8)"],
  [one({}).subarray(0, 900), "it is cut"],
  [zip({ "a.npy": new Uint8Array(3) }), "0 files data.pkl"],
  [zip({ "a/data.pkl": pickle(), "b/data.pkl": pickle() }), "2 files data.pkl"],
  [
    zip({ "a/data.pkl": pickle(dict({})), "a/byteorder": new TextEncoder().encode("big") }),
    'byte order is "big"',
  ],
  // Older files that are none.
  [pickle(dict({})), "a Python pickle, but none that torch has written"],
  [op(0x80, 2), "its pickles are cut"],
  [concat([pickle(int(5)), pickle(dict({}))]), "a Python pickle, but none that torch has written"],
  [
    torchLegacy(pickle(dict({ a: tensor(TWELVE) })), BYTES, { "0": 1 }).slice(0, -1),
    "but the file has",
  ],
  [
    torchLegacy(pickle(dict({ a: tensor(TWELVE) })), BYTES, { "0": 2 }),
    "has 6 elements, expected 12",
  ],
  [torchLegacy(pickle(dict({ a: tensor(TWELVE) })), {}, {}), 'storage "0" is missing'],
  [
    torchLegacy(pickle(dict({ a: tensor(TWELVE) })), { ...BYTES, "1": op(1) }, { "0": 1, "1": 1 }),
    "is used by no tensor",
  ],
];

Deno.test("torch files that are more or less than tensors are refused by name, and nothing is run", async () => {
  for (const [file, message] of REFUSED) {
    const error = await assertRejects(() => openTorch(file), FormatError, message);
    assert(error.message.startsWith("Cannot read "), error.message);
    assert(error.message.includes('"m.bin"') && error.message.length < 500, error.message);
  }
});

/** Changes a number of 32 bits in a copy, at `offset` from the nth occurrence of a mark. */
function patched(
  file: Uint8Array,
  mark: number,
  nth: number,
  offset: number,
  value: number,
): Uint8Array {
  const copy = file.slice(), view = new DataView(copy.buffer);
  const places = Array.from({ length: copy.length - 4 }, (_, at) => at)
    .filter((at) => view.getUint32(at, true) === mark);
  view.setUint32(places.at(nth)! + offset, value, true);
  return copy;
}

Deno.test("archives whose numbers are wrong are refused", async () => {
  const two = torchZip(
    pickle(dict({ a: tensor(TWELVE), b: tensor({ ...TWELVE, key: "1" }) })),
    { ...BYTES, "1": BYTES["0"] },
  );
  const view = new DataView(two.buffer);
  const rows = Array.from({ length: two.length - 4 }, (_, at) => at)
    .filter((at) => view.getUint32(at, true) === 0x02014b50);
  const placeOf = (row: number): number => view.getUint32(rows[row]! + 42, true);
  const ROW = 0x02014b50, END = 0x06054b50, HEAD = 0x04034b50;
  for (
    const [file, message] of [
      [patched(two, ROW, 2, 42, 1), "has no header at byte 1"],
      [patched(two, ROW, 3, 42, placeOf(2)), "inside storage"],
      [patched(two, ROW, 2, 42, 0x7fffffff), "does not end before the list"],
      [patched(two, ROW, 2, 24, 0x7fffffff), "stored as they are"],
      [patched(two, ROW, 2, 24, 0xffffffff), "no 64-bit sizes"],
      [patched(two, ROW, 2, 0, 0), "ends after 2 files"],
      [patched(two, HEAD, 2, 26, 0x7fff), "expected at most"],
      [patched(two, END, 0, 12, 0x7fffffff), "bytes, expected at most"],
      [patched(two, END, 0, 16, 0x7fffffff), "does not fit"],
      [patched(two, END, 0, 16, 0xffffffff), "64-bit record is missing"],
      [patched(two, END, 0, 8, 0xfffe_fffe), "does not fit"],
    ] as const
  ) {
    await assertRejects(() => openTorch(file), FormatError, message);
  }
});
