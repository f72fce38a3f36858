/**
 * Checkpoints whose matrices a quantizer has packed: GPTQ, AWQ and compressed-tensors. A file of one of
 * these is read as one that has tensors `NAME.weight` again, each of which stands for the parts of a
 * matrix, so that families know nothing of it. What else a file may say of its quantization is refused
 * by name, here or by the family.
 *
 * @module
 */

import { ModelError } from "../../errors.ts";
import { quote } from "../../escape.ts";
import { awqMatrix } from "../files/awq.ts";
import { compressedMatrix } from "../files/compressed_tensors.ts";
import { readConfig } from "../files/config.ts";
import { gptqMatrix } from "../files/gptq.ts";
import type { ModelFile, TensorEntry } from "../files/model_file.ts";
import { type PackedEntry, packedOf } from "../files/packed_matrix.ts";
import type { PackedSettings } from "../files/packed_parts.ts";
import { checkFields, type Warn } from "./fields.ts";
import {
  awqSettings,
  compressedSettings,
  gptqSettings,
  methodOf,
  METHODS,
  withFields,
} from "./quantized_config.ts";

/** A file as families read it. */
export interface ReadableFile {
  /** The file, with `NAME.weight` for each packed matrix. */
  readonly file: ModelFile;
  /** What its quantizer did, in words; undefined for a file of plain numbers. */
  readonly quantization?: string;
}

/** How the matrices of one quantizer are found and read. */
interface Form {
  /** What the tensor with the codes is called behind the matrix's name. */
  readonly codes: string;
  /** Reads the matrix of that name. */
  read(file: ModelFile, name: string): Promise<PackedEntry>;
  /** The quantizer's form in words. */
  readonly words: string;
}

/** Matrices whose parts are looked at together, each of which may take a few short reads. */
const AT_ONCE = 8;

/** The metadata field of a file's quantization. */
const FIELD = "quantization_config";

/**
 * Reads what a file says of its quantization, and finds the matrices.
 *
 * @throws ModelError when it says what is not supported, or its tensors are not what it says
 */
export async function readQuantized(file: ModelFile, warn: Warn): Promise<ReadableFile> {
  const form = formOf(file, warn);
  if (!form) return { file };
  const ending = `.${form.codes}`;
  const names = Array.from(file.tensors.keys(), (it) => it)
    .filter((it) => it.endsWith(ending)).map((it) => it.slice(0, -ending.length));
  if (names.length === 0) {
    const { quant_method: method } = file.metadata[FIELD] as { quant_method: unknown };
    throw new ModelError(
      `Cannot load ${quote(file.name)}: its weights are quantized (field ${quote(FIELD)}: ` +
        `${quote(method)}), but no tensor is called ${quote(`NAME${ending}`)}, expected its ` +
        `matrices in that form; use the model before quantization, or as a GGUF file`,
    );
  }
  const entries = new Map<string, TensorEntry>(), parts = new Set<TensorEntry>();
  for (let i = 0; i < names.length; i += AT_ONCE) {
    const some = names.slice(i, i + AT_ONCE);
    for (const entry of await Promise.all(some.map((name) => form.read(file, name)))) {
      const { packed, name } = entry;
      if (file.tensors.has(name)) {
        throw new ModelError(
          `Cannot load ${quote(file.name)}: it has tensor ${quote(name)} and ` +
            `${quote(packed.codes.name)}, which stands for the same matrix, expected one of them`,
        );
      }
      entries.set(packed.codes.name, entry);
      for (const part of packed.others) parts.add(part);
    }
  }
  const tensors = new Map<string, TensorEntry>();
  for (const [name, entry] of file.tensors) {
    if (parts.has(entry)) continue;
    const matrix = entries.get(name);
    tensors.set(matrix?.name ?? name, matrix ?? entry);
  }
  const { [FIELD]: _, ...metadata } = file.metadata;
  return {
    file: { ...file, metadata, tensors },
    quantization: `${form.words}, ${describe(Array.from(entries.values()))}`,
  };
}

/** The form that a file says it is of; undefined for one that this file knows nothing of. */
function formOf(file: ModelFile, warn: Warn): Form | undefined {
  const method = methodOf(file.metadata[FIELD]);
  if (!method) return undefined;
  // Fields are named by their place in messages.
  const prefix = `${FIELD}.`;
  const fields = withFields(file, prefix, file.metadata[FIELD] as Record<string, unknown>);
  checkFields(fields, prefix, METHODS[method], warn);
  const config = readConfig(fields, prefix);
  switch (method) {
    case "gptq": {
      const settings = gptqSettings(file, config);
      const version = settings.zeroOffset === 1 ? "" : " (version 2)";
      return {
        codes: "qweight",
        words: `GPTQ${version}`,
        read: (file, name) => gptqMatrix(file, name, settings),
      };
    }
    case "awq": {
      const settings: PackedSettings = awqSettings(file, config);
      return {
        codes: "qweight",
        words: "AWQ",
        read: (file, name) => awqMatrix(file, name, settings),
      };
    }
    case "compressed-tensors": {
      const settings: PackedSettings = compressedSettings(file, config, warn);
      return {
        codes: "weight_packed",
        words: "compressed-tensors",
        read: (file, name) => compressedMatrix(file, name, settings),
      };
    }
  }
}

/** Bits, groups, zeros and orders of matrices in words. */
function describe(entries: readonly TensorEntry[]): string {
  const matrices = entries.map((it) => packedOf(it)!);
  const values = (of: (it: (typeof matrices)[number]) => string | number): string =>
    Array.from(new Set(matrices.map(of))).join(" or ");
  const ordered = matrices.filter(({ groups }) => groups.of).length;
  return [
    `${matrices.length} matrices`,
    `${values(({ bits }) => bits)} bits`,
    `groups of ${
      values(({ groups, shape }) => groups.size >= shape[1] ? "all" : groups.size)
    } columns`,
    values(({ symmetric }) => symmetric ? "symmetric" : "with zeros"),
    ...(ordered > 0 ? [`${ordered} in activation order`] : []),
  ].join(", ");
}
