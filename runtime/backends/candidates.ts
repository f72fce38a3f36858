/**
 * From one backend to another: which ones the options allow, whose fault an error is, and the step to
 * the next one. Loading, running and `compile` all go this way.
 *
 * @module
 */

import { BackendError, MemoryError, ModelError, SparrowError } from "../../errors.ts";
import { quote } from "../../escape.ts";
import type { Backend, BackendName } from "./backend.ts";
import { type BackendOptions, backendsToTry, openBackend } from "./create.ts";

/**
 * A model gives NaN or Infinity. Its weights may be damaged, or the backend's arithmetic may be too
 * narrow for them; another backend shows which.
 */
export class NotFiniteError extends ModelError {
  /** An error that callers know as a `ModelError`. */
  constructor(message: string) {
    super(message);
    this.name = "ModelError";
  }
}

/**
 * Whether an error may be the backend's own, so that another backend may do better: it says so, its
 * memory is too small, its numbers went wrong, or it is no error that Sparrow raises on purpose. What
 * is wrong with the model, its files, the graph or the call is wrong on every backend.
 */
function isBackendFault(error: unknown): error is Error {
  return error instanceof BackendError || error instanceof MemoryError ||
    error instanceof NotFiniteError ||
    error instanceof Error && !(error instanceof SparrowError);
}

/** Backends to be used one after the other. */
export class Candidates {
  /** The one in use, and those that can follow it. */
  #names: readonly BackendName[];
  readonly #options: BackendOptions;
  readonly #warn: (message: string) => void;
  /** The one in use, where it was begun and nobody has asked for it yet. */
  #begun: Promise<Backend> | undefined;

  /** At least one name, best first; `warn` is told of each step from one to the next. */
  constructor(
    names: readonly BackendName[],
    options: BackendOptions,
    warn: (message: string) => void,
  ) {
    this.#names = names;
    this.#options = options;
    this.#warn = warn;
  }

  /** The one in use. */
  get name(): BackendName {
    return this.#names[0]!;
  }

  /** Whether another one can follow the one in use. */
  get hasNext(): boolean {
    return this.#names.length > 1;
  }

  /**
   * Steps on to the next one, with one warning; false, without a step, where the error is no fault of
   * the backend in use, or where there is no other.
   */
  #next(error: unknown): error is Error {
    if (!this.hasNext || !isBackendFault(error)) return false;
    this.#names = this.#names.slice(1);
    this.#warn(`Sparrow goes on with backend ${this.#names[0]}: ${error.message}`);
    return true;
  }

  /**
   * Begins to open the one in use, so that finding out about the machine takes no time of its own while
   * files are read. `use` goes on from there; until then, `release` takes it back.
   */
  begin(): void {
    this.#begun = openBackend(this.#names[0]!, this.#options);
    this.#begun.catch(() => {}); // it is awaited where it is used
  }

  /** Disposes of one that was begun and not used. */
  async release(): Promise<void> {
    const begun = this.#begun;
    this.#begun = undefined;
    await (await begun?.catch(() => undefined))?.dispose();
  }

  #open(): Promise<Backend> {
    const begun = this.#begun;
    this.#begun = undefined;
    return begun ?? openBackend(this.#names[0]!, this.#options);
  }

  /**
   * Opens the one in use and runs `task` on it; where either fails by the backend's fault, the same on
   * the next one. A backend on which `task` fails is disposed of.
   *
   * @throws whatever the last one tried ends with, and the signal's reason
   */
  async use<T>(task: (backend: Backend) => Promise<T>, signal?: AbortSignal): Promise<T> {
    for (;;) {
      let backend: Backend | undefined;
      try {
        backend = await this.#open();
        return await task(backend);
      } catch (error) {
        await backend?.dispose();
        if (signal?.aborted || !this.#next(error)) throw error;
      }
    }
  }

  /**
   * After an error of what ran on a backend: disposes of it and runs `task` on the next one; undefined,
   * with nothing done, where none can take over.
   *
   * @throws BackendError when `task` fails on every other one
   */
  async replace<T>(
    error: unknown,
    failed: Backend,
    task: (backend: Backend) => Promise<T>,
  ): Promise<T | undefined> {
    if (!this.#next(error)) return undefined;
    await failed.dispose();
    try {
      return await this.use(task);
    } catch (cause) {
      throw new BackendError(
        `Cannot go on after ${quote(error.message)}: ${(cause as Error).message}`,
        { cause },
      );
    }
  }
}

/** The candidates that the options allow. Errors as `backendsToTry`. */
export async function candidatesFor(
  options: BackendOptions,
  warn: (message: string) => void,
): Promise<Candidates> {
  return new Candidates(await backendsToTry(options), options, warn);
}
