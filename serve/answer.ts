/**
 * What a route answers: one object, or the events of a stream.
 *
 * @module
 */

import { type ApiError, errorBody } from "./errors.ts";

/** One of both. */
export type Answer =
  | { readonly whole: object }
  | { readonly events: AsyncGenerator<object, void, void> };

/**
 * How the clients of a family of routes read: events of a stream, and errors. OpenAI's read server-sent
 * events, Ollama's lines of JSON.
 */
export interface Dialect {
  /** The type of a stream. */
  readonly contentType: string;
  /** An event as text. */
  readonly event: (event: object) => string;
  /** What stands behind the last event. */
  readonly end: string;
  /** An error as an object. */
  readonly error: (error: ApiError) => object;
}

/** OpenAI's. */
const OPENAI: Dialect = {
  contentType: "text/event-stream; charset=utf-8",
  event: (event) => `data: ${JSON.stringify(event)}\n\n`,
  end: "data: [DONE]\n\n",
  error: errorBody,
};

/** Ollama's. */
const OLLAMA: Dialect = {
  contentType: "application/x-ndjson",
  event: (event) => `${JSON.stringify(event)}\n`,
  end: "",
  error: ({ message }) => ({ error: message }),
};

/** The dialect of a path. */
export function dialectOf(path: string): Dialect {
  return path.startsWith("/api/") ? OLLAMA : OPENAI;
}

/** An error as an answer. */
export function errorResponse(error: ApiError, dialect: Dialect = OPENAI): Response {
  return Response.json(dialect.error(error), {
    status: error.status,
    headers: error.details.headers ?? {},
  });
}
