/**
 * `deno task pull`: downloads a model into the cache and prints where it is.
 *
 * @module
 */
import { parseArgs } from "@std/cli";
import { InputError, SparrowError } from "../errors.ts";
import { fetchModel } from "../runtime/hub/resolve.ts";
import { QUANT_PREFERENCE } from "../runtime/hub/select.ts";
import { hubOptionsFromEnv } from "./hub_env.ts";
import { progressLine } from "./progress.ts";

/** What `--help` prints. */
export const help: string = `Usage: deno task pull [options] SPEC

Downloads a model into the cache, going on where an earlier pull was cut, checks it, and prints its path.

SPEC is one of
  hf:ORG/REPO[@REVISION][:FILE-or-QUANT-TAG]   e.g. hf:Qwen/Qwen3-0.6B-GGUF:Q8_0
      Without tag: the GGUF file of the first type there is of
      ${QUANT_PREFERENCE.join(", ")};
      a repository without GGUF files as a whole, in safetensors form (":safetensors" asks for that).
  https://…                                    one file (all parts of a split GGUF file)

Options:
  --offline         use what is in the cache, ask no network
  --connections N   connections for one large file, 1 to 32 (default 4)
  --json            print one JSON object: { spec, path, commit, files, bytes, downloaded, seconds }
  --help            print this

Environment:
  HF_ENDPOINT       the hub to ask (default https://huggingface.co)
  HF_TOKEN          access token; else the file HF_TOKEN_PATH or $HF_HOME/token (~/.cache/huggingface/token)
  HF_HUB_OFFLINE    1 means --offline
  SPARROW_CACHE     cache directory (default $XDG_CACHE_HOME/sparrow, else ~/.cache/sparrow)

Exit codes: 0 done, 1 failed, 2 wrong usage.`;

/** Runs the command; the result is its exit code. */
export async function run(args: string[]): Promise<number> {
  const unknown: string[] = [];
  const flags = parseArgs(args, {
    boolean: ["offline", "json", "help"],
    string: ["connections"],
    unknown: (arg: string) => !arg.startsWith("-") || (unknown.push(arg), false),
  });
  if (flags.help) {
    console.log(help);
    return 0;
  }
  if (unknown.length > 0 || flags._.length !== 1) {
    const found = unknown.length > 0 ? `unknown option ${unknown[0]}` : `${flags._.length} specs`;
    console.error(
      `pull: found ${found} where one SPEC belongs; "deno task pull --help" shows the options`,
    );
    return 2;
  }
  const interrupt = new AbortController();
  const onInterrupt = () => {
    interrupt.abort(
      new SparrowError("Interrupted: what has arrived is kept, run it again to go on"),
    );
    Deno.removeSignalListener("SIGINT", onInterrupt); // the second one ends the process
  };
  Deno.addSignalListener("SIGINT", onInterrupt);
  const line = progressLine();
  try {
    const spec = String(flags._[0]);
    const environment = hubOptionsFromEnv();
    const started = performance.now();
    const model = await fetchModel(spec, {
      ...environment,
      offline: environment.offline || flags.offline,
      ...(flags.connections !== undefined && { connections: Number(flags.connections) }),
      signal: interrupt.signal,
      onProgress: line.update,
      onWarning: (message) => line.note(`pull: ${message}`),
    });
    line[Symbol.dispose]();
    const bytes = model.files.reduce((sum, file) => sum + file.size, 0);
    const seconds = Math.round(performance.now() - started) / 1000;
    console.log(flags.json ? JSON.stringify({ spec, ...model, bytes, seconds }) : model.path);
    return 0;
  } catch (error) {
    line[Symbol.dispose]();
    if (!(error instanceof SparrowError)) throw error;
    console.error(`pull: ${error.message}`);
    return error instanceof InputError ? 2 : 1;
  } finally {
    Deno.removeSignalListener("SIGINT", onInterrupt);
  }
}

if (import.meta.main) Deno.exit(await run(Deno.args));
