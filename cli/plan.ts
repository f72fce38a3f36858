/**
 * `deno task inspect --plan`: what a model of some configuration needs, told without its weights.
 *
 * @module
 */

import { plain, quote, safeJson } from "../escape.ts";
import { MemoryError } from "../errors.ts";
import { createWasmBackend } from "../runtime/backends/wasm/backend.ts";
import {
  bytesByLayout,
  countParameters,
  type LayoutBytes,
  machinesFor,
  type Parameters,
  readsOf,
  type RunReads,
  type StageNeeds,
  stagesOf,
} from "../runtime/engine/needs.ts";
import {
  bytesInFile,
  type LookupTables,
  type TableChoice,
  withTablesInFile,
} from "../runtime/engine/lookup_tables.ts";
import { checkConfig, paperModel } from "../runtime/engine/paper_model.ts";
import { type MemoryNeeded, memoryNeeded, programGraphs } from "../runtime/engine/record.ts";
import { findSmaller } from "../runtime/engine/smaller.ts";
import {
  type ResolvedModel,
  resolveModel,
  type ResolveOptions,
} from "../runtime/engine/resolve.ts";
import { methodOf } from "../runtime/models/quantized_config.ts";
import { measureBandwidth } from "./bandwidth.ts";
import { type Flags, UsageError, writeNote, writeOut } from "./command.ts";
import { counted } from "./format.ts";
import { withFlags } from "./option_names.ts";
import { formatBytes } from "./progress.ts";
import { type Shape, SHAPES } from "./shapes.ts";
import { didYouMean } from "./suggest.ts";

/** Where a model shall run. */
export interface Machines {
  /** Memory of each, in bytes. */
  readonly memoryBytes?: number | undefined;
  /** How many there are. */
  readonly count?: number | undefined;
  /** Bytes that one reads in a second. */
  readonly bandwidth: number;
}

/** What is chosen for a model. */
export interface PlanOptions extends ResolveOptions {
  /** Where tables are that are only looked up. */
  readonly lookupTables?: LookupTables | undefined;
}

/** Plans are for the processor. */
function placeOf({ lookupTables }: PlanOptions): TableChoice {
  return { lookupTables, isHosted: true };
}

/** What a shape needs. */
export interface PlanReport {
  /** Where the shape is from. */
  readonly source: string;
  readonly config: Readonly<Record<string, unknown>>;
  readonly parameters: Parameters & { readonly published?: number };
  readonly layouts: readonly LayoutBytes[];
  readonly memory: MemoryNeeded & {
    /** Tables that are only looked up and stay in the file. */
    readonly inFileBytes: number;
  };
  readonly context: {
    readonly tokens: number;
    readonly cacheType: string;
    readonly cacheBytesPerToken: number;
  };
  /** What one run of each program reads: `decode` for one token, `encode` for a whole text. */
  readonly reads: { readonly encode?: RunReads; readonly decode?: RunReads };
  /** Stages of the WebAssembly backend; absent where the model cannot be divided. */
  readonly stages?: readonly StageNeeds[];
  /** For each machine, the numbers of its first stage and of the one past its last. */
  readonly machines?: readonly (readonly [first: number, end: number])[];
  /** Most tokens of one text, as memory bounds them: with an empty cache and with a full one. */
  readonly tokensPerSecond?: { readonly empty: number; readonly full: number };
  readonly warnings: readonly string[];
  /** Why it does not run, or does not fit. */
  readonly problems: readonly string[];
}

/** Tells what the shape that `--plan` names needs. */
export async function plan(flags: Flags, options: PlanOptions): Promise<void> {
  const name = flags.text("plan")!;
  if (flags.rest.length > 0 || flags.texts("model").length > 0) {
    throw new UsageError(`Cannot plan ${quote(name)} and inspect a model: expected one of them`);
  }
  const memoryBytes = readBytes(flags, "memory"), count = flags.number("machines");
  const given = readBytes(flags, "bandwidth", "/s");
  if (count !== undefined && memoryBytes === undefined) {
    throw new UsageError("Cannot plan for --machines without the --memory that each has");
  }
  const shape = await readShape(name);
  const bandwidth = given ?? await measureBandwidth();
  const report = await planOf(name, shape, options, { memoryBytes, count, bandwidth });
  if (flags.on("json")) {
    const measured = { bandwidth: { bytesPerSecond: bandwidth, measured: given === undefined } };
    writeOut(safeJson({ shape: name, ...report, ...measured }) + "\n");
    return;
  }
  const speed = `${formatBytes(bandwidth)}/s${given ? "" : " (measured on this machine)"}`;
  writeOut(`${describe(name, report, speed).join("\n")}\n`);
  if (report.warnings.length > 0) {
    writeOut(["", "Warnings:", ...report.warnings.map((it) => `  ${plain(it)}`), ""].join("\n"));
  }
  for (const problem of report.problems) writeNote(`inspect: ${withFlags(problem)}`);
}

