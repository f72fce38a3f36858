/**
 * One way to ask a hub or its storage hosts for bytes: redirects followed by hand so that the token
 * stays with its origin, a stall watch, failures sorted into "try again" and "tell the person", and
 * bounded retries. No caching and no disk here.
 *
 * @module
 */
import { InputError } from "../../errors.ts";
import { quote } from "../../escape.ts";
import {
  HttpError,
  NetworkError,
  sleep,
  SlowError,
  type StallWatch,
  stallWatch,
} from "./failures.ts";
import { refusal } from "./refusal.ts";
import { showUrl } from "./spec.ts";
import type { TransferTuning } from "./tuning.ts";

/** An answer with status 200 or 206, its body still to be read. */
export interface Reply {
  /** 200 or 206. */
  readonly status: number;
  /** Headers of the host that sends the body. */
  readonly headers: Headers;
  /** Headers of the host that was asked: on a hub, `x-linked-etag` and `x-linked-size` are here. */
  readonly first: Headers;
  /** The body in chunks; fails with {@linkcode NetworkError} on a cut or a stall. */
  body(): AsyncGenerator<Uint8Array<ArrayBuffer>>;
  /** Drops the connection. Harmless after the body was read. */
  cancel(): void;
}

/** What a request is for. */
export interface Ask {
  /** The thing in words, for messages: `"model.gguf" of hf:org/repo`. */
  readonly subject: string;
  /** Request headers. */
  readonly headers?: Record<string, string>;
  /** Ends the request with the signal's own reason. */
  readonly signal?: AbortSignal | undefined;
}

/** How long to keep at it. */
export interface RetryOptions {
  /** Ends the waiting. */
  readonly signal?: AbortSignal | undefined;
  /** Failures in a row, without progress between them; `tuning.retries` when absent. */
  readonly retries?: number;
  /** Bytes that the attempts have brought so far: what counts as progress. */
  readonly received?: () => number;
}

/** What a client is made of. */
export interface ClientOptions {
  /** The hub; the token goes to its origin and to no other. */
  readonly endpoint: URL;
  /** Access token. */
  readonly token?: string | undefined;
  /** Patience. */
  readonly tuning: TransferTuning;
}

/** A page's own requests follow redirects, leave the token with its origin and unpack by themselves. */
const IN_DENO = "Deno" in globalThis;
const MAX_REDIRECTS = 10;
// A failing connection that still brings this much between failures is slow, not broken.
const PROGRESS_BYTES = 1 << 20;

/** Connections to one hub and the hosts that it sends to. Dispose it to close them. */
export class HubClient {
  /** As given. */
  readonly tuning: TransferTuning;
  readonly #endpoint: URL;
  readonly #authorization: string | undefined;
  // HTTP/2 would carry every range over one connection, which is what several are meant to avoid.
  readonly #pool = IN_DENO ? Deno.createHttpClient({ http1: true, http2: false }) : undefined;
  #answered = false; // whether anybody ever did
  #notBefore = 0; // a 429 on one connection holds all of them back

  /**
   * A client for one hub.
   *
   * @throws {InputError} when the token has characters that no header can carry
   */
  constructor({ endpoint, token, tuning }: ClientOptions) {
    if (token !== undefined && !/^[\x21-\x7e]+$/.test(token)) {
      throw new InputError(
        "Cannot send the access token: it is empty or has spaces or control characters; copy it again",
      );
    }
    this.tuning = tuning;
    this.#endpoint = endpoint;
    this.#authorization = token && `Bearer ${token}`;
  }

  /** Closes idle connections. */
  [Symbol.dispose](): void {
    this.#pool?.close();
  }

