/**
 * A model of a hub by its spec, wherever the program runs: from the cache where its permissions allow
 * one, straight from the hub where they do not, and in a page from what the browser keeps.
 *
 * @module
 */

import { openModelFile } from "../files/open.ts";
import { isGranted, readEnvironment } from "./environment.ts";
import type { FindOptions, FoundModel, HubOptions } from "./options.ts";
import { type HubSpec, parseModelSpec } from "./spec.ts";

/**
 * Finds a model of a hub, `hf:ORG/REPO[@REVISION][:FILE-or-QUANT-TAG]`; downloads it where it is kept.
 *
 * @throws {InputError} when the spec, the pick in it or an option is unusable
 * @throws {SourceError} when the model cannot be had
 */
export async function findHubModel(
  source: string | URL,
  options: FindOptions = {},
): Promise<FoundModel> {
  const text = String(source), { signal, weights = true } = options;
  const spec = parseModelSpec(text) as HubSpec;
  signal?.throwIfAborted();
  const hub = withEnvironment(options.hub);
  if ("Deno" in globalThis && hub.cache !== false && hub.cacheDir !== undefined) {
    const { cacheDir, endpoint, token, offline = false } = hub;
    if (mayUse(cacheDir, offline) && (weights || offline)) {
      const { resolveModel } = await import("./resolve.ts");
      const path = await resolveModel(text, {
        cacheDir,
        offline,
        signal,
        token,
        ...(endpoint !== undefined && { endpoint }),
        ...(options.onProgress && { onProgress: options.onProgress }),
        ...(options.onWarning && { onWarning: options.onWarning }),
      });
      return { open: (how) => openModelFile(path, how) };
    }
  }
  const { findRemote } = await import("./remote.ts");
  return await findRemote(spec, { ...options, hub });
}

/** The options with what the environment says beside them. Its token is for its own hub. */
function withEnvironment(given: HubOptions = {}): HubOptions {
  if (!("Deno" in globalThis)) return given;
  const { token, ...others } = readEnvironment();
  const own = given.endpoint === undefined && token !== undefined;
  return { ...others, ...(own && { token }), ...given };
}

/** Whether the cache can be used without asking for a permission. */
function mayUse(cacheDir: string, offline: boolean): boolean {
  const names = offline ? ["read"] as const : ["read", "write"] as const;
  return names.every((name) =>
    ["hub", "locks"].every((folder) => isGranted({ name, path: `${cacheDir}/${folder}` }))
  );
}
