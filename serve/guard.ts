/**
 * What stands before every route: who may call the server by which name, from which page, with which key.
 *
 * @module
 */

import { quote } from "../escape.ts";
import { createHash, type MiddlewareHandler, timingSafeEqual } from "./deps.ts";
import { ApiError } from "./errors.ts";
import { isLoopback } from "./options.ts";

/** Paths that tell nothing of anybody and need no key. */
const PUBLIC = ["/health", "/ready"];

/**
 * Refuses calls by other names than this machine's: a page can have its own name point here and would
 * then be of one origin with the server (DNS rebinding).
 */
export function checkHost(hosts: readonly string[]): MiddlewareHandler {
  return async (c, next) => {
    const { hostname } = new URL(c.req.url);
    const bare = hostname.replace(/^\[(.*)\]$/, "$1"); // addresses of IPv6 stand in brackets
    if (!isLoopback(bare) && !hosts.includes(hostname) && !hosts.includes("*")) {
      throw new ApiError(
        403,
        "permission_error",
        `Cannot answer: this server may not be called ${
          quote(hostname)
        }; use localhost, or start ` +
          `it with that host`,
        { code: "host_not_allowed" },
      );
    }
    await next();
  };
}

/** Whether pages of an origin may ask. */
export function isAllowedOrigin(origin: string, url: string, origins: readonly string[]): boolean {
  return origins.includes("*") || origins.includes(origin) || origin === new URL(url).origin;
}

/** Refuses pages of other origins, also requests for which browsers do not ask first. */
export function checkOrigin(origins: readonly string[]): MiddlewareHandler {
  return async (c, next) => {
    const origin = c.req.header("origin");
    if (origin !== undefined && !isAllowedOrigin(origin, c.req.url, origins)) {
      throw new ApiError(
        403,
        "permission_error",
        `Cannot answer a page of ${
          quote(origin)
        }: only pages of this server may ask; start it with ` +
          `that origin allowed`,
        { code: "origin_not_allowed" },
      );
    }
    await next();
  };
}

/** Refuses requests without one of the keys, if there are any. */
export function checkKey(keys: readonly string[]): MiddlewareHandler {
  // Hashes are of one length, so that comparing them tells nothing.
  const hashOf = (text: string): Uint8Array => createHash("sha256").update(text).digest();
  const known = keys.map(hashOf);
  return async (c, next) => {
    if (known.length === 0 || PUBLIC.includes(c.req.path)) return await next();
    const [, shown] = /^Bearer (.+)$/i.exec(c.req.header("authorization") ?? "") ?? [];
    const hash = shown !== undefined && hashOf(shown.trim());
    if (hash && known.filter((it) => timingSafeEqual(it, hash)).length > 0) return await next();
    throw new ApiError(
      401,
      "authentication_error",
      `Cannot answer: the request shows ${
        shown === undefined ? "no key" : "a wrong key"
      }, expected ` +
        `the header "Authorization: Bearer KEY"`,
      { code: "invalid_api_key", headers: { "www-authenticate": "Bearer" } },
    );
  };
}
