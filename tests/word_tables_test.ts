/**
 * Tables of words of encoder, decoder and head, one or several in a file: what counts is what the
 * original implementation computes with (tests/golden/make_tied.py wrote it down).
 */

import { assert, assertEquals, assertRejects } from "@std/assert";
import { ModelError } from "../errors.ts";
import { loadModel } from "../mod.ts";
import { sameBytes } from "../runtime/files/compare.ts";
import type { TensorEntry } from "../runtime/files/model_file.ts";
import { FIXTURES } from "./fixtures.ts";
import { difference } from "./golden_checks.ts";
import { assemble, disassemble, type Values } from "./tensor_files.ts";
import { withFolder } from "./tiny_model.ts";

interface Case {
  readonly architecture: string;
  readonly name: string;
  /** Fields of `config.json` beside those of the architecture. */
  readonly fields: Record<string, unknown>;
  /** Tables by their names in the file; the same letter is the same numbers. */
  readonly tables: Record<string, string>;
  /** Logits of the last token. */
  readonly logits?: number[];
  /** Tables that nothing stands in for. */
  readonly missing?: string[];
}

const FOLDER = new URL("golden/tied/", FIXTURES);
const { ids, decoderIds, configs, cases }: {
  ids: number[];
  decoderIds: number[];
  configs: Record<string, Record<string, unknown>>;
  cases: Case[];
} = JSON.parse(await Deno.readTextFile(new URL("cases.json", FOLDER)));

const read = async (name: string): Promise<Map<string, Values>> =>
  disassemble(await Deno.readFile(new URL(`${name}.safetensors`, FOLDER)));
const letters = await read("tables");

/** The last token's logits, and what was told. */
async function run(
  { architecture, fields, tables }: Case,
  backend: "reference" | "wasm",
): Promise<{ logits: Float32Array; told: string[] }> {
  const tensors = await read(architecture), told: string[] = [];
  for (const [name, letter] of Object.entries(tables)) tensors.set(name, letters.get(letter)!);
  let logits = new Float32Array();
  await withFolder({
    "config.json": JSON.stringify({ ...configs[architecture], ...fields }),
    "model.safetensors": assemble(tensors),
  }, async (path) => {
    const onWarning = (message: string): void => void told.push(message);
    await using model = await loadModel(path, { backend, threads: 1, onWarning });
    const prompt = architecture === "opt" ? { ids } : { ids, decoderIds };
    logits = new Float32Array(await model.logits(prompt));
  });
  return { logits: logits.slice(-(configs[architecture]!.vocab_size as number)), told };
}

for (const architecture of Object.keys(configs)) {
  Deno.test(`tables of words of ${architecture}: the file's own count, equal ones are one`, async () => {
    const own = cases.filter((it) => it.architecture === architecture);
    assert(own.length >= 9);
    for (const it of own) {
      const name = `${architecture}, ${it.name}`;
      if (it.missing && architecture === "opt") {
        // Hidden states mean something without the head.
        assert((await run(it, "reference")).told[0]!.includes("no output head"), name);
        continue;
      }
      if (it.missing) {
        const error = await assertRejects(() => run(it, "reference"), ModelError, "is missing");
        const names = [...it.missing, "shared.weight", "model.shared.weight"];
        assert(names.some((name) => error.message.includes(`"${name}"`)), error.message);
        continue;
      }
      const { logits, told } = await run(it, "reference");
      const off = difference(logits, it.logits!);
      assert(off <= 1e-4, `${name}: logits differ by ${off}`);
      assertEquals(told, [], name);
    }
  });
}

Deno.test("tables of words of their own on the kernels", async () => {
  for (const it of cases.filter(({ name }) => name === "four tables, untied")) {
    const { logits } = await run(it, "wasm");
    assert(difference(logits, it.logits!) <= 1e-3, it.architecture);
  }
});

Deno.test("two tensors are compared once, however often a model is resolved", async () => {
  let reads = 0;
  const entry = (name: string): TensorEntry => {
    const bytes = new Uint8Array(64).fill(7);
    const read = (offset: number, length: number): Promise<Uint8Array> => {
      reads++;
      return Promise.resolve(bytes.slice(offset, offset + length));
    };
    const source = { name, size: bytes.length, read, close() {} };
    return { name, shape: [4, 4], type: "F32", source, offset: 0, bytes: bytes.length };
  };
  const a = entry("a"), b = entry("b"), c = entry("c");
  assertEquals([await sameBytes(a, b), await sameBytes(a, b), reads], [true, true, 2]);
  assertEquals([await sameBytes(a, c), reads], [true, 4]);
});
