/**
 * A folder of safetensors or torch files as a GGUF model: what llama.cpp's converter would write, without
 * writing it. Tensors are read from the folder as they are asked for.
 *
 * @module
 */

import { ModelError } from "../../errors.ts";
import { quote } from "../../escape.ts";
import type { GgufFile } from "../../runtime/files/gguf.ts";
import { type MetadataValue, plainValue } from "../../runtime/files/gguf_metadata.ts";
import type { ModelFile, TensorEntry } from "../../runtime/files/model_file.ts";
import type { Warn } from "../../runtime/models/fields.ts";
import { readQuantized } from "../../runtime/models/quantized.ts";
import { ARCHITECTURES, findDefinition } from "../../runtime/models/registry.ts";
import { unusedTensors } from "../../runtime/models/unused_tensors.ts";
import { FAMILIES } from "./families.ts";
import { type Fields, text } from "./fields.ts";
import { folderWeights, ggufTensors, unwritten } from "./tensors.ts";
import { ggufTokenizer } from "./tokenizer.ts";

/** A context for the tables that a definition computes, which no file has. */
const SHORT_CONTEXT = 16;

/**
 * The model of a folder as a GGUF file; a GGUF file is returned as it is. `warn` is told what has no
 * place in GGUF, and what quantizing lost before.
 *
 * @throws ModelError naming the architecture, tensor or tokenizer that cannot be converted
 *
 * @example
 * ```ts ignore
 * const file = await asGguf(await openModel("Qwen3-0.6B"), console.warn);
 * file.tensors.get("blk.0.attn_q.weight")?.shape; // [2048, 1024]
 * ```
 */
export async function asGguf(packed: ModelFile, warn: Warn): Promise<GgufFile> {
  if (packed.format === "gguf") return packed as GgufFile;
  const family = familyOf(packed);
  const { file, quantization } = await readQuantized(packed, warn);
  if (quantization !== undefined) {
    warn(
      `${
        quote(file.name)
      } was quantized before (${quantization}): what that lost stays lost, and ` +
        `the file is compared with what is left`,
    );
  }
  const definition = await findDefinition(file), config = definition.parseConfig(file, warn);
  const context = Math.min(SHORT_CONTEXT, config.maxPositions);
  const weights = folderWeights(await definition.weights(config, file, context, warn), file);
  unusedTensors(packed, weights, config.layers).forEach(warn);
  const { architecture } = family, converted = await family.convert(config, file, weights);
  const paper = unwritten(file.name, { "general.architecture": architecture }, converted.rules);
  const target = await ARCHITECTURES[architecture]!.load(paper);
  const specs = await target.weights(converted.config, paper, context);
  const { tensors, used } = ggufTensors(specs, weights, file, converted.rules);
  for (const [name, numbers] of Object.entries(converted.tensors ?? {})) {
    tensors.set(name, inMemory(name, numbers));
  }
  tellLeftOut(file, Array.from(weights.values()).filter((it) => !used.has(it.name)), warn);
  const tokenizer = await ggufTokenizer(file, config.vocabSize);
  for (const note of [...converted.notes, ...tokenizer.notes]) {
    warn(`Of ${quote(file.name)}, ${note}`);
  }
  const own: Fields = {
    "general.architecture": text(architecture),
    "general.type": text("model"),
    "general.name": text(nameOf(file.name)),
  };
  const fields = new Map<string, MetadataValue>(Object.entries(own));
  for (const [name, value] of Object.entries(converted.fields)) {
    fields.set(`${architecture}.${name}`, value);
  }
  for (const [name, value] of Object.entries({ ...converted.general, ...tokenizer.fields })) {
    fields.set(name, value);
  }
  const metadata = Object.fromEntries(fields.entries().map(([k, v]) => [k, plainValue(v)]));
  return {
    ...{ format: "gguf", version: 3, name: file.name, fields, metadata, tensors },
    close: () => packed.close(),
  };
}

function familyOf({ metadata, name }: ModelFile) {
  const type = metadata.model_type;
  if (typeof type === "string" && Object.hasOwn(FAMILIES, type)) return FAMILIES[type]!;
  throw new ModelError(
    `Cannot convert ${quote(name)} to GGUF: field "model_type" is ${
      type === undefined ? "missing" : quote(type)
    }, expected one of ${Object.keys(FAMILIES).join(", ")}`,
  );
}

/** Weights that the family uses, and its GGUF files have not. */
function tellLeftOut(
  { name }: ModelFile,
  weights: readonly { readonly tensors: readonly string[] }[],
  warn: Warn,
): void {
  const tensors = weights.flatMap((it) => it.tensors);
  if (tensors.length === 0) return;
  const listed = tensors.slice(0, 6).map((it) => quote(it)).join(", ");
  warn(
    `Of ${
      quote(name)
    }, tensors have no place in GGUF files of its architecture and are left out: ` +
      `${listed}${tensors.length > 6 ? ` and ${tensors.length - 6} more` : ""}`,
  );
}

/** Numbers as a tensor. */
function inMemory(name: string, numbers: Float32Array): TensorEntry {
  const bytes = new Uint8Array(numbers.buffer, numbers.byteOffset, numbers.byteLength);
  return {
    ...{ name, shape: [numbers.length], type: "F32", offset: 0, bytes: bytes.length },
    source: {
      name,
      size: bytes.length,
      read(start, length, into = new Uint8Array(length)) {
        into.set(bytes.subarray(start, start + length));
        return Promise.resolve(into.subarray(0, length));
      },
      close() {},
    },
  };
}

/** The name of the folder that has a file, or of the file. */
function nameOf(path: string): string {
  const parts = path.split(/[/\\]/).filter((it) => it !== "");
  const isFile = /\.(safetensors|bin|json|pt)$/.test(parts.at(-1) ?? "");
  return parts.at(isFile ? -2 : -1) ?? "model";
}
