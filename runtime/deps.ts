/**
 * The only place where library code names packages: exact versions, loaded on first use, so that a
 * program that never touches text pays nothing at start-up. Loading needs no permission (Deno
 * fetches npm packages as part of the module graph). Not a place for test or CLI dependencies.
 *
 * @module
 */

import { SourceError } from "../errors.ts";
import { plain } from "../escape.ts";

/** `@huggingface/tokenizers`: the translation of Oniguruma patterns, and Unicode normalizers. */
export type TokenizersLibrary = typeof import("npm:@huggingface/tokenizers@0.2.0");

/**
 * Loads `@huggingface/tokenizers`.
 *
 * @throws SourceError when the package is neither cached nor reachable
 */
export function loadTokenizersLibrary(): Promise<TokenizersLibrary> {
  return load("@huggingface/tokenizers@0.2.0", import("npm:@huggingface/tokenizers@0.2.0"));
}

async function load<T>(name: string, library: Promise<T>): Promise<T> {
  try {
    return await library;
  } catch (cause) {
    throw new SourceError(
      `Cannot load the package npm:${name}: ${plain((cause as Error).message, 300)}; ` +
        `connect once so that Deno can cache it, or vendor it`,
      { cause },
    );
  }
}
