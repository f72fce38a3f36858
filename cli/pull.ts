/**
 * `deno task pull`: downloads a model into the cache and prints where it is.
 *
 * @module
 */
import { safeJson, withoutSecrets } from "../escape.ts";
import { fetchModel } from "../runtime/hub/resolve.ts";
import { QUANT_PREFERENCE } from "../runtime/hub/select.ts";
import {
  commandName,
  type Flags,
  given,
  runCommand,
  UsageError,
  writeNote,
  writeOut,
} from "./command.ts";
import { hubOptionsFromEnv } from "./hub_env.ts";
import { interrupt } from "./interrupt.ts";
import { progressLine } from "./progress.ts";

/** What `--help` prints. */
export const help: string = `Usage: ${commandName("pull")} [options] SPEC

Downloads a model into the cache, going on where an earlier pull was cut, checks it, and prints its path.

SPEC is one of
  hf:ORG/REPO[@REVISION][:FILE-or-QUANT-TAG]   e.g. hf:Qwen/Qwen3-0.6B-GGUF:Q8_0
      Without tag: the GGUF file of the first type there is of
      ${QUANT_PREFERENCE.join(", ")};
      a repository without GGUF files as a whole, in safetensors form (":safetensors" asks for that),
      and without these in that of torch.
  https://…                                    one file (all parts of a split GGUF file)

Options:
  --offline         use what is in the cache, ask no network
  --connections N   connections for one large file, 1 to 32 (default 4)
  --json            print one JSON object: { spec, path, commit, files, bytes, downloaded, seconds }
  -h, --help        print this

Environment:
  HF_ENDPOINT       the hub to ask (default https://huggingface.co)
  HF_TOKEN          access token; else the file HF_TOKEN_PATH or $HF_HOME/token (~/.cache/huggingface/token)
  HF_HUB_OFFLINE    1 means --offline
  SPARROW_CACHE     cache directory (default $XDG_CACHE_HOME/sparrow, else ~/.cache/sparrow)

Exit codes: 0 done, 1 failed, 2 wrong usage, 130 interrupted.`;

/** Runs the command; the result is its exit code. */
export function run(args: string[]): Promise<number> {
  const spec = { boolean: ["offline", "json"], whole: { connections: [1, 32] as const } };
  return runCommand("pull", help, args, spec, pull);
}

async function pull(flags: Flags): Promise<void> {
  const [spec, ...others] = flags.rest;
  if (spec === undefined || others.length > 0) {
    throw new UsageError(
      `Cannot pull ${flags.rest.length} models: expected one SPEC; ` +
        `"${commandName("pull")} --help" shows its forms`,
    );
  }
  const environment = hubOptionsFromEnv();
  const offline = environment.offline || flags.on("offline");
  const connections = flags.number("connections");
  if (offline && connections !== undefined) {
    writeNote("pull: --connections has no effect offline");
  }
  using stopped = interrupt("Interrupted: what has arrived is kept, run it again to go on");
  using line = progressLine();
  const started = performance.now();
  const model = await fetchModel(spec, {
    ...environment,
    offline,
    ...given({ connections }),
    signal: stopped.signal,
    onProgress: line.update,
    onWarning: (message) => line.note(`pull: ${message}`),
  });
  line[Symbol.dispose]();
  const bytes = model.files.reduce((sum, file) => sum + file.size, 0);
  const seconds = Math.round(performance.now() - started) / 1000;
  const report = { spec: withoutSecrets(spec), ...model, bytes, seconds };
  writeOut(`${flags.on("json") ? safeJson(report) : model.path}\n`);
}

if (import.meta.main) Deno.exit(await run(Deno.args));
