/**
 * A model's programs on the backend that runs them now, and the step to another one where that fails.
 *
 * @module
 */

import type { Backend } from "../backends/backend.ts";
import type { Candidates } from "../backends/candidates.ts";
import { type ModelParts, Plans } from "./plans.ts";

/** How another backend takes over from the one that a model was loaded on. */
export interface Takeover {
  /** Which one, and whether an error is a reason. */
  readonly candidates: Candidates;
  /** Writes the weights, which have their memory by then, from files that are opened again. */
  load(backend: Backend, signal: AbortSignal): Promise<void>;
}

/** A model on a backend. Neither changes but in `replace`. */
export class Running {
  readonly #parts: ModelParts;
  readonly #takeover: Takeover | undefined;
  #backend: Backend;
  #plans: Plans;

  /** Gives every weight and cache its memory; the weights are written afterwards. */
  constructor(parts: ModelParts, backend: Backend, takeover: Takeover | undefined) {
    this.#parts = parts;
    this.#takeover = takeover;
    this.#backend = backend;
    this.#plans = this.#place(backend);
  }

  /** What runs the model. */
  get backend(): Backend {
    return this.#backend;
  }

  /** The model's programs there. */
  get plans(): Plans {
    return this.#plans;
  }

  /**
   * After an error, has another backend take over, with empty caches; false, with nothing done, where
   * the error is not the backend's or there is no other. Runs only while nothing else does.
   *
   * @throws BackendError when the other one cannot take over; nothing runs any more then
   */
  async replace(error: unknown, signal: AbortSignal): Promise<boolean> {
    const { candidates, load } = this.#takeover ?? {};
    const done = await candidates?.replace(error, this.#backend, async (backend) => {
      const plans = this.#place(backend);
      await load!(backend, signal);
      plans.prepare();
      return [this.#backend, this.#plans] = [backend, plans];
    });
    return done !== undefined;
  }

  #place(backend: Backend): Plans {
    return new Plans(this.#parts, backend);
  }
}
