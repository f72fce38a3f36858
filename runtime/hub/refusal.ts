/**
 * What a server's refusal means: something that may pass, or something that the person has to mend.
 *
 * @module
 */
import type { SourceError } from "../../errors.ts";
import { HttpError, NetworkError, retryAfterMs } from "./failures.ts";

/** Who refused what. */
export interface Refused {
  /** What was asked for, in words. */
  readonly subject: string;
  /** The address that refused. */
  readonly url: URL;
  /** Whether it is a place that the hub redirected to. */
  readonly isElsewhere: boolean;
  /** The hub, for messages. */
  readonly endpoint: string;
  /** Whether a token was given. */
  readonly hasToken: boolean;
}

/** The error that a status other than success, or a redirect to nowhere, means. */
export function refusal({ status, headers }: Response, refused: Refused): SourceError {
  const { subject, url, isElsewhere } = refused;
  const action = `Cannot fetch ${subject}: ${url.host} answers ${status}`;
  // A refusal after a redirect is about the signed link, which ages, not about the file.
  const aged = isElsewhere && [400, 401, 403, 404, 410].includes(status);
  if (aged || status >= 500 || [408, 425, 429].includes(status)) {
    return new NetworkError(action, retryAfterMs(headers.get("retry-after")));
  }
  const code = headers.get("x-error-code") ?? "";
  return new HttpError(`${action}${advice(status, code, refused)}`, status);
}

function advice(status: number, code: string, { endpoint, hasToken }: Refused): string {
  const token = hasToken ? "the token that was given is not enough" : "no token was given";
  if (code === "GatedRepo") {
    return ` (gated): ${token}; accept the terms on its page at ${endpoint} and give a token of that account (HF_TOKEN)`;
  }
  if (status === 401 || status === 403) {
    return `: it does not exist or is private, and ${token}; check the name or give a token that may read it (HF_TOKEN)`;
  }
  if (code === "RevisionNotFound") return ': there is no such revision; check the part after "@"';
  if (status === 404) return ": there is no such thing; check the name";
  if (status === 416) return ": the file is shorter than announced; fetch it again";
  return "; check the address";
}
