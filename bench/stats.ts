/**
 * Numbers of repeated measurements, and what machine they were taken on.
 *
 * @module
 */

/** Spread of repeated measurements. */
export interface Spread {
  /** Smallest. */
  readonly min: number;
  /** Middle one, the mean of the two middle ones of an even count. */
  readonly median: number;
  /** Largest. */
  readonly max: number;
}

/** Spread of at least one value, to four significant digits. */
export function spread(values: readonly number[]): Spread {
  const sorted = values.toSorted((a, b) => a - b);
  const middle = sorted.length >> 1;
  const median = sorted.length % 2 ? sorted[middle]! : (sorted[middle - 1]! + sorted[middle]!) / 2;
  return { min: digits(sorted[0]!), median: digits(median), max: digits(sorted.at(-1)!) };
}

/** A number to four significant digits, or as many as are wanted. */
export function digits(value: number, count = 4): number {
  return Number(value.toPrecision(count));
}

/** Ratios of measurements that were taken in turn, pair by pair. */
export function ratios(ours: readonly number[], theirs: readonly number[]): Spread {
  return spread(ours.map((value, i) => value / theirs[i]!));
}

/** What the measurements were taken on. */
export interface Machine {
  /** Processor as it calls itself. */
  readonly cpu: string;
  /** Logical processors. */
  readonly cores: number;
  /** Memory of the whole machine, in bytes. */
  readonly memoryBytes: number;
  /** Operating system and architecture. */
  readonly os: string;
  /** Versions of Deno and V8. */
  readonly deno: string;
  /** Versions of Deno and V8. */
  readonly v8: string;
  /** GPU, where one was measured. */
  readonly adapter?: string;
}

/** Describes this machine. */
export function describeMachine(): Machine {
  let cpu = "unknown";
  try {
    cpu = /model name\s*:\s*(.+)/.exec(Deno.readTextFileSync("/proc/cpuinfo"))?.[1] ?? cpu;
  } catch {
    // No /proc here.
  }
  return {
    cpu,
    cores: navigator.hardwareConcurrency,
    memoryBytes: Deno.systemMemoryInfo().total,
    os: `${Deno.build.os} ${Deno.build.arch}`,
    deno: Deno.version.deno,
    v8: Deno.version.v8,
  };
}

/** `1 thread`, `2 threads`. */
export function threadsText(threads: number): string {
  return threads === 1 ? "1 thread" : `${threads} threads`;
}

/**
 * Time of one repetition, from the times of many and of few: what both wait for does not count.
 * Where something else slowed the few down, it is what the many took at most.
 */
export function perRepeat(many: number, manyTime: number, few: number, fewTime: number): number {
  const difference = (manyTime - fewTime) / (many - few), most = manyTime / many;
  return difference > most / 4 ? Math.min(difference, most) : most;
}
