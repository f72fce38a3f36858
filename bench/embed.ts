/**
 * `deno task bench embed`: vectors of many short texts by an encoder in the shape of BERT-base, by
 * Sparrow with weights in each layout and by ONNX Runtime, in turn.
 *
 * @module
 */

import { type Flags, UsageError, writeOut } from "../cli/command.ts";
import { quote } from "../escape.ts";
import { type BenchCommand, numberList, RUNS } from "./command.ts";
import type { Work } from "./peers/peer.ts";
import { openPeer, type PeerProcess } from "./peers/spawn.ts";
import { VERSIONS } from "./peers/versions.ts";
import type { Measured } from "./record.ts";
import { describeMachine, digits, ratios, type Spread, spread, threadsText } from "./stats.ts";
import {
  BERT_BASE,
  type EncoderSize,
  type EncoderType,
  SENTENCE_TOKENS,
  writeEncoder,
} from "./synthetic_encoder.ts";

const OURS = ["f32", "f16", "int8", "int4"] as const;
const THEIRS = [
  ["onnxruntime-node", "f32"],
  ["onnxruntime-node", "int8"],
  ["onnxruntime-web", "f32"],
  ["onnxruntime-web", "int8"],
] as const;

const help = `Usage: deno task bench embed [options]

Makes a vector of each of many texts of ${
  SENTENCE_TOKENS.join(" to ")
} tokens with an encoder in the
shape of BERT-base (12 layers of 768) with random weights, which is written into a temporary folder:
Sparrow with weights in each layout, and ONNX Runtime, native and as WebAssembly, in f32 and
quantized dynamically to int8, with texts sorted by length in batches of the size that suits it best. They take turns, each in a process of its
own, after one run each that is not counted. A ratio says how many times as fast Sparrow is.

  --texts N        texts of each run (default 1000)
  --threads LIST   numbers of threads of every program (default 1 and all cores)
  --weights LIST   layouts of Sparrow's weights (default ${OURS.join(",")})
  --layers N       layers of the encoder (default ${BERT_BASE.layers})
  --runs N         measurements of each (default 3)
  --json           print { machine, versions, results, ratios }
  -h, --help       print this

"deno task bench peers --install" installs ONNX Runtime; where it is absent, a row says so.`;

/** One row: one program in one form. */
export interface EmbedResult {
  /** Who, with the layout of its weights. */
  readonly program: string;
  /** Threads that it was told to use. */
  readonly threads: number;
  /** Texts per second of the median run. */
  readonly textsPerSecond?: number;
  /** Milliseconds of a run. */
  readonly ms?: Spread;
  /** How many times as fast it is as another program, run by run; for Sparrow's rows. */
  readonly over?: Readonly<Record<string, Spread>>;
  /** Cosine between its vector of the first text and that of Sparrow with f32, or the first. */
  readonly cosine?: number;
  /** Why there is no time. */
  readonly absent?: string;
}

/** What the command prints with `--json`. */
export interface EmbedReport extends Measured {
  /** Versions of the peers' packages. */
  readonly versions: Readonly<Record<string, string>>;
  /** Rows. */
  readonly results: readonly EmbedResult[];
}

/** What is measured. */
export interface EmbedOptions {
  readonly size: EncoderSize;
  readonly texts: number;
  readonly threads: number;
  readonly weights: readonly (typeof OURS)[number][];
  /** Who else, with the layout of its weights. */
  readonly peers: readonly (readonly [name: string, weights: "f32" | "int8"])[];
  readonly runs: number;
}

interface Contestant {
  readonly program: string;
  readonly process: PeerProcess;
  readonly ms: number[];
  absent?: string;
}

