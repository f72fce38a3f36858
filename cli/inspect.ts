/**
 * `deno task inspect`: what is in a model file and what it takes to run it, without loading it.
 *
 * @module
 */

import { plain, quote, safeJson, word } from "../escape.ts";
import { FormatError, ModelError } from "../errors.ts";
import { CACHE_TYPES, type CacheType } from "../kernels/op.ts";
import { checkValue } from "../options.ts";
import type { ModelFile } from "../runtime/files/model_file.ts";
import { openModel } from "../runtime/load.ts";
import { LOAD_RULES } from "../runtime/load_options.ts";
import { type MemoryNeeded, memoryNeeded, programGraphs } from "../runtime/engine/record.ts";
import {
  bytesInFile,
  LOOKUP_TABLES,
  type LookupTables,
  type TableChoice,
  withTablesInFile,
} from "../runtime/engine/lookup_tables.ts";
import { resolveModel, type ResolveOptions } from "../runtime/engine/resolve.ts";
import { describeVectors, readTaskFacts } from "../runtime/tasks/facts.ts";
import { describeTokenizer, unusedTextSettings } from "../runtime/text/model_text.ts";
import { WEIGHTS_OPTIONS, type WeightsOption } from "../runtime/models/weights.ts";
import { commandName, type Flags, runCommand, UsageError, writeNote, writeOut } from "./command.ts";
import { hubFlags, locateModel } from "./model_flags.ts";
import { withFlags } from "./option_names.ts";
import { describeProof, isProof } from "./proof.ts";
import { plan } from "./plan.ts";
import { formatBytes, progressLine } from "./progress.ts";
import { SHAPES } from "./shapes.ts";

/** What `--help` prints. */
export const help: string = `Usage: ${commandName("inspect")} [options] [MODEL]
       ${commandName("inspect")} --plan SHAPE [options]

Shows a model's metadata, tokenizer, tensors, the layouts that they are stored in,
and the memory it needs.
MODEL is a GGUF file, a directory of safetensors or torch files, a URL or hf:…
(default: the model of Sparrow).

  --weights W         as-is, int4, int4m, int8, f32: show this choice of layouts (default as-is)
  --word-tables W     the same for the embedding table and the head alone
  --lookup-tables W   memory, file: where a table of words is that is only looked up (default: in the
                      file where it is large, as with --backend wasm)
  -m, --model M       the same as MODEL
  -c, --context N     context length for the memory needed (default: the model's own, at most 4096)
  --cache-type T      f32, f16, int8: element type of keys and values (default f32)
  --plan SHAPE        tell what a model needs of which there are no weights: parameters, bytes by
                      layout, the cache, stages of at most 4 GiB, tokens per second that memory
                      allows. SHAPE is a config.json, or one of:
${shapeNames()}
  --memory SIZE       with --plan: memory of a machine, as 24GB; which stages go where
  --machines N        with --plan: machines that there are; says whether it fits
  --bandwidth RATE    with --plan: what a machine reads, as 20GB/s (default: measured here)
  --tensors           list every tensor
  --offline           use downloaded models only
  --json              print one JSON object: { model, format, metadata, config, quantization,
                      tokenizer, vectors, tensors, memory, warnings }; of a plan { shape, source, config,
                      parameters, layouts, memory, context, reads, stages, machines,
                      tokensPerSecond, bandwidth, warnings, problems }
  -h, --help          print this

Exit codes: 0 done, 1 failed, 2 wrong usage.`;

/** The names of shapes, in lines of help. */
function shapeNames(): string {
  const lines = [""];
  for (const name of Object.keys(SHAPES)) {
    if (lines.at(-1)!.length + name.length > 70) lines.push("");
    lines[lines.length - 1] += `${name} `;
  }
  return lines.map((line) => " ".repeat(22) + line.trimEnd()).join("\n");
}

