/**
 * Fuzzing of whole models: seeded changes of a small valid GGUF file go through `loadModel` and a
 * few tokens. The outcome is success or a typed error, never anything else.
 */

import { assert, assertEquals } from "@std/assert";
import { loadModel, SparrowError } from "../mod.ts";
import type { MetadataValue } from "../runtime/files/gguf_metadata.ts";
import { ggufBytes, randomNumbers } from "./fixtures.ts";
import { tinyContents, tinyGguf, type TinyOptions } from "./tiny_model.ts";

const SMALL: TinyOptions = {
  layers: 1,
  hidden: 16,
  heads: 2,
  kvHeads: 1,
  intermediate: 16,
  context: 16,
};
/** Numbers that files get wrong: nothing, powers of two and their neighbours, the largest. */
const NUMBERS = [
  0,
  1,
  2,
  3,
  7,
  8,
  15,
  16,
  17,
  31,
  43,
  64,
  255,
  2 ** 16,
  2 ** 24,
  2 ** 31 - 1,
  2 ** 32 - 1,
];

type Pick = <T>(list: readonly T[]) => T;

/** Another value in place of a field's. */
function mutateValue(value: MetadataValue, pick: Pick): MetadataValue {
  const numbers: MetadataValue[] = [
    { type: "u32", value: pick(NUMBERS) },
    { type: "i32", value: pick([-1, -(2 ** 31), 0, 5]) },
    { type: "f32", value: pick([0, -1, 1e-30, 1e30, NaN, Infinity, 0.5]) },
    { type: "u64", value: pick([2n ** 63n, 2n ** 53n, 4n]) },
    { type: "string", value: pick(["", "llama", "linear", "yarn", "\0", "gpt2", "bert", "t5"]) },
    { type: "bool", value: pick([true, false]) },
    { type: "array", items: "u32", value: [pick(NUMBERS), 1] },
  ];
  if (value.type !== "array") return pick(numbers);
  const items = Array.from(value.value as ArrayLike<unknown>);
  if (items.length === 0) return pick(numbers);
  const at = pick(Array.from(items.keys()));
  const changed = pick([
    items.slice(0, at),
    items.concat(items.slice(0, 3)),
    items.with(at, items[pick(Array.from(items.keys()))]),
    items.with(
      at,
      value.items === "string" ? pick(["", "the", "<0x41>", "</s>"]) : pick([-5, 0, 1, 6]),
    ),
    [],
  ]);
  const list = { ...value, value: changed } as MetadataValue;
  return pick([list, list, list, pick(numbers)]);
}

/** Fields that the file does not have, but might. */
const FIELDS = [
  "llama.rope.dimension_count",
  "llama.rope.scaling.type",
  "llama.rope.scaling.factor",
  "llama.rope.scaling.original_context_length",
  "llama.attention.key_length",
  "llama.attention.sliding_window",
  "llama.vocab_size",
  "general.alignment",
  "tokenizer.ggml.bos_token_id",
  "tokenizer.ggml.eos_token_id",
  "tokenizer.ggml.add_bos_token",
  "tokenizer.ggml.merges",
  "tokenizer.chat_template",
];

