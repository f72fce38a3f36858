/**
 * One file from one URL into a `.part` file: as ranges over several connections or as one stream,
 * checked against the hash. It does not know what a model or a cache is; the caller holds the
 * lock and renames the file when this returns.
 *
 * @module
 */
import { SourceError } from "../../errors.ts";
import { contentRange, versionOf } from "./announced.ts";
import type { HubClient } from "./http.ts";
import { discardPart, type Journal, loadJournal, newJournal } from "./journal.ts";
import { fetchSegments } from "./segments.ts";
import { fetchStream } from "./stream.ts";
import {
  type DownloadOptions,
  type ExpectedHash,
  type FileJob,
  StaleError,
  Transfer,
} from "./transfer.ts";
import { PrefixHash } from "./verify.ts";

/** A whole, checked file. */
export interface Downloaded {
  /** Bytes. */
  readonly size: number;
  /** SHA-256 that it was checked against; `""` when the server announced none. */
  readonly sha256: string;
}

const MAX_RESTARTS = 1; // twice the same damage is no accident

/**
 * Downloads a file into `part`, going on from what is there.
 *
 * @throws {SourceError} when it cannot be had whole and right; what arrived stays for a later call,
 * unless it was wrong
 */
export async function downloadFile(
  client: HubClient,
  job: FileJob,
  part: string,
  options: DownloadOptions = {},
): Promise<Downloaded> {
  for (let restarts = 0;; restarts++) {
    try {
      return await download(new Transfer(client, job, part, options));
    } catch (error) {
      if (!(error instanceof StaleError)) throw error;
      await discardPart(part);
      if (restarts === MAX_RESTARTS) throw new SourceError(error.message);
    }
  }
}

async function download(transfer: Transfer): Promise<Downloaded> {
  const { client, job, part, signal } = transfer;
  if (job.size === 0) return await takeEmpty(transfer);
  const journal = await loadJournal(part);
  if (journal && fits(transfer, journal)) {
    return await finish(
      transfer,
      journal.size,
      transfer.expected(journal.sha256),
      await fetchSegments(transfer, journal),
    );
  }
  await discardPart(part);
  // The first answer decides: ranges and a way to tell versions apart, or one stream.
  const { segmentBytes } = client.tuning;
  const range = `bytes=0-${Math.min(segmentBytes, job.size ?? Infinity) - 1}`;
  const first = await client.retry(() => transfer.ask({ range }), { signal });
  const sha256 = transfer.announced(first), expected = transfer.expected(sha256);
  const size = first.status === 206 ? contentRange(first)?.total : undefined;
  // Mirrors behind one name disagree about ETags; where there is a hash, it alone decides.
  const validator = expected ? "" : versionOf(first.headers);
  if (size === undefined || !(validator || expected)) {
    if (first.status === 206) first.cancel();
    const whole = first.status === 200 ? first : undefined;
    return await finish(transfer, await fetchStream(transfer, sha256, whole), expected);
  }
  try {
    if (job.size !== undefined && size !== job.size) throw transfer.wrongLength(size);
    await transfer.checkRoom(size);
  } catch (error) {
    first.cancel();
    throw error;
  }
  const begun = newJournal(size, segmentBytes, validator, sha256);
  return await finish(transfer, size, expected, await fetchSegments(transfer, begun, first));
}

/** A file without any bytes: nobody needs to be asked for it. */
async function takeEmpty(transfer: Transfer): Promise<Downloaded> {
  await discardPart(transfer.part);
  (await transfer.open(0))[Symbol.dispose]();
  return await finish(transfer, 0, transfer.expected(""));
}

/** Whether what has arrived earlier can be gone on with. */
function fits(transfer: Transfer, journal: Journal): boolean {
  const { size } = transfer.job;
  const sameSize = size === undefined || size === journal.size;
  return sameSize && !!(journal.validator || transfer.expected(journal.sha256));
}

/** Checks the hash of what is here whole. */
async function finish(
  { job, part, options, signal }: Transfer,
  size: number,
  expected: ExpectedHash | undefined,
  hash?: PrefixHash,
): Promise<Downloaded> {
  if (expected === undefined) return { size, sha256: "" };
  const isSha256 = expected.algorithm === "sha256";
  options.onVerify?.();
  hash ??= new PrefixHash(part, size, expected.algorithm, signal);
  const found = await hash.digest(size);
  if (found === expected.hash) return { size, sha256: isSha256 ? found : "" };
  throw new StaleError(
    `Cannot use ${job.subject}: its ${isSha256 ? "SHA-256" : "git blob id"} is ${found}, but ` +
      `${expected.hash} was announced; the server or the network damages it, try another endpoint`,
  );
}
