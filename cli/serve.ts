/**
 * `deno task serve`: answers the requests of OpenAI's and Ollama's clients.
 *
 * @module
 */

import { quote } from "../escape.ts";
import { type Model, SparrowError } from "../mod.ts";
import { dialectOf, errorResponse } from "../serve/answer.ts";
import { ApiError } from "../serve/errors.ts";
import type { ServedRequest, ServeOptions } from "../serve/handler.ts";
import { isLoopback } from "../serve/options.ts";
import { commandName, type Flags, given, runCommand, UsageError, writeNote } from "./command.ts";
import { systemReason } from "./errors.ts";
import { interrupt } from "./interrupt.ts";
import { MODEL_FLAGS, MODEL_HELP, openModel } from "./model_flags.ts";
import { requestLog } from "./request_log.ts";

const NAME = commandName("serve");

const HOST = "127.0.0.1", PORT = 8080, SEQUENCES = 4;
/** How long answers that have begun may go on after Ctrl-C, in milliseconds. */
const LAST_MS = 10_000;

/** What `--help` prints. */
export const help: string = `Usage: ${NAME} [options]

Answers the requests of OpenAI's clients, as those of the package openai, whose base URL it prints:
/v1/chat/completions, /v1/completions, /v1/embeddings, /v1/models; and those of Ollama's: /api/chat,
/api/generate, /api/embed, /api/tags, /api/ps, /api/show. Every request is answered exactly as
asked, or refused with an error that says what, where and what to do: a prompt that does not fit, a field
that is not supported. Fields that could not change an answer are ignored and named in the header
x-sparrow-ignored. Where a request does not say it, texts are drawn as OpenAI documents it (temperature 1
from the model's own distribution), or Ollama for its routes. /health and /ready answer without a key,
/metrics is for Prometheus. Ctrl-C and SIGTERM let answers that have begun go on for ${
  LAST_MS / 1000
} seconds.

  --host HOST         address to listen at (default ${HOST}, which only this machine reaches); any other
                      needs a key
  --port PORT         0 takes any that is free (default ${PORT})
  --api-key KEY       answer only requests with this key, as "Authorization: Bearer KEY"; may be given
                      again
  --api-key-file F    the same, one key a line, so that no list of processes shows it
  --no-auth           listen at an address that other machines reach without a key
  --cors ORIGIN       let pages of this origin ask, as https://chat.example; "*" for all; may be given
                      again
  --sequences N       texts that are generated at the same time (default ${SEQUENCES}); each has a cache of
                      --context tokens
  --queue N           requests that wait for one of them (default 64); more are told to come again
  --timeout SECONDS   longest time of an answer (default 600)
  --max-body BYTES    largest body of a request (default 16777216)
  --log FILE          write a line of JSON for each request, without what was said; "-" for stdout
  --name NAME         the model's name in requests (default: that of its file)
  -h, --help          print this

${MODEL_HELP}

Exit codes: 0 done, 1 failed, 2 wrong usage, 130 interrupted while loading.`;

/** Runs the command; the result is its exit code. */
export function run(args: string[]): Promise<number> {
  const spec = {
    boolean: ["no-auth", ...MODEL_FLAGS.boolean],
    string: ["host", "api-key-file", "log", "name", ...MODEL_FLAGS.string],
    collect: ["api-key", "cors"],
    number: MODEL_FLAGS.number,
    whole: {
      "port": [0, 65535],
      "sequences": [1, 1024],
      "queue": [0, 1_000_000],
      "timeout": [1, 86_400],
      "max-body": [1, 2 ** 30],
    },
    choice: MODEL_FLAGS.choice,
  } as const;
  return runCommand("serve", help, args, spec, serve);
}

