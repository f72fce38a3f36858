/**
 * Which of several kernels for the same work an adapter gets: those that a short timing on it found
 * fastest, unless the caller says which. Times are kept for the life of the process, and longer
 * where the caller gives a place for them.
 *
 * @module
 */

import { BackendError } from "../../../errors.ts";
import { quote } from "../../../escape.ts";
import { checkValue } from "../../../options.ts";
import type { OpenDevice } from "./device.ts";
import { type KernelTimes, TIMED, timedShaders, timeKernels } from "./timing.ts";
import {
  type TimesCache,
  VARIANT_RULES,
  type VariantOptions,
  type Variants,
} from "./variant_options.ts";

export type { KernelTimes };

/** Variants, and why. */
export interface ChosenVariants extends Variants {
  /** Microseconds of what was timed, by name; none where nothing was. */
  readonly times: KernelTimes;
}

/** Gains below which the more exact variant stays. */
const F16_GAIN = 0.9, INTEGER_GAIN = 0.8;

/** Times by adapter and kernels. */
const known = new Map<string, Promise<KernelTimes>>();

/**
 * The variants for a device, and the times that decided where they were asked.
 *
 * @throws InputError when an option is none of the choices
 * @throws BackendError when an option asks for what the adapter has not
 */
export async function chooseVariants(
  open: OpenDevice,
  options: VariantOptions = {},
  time: (open: OpenDevice) => Promise<KernelTimes> = timeKernels,
): Promise<ChosenVariants> {
  checkOptions(open, options);
  const { arithmetic, reduction, integer, measure = !open.facts.software } = options;
  const isOpen = [arithmetic, reduction, integer].includes(undefined);
  const times = isOpen && measure ? await timesOf(open, options.cache, time) : {};
  return { ...fastest(times, open, options), times };
}

function checkOptions({ facts }: OpenDevice, options: VariantOptions): void {
  const { arithmetic, reduction } = options;
  for (const name of ["arithmetic", "reduction", "integer"] as const) {
    if (options[name] !== undefined) {
      checkValue("use webgpu", name, options[name], VARIANT_RULES[name]);
    }
  }
  if (arithmetic === "f16" && !facts.f16) {
    throw new BackendError(
      `Cannot use webgpu with arithmetic "f16": adapter ${quote(facts.name)} ` +
        `has no shader-f16; use "f32"`,
    );
  }
  if (reduction === "subgroup" && !facts.subgroups) {
    throw new BackendError(
      `Cannot use webgpu with reduction "subgroup": adapter ${quote(facts.name)} ` +
        `has no subgroups that ` +
        `kernels can use; use "shared"`,
    );
  }
}

/** Times of this process, of the cache, or new ones. */
function timesOf(
  open: OpenDevice,
  cache: TimesCache | undefined,
  time: (open: OpenDevice) => Promise<KernelTimes>,
): Promise<KernelTimes> {
  const { facts: { f16, subgroups }, identity } = open;
  const key = `${identity} ${f16 ? "f16 " : ""}${subgroups ? "subgroups " : ""}${kernelsHash()}`;
  let times = known.get(key);
  if (!times) {
    times = (async () => {
      const kept = parseTimes(await cache?.read(key).catch(() => undefined));
      if (kept) return kept;
      const fresh = await time(open);
      // Measured again next time, if it cannot be kept.
      await cache?.write(key, JSON.stringify(fresh)).catch(() => {});
      return fresh;
    })();
    known.set(key, times);
  }
  return times.catch(() => {
    // A device that fails here fails again where it is used, and says so.
    known.delete(key);
    return {};
  });
}

function parseTimes(text: string | undefined): KernelTimes | undefined {
  try {
    const times: unknown = JSON.parse(text ?? "null");
    const isRecord = typeof times === "object" && times !== null && !Array.isArray(times);
    const isRight = isRecord && Object.values(TIMED).every((name) => {
      const time = (times as KernelTimes)[name];
      return time === undefined || typeof time === "number" && time > 0;
    });
    return isRight && TIMED.tile in times ? times as KernelTimes : undefined;
  } catch {
    return undefined;
  }
}

function fastest(
  times: KernelTimes,
  { facts }: OpenDevice,
  { arithmetic, reduction, integer }: VariantOptions,
): Variants {
  const of = (name: string): number => times[name] ?? Infinity;
  // Of one token and of many: a model does both.
  const both = (vector: string, tile: string): number => Math.sqrt(of(vector) * of(tile));
  reduction ??= facts.subgroups && !(of(TIMED.shared) < of(TIMED.subgroup)) ? "subgroup" : "shared";
  const f32 = both(TIMED[reduction], TIMED.tile), f16 = both(TIMED.f16, TIMED.tileF16);
  arithmetic ??= facts.f16 && f16 < F16_GAIN * f32 ? "f16" : "f32";
  const float = arithmetic === "f16" ? f16 : f32;
  integer ??= both(TIMED.bytes, TIMED.tileBytes) < INTEGER_GAIN * float;
  return { arithmetic, reduction, integer };
}

/** Changes when the kernels do (FNV-1a). */
function kernelsHash(): string {
  let hash = 0x811c9dc5;
  for (const { code } of timedShaders()) {
    for (let i = 0; i < code.length; i++) {
      hash = Math.imul(hash ^ code.charCodeAt(i), 0x01000193);
    }
  }
  return (hash >>> 0).toString(16);
}
