/**
 * What the headers of an answer say about a file. Nothing of it is to be believed before it is checked.
 *
 * @module
 */
import type { Reply } from "./http.ts";

/** `Content-Range: bytes FROM-TO/TOTAL` (RFC 9110 §14.4). */
export function contentRange(reply: Reply): { from: number; total: number } | undefined {
  const [, from, total] =
    /^bytes (\d+)-\d+\/(\d+)$/.exec(reply.headers.get("content-range") ?? "") ?? [];
  return from === undefined ? undefined : { from: Number(from), total: Number(total) };
}

/** The SHA-256 by which a hub announces a large file before it redirects to its storage. */
export function announcedHash(reply: Reply): string {
  return /^"?([0-9a-f]{64})"?$/.exec(reply.first.get("x-linked-etag") ?? "")?.[1] ?? "";
}

/** What tells this version of a file from another: a strong ETag, else the date (RFC 9110 §13.1.5). */
export function versionOf(headers: Headers): string {
  const etag = headers.get("etag") ?? "";
  return etag.startsWith('"') ? etag : headers.get("last-modified") ?? "";
}
