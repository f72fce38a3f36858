/**
 * Every error that Sparrow raises on purpose. Each message is one sentence: the action, the thing
 * (file, tensor, field, flag), what was found against what was expected, what to do.
 * Anything that is not a `SparrowError` (or the caller's own abort reason) is a bug in Sparrow.
 *
 * @module
 */

import { plain, safeCause } from "./escape.ts";

/** Base class: `catch (e) { if (e instanceof SparrowError) … }` tells mistakes from bugs. */
export class SparrowError extends Error {
  /**
   * An error whose `name` is its class, so that a log names the kind of mistake. The message holds no
   * control characters and no secrets of URLs, whatever names it was made of.
   */
  constructor(message: string, options?: ErrorOptions) {
    super(
      plain(message),
      options && "cause" in options ? { cause: safeCause(options.cause) } : options,
    );
    this.name = new.target.name;
  }
}

/** A location cannot be opened or read: missing path, HTTP status, short body, no permission. */
export class SourceError extends SparrowError {}

/** The bytes of a file break their own format: magic, counts, lengths, JSON, UTF-8. */
export class FormatError extends SparrowError {}

/** The file is well formed but is not a model that can run: architecture, tensors, shapes. */
export class ModelError extends SparrowError {}

/** A graph is recorded or run with tensors that do not fit together. */
export class ShapeError extends SparrowError {}

/** A caller's argument is unusable: token ids, prompts, options, flags. */
export class InputError extends SparrowError {}

/** The model, its cache or its buffers do not fit in the memory that can be had. */
export class MemoryError extends SparrowError {}

/** A backend cannot start or stopped working: workers, WebAssembly features, GPU device. */
export class BackendError extends SparrowError {}
