/**
 * `deno task bench peers`: the same work done by other programs, in turn with Sparrow's, so that
 * whatever else the machine does meets all of them.
 *
 * @module
 */

import { type Flags, UsageError, writeOut } from "../cli/command.ts";
import { quote } from "../escape.ts";
import { type BenchCommand, checkModelPath, numberList, RUNS, TOKENS } from "./command.ts";
import { describeWork, type Work } from "./peers/peer.ts";
import { openPeer, type PeerProcess } from "./peers/spawn.ts";
import { CPU_PEERS, PEERS } from "./peers/table.ts";
import { installPeers, VERSIONS } from "./peers/versions.ts";
import type { Measured } from "./record.ts";
import { describeMachine, digits, ratios, type Spread, spread, threadsText } from "./stats.ts";

const help = `Usage: deno task bench peers [options]

Does the same work with Sparrow and with other programs, A B C A B C, each in a process of its own,
after one run each that is not counted. A ratio says how many times as fast Sparrow is.

  --install           install the peers into .cache/peers with npm, about 1.3 GB, and do nothing else
  --model M           also generate and read prompts with this GGUF file; may be given again
  --threads LIST      numbers of threads of every program (default 1 and all cores)
  --peers LIST        only these: ${CPU_PEERS.join(", ")}
  --filter TEXT       only work whose name holds TEXT
  --position N        tokens before those that are generated (default 256)
  --gen-tokens N      tokens that are generated and timed (default 24)
  --prompt-tokens L   lengths of prompts (default 256,512)
  --runs N            measurements of each (default 5)
  --json              print { machine, versions, results, ratios }
  -h, --help          print this

A program that is not installed, or cannot do a work, is a row that says so.`;

/** One row: one program, one work. */
export interface PeerResult {
  /** What was done: reading a prompt or generating, of how many tokens. */
  readonly work: string;
  /** Threads that the program was told to use. */
  readonly threads: number;
  /** The program. */
  readonly peer: string;
  /** How it was run; absent where it was not. */
  readonly what?: string;
  /** Milliseconds. */
  readonly ms?: Spread;
  /** Tokens, or billions of operations, per second of the median run. */
  readonly rate?: number;
  /** How many times as fast Sparrow is, run by run. */
  readonly sparrowIsFaster?: Spread;
  /** Why there is no time. */
  readonly absent?: string;
}

/** What the command prints with `--json`. */
export interface PeersResult extends Measured {
  /** Versions of the peers' packages. */
  readonly versions: Readonly<Record<string, string>>;
  /** Rows. */
  readonly results: readonly PeerResult[];
}

/** Products that are compared: those of a feed-forward layer, and a square one in f32. */
const PRODUCTS: readonly Work[] = [
  { kind: "matmul", layout: "int4", tokens: 256, rows: 4096, columns: 4096 },
  { kind: "matmul", layout: "int4", tokens: 1, rows: 4096, columns: 4096 },
  { kind: "matmul", layout: "f32", tokens: 1024, rows: 1024, columns: 1024 },
];

/** Does one work with all the programs, in turn; the first is what the others are compared with. */
export async function comparePeers(
  work: Work,
  threads: number,
  names: readonly string[],
  runs: number,
): Promise<PeerResult[]> {
  const row = { work: describeWork(work), threads };
  const processes: { name: string; process: PeerProcess; ms: number[]; absent?: string }[] = [];
  try {
    for (const name of names) {
      const process = openPeer(name);
      const absent = await process.open(work, threads);
      processes.push({ name, process, ms: [], ...(absent === undefined ? {} : { absent }) });
    }
    for (let run = 0; run <= runs; run++) {
      for (const it of processes) {
        if (it.absent !== undefined) continue;
        const ms = await it.process.run();
        if (typeof ms === "string") it.absent = ms;
        else if (run > 0) it.ms.push(ms);
      }
    }
  } finally {
    for (const { process } of processes) process.close();
  }
  const [ours] = processes;
  return processes.map(({ name, process, ms, absent }, i): PeerResult => {
    if (absent !== undefined) return { ...row, peer: name, absent };
    const time = spread(ms);
    return {
      ...row,
      peer: name,
      what: process.what,
      ms: time,
      rate: digits(amountOf(work) / time.median),
      ...(ours && ours.absent === undefined && i > 0
        ? { sparrowIsFaster: ratios(ms, ours.ms) }
        : {}),
    };
  });
}

