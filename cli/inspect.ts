/**
 * `deno task inspect`: what is in a model file and what it takes to run it, without loading it.
 *
 * @module
 */

import { plain, quote, safeJson, word } from "../escape.ts";
import { FormatError, ModelError } from "../errors.ts";
import { checkValue } from "../options.ts";
import type { ModelFile } from "../runtime/files/model_file.ts";
import { LOAD_RULES, openModel } from "../runtime/load.ts";
import { type MemoryNeeded, memoryNeeded } from "../runtime/engine/record.ts";
import { resolveModel } from "../runtime/engine/resolve.ts";
import { describeTokenizer, unusedTextSettings } from "../runtime/text/model_text.ts";
import { WEIGHTS_OPTIONS, type WeightsOption } from "../runtime/models/weights.ts";
import { commandName, type Flags, runCommand, UsageError, writeNote, writeOut } from "./command.ts";
import { hubFlags, locateModel } from "./model_flags.ts";
import { withFlags } from "./option_names.ts";
import { formatBytes, progressLine } from "./progress.ts";

/** What `--help` prints. */
export const help: string = `Usage: ${commandName("inspect")} [options] [MODEL]

Shows a model's metadata, tokenizer, tensors, the layouts that they are stored in,
and the memory it needs.
MODEL is a GGUF file, a directory of safetensors or torch files, a URL or hf:…
(default: the model of Sparrow).

  --weights W         as-is, int4, int8, f32: show this choice of layouts (default as-is)
  -m, --model M       the same as MODEL
  -c, --context N     context length for the memory needed (default: the model's own, at most 4096)
  --tensors           list every tensor
  --offline           use downloaded models only
  --json              print one JSON object: { model, format, metadata, config, tokenizer, tensors,
                      memory, warnings }
  -h, --help          print this

Exit codes: 0 done, 1 failed, 2 wrong usage.`;

/** Runs the command; the result is its exit code. */
export function run(args: string[]): Promise<number> {
  const spec = {
    boolean: ["json", "tensors", "offline"],
    string: ["model"],
    number: ["context"],
    choice: { weights: WEIGHTS_OPTIONS },
  };
  return runCommand("inspect", help, args, spec, inspect);
}

interface TensorRow {
  name: string;
  shape: readonly number[];
  type: string;
  bytes: number;
  layout?: string;
  exact?: boolean;
}

async function inspect(flags: Flags): Promise<void> {
  const named = [...flags.rest, ...flags.texts("model")];
  const weights = (flags.text("weights") ?? "as-is") as WeightsOption;
  if (named.length > 1) {
    throw new UsageError(`Cannot inspect ${named.length} models: expected one`);
  }
  const given = flags.number("context");
  if (given !== undefined) checkValue("load", "context", given, LOAD_RULES.contextLength);
  if (flags.on("json") && flags.on("tensors")) {
    writeNote("inspect: --tensors has no effect with --json, which always lists them");
  }
  const file = await open(flags, named[0]);
  try {
    const tensors = new Map<string, TensorRow>();
    for (const { name, shape, type, bytes } of file.tensors.values()) {
      tensors.set(name, { name, shape, type, bytes });
    }
    let config: Record<string, unknown> | undefined, memory: Memory | undefined;
    let problem: string | undefined;
    const warnings: string[] = [];
    const warn = (message: string): void => void warnings.push(message);
    try {
      const choices = { weights, ...(given !== undefined && { contextLength: given }) };
      const model = await resolveModel(file, choices, warn);
      unusedTextSettings(file).forEach(warn);
      for (const { source, tensors: names, layout, exact } of model.weights.values()) {
        if (typeof source === "function") continue;
        for (const name of names) Object.assign(tensors.get(name)!, { layout, exact });
      }
      config = model.config as unknown as Record<string, unknown>;
      const { programs, sizes } = model;
      memory = {
        ...memoryNeeded(programs, model.weights, sizes),
        contextLength: sizes.contextLength,
      };
    } catch (error) {
      if (!(error instanceof ModelError)) throw error;
      problem = error.message;
    }
    const tokenizer = await describeTokenizer(file).catch((error) => {
      if (!(error instanceof FormatError)) throw error;
      warn(error.message);
      return undefined;
    });
    const rows = Array.from(tensors.values());
    if (flags.on("json")) {
      const metadata = Object.fromEntries(
        Object.entries(file.metadata).map(([key, value]) => [key, shorten(value)]),
      );
      const report = {
        model: file.name,
        format: file.format,
        metadata,
        config,
        tokenizer,
        tensors: rows,
      };
      writeOut(safeJson({ ...report, memory, warnings, problem }) + "\n");
    } else {
      writeOut(describe(file.name, file.format, file.metadata, config, rows, memory, flags) + "\n");
      if (tokenizer) writeOut(`Tokenizer: ${plain(tokenizer)}\n`);
      if (warnings.length > 0) {
        writeOut(["", "Warnings:", ...warnings.map((it) => `  ${plain(it)}`), ""].join("\n"));
      }
      if (problem) writeNote(`inspect: ${withFlags(problem)}`);
    }
  } finally {
    file.close();
  }
}

