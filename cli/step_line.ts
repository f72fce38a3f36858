/**
 * Progress of long work in steps, on one line of a terminal's stderr; nothing where stderr is none.
 *
 * @module
 */

import { formatMs } from "./format.ts";
import { stderrTerminal, type Terminal } from "./progress.ts";

/** Where work stands. */
export interface Step {
  readonly what: string;
  readonly done: number;
  readonly total: number;
}

/** A line that redraws itself, ten times a second at most. */
export interface StepLine extends Disposable {
  update(step: Step): void;
}

const REDRAW_MS = 100;

/** A progress line on stderr. Dispose of it before writing results. */
export function stepLine(terminal: Terminal = stderrTerminal()): StepLine {
  let drawnAt = -Infinity, drawn = false;
  let begun: { readonly total: number; readonly at: number; readonly done: number } | undefined;
  return {
    update({ what, done, total }) {
      const at = terminal.now(), columns = terminal.columns();
      // Another number of steps is other work, with a speed of its own.
      if (begun?.total !== total || done < begun.done) begun = { total, at, done };
      if (columns === 0 || at - drawnAt < REDRAW_MS) return;
      drawnAt = at;
      drawn = true;
      const left = done > begun.done
        ? `, ${formatMs((at - begun.at) / (done - begun.done) * (total - done))} left`
        : "";
      const text = `${what}: ${Math.floor(100 * done / Math.max(1, total))} % of ${total}${left}`;
      terminal.write(`\r\x1b[2K${text.slice(0, columns - 1)}`);
    },
    [Symbol.dispose]() {
      if (drawn) terminal.write("\r\x1b[2K");
      drawn = false;
    },
  };
}
