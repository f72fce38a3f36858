/**
 * What the hub tests share: a hub, an empty cache, impatient settings and seeded content.
 *
 * @module
 */
import { resolveModel, type ResolveOptions } from "../runtime/hub/resolve.ts";
import { type Fault, type Seen, TestHub } from "./hub_server.ts";

/** Impatient: waits are milliseconds, and a small file has several segments. */
export const TUNING = {
  retries: 8,
  firstRetries: 8,
  backoffMs: 2,
  maxWaitMs: 40,
  stallMs: 250,
  segmentBytes: 64 << 10,
};
/** The access token that must turn up nowhere. */
export const TOKEN = "hf_t0p-s3cret";

/** Mulberry32: the same faults on every run. */
export function random(seed: number): () => number {
  return () => {
    let t = seed += 0x6d2b79f5;
    t = Math.imul(t ^ (t >>> 15), t | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
}

/** Seeded bytes. */
export function content(size: number, seed = 1): Uint8Array<ArrayBuffer> {
  const next = random(seed), bytes = new Uint8Array(size);
  for (let i = 0; i < size; i++) bytes[i] = next() * 256;
  return bytes;
}

/** A hub with an empty cache of its own. */
export interface Bench extends AsyncDisposable {
  readonly hub: TestHub;
  readonly dir: string;
  /** `resolveModel` with this bench's hub, cache and patience. */
  get(spec: string, options?: Partial<ResolveOptions>): Promise<string>;
}

/** Starts a bench. */
export async function bench(): Promise<Bench> {
  const hub = new TestHub();
  const dir = await Deno.makeTempDir({ prefix: "sparrow_hub_" });
  return {
    hub,
    dir,
    get: (spec, options) =>
      resolveModel(spec, { cacheDir: dir, endpoint: hub.endpoint, tuning: TUNING, ...options }),
    async [Symbol.asyncDispose]() {
      await hub[Symbol.asyncDispose]();
      await Deno.remove(dir, { recursive: true });
    },
  };
}

/** Faults on the storage host, once each, in order of its requests. */
export function inTurn(...faults: (Fault | undefined)[]): (request: Seen) => Fault | undefined {
  return ({ server }) => (server === "cdn" ? faults.shift() : undefined);
}

/** Paths of all files under a directory. */
export async function filesUnder(dir: string): Promise<string[]> {
  const found: string[] = [];
  for await (const entry of Deno.readDir(dir)) {
    if (entry.isDirectory) found.push(...await filesUnder(`${dir}/${entry.name}`));
    else found.push(`${dir}/${entry.name}`);
  }
  return found;
}

/** What the cache offers as whole. */
export async function wholeFiles(dir: string): Promise<string[]> {
  return (await filesUnder(dir)).filter((path) => path.includes("/files/"));
}
