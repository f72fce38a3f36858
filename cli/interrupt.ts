/**
 * Ctrl-C: the first one asks a command to come to its end, the second one ends the process.
 *
 * @module
 */

import { INTERRUPTED } from "./command.ts";
import { Interrupted } from "./errors.ts";

/** A signal that Ctrl-C aborts; disposing gives Ctrl-C back its usual meaning. */
export interface Interrupt extends Disposable {
  /** Aborted by the first Ctrl-C, with an `Interrupted` as its reason. */
  readonly signal: AbortSignal;
}

/** Begins to listen; `message` is the error that ends the command where nothing else does. */
export function interrupt(message: string): Interrupt {
  const controller = new AbortController();
  const listener = (): void => {
    if (controller.signal.aborted) Deno.exit(INTERRUPTED);
    controller.abort(new Interrupted(message));
  };
  Deno.addSignalListener("SIGINT", listener);
  return {
    signal: controller.signal,
    [Symbol.dispose]: () => Deno.removeSignalListener("SIGINT", listener),
  };
}
