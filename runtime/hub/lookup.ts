/**
 * Lookups: JSON answers of a hub, as of a commit or of all pages of a listing, bounded together.
 *
 * @module
 */
import { HttpError } from "./failures.ts";
import type { HubClient, RetryOptions } from "./http.ts";

/** Asks for one JSON answer. Its value may be anything, and JSON that is damaged is a SyntaxError. */
export type Lookup = (url: URL) => Promise<{ value: unknown; headers: Headers }>;

/** Of one lookup, all pages together: a repository of 60 000 files. */
const MAX_JSON_BYTES = 16 << 20;
const MAX_PAGES = 1000;

/**
 * Asks for the JSON answers of one lookup, with the client's redirects, token rule and retries.
 * Together they are bounded in number, bytes and time, however many pages a server goes on with.
 */
export function beginLookup(client: HubClient, subject: string, options: RetryOptions): Lookup {
  const { signal } = options;
  const end = performance.now() + client.tuning.lookupMs;
  const asked = new Set<string>();
  let before = 0; // bytes of the answers so far
  const refuse = (what: string): never => {
    throw new HttpError(`Cannot list ${subject}: ${client.endpoint} answers ${what}`, 200);
  };
  const inTime = (): void => {
    if (performance.now() > end) refuse(`for more than ${client.tuning.lookupMs / 1000} s`);
  };
  return async (url) => {
    if (asked.has(url.href)) refuse("pages that follow each other in a circle");
    if (asked.add(url.href).size > MAX_PAGES) refuse(`more than ${MAX_PAGES} pages`);
    return await client.retry(async () => {
      inTime();
      const answer = await client.open(url, {
        subject,
        headers: { accept: "application/json" },
        signal,
      });
      const chunks: Uint8Array<ArrayBuffer>[] = [];
      let size = 0;
      for await (const chunk of answer.body()) {
        inTime();
        size += chunk.length;
        if (before + size > MAX_JSON_BYTES) refuse(`more than ${MAX_JSON_BYTES} bytes`);
        chunks.push(chunk);
      }
      before += size;
      return { value: JSON.parse(await new Blob(chunks).text()), headers: answer.headers };
    }, options);
  };
}
