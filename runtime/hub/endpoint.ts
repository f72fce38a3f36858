/**
 * The address of a hub.
 *
 * @module
 */

import { InputError } from "../../errors.ts";

/** The hub that is asked when no endpoint is given. */
export const DEFAULT_ENDPOINT = "https://huggingface.co";

/**
 * The address of a hub as a URL.
 *
 * @throws {InputError} when it is none, or holds a user name or a query
 */
export function readEndpoint(endpoint: string | URL = DEFAULT_ENDPOINT): URL {
  const url = URL.canParse(String(endpoint)) ? new URL(endpoint) : undefined;
  if (!url || !/^https?:$/.test(url.protocol) || url.username || url.password || url.search) {
    throw new InputError(
      `Cannot use the hub endpoint: expected an https: URL without user name and query; check HF_ENDPOINT`,
    );
  }
  return url;
}