/** Lets all programs make the vectors in turn. `folders` are those of the model by type. */
export async function measureEmbed(
  { size, texts, threads, weights, peers, runs }: EmbedOptions,
  folders: Readonly<Record<EncoderType, string>>,
): Promise<EmbedResult[]> {
  const all: Contestant[] = [];
  const enter = async (program: string, peer: string, work: Work): Promise<void> => {
    const process = openPeer(peer), entry: Contestant = { program, process, ms: [] };
    all.push(entry);
    const absent = await process.open(work, threads);
    if (absent !== undefined) entry.absent = absent;
  };
  try {
    for (const layout of weights) {
      const folder = folders[layout === "f16" ? "F16" : "F32"];
      const work = { kind: "embed", folder, weights: layout, size, texts } as const;
      await enter(`sparrow ${layout}`, "sparrow", work);
    }
    for (const [peer, weights] of peers) {
      const work = { kind: "embed", folder: folders.F32, weights, size, texts } as const;
      await enter(`${peer} ${weights}`, peer, work);
    }
    for (let run = 0; run <= runs; run++) {
      for (const entry of all) {
        if (entry.absent !== undefined) continue;
        const ms = await entry.process.run();
        if (typeof ms === "string") entry.absent = ms;
        else if (run > 0) entry.ms.push(ms);
      }
    }
  } finally {
    for (const { process } of all) process.close();
  }
  const theirs = all.slice(weights.length).filter(({ absent }) => absent === undefined);
  const sample = all.find(({ absent }) => absent === undefined)?.process.sample;
  return all.map(({ program, process, ms, absent }, i): EmbedResult => {
    if (absent !== undefined) return { program, threads, absent };
    const time = spread(ms), own = process.sample;
    return {
      ...{ program, threads, ms: time, textsPerSecond: digits(1000 * texts / time.median) },
      ...(i < weights.length && theirs.length > 0
        ? { over: Object.fromEntries(theirs.map((it) => [it.program, ratios(it.ms, ms)])) }
        : {}),
      ...(sample && own ? { cosine: digits(cosine(sample, own), 7) } : {}),
    };
  });
}

function cosine(a: readonly number[], b: readonly number[]): number {
  const dot = a.reduce((sum, value, i) => sum + value * b[i]!, 0);
  return dot / Math.hypot(...a) / Math.hypot(...b);
}

/** The command. */
export const embed: BenchCommand = {
  help,
  flags: {
    boolean: ["json"],
    string: ["threads", "weights"],
    whole: { runs: RUNS, texts: [1, 1e6], layers: [1, 100] },
  },
  run: benchEmbed,
};

async function benchEmbed(flags: Flags): Promise<void> {
  const named = flags.text("weights")?.split(",") ?? OURS;
  const weights = named.map((name) => {
    const layout = OURS.find((it) => it === name);
    if (layout) return layout;
    throw new UsageError(`Cannot measure weights ${quote(name)}: expected ${OURS.join(", ")}`);
  });
  const threads = numberList(flags, "threads", [1, navigator.hardwareConcurrency]);
  const layers = flags.number("layers") ?? BERT_BASE.layers, size = { ...BERT_BASE, layers };
  const texts = flags.number("texts") ?? 1000, runs = flags.number("runs") ?? 3;
  const folder = await Deno.makeTempDir({ prefix: "sparrow-encoder-" });
  const folders = { F32: `${folder}/F32`, F16: `${folder}/F16` };
  const results: EmbedResult[] = [];
  try {
    await writeEncoder(folders.F32, size, "F32");
    if (weights.includes("f16")) await writeEncoder(folders.F16, size, "F16");
    for (const count of threads) {
      const options = { size, texts, threads: count, weights, peers: THEIRS, runs };
      const rows = await measureEmbed(options, folders);
      results.push(...rows);
      if (!flags.on("json")) { for (const row of rows) writeOut(describeEmbed(row) + "\n"); }
    }
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
  if (!flags.on("json")) return;
  const report: EmbedReport = {
    ...{ machine: describeMachine(), versions: VERSIONS, results, ratios: embedRatios(results) },
  };
  writeOut(JSON.stringify(report) + "\n");
}

/** The ratios that a regression guard keeps. */
export function embedRatios(results: readonly EmbedResult[]): Record<string, Spread> {
  return Object.fromEntries(
    results.flatMap(({ program, threads, over = {} }) =>
      Object.entries(over).map(([other, ratio]) => [
        `embed: ${program}, ${threadsText(threads)}, over ${other}`,
        ratio,
      ])
    ),
  );
}

/** A row as text. */
export function describeEmbed(
  { program, threads, ms, textsPerSecond, over = {}, cosine, absent }: EmbedResult,
): string {
  const row = `${program}, ${threadsText(threads)}: `;
  if (!ms) return row + absent;
  const parts = Object.entries(over).map(([other, { median, min, max }]) =>
    `; ${median} times as fast as ${other} (${min} to ${max})`
  );
  const alike = cosine === undefined ? "" : `; cosine ${cosine}`;
  return `${row}${textsPerSecond} texts/s, ${ms.median} ms (${ms.min} to ${ms.max})` +
    parts.join("") + alike;
}
