/**
 * Flags that were given and change nothing, as notes for stderr: whoever typed them expects something
 * else than will happen.
 *
 * @module
 */

import type { Model } from "../mod.ts";
import type { Flags } from "./flags.ts";

/** Backends that have no use for a flag, for flags that only some of them read. */
const IDLE: Readonly<Record<string, readonly string[]>> = {
  "threads": ["webgpu", "reference"],
  "gpu-kernels": ["wasm", "reference"],
  "gpu-layers": ["wasm", "reference"],
};

/** `--FLAG has no effect with REASON`. */
function idle(flag: string, reason: string): string {
  return `--${flag} has no effect ${reason}`;
}

function isGiven(flags: Flags, name: string): boolean {
  return flags.on(name) || flags.text(name) !== undefined;
}

/** Values that leave one token to choose from, the most likely one. */
const GREEDY: readonly (readonly [flag: string, value: number])[] = [
  ["temperature", 0],
  ["top-k", 1],
  ["top-p", 0],
  ["min-p", 1],
];

/** Notes on sampling flags: the most likely token leaves nothing to choose. */
export function samplingNotes(flags: Flags): string[] {
  const greedy = GREEDY.find(([flag, value]) => flags.number(flag) === value);
  if (!greedy) return [];
  const reason = `with --${greedy.join(" ")}, which takes the most likely token`;
  return ["seed", ...GREEDY.map(([flag]) => flag)]
    .filter((flag) => flag !== greedy[0] && isGiven(flags, flag))
    .map((flag) => idle(flag, reason));
}

/** Notes on flags of `generate` that speak of text where ids are meant. */
export function idNotes(flags: Flags): string[] {
  if (!flags.on("ids")) return [];
  return ["special", "show-special"].filter((it) => flags.on(it)).map((it) =>
    idle(it, "with --ids")
  );
}

/** Notes on flags of `quantize` that say what is read, where nothing is. */
export function quantizeNotes(flags: Flags): string[] {
  const isNearest = flags.text("method") === "nearest";
  // A comparison reads texts of its own.
  if (flags.on("verify") || flags.text("report") !== undefined) return [];
  if (!isNearest && flags.text("imatrix") === undefined) return [];
  const reason = isNearest
    ? "with --method nearest, which reads no texts"
    : "with --imatrix, which stands in for texts";
  return ["tokens", "seed"].filter((it) => flags.number(it) !== undefined)
    .map((it) => idle(it, reason));
}

/** Notes that need no model. */
export function loadingNotes(flags: Flags): string[] {
  const backend = flags.text("backend");
  if (backend === undefined || backend === "auto") return [];
  // Loading refuses layers on a GPU that is not to be used.
  if ((flags.number("gpu-layers") ?? 0) > 0 && backend !== "webgpu") return [];
  return backendNotes(flags, backend, `with --backend ${backend}`);
}

/** Notes on what a loaded model made of the flags. */
export function runningNotes(
  flags: Flags,
  model: Pick<Model, "backend" | "hasTokenizer">,
): string[] {
  const named = flags.text("backend");
  const reason = named === model.backend
    ? `with --backend ${named}`
    : `here: the model runs on ${model.backend}`;
  const notes = backendNotes(flags, model.backend, reason);
  if (!model.hasTokenizer && isGiven(flags, "stop")) {
    notes.push(idle("stop", "with a model that came without a tokenizer"));
  }
  return notes;
}

function backendNotes(flags: Flags, backend: string, reason: string): string[] {
  // Of a divided model each part has its own; none on the GPU is what `wasm` does anyway.
  const layers = flags.number("gpu-layers");
  const isDivided = backend === "webgpu" && layers !== undefined && layers > 0;
  return Object.entries(IDLE).filter(([flag, backends]) =>
    isGiven(flags, flag) && backends.includes(backend) && !isDivided &&
    !(flag === "gpu-layers" && layers === 0)
  ).map(([flag]) => idle(flag, reason));
}
