/**
 * The limits of this machine, measured: what kernels are compared with. Each is taken on as many
 * threads as the kernel has, right beside it, because other work on the machine moves both.
 *
 * @module
 */

import { hasRelaxedSimd } from "../../runtime/backends/wasm/module.ts";
import { lastLevelCacheBytes, type LimitName } from "./limits.ts";

/** What one unit of a task's amount is, in bytes or operations, on one thread. */
const OPERATIONS = { madd: 96, dot: hasRelaxedSimd() ? 384 : 192, cache: 2 ** 17 };

/** What the module declares at least, as the kernels do; see kernels/build.ts. */
const DECLARED_PAGES = 160;

/** A measurement is at least this long. */
const LEAST_MS = 12;

/** Measures limits. */
export interface Calibrator {
  /** Whether native code can be measured too. */
  readonly native: boolean;
  /** One measurement on some threads, in GB/s or billions of operations per second. */
  measure(limit: LimitName, threads: number): Promise<number>;
  /** Ends the workers. */
  dispose(): void;
}

/**
 * Starts as many workers as the largest number of threads that will be asked for. `bytes` are what
 * all of them read together, far more than the last level of cache where absent.
 */
export async function createCalibrator(
  mostThreads: number,
  bytes: number = Math.min(2 ** 30, Math.max(3 * 2 ** 26, 6 * lastLevelCacheBytes())),
): Promise<Calibrator> {
  const module = await WebAssembly.compile(await compileLimits());
  const share = Math.ceil(bytes / mostThreads / 2 ** 17) * 2 ** 17;
  const pages = Math.max(DECLARED_PAGES, share * mostThreads / 2 ** 16 + 16);
  const memory = new WebAssembly.Memory({ initial: pages, maximum: 65536, shared: true });
  const gate = new Int32Array(new SharedArrayBuffer(4));
  const workers = Array.from(
    { length: mostThreads },
    () => new Worker(new URL("worker.js", import.meta.url), { type: "module" }),
  );
  const ask = <T>(worker: Worker, message: unknown): Promise<T> =>
    new Promise((resolve, reject) => {
      worker.onmessage = ({ data }) => resolve(data);
      worker.onerror = (event) => {
        event.preventDefault();
        reject(new Error(`the measuring worker failed: ${event.message}`));
      };
      worker.postMessage(message);
    });
  const answers = await Promise.all(workers.map((worker, i) => {
    const address = 2 ** 20 + i * share;
    return ask<{ native: boolean }>(worker, { module, memory, gate, address, bytes: share });
  }));
  const native = answers.every((answer) => answer.native);
  const amounts = new Map<string, number>();
  const time = async (task: LimitName, threads: number, amount: number): Promise<number> => {
    const message = { task, workers: threads, amount, before: Atomics.load(gate, 0) };
    const parts = await Promise.all(
      workers.slice(0, threads).map((worker) => ask<{ ms: number }>(worker, message)),
    );
    return Math.max(...parts.map(({ ms }) => ms));
  };
  return {
    native,
    async measure(limit, threads) {
      const key = `${limit} ${threads}`;
      let amount = amounts.get(key);
      if (amount === undefined) {
        // The first call compiles; a task that is too short to time is made longer.
        amount = limit.startsWith("dram") ? 1 : 4096;
        await time(limit, threads, amount);
        while (await time(limit, threads, amount) < LEAST_MS) amount *= 2;
        amounts.set(key, amount);
      }
      const unit = limit.startsWith("dram") ? share : OPERATIONS[limit as keyof typeof OPERATIONS];
      return unit * amount * threads / await time(limit, threads, amount) / 1e6;
    },
    dispose() {
      for (const worker of workers) worker.terminate();
    },
  };
}

/** Compiles limits.as.ts as the kernels are compiled; see kernels/build.ts. */
async function compileLimits(): Promise<Uint8Array<ArrayBuffer>> {
  const source = await Deno.readTextFile(new URL("limits.as.ts", import.meta.url));
  let output: Uint8Array<ArrayBuffer> | undefined;
  const flags = "-O0 --runtime=stub --use=abort= --noAssert --importMemory --sharedMemory " +
    `--initialMemory=${DECLARED_PAGES} --maximumMemory=65536 --enable=simd,threads`;
  const relaxed = hasRelaxedSimd() ? ["--enable=relaxed-simd"] : [];
  // By a value: what import() names in so many words is fetched before a command starts, for --help too.
  const compiler: string = new URL("../../kernels/asc.ts", import.meta.url).href;
  const { default: asc }: typeof import("../../kernels/asc.ts") = await import(compiler);
  const { error, stderr } = await asc.main(
    ["limits.ts", "--outFile=out.wasm", ...flags.split(" "), ...relaxed],
    {
      readFile: (name: string) => name === "limits.ts" ? source : null,
      writeFile: (_: string, contents: string | Uint8Array) => {
        output = contents as Uint8Array<ArrayBuffer>;
      },
      listFiles: () => [],
    },
  );
  if (error || !output) throw new Error(`asc failed\n${stderr}`);
  return output;
}