/** The shape of that name, or that of a `config.json`. */
export async function readShape(name: string): Promise<Shape> {
  if (Object.hasOwn(SHAPES, name)) return SHAPES[name]!;
  // Names have dots, too.
  if (!/[/\\]|\.json$/i.test(name)) {
    throw new UsageError(
      `Cannot find the shape ${quote(name)}: expected a config.json or one of ` +
        `${Object.keys(SHAPES).join(", ")}${didYouMean(name, Object.keys(SHAPES))}`,
    );
  }
  let value: unknown;
  const text = await Deno.readTextFile(name);
  try {
    value = JSON.parse(text);
  } catch (error) {
    throw new UsageError(
      `Cannot read ${quote(name)} as a configuration: it is no JSON (${(error as Error).message})`,
    );
  }
  return { source: name, config: checkConfig(value, name) };
}

/** Bytes of a flag such as `24GB`, `16 GiB` or `20GB/s`; undefined where it is not given. */
function readBytes(flags: Flags, flag: string, per: "" | "/s" = ""): number | undefined {
  const text = flags.text(flag);
  if (text === undefined) return undefined;
  const found = /^(\d{1,9}(?:\.\d+)?) ?([kMGT]?)(i?)B(\/s)?$/.exec(text);
  const power = " kMGT".indexOf(found?.[2] || " ");
  const bytes = found ? Number(found[1]) * (found[3] ? 1024 : 1000) ** power : 0;
  if (bytes > 0 && (found![4] ?? "") === per) return bytes;
  throw new UsageError(
    `Cannot use --${flag} ${quote(text)}: expected a size as ${per ? "20GB/s" : "24GB or 16GiB"}`,
  );
}

/**
 * What a shape needs, and where it fits.
 *
 * @throws ModelError when no definition runs such a model
 */
export async function planOf(
  name: string,
  shape: Shape,
  options: PlanOptions,
  { memoryBytes, count, bandwidth }: Machines,
): Promise<PlanReport> {
  const warnings = shape.note ? [`${name}: ${shape.note}`] : [], problems: string[] = [];
  const { quantization_config: quantization, ...before } = shape.config,
    method = methodOf(quantization);
  if (method) {
    warnings.push(
      `${
        quote(name)
      } is quantized by ${method}: this is the model before that; weights "int4" or ` +
        `"int8" tells what its matrices take as they are published`,
    );
  }
  const file = await paperModel(method ? before : shape.config, name);
  const warn = (message: string): void => void warnings.push(message);
  const model = withTablesInFile(await resolveModel(file, options, warn), placeOf(options), {
    name,
    warn,
  });
  const memory = memoryNeeded(programGraphs(model.programs, model.weights, model.sizes));
  const reads = readsOf(model), { decode } = reads;
  const backend = await createWasmBackend({ threads: 1 });
  const stages = unlessLarger(problems, () => stagesOf(model, backend));
  const machines = stages && memoryBytes !== undefined
    ? unlessLarger(problems, () => machinesFor(stages, memoryBytes))
    : undefined;
  if (machines && count !== undefined && machines.length > count) {
    problems.push(
      `Cannot place ${quote(name)} on ${counted(count, "machine")} of ` +
        `${formatBytes(memoryBytes!)}: its stages need ${machines.length}; ${SMALLER}`,
    );
  }
  if (problems.length > 0) {
    const fits = (other: ResolvedModel): boolean => {
      const divided = stagesOf(other, backend);
      if (!stages || memoryBytes === undefined) return true;
      const needed = machinesFor(divided, memoryBytes).length;
      return !machines || needed <= (count ?? Infinity);
    };
    const remedy = await findSmaller(file, { ...options, ...placeOf(options) }, fits) ??
      `even with weights "int4" and wordTables "int4" it does not fit; use a shorter context, ` +
        `larger machines or more of them, or a smaller model`;
    problems.forEach((it, i) => problems[i] = it.replace(SMALLER, remedy));
  }
  await backend.dispose();
  return {
    source: shape.source,
    config: shape.config,
    parameters: {
      ...countParameters(file, model),
      ...(shape.parameters !== undefined && { published: shape.parameters }),
    },
    layouts: bytesByLayout(file, model),
    memory: { ...memory, inFileBytes: bytesInFile(model) },
    context: contextOf(model, memory),
    reads,
    ...(stages && { stages }),
    ...(machines && { machines }),
    ...(decode && {
      tokensPerSecond: {
        empty: bandwidth / decode.weightBytes,
        full: bandwidth / (decode.weightBytes + decode.cacheBytes),
      },
    }),
    warnings,
    problems,
  };
}

