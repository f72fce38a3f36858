/**
 * What a client is told when its request is not answered: a status, a kind, the field that is to blame
 * and one sentence, in the form that OpenAI's clients read.
 *
 * @module
 */

import { InputError, MemoryError, ModelError, SparrowError } from "../errors.ts";

/** Kinds of errors, as OpenAI calls them. */
export type ApiErrorType =
  | "invalid_request_error"
  | "authentication_error"
  | "permission_error"
  | "not_found_error"
  | "rate_limit_error"
  | "timeout_error"
  | "server_error";

/** Where an error belongs, and what is sent with it. */
export interface ApiErrorDetails {
  /** The field of the request that is to blame, as `messages[0].role`. */
  readonly param?: string;
  /** A word for programs, as `context_length_exceeded`. */
  readonly code?: string;
  /** Further headers of the answer. */
  readonly headers?: Readonly<Record<string, string>>;
}

/** A request that is not answered. */
export class ApiError extends SparrowError {
  /** HTTP status. */
  readonly status: number;
  /** Its kind. */
  readonly type: ApiErrorType;
  /** What else is known. */
  readonly details: ApiErrorDetails;

  /** One sentence in the client's words, and where it belongs. */
  constructor(status: number, type: ApiErrorType, message: string, details: ApiErrorDetails = {}) {
    super(message);
    this.status = status;
    this.type = type;
    this.details = details;
  }
}

/** The request itself is wrong: status 400. */
export function badRequest(message: string, details: ApiErrorDetails = {}): ApiError {
  return new ApiError(400, "invalid_request_error", message, details);
}

/** What is told of an error, whatever it is; of a bug nothing but that there was one. */
export function apiErrorOf(error: unknown): ApiError {
  if (error instanceof ApiError) return error;
  if (error instanceof DOMException && error.name === "TimeoutError") {
    return new ApiError(
      504,
      "timeout_error",
      "Cannot answer: it took longer than the server allows",
    );
  }
  if (error instanceof InputError) return badRequest(error.message);
  if (error instanceof MemoryError) return new ApiError(503, "server_error", error.message);
  if (error instanceof SparrowError) return new ApiError(500, "server_error", error.message);
  return new ApiError(500, "server_error", "Cannot answer: the server failed; its log says why");
}

/** What is told of an error before a model has computed anything: what it cannot do was asked of it. */
export function refusalOf(error: unknown): ApiError {
  if (error instanceof ModelError) return badRequest(error.message, { param: "model" });
  return apiErrorOf(error);
}

/** An error as the body of an answer, or as an event of a stream that has begun. */
export function errorBody({ message, type, details }: ApiError): { readonly error: object } {
  const { param = null, code = null } = details;
  return { error: { message, type, param, code } };
}
