/**
 * `deno task models`: lists and removes downloaded models.
 *
 * @module
 */
import { parseArgs } from "@std/cli";
import { InputError, SparrowError } from "../errors.ts";
import { type CachedEntry, listCache, removeCached } from "../runtime/hub/inventory.ts";
import { DEFAULT_ENDPOINT } from "../runtime/hub/resolve.ts";
import { hubOptionsFromEnv } from "./hub_env.ts";
import { formatBytes } from "./progress.ts";

/** What `--help` prints. */
export const help: string = `Usage: deno task models [options]

Lists the models in the cache: name, revision, files, sizes, date.

Options:
  --remove SPEC   remove a model: hf:ORG/REPO, or only @REVISION or :FILE-or-QUANT-TAG of it, or a URL
  --json          print one JSON object: { cacheDir, models }, or { removed, bytes } with --remove
  --help          print this

Environment: SPARROW_CACHE, XDG_CACHE_HOME and HF_ENDPOINT, as "deno task pull --help" tells.

Exit codes: 0 done, 1 failed, 2 wrong usage.`;

/** Runs the command; the result is its exit code. */
export async function run(args: string[]): Promise<number> {
  const unknown: string[] = [];
  const flags = parseArgs(args, {
    boolean: ["json", "help"],
    string: ["remove"],
    unknown: (arg: string) => (unknown.push(arg), false),
  });
  if (flags.help) {
    console.log(help);
    return 0;
  }
  if (unknown.length > 0 || flags.remove === "") {
    const found = unknown.length > 0 ? `unknown argument ${unknown[0]}` : "--remove without a SPEC";
    console.error(`models: found ${found}; "deno task models --help" shows the options`);
    return 2;
  }
  try {
    const { cacheDir, endpoint = DEFAULT_ENDPOINT } = hubOptionsFromEnv();
    if (flags.remove !== undefined) {
      const bytes = await removeCached(cacheDir, flags.remove, new URL(endpoint));
      const text = `removed ${flags.remove}, ${formatBytes(bytes)}`;
      console.log(flags.json ? JSON.stringify({ removed: flags.remove, bytes }) : text);
      return 0;
    }
    const models = await listCache(cacheDir);
    if (flags.json) console.log(JSON.stringify({ cacheDir, models }));
    else if (models.length === 0) console.error(`models: the cache "${cacheDir}" is empty`);
    else console.log(models.map(describe).join("\n"));
    return 0;
  } catch (error) {
    if (!(error instanceof SparrowError)) throw error;
    console.error(`models: ${error.message}`);
    return error instanceof InputError ? 2 : 1;
  }
}

/** A model as text: a line of its own, then one per file. */
function describe(model: CachedEntry): string {
  const revision = [...model.revisions, model.commit.slice(0, 12)].filter(Boolean).join(" = ");
  const partial = model.partialBytes > 0 ? `${formatBytes(model.partialBytes)} still partial` : "";
  const facts = [revision, formatBytes(model.bytes), model.date.slice(0, 10), partial].filter(
    Boolean,
  );
  const files = model.files.map(({ path, size }) => `  ${formatBytes(size).padStart(8)}  ${path}`);
  return [`${model.name}  ${facts.join(", ")}`, ...files].join("\n");
}

if (import.meta.main) Deno.exit(await run(Deno.args));
