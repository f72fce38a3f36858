/**
 * How far a long prompt has been read, on one line of a terminal's stderr.
 *
 * @module
 */

import type { PromptProgress } from "../mod.ts";
import { counted, formatRate } from "./format.ts";
import { fit, formatTime, stderrTerminal, type Terminal } from "./progress.ts";

/** A prompt that takes this long gets a line, which is drawn again as often. */
const SILENCE_MS = 1000;

/** A line that redraws itself. Dispose of it before writing results. */
export interface PromptLine extends Disposable {
  /** Takes news of the prompt. */
  update(progress: PromptProgress): void;
  /** Says from now on that the part under way is the last one: Ctrl-C cannot end it midway. */
  stopping(): void;
}

/**
 * A line that says how much of a prompt has been read, from the moment when it has taken a second. It
 * ticks by itself: the first part of a prompt may be the longest wait.
 */
export function promptProgress(
  what = "reading the prompt",
  terminal: Terminal = stderrTerminal(),
): PromptLine {
  const begun = terminal.now();
  let progress: PromptProgress | undefined, first: PromptProgress | undefined;
  let updated = begun, drawn = false, isStopping = false;
  const draw = (): void => {
    const now = terminal.now(), columns = terminal.columns();
    if (!progress || columns === 0 || now - begun < SILENCE_MS) return;
    const text = isStopping
      ? "stopping after this part of the prompt; Ctrl-C again ends the program"
      : `${what}: ${
        describePrompt(progress, progress.done - first!.done, updated - begun, now - updated)
      }`;
    terminal.write(`\r\x1b[2K${fit(text, columns - 1)}`);
    drawn = true;
  };
  const timer = terminal.columns() > 0 ? setInterval(draw, SILENCE_MS) : undefined;
  return {
    update(news) {
      progress = news;
      first ??= news;
      updated = terminal.now();
      draw();
    },
    stopping() {
      isStopping = true;
      draw();
    },
    [Symbol.dispose]() {
      clearInterval(timer);
      if (drawn) terminal.write("\r\x1b[2K");
      drawn = false;
      progress = undefined;
    },
  };
}

/**
 * `512 of 3000 tokens, 120/s, 0:20 left`, where `read` tokens took `ms`, which was `since` milliseconds
 * ago; `3000 tokens, 0:04` while nothing is known but the time.
 */
export function describePrompt(
  { done, total }: PromptProgress,
  read: number,
  ms: number,
  since: number,
): string {
  const rate = read / ms * 1000;
  const counts = done > 0 ? `${done} of ${counted(total, "token")}` : counted(total, "token");
  if (!(rate > 0)) return `${counts}, ${formatTime((ms + since) / 1000)}`;
  const left = Math.max(0, (total - done) / rate - since / 1000);
  return `${counts}, ${formatRate(read, ms)}, ${formatTime(left)} left`;
}