/** A file with one to three changes that keep it readable as GGUF. */
function changedContents(random: () => number): Promise<Uint8Array<ArrayBuffer>> {
  const pick: Pick = (list) => list[Math.floor(random() * list.length)]!;
  const contents = tinyContents({ ...SMALL, tokenizer: pick(["spm", "spm", "bpe", "none"]) });
  const { fields, tensors } = contents;
  for (let left = pick([1, 1, 2, 3]); left > 0; left--) {
    const key = pick(Array.from(fields.keys())), at = pick(Array.from(tensors.keys()));
    const tensor = tensors[at]!;
    switch (pick([0, 0, 0, 1, 2, 3, 4, 5, 6])) {
      case 0:
        fields.set(key, mutateValue(fields.get(key)!, pick));
        break;
      case 1:
        fields.delete(key);
        break;
      case 2:
        fields.set(pick(FIELDS), mutateValue({ type: "u32", value: 0 }, pick));
        break;
      case 3:
        tensors.splice(at, 1);
        break;
      case 4: // another name
        tensors[at] = { ...tensor, name: pick([`${tensor.name}.bias`, "rope_freqs.weight", "x"]) };
        break;
      case 5: { // another shape of as many bytes, or of more
        const size = tensor.shape.reduce((a, b) => a * b, 1);
        const shape = pick([[size], [1, ...tensor.shape], tensor.shape.toReversed(), [2, size]]);
        tensors[at] = {
          ...tensor,
          shape,
          data: new Uint8Array(4 * shape.reduce((a, b) => a * b, 1)),
        };
        break;
      }
      case 6: { // numbers that are no weights
        const data = new Uint8Array(tensor.data as Uint8Array);
        const floats = new Float32Array(data.buffer);
        floats[pick(Array.from(floats.keys()))] = pick([NaN, Infinity, -1e38, 1e-42]);
        tensors[at] = { ...tensor, data };
      }
    }
  }
  // What the writer itself refuses is changed once more.
  return ggufBytes(contents).catch(() => changedContents(random));
}

/** A file with some other bytes in the part before the weights. */
async function changedBytes(random: () => number): Promise<Uint8Array<ArrayBuffer>> {
  const bytes = (await tinyGguf(SMALL)).slice();
  const header = new TextDecoder("latin1").decode(bytes).lastIndexOf("output.weight") + 60;
  for (let left = 1 + Math.floor(random() * 3); left > 0; left--) {
    const at = Math.floor(random() * header);
    if (random() < 0.5) bytes[at] = Math.floor(random() * 256);
    else bytes[at]! ^= 1 << Math.floor(random() * 8);
  }
  return random() < 0.1 ? bytes.subarray(0, Math.floor(random() * bytes.length)) : bytes;
}

/** Loads a file and generates; the result says what came out. */
async function outcome(
  bytes: Uint8Array<ArrayBuffer>,
  backend: "reference" | "wasm",
): Promise<string> {
  try {
    await using model = await loadModel(new Blob([bytes]), {
      backend,
      threads: 1,
      contextLength: 16,
    });
    let count = 0;
    const prompt = model.hasTokenizer ? "the man" : [1, 2];
    const options = { temperature: 0, maxTokens: 3, stopIds: [] };
    for await (const { id } of model.session().generate(prompt, options)) {
      assert(id >= 0 && id < model.config.vocabSize);
      count++;
    }
    assert(count <= 3);
    return "success";
  } catch (error) {
    if (!(error instanceof SparrowError)) throw error;
    assert(error.message.length < 2000, `a message of ${error.message.length} characters`);
    assertEquals(error.message.includes("undefined"), false, error.message);
    return error.name;
  }
}

for (
  const [name, change, rounds] of [
    ["metadata and tensors", changedContents, 700],
    ["bytes of the header", changedBytes, 700],
  ] as const
) {
  Deno.test(`loadModel() survives other ${name}`, async () => {
    const outcomes = new Map<string, number>();
    for (let seed = 0; seed < rounds; seed++) {
      const bytes = await change(randomNumbers(seed));
      try {
        // Workers cost more than such models do, so few rounds have them.
        const result = await outcome(bytes, seed % 50 === 0 ? "wasm" : "reference");
        outcomes.set(result, (outcomes.get(result) ?? 0) + 1);
      } catch (error) {
        throw new Error(`seed ${seed}`, { cause: error });
      }
    }
    console.log(`outcomes: ${Array.from(outcomes, ([it, count]) => `${it} ${count}`).join(", ")}`);
    // Both kinds of outcome have been reached.
    for (const kind of ["success", "ModelError", "FormatError"]) assert(outcomes.has(kind), kind);
  });
}
