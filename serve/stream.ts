/**
 * Answers that come in pieces.
 *
 * @module
 */

import type { Dialect } from "./answer.ts";
import { ApiError, apiErrorOf } from "./errors.ts";

/** How a stream is written and watched over. */
export interface StreamOptions {
  /** How its events are written. */
  readonly dialect: Dialect;
  /** Milliseconds for which a client may take nothing of what waits for it. */
  readonly stallMs: number;
  /** Told of an error that ends the stream. */
  readonly onError: (error: unknown) => void;
  /** Ends the events at once: nobody reads them any more. */
  readonly leave: () => void;
}

/**
 * An answer of events. It begins when the first one is there, so that what refuses a request does so with
 * a status of its own. An error after that is an event, and no end follows. A client that is gone,
 * or reads nothing any more, ends the events.
 *
 * @throws what the first event throws
 */
export async function eventStream(
  events: AsyncGenerator<object, void, void>,
  headers: Readonly<Record<string, string>>,
  { dialect, stallMs, onError, leave }: StreamOptions,
): Promise<Response> {
  const encoder = new TextEncoder();
  const bytesOf = (event: object): Uint8Array<ArrayBuffer> => encoder.encode(dialect.event(event));
  let first: IteratorResult<object, void> | undefined = await events.next();
  let timer: ReturnType<typeof setTimeout> | undefined, isLeft = false;
  const body = new ReadableStream<Uint8Array>({
    async pull(controller) {
      clearTimeout(timer);
      try {
        const next = first ?? await events.next();
        first = undefined;
        if (next.done) {
          if (dialect.end !== "") controller.enqueue(encoder.encode(dialect.end));
          return controller.close();
        }
        controller.enqueue(bytesOf(next.value));
        timer = setTimeout(() => {
          const error = new ApiError(
            408,
            "timeout_error",
            "Cannot go on: the client reads nothing",
          );
          onError(error);
          controller.error(error);
          isLeft = true;
          leave();
        }, stallMs);
      } catch (error) {
        if (isLeft) return;
        onError(error);
        controller.enqueue(bytesOf(dialect.error(apiErrorOf(error))));
        controller.close();
      }
    },
    async cancel() {
      clearTimeout(timer);
      isLeft = true;
      leave();
      await events.return();
    },
  });
  return new Response(body, {
    headers: {
      ...headers,
      "content-type": dialect.contentType,
      "cache-control": "no-store",
    },
  });
}
