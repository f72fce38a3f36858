/**
 * The flag that says which kernels a GPU gets, and the file in the cache directory that keeps what
 * was measured about them.
 *
 * @module
 */

import type { TimesCache, VariantOptions } from "../runtime/backends/webgpu/variant_options.ts";
import { quote } from "../escape.ts";
import { type Flags, UsageError } from "./command.ts";
import { hubOptionsFromEnv } from "./hub_env.ts";
import { isGranted } from "./permissions.ts";

/** Help text of `--gpu-kernels`. */
export const GPU_KERNELS_HELP =
  `  --gpu-kernels LIST  f32 or f16, subgroup or shared, float or integer, as in f16,integer: what the
                      GPU computes in, adds up by, and multiplies (default: the fastest, measured once)`;

/** What each word of the list chooses. */
const WORDS: Readonly<Record<string, VariantOptions>> = {
  f32: { arithmetic: "f32" },
  f16: { arithmetic: "f16" },
  subgroup: { reduction: "subgroup" },
  shared: { reduction: "shared" },
  float: { integer: false },
  integer: { integer: true },
};

/**
 * Options of the `webgpu` backend that the flags name, with the file that keeps times.
 *
 * @throws UsageError when a word of the list is none, or two choose differently
 */
export function gpuOptions(flags: Flags): VariantOptions {
  let options: VariantOptions = {};
  for (const word of flags.text("gpu-kernels")?.split(",") ?? []) {
    const choice = Object.hasOwn(WORDS, word) ? WORDS[word]! : undefined;
    if (!choice || Object.keys(choice).some((name) => name in options)) {
      throw new UsageError(
        `Cannot use --gpu-kernels ${quote(flags.text("gpu-kernels"))}: found ${quote(word)}, ` +
          `expected at most ` +
          `one each of f32 or f16, subgroup or shared, float or integer, with commas between`,
      );
    }
    options = { ...options, ...choice };
  }
  const cache = timesFile();
  return { ...options, ...(cache && { cache }) };
}

/** A JSON file of texts by key; none where there is no cache directory, or it may not be written. */
function timesFile(): TimesCache | undefined {
  let folder: string;
  try {
    folder = hubOptionsFromEnv().cacheDir;
  } catch {
    return undefined;
  }
  folder = `${folder}/gpu`;
  if (!isGranted({ name: "write", path: folder })) return undefined;
  const path = `${folder}/times.json`;
  const load = async (): Promise<Record<string, unknown>> => {
    try {
      return Object(JSON.parse(await Deno.readTextFile(path)));
    } catch {
      return {}; // none yet, or damaged: measured again
    }
  };
  return {
    async read(key) {
      const text = (await load())[key];
      return typeof text === "string" ? text : undefined;
    },
    async write(key, text) {
      const kept = { ...await load(), [key]: text };
      await Deno.mkdir(folder, { recursive: true });
      // Another process may read at the same time.
      const part = `${path}.${crypto.randomUUID()}`;
      await Deno.writeTextFile(part, JSON.stringify(kept, null, 2));
      await Deno.rename(part, path);
    },
  };
}