/** What messages of the runtime advise, which does not know what would be enough. */
const SMALLER = "use a smaller weight layout or a shorter context";

function contextOf({ sizes }: ResolvedModel, { cacheBytes }: MemoryNeeded): PlanReport["context"] {
  const { contextLength: tokens, cacheType } = sizes;
  return { tokens, cacheType, cacheBytesPerToken: cacheBytes / tokens };
}

/** The result, or undefined with one more problem where something is larger than its place. */
function unlessLarger<T>(problems: string[], make: () => T): T | undefined {
  try {
    return make();
  } catch (error) {
    if (!(error instanceof MemoryError)) throw error;
    problems.push(error.message);
    return undefined;
  }
}

function describe(name: string, report: PlanReport, speed: string): string[] {
  const { parameters, layouts, memory, context, reads, tokensPerSecond } = report;
  const { total, active, published } = parameters, { decode, encode } = reads;
  const lines = [`${plain(name)}, on paper (${plain(report.source)})`, ""];
  lines.push(
    `Parameters: ${billions(total)}` +
      (active < total ? `, of which a token gets ${billions(active)}` : "") +
      (published === undefined ? "" : `; published ${billions(published)}`),
    `Weights: ${formatBytes(memory.weightBytes)}`,
  );
  for (const { layout, parameters, bytes, rounded } of layouts) {
    const note = rounded > 0 ? ", rounded" : "";
    lines.push(`  ${layout}: ${billions(parameters)} in ${formatBytes(bytes)}${note}`);
  }
  if (memory.inFileBytes > 0) {
    lines.push(`Read from the file as words come: ${formatBytes(memory.inFileBytes)}`);
  }
  lines.push(
    `Cache of ${context.cacheType}: ${formatBytes(context.cacheBytesPerToken)} for a token, ` +
      `${formatBytes(memory.cacheBytes)} for ${context.tokens}`,
  );
  if (encode) lines.push(`Read for a whole text: ${formatBytes(encode.weightBytes)} of weights`);
  if (decode) {
    lines.push(
      `Read for each token: ${formatBytes(decode.weightBytes)} of weights, ` +
        `${formatBytes(decode.cacheBytes)} of a full cache`,
    );
  }
  if (tokensPerSecond) {
    const { empty, full } = tokensPerSecond;
    lines.push(
      `At ${speed}: at most ${empty.toPrecision(3)} tokens per second, ` +
        `${full.toPrecision(3)} with a full cache`,
    );
  }
  return [...lines, ...describeStages(report)];
}

/** How many stages and machines are listed one by one. */
const MOST_LISTED = 40;

function describeStages({ stages, machines }: PlanReport): string[] {
  if (!stages) return [];
  const sizeOf = ({ weightBytes, cacheBytes, workBytes }: StageNeeds): number =>
    weightBytes + cacheBytes + workBytes;
  const span = (first: StageNeeds, last: StageNeeds): string =>
    first.segments[0] === last.segments[1]
      ? first.segments[0]
      : `${first.segments[0]} to ${last.segments[1]}`;
  const row = (what: string, of: readonly StageNeeds[]): string => {
    const bytes = of.reduce((sum, it) => sum + sizeOf(it), 0);
    return `  ${what}: ${span(of[0]!, of.at(-1)!)}, ${formatBytes(bytes)}`;
  };
  const rows = machines
    ? machines.map(([first, end], i) =>
      row(`machine ${i + 1}, ${counted(end - first, "stage")}`, stages.slice(first, end))
    )
    : stages.map((stage, i) => row(`stage ${i + 1}`, [stage]));
  const what = machines ? counted(machines.length, "machine") : "";
  const more = rows.length > MOST_LISTED ? [`  … ${rows.length - MOST_LISTED} more`] : [];
  return [
    `On wasm, ${counted(stages.length, "stage")}${what && ` on ${what}`}:`,
    ...rows.slice(0, MOST_LISTED),
    ...more,
  ];
}

function billions(count: number): string {
  return count >= 1e9
    ? `${(count / 1e9).toFixed(2)} billion`
    : `${(count / 1e6).toFixed(1)} million`;
}
