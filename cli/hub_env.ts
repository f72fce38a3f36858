/**
 * What the environment says about hubs and the cache. Only commands read it; library code is told.
 *
 * | variable | meaning |
 * |---|---|
 * | `HF_ENDPOINT` | the hub, for mirrors |
 * | `HF_TOKEN`, or the file `HF_TOKEN_PATH`, or `$HF_HOME/token` (`~/.cache/huggingface/token`) | access token |
 * | `HF_HUB_OFFLINE` | `1`: use what is in the cache |
 * | `SPARROW_CACHE`, or `$XDG_CACHE_HOME/sparrow` (`~/.cache/sparrow`) | cache directory |
 *
 * @module
 */
import { InputError } from "../errors.ts";
import { isGranted, variable } from "./permissions.ts";
import type { ResolveOptions } from "../runtime/hub/resolve.ts";

/** The environment's part of {@linkcode ResolveOptions}. */
export type HubOptions =
  & Required<Pick<ResolveOptions, "cacheDir" | "offline">>
  & Pick<ResolveOptions, "endpoint" | "token">;

/** How a variable is looked up: in the environment, or in a table of a test. */
export type Lookup = (name: string) => string | undefined;

/**
 * Hub options from environment variables and the token's usual file.
 *
 * @throws {InputError} when nothing says where the cache is to be
 */
export function hubOptionsFromEnv(get: Lookup = variable): HubOptions {
  const env = (name: string) => get(name)?.trim() || undefined; // set but empty counts as not set
  const endpoint = env("HF_ENDPOINT");
  const token = env("HF_TOKEN") ?? tokenFile(env);
  return {
    cacheDir: env("SPARROW_CACHE") ?? `${cacheHome(env)}/sparrow`,
    offline: /^(1|on|yes|true)$/i.test(env("HF_HUB_OFFLINE") ?? ""),
    ...(endpoint !== undefined && { endpoint }),
    ...(token !== undefined && { token }),
  };
}

/** XDG Base Directory: `$XDG_CACHE_HOME` if absolute, else `~/.cache`; Windows has its own place. */
function cacheHome(env: Lookup): string {
  const xdg = env("XDG_CACHE_HOME");
  if (xdg !== undefined && /^([/\\]|[a-z]:[/\\])/i.test(xdg)) return xdg;
  if (Deno.build.os === "windows" && env("LOCALAPPDATA")) return env("LOCALAPPDATA")!;
  const home = env("HOME") ?? env("USERPROFILE");
  if (home !== undefined) return `${home}/.cache`;
  throw new InputError(
    "Cannot choose a cache directory: found neither HOME nor XDG_CACHE_HOME" +
      (isGranted({ name: "env", variable: "HOME" })
        ? "; set SPARROW_CACHE"
        : ", because reading variables is not permitted; run with --allow-env"),
  );
}

function tokenFile(env: Lookup): string | undefined {
  const home = env("HF_HOME") ?? `${cacheHome(env)}/huggingface`;
  const path = env("HF_TOKEN_PATH") ?? `${home}/token`;
  if (!isGranted({ name: "read", path })) return undefined;
  try {
    return Deno.readTextFileSync(path).trim() || undefined;
  } catch {
    return undefined; // no file, or none that we may read: most models need no token
  }
}
