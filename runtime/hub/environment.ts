/**
 * What the environment says about hubs and the cache, as far as the program's permissions let it be
 * read; nothing here makes Deno ask on the terminal.
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
import { InputError } from "../../errors.ts";
import type { ResolveOptions } from "./context.ts";

/** The environment's part of {@linkcode ResolveOptions}. */
export type HubOptions =
  & Required<Pick<ResolveOptions, "cacheDir" | "offline">>
  & Pick<ResolveOptions, "endpoint" | "token">;

/** Whether a permission is there already, so that using it cannot make Deno ask on the terminal. */
export function isGranted(descriptor: Deno.PermissionDescriptor): boolean {
  return Deno.permissions.querySync(descriptor).state === "granted";
}

/** An environment variable; undefined where it is not set, or the program may not know. */
export function variable(name: string): string | undefined {
  return isGranted({ name: "env", variable: name }) ? Deno.env.get(name) : undefined;
}

/** How a variable is looked up: in the environment, or in a table of a test. */
export type Lookup = (name: string) => string | undefined;

/**
 * Hub options from environment variables and the token's usual file, for commands, which keep what
 * they download.
 *
 * @throws {InputError} when nothing says where the cache is to be
 */
export function hubOptionsFromEnv(get: Lookup = variable): HubOptions {
  const { cacheDir, ...others } = readEnvironment(get);
  if (cacheDir !== undefined) return { cacheDir, ...others };
  throw new InputError(
    "Cannot choose a cache directory: found neither HOME nor XDG_CACHE_HOME" +
      (isGranted({ name: "env", variable: "HOME" })
        ? "; set SPARROW_CACHE"
        : ", because reading variables is not permitted; run with --allow-env"),
  );
}

/** The same for everyone: without a cache where nothing says where it is to be. */
export function readEnvironment(
  get: Lookup = variable,
): Omit<HubOptions, "cacheDir"> & { cacheDir?: string } {
  const env = (name: string) => get(name)?.trim() || undefined; // set but empty counts as not set
  const endpoint = env("HF_ENDPOINT");
  const token = env("HF_TOKEN") ?? tokenFile(env);
  const home = cacheHome(env);
  const cacheDir = env("SPARROW_CACHE") ?? (home && `${home}/sparrow`);
  return {
    ...(cacheDir !== undefined && { cacheDir }),
    offline: /^(1|on|yes|true)$/i.test(env("HF_HUB_OFFLINE") ?? ""),
    ...(endpoint !== undefined && { endpoint }),
    ...(token !== undefined && { token }),
  };
}

/** XDG Base Directory: `$XDG_CACHE_HOME` if absolute, else `~/.cache`; Windows has its own place. */
function cacheHome(env: Lookup): string | undefined {
  const xdg = env("XDG_CACHE_HOME");
  if (xdg !== undefined && /^([/\\]|[a-z]:[/\\])/i.test(xdg)) return xdg;
  if (Deno.build.os === "windows" && env("LOCALAPPDATA")) return env("LOCALAPPDATA")!;
  const home = env("HOME") ?? env("USERPROFILE");
  return home && `${home}/.cache`;
}

function tokenFile(env: Lookup): string | undefined {
  const caches = cacheHome(env), home = env("HF_HOME") ?? (caches && `${caches}/huggingface`);
  const path = env("HF_TOKEN_PATH") ?? (home && `${home}/token`);
  if (path === undefined || !isGranted({ name: "read", path })) return undefined;
  try {
    return Deno.readTextFileSync(path).trim() || undefined;
  } catch {
    return undefined; // no file, or none that we may read: most models need no token
  }
}
