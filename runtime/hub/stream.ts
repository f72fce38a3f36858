/**
 * A file as one stream from its start, for servers without ranges. A cut means beginning again.
 *
 * @module
 */
import { SourceError } from "../../errors.ts";
import type { Reply } from "./http.ts";
import { discardPart } from "./journal.ts";
import { writePart } from "./part_file.ts";
import { StaleError, type Transfer } from "./transfer.ts";

/** Most of a body whose length nobody announced: it may have no end. */
const UNANNOUNCED_BYTES = 2 ** 36;
/** Part of the free room that such a body may take. */
const UNANNOUNCED_PART = 0.9;

/** Fetches all of a file, from an answer where there is one already; returns its bytes' number. */
export function fetchStream(transfer: Transfer, sha256: string, given?: Reply): Promise<number> {
  return transfer.client.retry(async () => {
    const reply = given ?? await transfer.ask({});
    given = undefined;
    try {
      return await receive(transfer, reply, sha256);
    } finally {
      reply.cancel();
    }
  }, { signal: transfer.signal });
}

async function receive(transfer: Transfer, reply: Reply, sha256: string): Promise<number> {
  const { job: { subject, size }, part, options: { onBytes } } = transfer;
  if (reply.status !== 200) {
    throw new StaleError(
      `Cannot fetch ${subject}: the server answers a part to a request for the whole`,
    );
  }
  const stated = Number(reply.headers.get("content-length") ?? NaN);
  if (size !== undefined && !Number.isNaN(stated) && stated !== size) {
    throw transfer.wrongLength(stated);
  }
  const total = size ?? (Number.isNaN(stated) ? undefined : stated);
  if (total !== undefined) await transfer.checkRoom(total);
  const most = total ??
    Math.min(UNANNOUNCED_BYTES, (await transfer.free() ?? Infinity) * UNANNOUNCED_PART);
  if (total === undefined && !sha256 && !reply.headers.has("transfer-encoding")) {
    throw new SourceError(
      `Cannot fetch ${subject}: the server does not say how long it is, so a cut would go unnoticed; use another address`,
    );
  }
  await discardPart(part);
  using file = await transfer.open(0);
  let loaded = 0;
  onBytes?.(0, total);
  for await (const chunk of reply.body()) {
    if (loaded + chunk.length > most) {
      if (total !== undefined) throw transfer.wrongLength(loaded + chunk.length);
      await discardPart(part);
      throw new SourceError(
        `Cannot fetch ${subject}: the server does not say how long it is, and goes ` +
          `on after ${loaded} bytes; use another address`,
      );
    }
    await writePart(file, part, chunk);
    loaded += chunk.length;
    onBytes?.(loaded, total);
  }
  if (total !== undefined && loaded < total) throw transfer.cut(loaded);
  return loaded;
}