  /** Where the token goes, for messages. */
  get endpoint(): string {
    return showUrl(this.#endpoint).replace(/\/$/, "");
  }

  /**
   * Asks once and follows redirects.
   *
   * @throws {HttpError} on a definite refusal
   * @throws {NetworkError} on what may pass
   */
  async open(url: URL, ask: Ask): Promise<Reply> {
    const watch = stallWatch(this.tuning, ask.signal);
    let host = url.host;
    let first: Headers | undefined;
    try {
      for (let hop = 0; hop <= MAX_REDIRECTS; hop++) {
        host = url.host;
        watch.touch();
        const response = await fetch(url, {
          // Compressed bytes have no ranges and no length.
          headers: { "accept-encoding": "identity", ...ask.headers, ...this.#credentials(url) },
          redirect: IN_DENO ? "manual" : "follow",
          // A browser's own cache answers for the rest of a file that was cut with what it has.
          cache: "no-store",
          signal: watch.signal,
          ...(this.#pool && { client: this.#pool }),
        });
        this.#answered = true;
        first ??= response.headers;
        if (response.status === 200 || response.status === 206) {
          const coding = response.headers.get("content-encoding") ?? "identity";
          if (coding !== "identity" && IN_DENO) {
            throw new HttpError(
              `Cannot fetch ${ask.subject}: ${host} sends it in coding ${
                quote(coding)
              }, which was ` +
                `not asked for; use another address`,
              response.status,
            );
          }
          return reply(response, first, watch, ask);
        }
        await response.body?.cancel();
        const location = response.headers.get("location");
        if (response.status < 300 || response.status >= 400 || location === null) {
          throw refusal(response, {
            subject: ask.subject,
            url,
            isElsewhere: hop > 0 && url.origin !== this.#endpoint.origin,
            endpoint: this.endpoint,
            hasToken: this.#authorization !== undefined,
          });
        }
        const next = URL.canParse(location, url.href) ? new URL(location, url) : undefined;
        if (
          next?.protocol !== "https:" && (next?.protocol !== "http:" || url.protocol === "https:")
        ) {
          throw new HttpError(
            `Cannot fetch ${ask.subject}: ${host} redirects to a place that is not secure`,
            response.status,
          );
        }
        url = next;
      }
      throw new HttpError(
        `Cannot fetch ${ask.subject}: ${host} redirects more than ${MAX_REDIRECTS} times`,
        0,
      );
    } catch (error) {
      watch.stop();
      throw watch.explain(error, ask.subject, host);
    }
  }

  /** Runs an attempt until it succeeds or fails for good; failures that may pass are waited out. */
  async retry<T>(attempt: () => Promise<T>, options: RetryOptions = {}): Promise<T> {
    const { backoffMs, maxWaitMs } = this.tuning;
    const { signal, received = () => 0, retries = this.tuning.retries } = options;
    let mark = received();
    for (let failures = 0;;) {
      await sleep(this.#notBefore - Date.now(), signal);
      try {
        return await attempt();
      } catch (error) {
        if (!(error instanceof NetworkError)) throw error;
        if (received() - mark >= PROGRESS_BYTES) [failures, mark] = [0, received()];
        // Whoever trickles once, trickles again: it takes a minute each time to notice.
        const patience = error instanceof SlowError
          ? Math.min(retries, 1)
          : this.#answered
          ? retries
          : Math.min(retries, this.tuning.firstRetries);
        if (++failures > patience) {
          throw new NetworkError(
            `${error.message} (after ${failures} tries); check the connection and run it again`,
          );
        }
        if (error.retryAfterMs > 0) {
          this.#notBefore = Date.now() + Math.min(error.retryAfterMs, maxWaitMs);
        } else {
          await sleep(
            Math.min(backoffMs * 2 ** (failures - 1), maxWaitMs) * (1 - Math.random() / 2),
            signal,
          );
        }
      }
    }
  }

  #credentials(url: URL): Record<string, string> {
    const own = this.#authorization !== undefined && url.origin === this.#endpoint.origin;
    return own ? { authorization: this.#authorization! } : {};
  }
}

function reply(response: Response, first: Headers, watch: StallWatch, ask: Ask): Reply {
  const host = new URL(response.url).host;
  return {
    status: response.status,
    headers: response.headers,
    first,
    cancel: () => watch.abort(),
    async *body() {
      const reader = response.body?.getReader(); // some browsers cannot iterate over a body
      try {
        watch.touch();
        for (let next; (next = await reader?.read()) && !next.done;) {
          const chunk = next.value;
          watch.pause(chunk.length); // time that the consumer takes is not the network's silence
          watch.signal.throwIfAborted();
          yield chunk;
          watch.touch();
        }
        watch.signal.throwIfAborted(); // an aborted body may end as if it were whole
      } catch (error) {
        throw watch.explain(error, ask.subject, host);
      } finally {
        reader?.cancel().catch(() => {}); // of a body that was left
        watch.stop();
      }
    },
  };
}