async function serve(flags: Flags): Promise<void> {
  if (flags.rest.length > 0) {
    throw new UsageError(
      `Cannot serve ${
        quote(flags.rest[0])
      }: name a model with --model; "${NAME} --help" shows the ` +
        `options`,
    );
  }
  const host = flags.text("host") ?? HOST, keys = await keysOf(flags);
  const isLocal = isLoopback(host);
  if (!isLocal && keys.length === 0 && !flags.on("no-auth")) {
    throw new UsageError(
      `Cannot serve at ${
        quote(host)
      } without a key: other machines can reach it; give --api-key or ` +
        `--api-key-file, or say --no-auth`,
    );
  }
  const { handler } = await loadServer();
  using log = requestLog(flags.text("log"));
  using stopped = interrupt("Interrupted");
  const ending = new AbortController();
  // Listening comes first: a port that is taken is told before a model is loaded.
  let answer = ({ url }: Request): Response | Promise<Response> =>
    errorResponse(LOADING, dialectOf(new URL(url).pathname));
  const server = listen(host, flags.number("port") ?? PORT, (request) => answer(request));
  const end = (): void => stopped.end();
  Deno.addSignalListener("SIGTERM", end);
  try {
    await using model = await openModel(flags, {
      command: "serve",
      signal: stopped.signal,
      sequences: flags.number("sequences") ?? SEQUENCES,
    });
    const name = flags.text("name") ?? nameOf(model);
    const options = serveOptions(flags, keys, isLocal, ending.signal, log.write);
    answer = handler({ [name]: model }, options);
    const { port } = server.addr;
    const shown = host.includes(":") ? `[${host}]` : host;
    writeNote(`serve: ${quote(name)} answers at http://${shown}:${port}/v1; Ctrl-C ends it`);
    await new Promise((resolve) =>
      stopped.signal.addEventListener("abort", resolve, { once: true })
    );
    const timer = setTimeout(() => ending.abort(ENDING), LAST_MS);
    await server.shutdown();
    clearTimeout(timer);
  } finally {
    Deno.removeSignalListener("SIGTERM", end);
    await server.shutdown();
  }
}

/**
 * The server itself, by a name that Deno does not see in the code: it would fetch the packages of the
 * server before any command runs.
 */
async function loadServer(): Promise<typeof import("../serve/handler.ts")> {
  const place = new URL("../serve/handler.ts", import.meta.url).href;
  try {
    return await import(place);
  } catch (cause) {
    if (!(cause instanceof TypeError)) throw cause;
    throw new SparrowError(`Cannot load the server: ${cause.message}`, { cause });
  }
}

/** Begins to listen. */
function listen(
  host: string,
  port: number,
  answer: (request: Request) => Response | Promise<Response>,
): Deno.HttpServer<Deno.NetAddr> {
  try {
    return Deno.serve({ hostname: host, port, onListen: () => {} }, answer);
  } catch (cause) {
    const reason = systemReason(cause) ?? (cause instanceof Error ? cause.message : "");
    throw new SparrowError(`Cannot listen at ${quote(host)}, port ${port}: ${reason}`, { cause });
  }
}

const LOADING = new ApiError(503, "server_error", "Cannot answer yet: the model is being loaded", {
  code: "loading",
  headers: { "retry-after": "1" },
});
const ENDING = new ApiError(503, "server_error", "Cannot go on: the server is being ended", {
  code: "ending",
});

function serveOptions(
  flags: Flags,
  apiKeys: readonly string[],
  isLocal: boolean,
  signal: AbortSignal,
  onRequest: (request: ServedRequest) => void,
): ServeOptions {
  const seconds = flags.number("timeout");
  return given({
    ...{ apiKeys, signal, onRequest },
    origins: flags.texts("cors"),
    // Whoever reaches a machine by its name is held off by the key, or let in on purpose.
    hosts: isLocal ? undefined : ["*"],
    queue: flags.number("queue"),
    maxBodyBytes: flags.number("max-body"),
    timeoutMs: seconds === undefined ? undefined : 1000 * seconds,
  }) as ServeOptions;
}

/** All keys: those that were given, and the lines of a file. */
async function keysOf(flags: Flags): Promise<string[]> {
  const file = flags.text("api-key-file"), keys = [...flags.texts("api-key")];
  if (file !== undefined) {
    const lines = (await Deno.readTextFile(file)).split(/\r?\n/).map((it) => it.trim());
    const found = lines.filter((it) => it !== "");
    if (found.length === 0) {
      throw new SparrowError(
        `Cannot read keys from ${quote(file)}: it has none, expected one a line`,
      );
    }
    keys.push(...found);
  }
  const wrong = keys.find((key) => !/^[\x21-\x7e]+$/.test(key));
  if (wrong === undefined) return keys;
  throw new UsageError(
    "Cannot serve with a key that has blanks or other than ASCII characters, or is empty: no client " +
      "could send it",
  );
}

/** What a model is called: its file or folder without what stands before and behind. */
function nameOf({ name }: Model): string {
  const last = decodeURIComponent(name.replace(/[?#].*$/, "")).replace(/[/\\]+$/, "");
  return last.replace(/^.*[/\\]/, "").replace(/\.gguf$/i, "") || "model";
}