async function open(flags: Flags, named: string | undefined): Promise<ModelFile> {
  using line = progressLine();
  // Of a file on a server the header is enough.
  const isRemote = named && /^https?:/i.test(named) && !flags.on("offline");
  const source = isRemote ? named : await locateModel({ ...flags, text: () => named }, line);
  return await openModel(source, {
    ...hubFlags(flags),
    onWarning: (message) => line.note(`inspect: ${withFlags(message)}`),
    onProgress: ({ file = "", ...progress }) =>
      line.update({ ...progress, file, phase: progress.phase as "download" }),
  });
}

interface Memory extends MemoryNeeded {
  contextLength: number;
}

function describe(
  name: string,
  format: string,
  metadata: Readonly<Record<string, unknown>>,
  config: Record<string, unknown> | undefined,
  tensors: readonly TensorRow[],
  memory: Memory | undefined,
  flags: Flags,
): string {
  const lines = [`${plain(name)} (${format})`, "", "Metadata:"];
  for (const [key, value] of Object.entries(metadata)) {
    lines.push(`  ${word(key)}: ${safeJson(shorten(value))}`);
  }
  if (config) lines.push("", "Configuration:", `  ${safeJson(config)}`);
  lines.push("", "Tensors:");
  if (flags.on("tensors")) {
    for (const { name, shape, type, bytes, layout, exact } of tensors) {
      const stored = layout === undefined ? "not used" : `${layout}${exact ? "" : " (rounded)"}`;
      lines.push(
        `  ${word(name)}  ${quote(shape)}  ${word(type)} → ${stored}  ${formatBytes(bytes)}`,
      );
    }
  } else {
    for (const [group, members] of Map.groupBy(tensors, groupOf)) {
      const bytes = members.reduce((sum, it) => sum + it.bytes, 0);
      lines.push(`  ${members.length} × ${group}, ${formatBytes(bytes)}`);
    }
  }
  if (memory) {
    lines.push(
      "",
      `Memory: ${formatBytes(memory.totalBytes)} = weights ${formatBytes(memory.weightBytes)} + ` +
        `caches of ${memory.contextLength} tokens ${formatBytes(memory.cacheBytes)}`,
    );
  }
  return lines.join("\n");
}

function groupOf({ type, layout, exact }: TensorRow): string {
  if (layout === undefined) return `${word(type)} (not used)`;
  return `${word(type)} stored as ${layout}${exact ? ", exactly" : ", rounded"}`;
}

/** Long lists and texts and deep structures are cut, so that a vocabulary does not fill the screen. */
function shorten(value: unknown, depth = 4): unknown {
  if (typeof value === "string" && value.length > 200) return `${value.slice(0, 200)}…`;
  const list = ArrayBuffer.isView(value) ? Array.from(value as unknown as number[]) : value;
  if (Array.isArray(list) && list.length > 8) {
    return [...list.slice(0, 8).map((it) => shorten(it, depth - 1)), `… ${list.length} in all`];
  }
  if (typeof list !== "object" || list === null) return list;
  if (depth === 0) return "…";
  if (Array.isArray(list)) return list.map((it) => shorten(it, depth - 1));
  return Object.fromEntries(
    Object.entries(list).map(([key, it]) => [key, shorten(it, depth - 1)]),
  );
}
