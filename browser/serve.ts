/**
 * `deno task page`: serves this repository on loopback with the two headers that let a page share
 * memory between threads, so that `browser/index.html` can run models. For trying things out; any
 * server that sends these headers does.
 *
 * @module
 */

import {
  commandName,
  type Flags,
  runCommand,
  UsageError,
  writeNote,
  writeOut,
} from "../cli/command.ts";
import { systemReason } from "../cli/errors.ts";
import { SparrowError } from "../errors.ts";
import { quote } from "../escape.ts";

const ROOT = new URL("../", import.meta.url);

const TYPES: Readonly<Record<string, string>> = {
  html: "text/html; charset=utf-8",
  js: "text/javascript",
  gguf: "application/octet-stream",
};

/** Without both of these a page has no `SharedArrayBuffer` (HTML, cross-origin isolation). */
export const ISOLATION_HEADERS: Readonly<Record<string, string>> = {
  "Cross-Origin-Opener-Policy": "same-origin",
  "Cross-Origin-Embedder-Policy": "require-corp",
};

/** Serves the page, the bundle and models below `root`; ranges as the loader asks for them. */
export function servePage(port: number, root: URL = ROOT): Deno.HttpServer<Deno.NetAddr> {
  const options = { hostname: "127.0.0.1", port, onListen: () => {} };
  return Deno.serve(options, async (request) => {
    const { pathname } = new URL(request.url);
    const path = pathname === "/" ? "browser/index.html" : decoded(pathname.slice(1));
    const type = TYPES[path.split(".").at(-1)!];
    const headers = new Headers({ ...ISOLATION_HEADERS, "Accept-Ranges": "bytes" });
    if (type === undefined || path.split("/").includes("..")) {
      return new Response("not served here", { status: 404, headers });
    }
    headers.set("Content-Type", type);
    let file: Deno.FsFile;
    try {
      file = await Deno.open(new URL(path, root));
    } catch {
      return new Response("there is none; has `deno task bundle` run?", { status: 404, headers });
    }
    const { size } = await file.stat();
    const range = /^bytes=(\d+)-(\d*)$/.exec(request.headers.get("Range") ?? "");
    const start = range ? Number(range[1]) : 0;
    const end = Math.min(range?.[2] ? Number(range[2]) + 1 : size, size);
    if (start >= end) {
      file.close();
      headers.set("Content-Range", `bytes */${size}`);
      return new Response(null, { status: range ? 416 : 200, headers });
    }
    await file.seek(start, Deno.SeekMode.Start);
    headers.set("Content-Length", String(end - start));
    if (range) headers.set("Content-Range", `bytes ${start}-${end - 1}/${size}`);
    const body = request.method === "HEAD" ? null : file.readable.pipeThrough(limit(end - start));
    if (!body) file.close();
    return new Response(body, { status: range ? 206 : 200, headers });
  });
}

/** Lets the first `bytes` through. */
function limit(bytes: number): TransformStream<Uint8Array<ArrayBuffer>, Uint8Array<ArrayBuffer>> {
  let left = bytes;
  return new TransformStream({
    transform(chunk, controller): void {
      controller.enqueue(chunk.subarray(0, left));
      left -= Math.min(left, chunk.length);
      if (left === 0) controller.terminate();
    },
  });
}

/** A path without its percent signs; empty, which is no file, where they mean nothing. */
function decoded(path: string): string {
  try {
    return decodeURIComponent(path);
  } catch {
    return "";
  }
}

const help = `Usage: ${commandName("page")} [options]

Serves a page on 127.0.0.1 that runs models in the browser, with the bundle that
"${commandName("bundle")}" makes. Ctrl-C ends it.

  --port N        port, 0 for any that is free (default 8000)
  -h, --help      print this

Exit codes: 0 done, 1 failed, 2 wrong usage.`;

async function page(flags: Flags): Promise<void> {
  if (flags.rest.length > 0) {
    throw new UsageError(`Cannot serve ${quote(flags.rest[0])}: expected options only`);
  }
  const port = flags.number("port") ?? 8000;
  let server: Deno.HttpServer<Deno.NetAddr>;
  try {
    server = servePage(port);
  } catch (cause) {
    const reason = systemReason(cause);
    if (reason === undefined) throw cause;
    throw new SparrowError(`Cannot serve on port ${port}: ${reason}; choose another --port`, {
      cause,
    });
  }
  try {
    await Deno.stat(new URL("dist/sparrow.js", ROOT));
  } catch {
    writeNote(`page: there is no bundle yet; ${quote(commandName("bundle"))} makes it`);
  }
  writeOut(`http://127.0.0.1:${server.addr.port}/\n`);
  await server.finished;
}

if (import.meta.main) {
  const spec = { whole: { port: [0, 65535] as const } };
  Deno.exit(await runCommand("page", help, Deno.args, spec, page));
}