/** Thousands of tokens or texts, or millions of operations. */
function amountOf(work: Work): number {
  if (work.kind === "embed") return 1000 * work.texts;
  if (work.kind !== "matmul") return 1000 * work.tokens;
  return 2 * work.tokens * work.rows * work.columns / 1e6;
}

/** The command. */
export const peers: BenchCommand = {
  help,
  flags: {
    boolean: ["json", "install"],
    string: ["threads", "peers", "filter", "prompt-tokens"],
    collect: ["model"],
    whole: { "runs": RUNS, "position": TOKENS, "gen-tokens": [1, TOKENS[1]] },
  },
  run: benchPeers,
};

async function benchPeers(flags: Flags): Promise<void> {
  if (flags.on("install")) return await installPeers();
  const wanted = flags.text("peers")?.split(",") ?? CPU_PEERS;
  const unknown = wanted.find((name) => !Object.hasOwn(PEERS, name));
  if (unknown !== undefined) {
    const known = Object.keys(PEERS).join(", ");
    throw new UsageError(`Cannot compare with ${quote(unknown)}: expected ${known}`);
  }
  flags.texts("model").forEach(checkModelPath);
  const names = ["sparrow", ...wanted.filter((name) => name !== "sparrow")];
  const works = worksOf(flags).filter((it) =>
    describeWork(it).includes(flags.text("filter") ?? "")
  );
  if (works.length === 0) {
    throw new UsageError(`Cannot compare: no work matches --filter ${quote(flags.text("filter"))}`);
  }
  const results: PeerResult[] = [];
  for (const work of works) {
    for (const threads of numberList(flags, "threads", [1, navigator.hardwareConcurrency])) {
      const rows = await comparePeers(work, threads, names, flags.number("runs") ?? 5);
      results.push(...rows);
      if (!flags.on("json")) { for (const row of rows) writeOut(describePeer(row) + "\n"); }
    }
  }
  if (!flags.on("json")) return;
  writeOut(
    JSON.stringify(
      {
        machine: describeMachine(),
        versions: VERSIONS,
        results,
        ratios: peerRatios(results),
      } satisfies PeersResult,
    ) + "\n",
  );
}

function worksOf(flags: Flags): Work[] {
  const position = flags.number("position") ?? 256, tokens = flags.number("gen-tokens") ?? 24;
  const prompts = numberList(flags, "prompt-tokens", [256, 512]);
  return [
    ...PRODUCTS,
    ...flags.texts("model").flatMap((model): Work[] => [
      { kind: "decode", model, position, tokens },
      ...prompts.map((tokens): Work => ({ kind: "prefill", model, tokens })),
    ]),
  ];
}

/** The ratios that a regression guard keeps. */
export function peerRatios(results: readonly PeerResult[]): Record<string, Spread> {
  return Object.fromEntries(
    results.filter((it) => it.sparrowIsFaster).map((it) => [
      `peers: ${it.work}, ${threadsText(it.threads)}, over ${it.peer}`,
      it.sparrowIsFaster!,
    ]),
  );
}

/** A row as text. */
export function describePeer(
  { work, threads, peer, ms, rate, sparrowIsFaster, absent }: PeerResult,
): string {
  const row = `${work}, ${threadsText(threads)}, ${peer}: `;
  if (!ms) return row + absent;
  const unit = work.includes("x") && !work.includes(",") ? "GOP/s" : "tokens/s";
  const ratio = sparrowIsFaster
    ? `; Sparrow is ${sparrowIsFaster.median} times as fast ` +
      `(${sparrowIsFaster.min} to ${sparrowIsFaster.max})`
    : "";
  return `${row}${ms.median} ms (${ms.min} to ${ms.max}), ${rate} ${unit}${ratio}`;
}
