/**
 * `deno task synthetic`: models with random weights. A llama-family GGUF file of some size
 * (synthetic_model.ts), or a folder as any family is published (synthetic_folder.ts).
 *
 * @module
 */

import {
  commandName,
  type Flags,
  type FlagSpec,
  runCommand,
  UsageError,
  writeNote,
} from "../cli/command.ts";
import { systemReason } from "../cli/errors.ts";
import { readShape } from "../cli/plan.ts";
import { SourceError } from "../errors.ts";
import { formatBytes, quote } from "../escape.ts";
import { counted } from "../cli/format.ts";
import { didYouMean } from "../cli/suggest.ts";
import { unknownFields } from "../runtime/engine/paper_model.ts";
import { writeGguf } from "../runtime/files/gguf_write.ts";
import {
  checkRoom,
  FOLDER_TYPES,
  withLayers,
  withType,
  writeSyntheticFolder,
} from "./synthetic_folder.ts";
import { SIZES, syntheticModel, TYPES } from "./synthetic_model.ts";

const help = `Usage: ${commandName("synthetic")} [options] OUT
       ${commandName("synthetic")} --like SHAPE [options] OUT

Writes a model with random weights and a made-up vocabulary: to the file OUT a GGUF model of the llama
architecture, or, with --like, to the folder OUT a model in the form in which its family is published.

  --size S        ${Object.keys(SIZES).join(", ")} (default 160m)
  --type T        type of the matrices: Q4_0, Q4_1, Q8_0, F16, F32, Q4_K, Q6_K, or Q4_K_M for a mixture
                  of the last two (default Q4_0). Of a folder: F16, BF16, F32, and int4 or int8 for
                  chatglm, whose quantized checkpoints have codes (default: what SHAPE says)
  --like SHAPE    a config.json, or a name of "${commandName("inspect")} --help" as chatglm-6b-int4
  --layers N      with --like: other layers than SHAPE has
  --set F=VALUE   with --like: another value of a field of config.json; may be given again
  -c, --context N context length of the GGUF model (default 8192)
  -s, --seed S    whole number (default 1)
  -h, --help      print this

Exit codes: 0 done, 1 failed, 2 wrong usage.`;

async function main(flags: Flags): Promise<void> {
  const [path, ...others] = flags.rest;
  if (path === undefined || others.length > 0) {
    throw new UsageError(
      `Cannot write ${flags.rest.length} models: expected one OUT; ` +
        `"${commandName("synthetic")} --help" shows the options`,
    );
  }
  try {
    await (flags.text("like") === undefined ? writeFile(path, flags) : writeFolder(path, flags));
  } catch (cause) {
    const reason = systemReason(cause);
    if (reason === undefined) throw cause;
    throw new SourceError(`Cannot write ${quote(path)}: ${reason}`, { cause });
  }
}

async function writeFile(path: string, flags: Flags): Promise<void> {
  const type = flags.text("type") ?? "Q4_0";
  refuse(flags, ["layers", "set"], "expected --like beside it");
  if (!TYPES.includes(type)) {
    throw new UsageError(
      `Cannot write a GGUF file of type ${type}: expected ${TYPES.join(", ")}, or --like`,
    );
  }
  const size = SIZES[flags.text("size") ?? "160m"]!;
  const model = syntheticModel(size, type, {
    context: flags.number("context") ?? 8192,
    seed: flags.number("seed") ?? 1,
  });
  await checkRoom(path, folderOf(path), model.bytes);
  const file = await Deno.open(path, { write: true, create: true, truncate: true });
  await writeGguf(model.contents, file.writable);
  tellWritten(path, model.parameters, model.bytes, 1);
}

async function writeFolder(path: string, flags: Flags): Promise<void> {
  const type = flags.text("type"),
    layers = flags.number("layers"),
    { config } = await readShape(
      flags.text("like")!,
    );
  refuse(flags, ["size", "context"], "expected no --like beside it");
  if (type !== undefined && !Object.hasOwn(FOLDER_TYPES, type)) {
    throw new UsageError(
      `Cannot write a folder of type ${type}: expected ${Object.keys(FOLDER_TYPES).join(", ")}`,
    );
  }
  const typed = type === undefined ? config : withType(config, type);
  const layered = layers === undefined ? typed : withLayers(typed, layers);
  const fields = Object.fromEntries(flags.texts("set").map(readField));
  const strange = Object.keys(fields).filter((it) => !Object.hasOwn(config, it));
  const [unknown] = await unknownFields(config, strange);
  if (unknown !== undefined) {
    throw new UsageError(
      `Cannot write a model with --set ${quote(unknown)}: it means nothing to the architecture ` +
        `${quote(config.model_type)}${didYouMean(unknown, Object.keys(config))}`,
    );
  }
  const { notes, parameters, bytes, files } = await writeSyntheticFolder(
    path,
    { ...layered, ...fields },
    { seed: flags.number("seed") ?? 1 },
  );
  tellWritten(path, parameters, bytes, files);
  for (const note of notes) writeNote(`synthetic: ${note}`);
}

/** The folder that a file is in. */
function folderOf(path: string): string {
  const at = path.search(/[^/\\]*$/);
  return at === 0 ? "." : path.slice(0, at);
}

/** Says what there is now, and how large it is. */
function tellWritten(path: string, parameters: number, bytes: number, files: number): void {
  const millions = parameters >= 1e9
    ? `${(parameters / 1e9).toFixed(2)} billion`
    : parameters >= 1e6
    ? `${(parameters / 1e6).toFixed(1)} million`
    : `${parameters}`;
  writeNote(
    `synthetic: wrote ${quote(path)}: ${millions} random numbers, ${formatBytes(bytes)} in ` +
      `${counted(files, "file")}`,
  );
}

/** A field and its value, as `hidden_size=64`; what is no JSON is a text. */
function readField(text: string): [field: string, value: unknown] {
  const at = text.indexOf("="), field = text.slice(0, at), value = text.slice(at + 1);
  if (at < 1) {
    throw new UsageError(`Cannot read --set ${quote(text)}: expected FIELD=VALUE`);
  }
  try {
    return [field, JSON.parse(value)];
  } catch {
    return [field, value];
  }
}

function refuse(flags: Flags, names: readonly string[], expected: string): void {
  for (const name of names) {
    const isGiven = flags.text(name) !== undefined || flags.number(name) !== undefined;
    if (isGiven) throw new UsageError(`Cannot use --${name} here: ${expected}`);
  }
}

if (import.meta.main) {
  const spec: FlagSpec = {
    string: ["like"],
    collect: ["set"],
    choice: { size: Object.keys(SIZES), type: [...TYPES, "BF16", "int4", "int8"] },
    whole: { context: [1, 2 ** 30], seed: [0, 2 ** 31], layers: [1, 10_000] },
  };
  Deno.exit(await runCommand("synthetic", help, Deno.args, spec, main));
}