/** Runs the command; the result is its exit code. */
export function run(args: string[]): Promise<number> {
  const spec = {
    boolean: ["json", "tensors", "offline"],
    string: ["model", "plan", "memory", "bandwidth"],
    number: ["context"],
    whole: { machines: [1, 1_000_000] as const },
    choice: {
      "weights": WEIGHTS_OPTIONS,
      "word-tables": WEIGHTS_OPTIONS,
      "lookup-tables": LOOKUP_TABLES,
      "cache-type": CACHE_TYPES,
    },
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
  /** Why no layout of integers holds it as it is. */
  obstacle?: string;
  /** Whether it is in no memory, since its rows are read from the file as words come. */
  inFile?: boolean;
}

async function inspect(flags: Flags): Promise<void> {
  if (flags.text("plan") !== undefined) {
    if (flags.on("tensors")) writeNote("inspect: --tensors has no effect with --plan");
    return await plan(flags, choicesOf(flags));
  }
  refuseWithoutPlan(flags);
  const named = [...flags.rest, ...flags.texts("model")];
  if (named.length > 1) {
    throw new UsageError(`Cannot inspect ${named.length} models: expected one`);
  }
  const choices = choicesOf(flags);
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
    let problem: string | undefined, quantization: string | undefined;
    const warnings: string[] = [];
    const warn = (message: string): void => void warnings.push(message);
    try {
      const model = withTablesInFile(await resolveModel(file, choices, warn), choices, {
        name: file.name,
        warn,
      });
      (await unusedTextSettings(file)).forEach(warn);
      quantization = model.quantization;
      for (const { tensors: names, layout, exact, obstacle, inFile } of model.weights.values()) {
        const held = {
          ...{ layout, exact },
          ...(obstacle !== undefined && { obstacle }),
          ...(inFile && { inFile: true }),
        };
        for (const name of names) Object.assign(tensors.get(name)!, held);
      }
      config = model.config as unknown as Record<string, unknown>;
      const { programs, sizes } = model;
      memory = {
        ...memoryNeeded(programGraphs(programs, model.weights, sizes)),
        inFileBytes: bytesInFile(model),
        contextLength: sizes.contextLength,
      };
    } catch (error) {
      if (!(error instanceof ModelError)) throw error;
      problem = error.message;
    }
    const told = (error: unknown): undefined => {
      if (!(error instanceof FormatError)) throw error;
      warn(error.message);
    };
    const vectors = await readTaskFacts(file).then(describeVectors).catch(told);
    const tokenizer = await describeTokenizer(file).catch(told);
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
        quantization,
        tokenizer,
        vectors,
        tensors: rows,
      };
      writeOut(safeJson({ ...report, memory, warnings, problem }) + "\n");
    } else {
      writeOut(describe(file.name, file.format, file.metadata, config, rows, memory, flags) + "\n");
      if (quantization) writeOut(`Quantization: ${plain(quantization)}\n`);
      if (tokenizer) writeOut(`Tokenizer: ${plain(tokenizer)}\n`);
      if (vectors) writeOut(`Vectors of texts: ${plain(vectors)}\n`);
      if (warnings.length > 0) {
        writeOut(["", "Warnings:", ...warnings.map((it) => `  ${plain(it)}`), ""].join("\n"));
      }
      if (problem) writeNote(`inspect: ${withFlags(problem)}`);
    }
  } finally {
    file.close();
  }
}

/** What is chosen by flags. */
function choicesOf(flags: Flags): ResolveOptions & TableChoice {
  const words = flags.text("word-tables"),
    lookup = flags.text("lookup-tables"),
    contextLength = flags.number("context"),
    cacheType = flags.text("cache-type");
  if (contextLength !== undefined) {
    checkValue("load", "context", contextLength, LOAD_RULES.contextLength);
  }
  return {
    weights: (flags.text("weights") ?? "as-is") as WeightsOption,
    ...(words !== undefined && { wordTables: words as WeightsOption }),
    ...(lookup !== undefined && { lookupTables: lookup as LookupTables }),
    isHosted: true,
    ...(contextLength !== undefined && { contextLength }),
    ...(cacheType !== undefined && { cacheType: cacheType as CacheType }),
  };
}

/** A flag that says something about a plan needs one. */
function refuseWithoutPlan(flags: Flags): void {
  for (const name of ["memory", "machines", "bandwidth"]) {
    if (flags.text(name) === undefined && flags.number(name) === undefined) continue;
    throw new UsageError(`Cannot use --${name} without --plan, which names the shape of a model`);
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
  /** Tables that are only looked up and stay in the file. */
  inFileBytes: number;
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
    if (isProof(key)) continue; // below, in words
    lines.push(`  ${word(key)}: ${safeJson(shorten(value))}`);
  }
  const proof = describeProof(metadata, tensors.map((it) => it.name));
  if (proof.length > 0) lines.push("", ...proof);
  if (config) lines.push("", "Configuration:", `  ${safeJson(config)}`);
  lines.push("", "Tensors:");
  if (flags.on("tensors")) {
    for (const { name, shape, type, bytes, layout, exact, obstacle, inFile } of tensors) {
      const why = obstacle === undefined ? "" : ` (${obstacle})`;
      const stored = layout === undefined
        ? "not used"
        : inFile
        ? "read from the file"
        : `${layout}${exact ? "" : " (rounded)"}${why}`;
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
        `caches of ${memory.contextLength} tokens ${formatBytes(memory.cacheBytes)}` +
        (memory.inFileBytes > 0
          ? `; ${
            formatBytes(memory.inFileBytes)
          } stay in the file, of which a row is read for each word`
          : ""),
    );
  }
  return lines.join("\n");
}

function groupOf({ type, layout, exact, inFile }: TensorRow): string {
  if (layout === undefined) return `${word(type)} (not used)`;
  if (inFile) return `${word(type)} read from the file as words come`;
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
