/**
 * What a program has to do to be compared: one file of this folder for each, which exports a
 * `Peer`. Each runs in a process of its own (process.ts).
 *
 * @module
 */

import { SparrowError } from "../../errors.ts";
import type { EncoderSize } from "../synthetic_encoder.ts";

/** What all do, the same for each. */
export type Work =
  | {
    /** A product `[tokens, columns] · [rows, columns]ᵀ` with constant weights. */
    readonly kind: "matmul";
    /** Weights: INT4 in blocks of 32 with one scale each, or f32. */
    readonly layout: "int4" | "f32";
    readonly tokens: number;
    readonly rows: number;
    readonly columns: number;
  }
  | {
    /** Generation of some tokens after `position` others, the likeliest each time. */
    readonly kind: "decode";
    /** GGUF file. */
    readonly model: string;
    readonly position: number;
    readonly tokens: number;
  }
  | {
    /** A prompt, from an empty cache to the first token's logits. */
    readonly kind: "prefill";
    /** GGUF file. */
    readonly model: string;
    readonly tokens: number;
  }
  | {
    /** Vectors of short texts by the encoder of synthetic_encoder.ts: the mean of the last states. */
    readonly kind: "embed";
    /** Folder of the model, for those who read one; others make the same weights. */
    readonly folder: string;
    /** How the matrices are stored, where there is a choice; activations are int8 with integers. */
    readonly weights: "f32" | "f16" | "int8" | "int4";
    readonly size: EncoderSize;
    readonly texts: number;
  };

/** One program. */
export interface Peer {
  /** As it calls itself. */
  readonly name: string;
  /** What it does and how, for the report. */
  readonly what: string;
  /**
   * Makes a work ready.
   *
   * @throws Absent when this program cannot do it, or is not here
   */
  open(work: Work, threads: number): Promise<Job>;
}

/** A work that is ready. */
export interface Job {
  /** Does it once; milliseconds. */
  run(): Promise<number>;
  /** Some numbers of what came out, for a comparison, where there is one. */
  sample?(): number[];
}

/** A program cannot do a work; the message is one sentence for the report. */
export class Absent extends SparrowError {}

/** Where peers are installed, ignored by git; see versions.ts. */
export const PEERS_FOLDER: URL = new URL("../../.cache/peers/", import.meta.url);

/**
 * Loads a file of an installed package.
 *
 * @throws Absent when the package is not installed
 */
// deno-lint-ignore no-explicit-any -- packages that are not among our imports have no types here
export async function loadPackage(name: string, file: string): Promise<any> {
  const folder = new URL(`node_modules/${name}/`, PEERS_FOLDER);
  try {
    await Deno.stat(folder);
  } catch {
    throw new Absent(`${name} is not installed; "deno task bench peers --install" does that`);
  }
  return await import(new URL(file, folder).href);
}

/** Milliseconds that a task takes. */
export async function timed(task: () => Promise<unknown>): Promise<number> {
  const begun = performance.now();
  await task();
  return performance.now() - begun;
}

/** Token ids that any model has, the same for all. */
export function tokenIds(count: number): number[] {
  return Array.from({ length: count }, (_, i) => 3 + i * 7919 % 256);
}

/** Numbers from -1 to 1, the same for all. */
export function numbers(count: number): Float32Array<ArrayBuffer> {
  return Float32Array.from({ length: count }, (_, i) => (i * 7919 % 2003) / 1001 - 1);
}

/** A short name of a work. */
export function describeWork(work: Work): string {
  if (work.kind === "matmul") {
    return `${work.layout} ${work.tokens}x${work.rows}x${work.columns}`;
  }
  if (work.kind === "embed") return `${work.texts} texts`;
  const model = work.model.replace(/^.*[/\\]/, "");
  return work.kind === "prefill"
    ? `${model}, prompt of ${work.tokens}`
    : `${model}, ${work.tokens} tokens at ${work.position}`;
}
