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
  /** Does what the first Ctrl-C does. */
  end(): void;
}

/** One key press may arrive twice: from the terminal, and from a task runner that passes it on. */
const ONE_PRESS_MS = 400;

/** Whether a signal now is another key press than the one at `before`. */
export function isAnotherPress(before: number, now: number = performance.now()): boolean {
  return now - before > ONE_PRESS_MS;
}

/** Begins to listen; `message` is the error that ends the command where nothing else does. */
export function interrupt(message: string): Interrupt {
  const controller = new AbortController();
  let pressed = -Infinity;
  const listener = (): void => {
    if (controller.signal.aborted) {
      if (isAnotherPress(pressed)) Deno.exit(INTERRUPTED);
      return;
    }
    pressed = performance.now();
    controller.abort(new Interrupted(message));
  };
  Deno.addSignalListener("SIGINT", listener);
  return {
    signal: controller.signal,
    end: listener,
    [Symbol.dispose]: () => Deno.removeSignalListener("SIGINT", listener),
  };
}
