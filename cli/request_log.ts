/**
 * The log of a server: a line of JSON for each request, without anything of what was said.
 *
 * @module
 */

import { safeJson } from "../escape.ts";
import type { ServedRequest } from "../serve/handler.ts";
import { writeNote, writeOut } from "./command.ts";

/** Where requests are told. */
export interface RequestLog extends Disposable {
  /** Tells one. A failure that is not the client's goes to stderr, too. */
  readonly write: (request: ServedRequest) => void;
}

/** Writes to a file, which grows, to standard output for "-", or nowhere. */
export function requestLog(place: string | undefined): RequestLog {
  const file = place === undefined || place === "-"
    ? undefined
    : Deno.openSync(place, { append: true, create: true });
  const put = (line: string): void => {
    if (place === "-") return writeOut(line);
    const bytes = new TextEncoder().encode(line);
    for (let at = 0; file && at < bytes.length;) at += file.writeSync(bytes.subarray(at));
  };
  return {
    write({ error, ...request }) {
      const message = error instanceof Error ? error.message : undefined;
      if (place !== undefined) {
        const time = new Date().toISOString();
        put(`${safeJson({ time, ...request, ms: Math.round(request.ms), error: message })}\n`);
      }
      if (error !== undefined && request.status >= 500) writeNote(`serve: ${message ?? error}`);
    },
    [Symbol.dispose]: () => file?.close(),
  };
}
