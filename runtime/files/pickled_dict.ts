/**
 * Dictionaries that Python has pickled, by itself or through torch: what programs keep beside weights. The
 * pickle is data here, never a program (pickle.ts).
 *
 * @module
 */

import { FormatError } from "../../errors.ts";
import { quote } from "../../escape.ts";
import { readPickle } from "./pickle.ts";
import { PickledObject, type PickleGlobal, type PickleRules } from "./pickle_machine.ts";
import { openSource } from "./source.ts";
import { MAGIC } from "./torch.ts";
import { orderedDict } from "./torch_objects.ts";
import { readZip } from "./zip.ts";

/**
 * Reads one: a pickle, or a file of torch that holds no tensors, in its older or its newer form.
 *
 * @param name the file's, for messages
 * @throws FormatError when bytes break the format, or mean anything else than texts, numbers, lists,
 * tuples and dictionaries
 */
export async function readPickledDict(
  bytes: Uint8Array,
  name: string,
): Promise<ReadonlyMap<unknown, unknown>> {
  const fail = (found: string): never => {
    throw new FormatError(`Cannot read ${quote(name)}: ${found}`);
  };
  const rules = rulesOf(fail);
  let { value, end } = readPickle(await pickleIn(bytes, fail), 0, rules);
  // Files of torch's older form begin with a number, a version, and what machine wrote them.
  if (value === MAGIC) {
    for (let i = 0; i < 3; i++) ({ value, end } = readPickle(bytes, end, rules));
  }
  return value instanceof Map ? value : fail(`it holds ${quote(value)}, expected a dictionary`);
}

/** The bytes of the pickle itself. */
async function pickleIn(bytes: Uint8Array, fail: (found: string) => never): Promise<Uint8Array> {
  if (bytes[0] !== 0x50) return bytes;
  const { entries, locate } = await readZip(await openSource(new Blob([bytes.slice()])));
  const [name, ...others] = Array.from(entries.keys()).filter((it) => /(^|\/)data\.pkl$/.test(it));
  if (name === undefined || others.length > 0) {
    return fail("it is a zip archive without one file data.pkl, expected a pickle");
  }
  const entry = entries.get(name)!, start = await locate(entry);
  return bytes.subarray(start, start + entry.size);
}

/**
 * Classes whose objects the tokenizer of Transformer-XL in Transformers pickles beside its vocabulary.
 * They are made anew from nothing but their names, so that what is pickled of them does not matter.
 */
const CLASSES: ReadonlySet<string> = new Set([
  ...["sacremoses.normalize.MosesPunctNormalizer", "sacremoses.tokenize.MosesTokenizer"],
  ...["sacremoses.tokenize.MosesDetokenizer", "transformers.tokenization_utils.Trie"],
  ...["tokenizers.AddedToken", "transformers.tokenization_utils_base.AddedToken"],
]);

function rulesOf(fail: (found: string) => never): PickleRules {
  const calls: Readonly<Record<string, PickleGlobal["call"]>> = {
    "collections.OrderedDict": (args) => orderedDict(args, fail),
    "collections.Counter": ([counts = new Map(), ...more]) =>
      counts instanceof Map && more.length === 0
        ? counts
        : fail("a Counter is made of something else than a dictionary"),
    "re._compile": () => new PickledObject(), // a regular expression
  };
  const globals = new Map<string, PickleGlobal>();
  return {
    fail,
    cut: () => fail("its pickle is cut; if it was downloaded, fetch it again"),
    find(name) {
      if (!globals.has(name)) {
        if (Object.hasOwn(calls, name)) globals.set(name, { name, call: calls[name]! });
        else if (CLASSES.has(name)) {
          globals.set(name, { name, make: () => new PickledObject() });
        }
      }
      return globals.get(name);
    },
    outside: (id) => fail(`it refers to ${quote(id)} outside of its pickle, expected no tensors`),
    sets: true,
    expected: "nothing but texts, numbers, lists and dictionaries; nothing of it was run",
  };
}
