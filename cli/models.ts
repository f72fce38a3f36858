/**
 * `deno task models`: lists and removes downloaded models.
 *
 * @module
 */
import { type CachedEntry, listCache, removeCached } from "../runtime/hub/inventory.ts";
import { DEFAULT_ENDPOINT } from "../runtime/hub/resolve.ts";
import { plain, quote, safeJson, withoutSecrets } from "../escape.ts";
import { commandName, type Flags, runCommand, UsageError, writeNote, writeOut } from "./command.ts";
import { hubOptionsFromEnv } from "./hub_env.ts";
import { formatBytes } from "./progress.ts";

/** What `--help` prints. */
export const help: string = `Usage: ${commandName("models")} [options]

Lists the models in the cache: name, revision, files, sizes, date.

Options:
  --remove SPEC   remove a model: hf:ORG/REPO, or only @REVISION or :FILE-or-QUANT-TAG of it, or a URL
  --json          print one JSON object: { cacheDir, models }, or { removed, bytes } with --remove
  -h, --help      print this

Environment: SPARROW_CACHE, XDG_CACHE_HOME and HF_ENDPOINT, as "${
  commandName("pull")
} --help" tells.

Exit codes: 0 done, 1 failed, 2 wrong usage.`;

/** Runs the command; the result is its exit code. */
export function run(args: string[]): Promise<number> {
  return runCommand("models", help, args, { boolean: ["json"], string: ["remove"] }, models);
}

async function models(flags: Flags): Promise<void> {
  if (flags.rest.length > 0) {
    throw new UsageError(
      `Cannot list ${quote(flags.rest[0])}: expected options only; "${
        commandName("models")
      } --help" shows them`,
    );
  }
  const { cacheDir, endpoint = DEFAULT_ENDPOINT } = hubOptionsFromEnv();
  const spec = flags.text("remove");
  if (spec !== undefined) {
    const bytes = await removeCached(cacheDir, spec, new URL(endpoint));
    const text = `removed ${plain(spec)}, ${formatBytes(bytes)}`;
    writeOut(`${flags.on("json") ? safeJson({ removed: withoutSecrets(spec), bytes }) : text}\n`);
    return;
  }
  const entries = await listCache(cacheDir);
  if (flags.on("json")) writeOut(`${safeJson({ cacheDir, models: entries })}\n`);
  else if (entries.length === 0) writeNote(`models: the cache ${quote(cacheDir)} is empty`);
  else writeOut(`${entries.map(describe).join("\n")}\n`);
}

/** A model as text: a line of its own, then one per file. */
function describe(model: CachedEntry): string {
  const revision = [...model.revisions, model.commit.slice(0, 12)].filter(Boolean).join(" = ");
  const partial = model.partialBytes > 0 ? `${formatBytes(model.partialBytes)} still partial` : "";
  const facts = [revision, formatBytes(model.bytes), model.date.slice(0, 10), partial].filter(
    Boolean,
  );
  const files = model.files.map(({ path, size }) =>
    `  ${formatBytes(size).padStart(8)}  ${plain(path)}`
  );
  return [`${plain(model.name)}  ${facts.join(", ")}`, ...files].join("\n");
}

if (import.meta.main) Deno.exit(await run(Deno.args));
