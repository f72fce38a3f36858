/**
 * Progress on one line of a terminal's stderr: of downloads and of loading. Where stderr
 * is no terminal, nothing is drawn.
 *
 * @module
 */
import { formatBytes, plain, terminalText } from "../escape.ts";

import type { DownloadProgress } from "../runtime/hub/resolve.ts";

export { formatBytes };

/** A line that redraws itself. */
export interface ProgressLine extends Disposable {
  /** Shows where a download stands; redraws ten times a second at most. */
  update(progress: DownloadProgress): void;
  /** Writes a line of text without garbling the progress. */
  note(text: string): void;
}

/** What a line needs of a terminal; tests give a table. */
export interface Terminal {
  /** Columns, or 0 when it is none. */
  columns(): number;
  /** Writes text. */
  write(text: string): void;
  /** Milliseconds. */
  now(): number;
}

const REDRAW_MS = 100;
const RATE_WINDOW_MS = 5000;
const BAR = 20;

/** A progress line on stderr. Dispose of it before writing results. */
export function progressLine(terminal: Terminal = stderrTerminal()): ProgressLine {
  const samples: { at: number; loaded: number }[] = [];
  let drawnAt = -Infinity;
  let drawn = false;
  const clear = () => {
    if (drawn) terminal.write("\r\x1b[2K");
    drawn = false;
  };
  return {
    update(progress) {
      const at = terminal.now(), { loaded } = progress;
      if (at - drawnAt < REDRAW_MS) return;
      drawnAt = at;
      if (samples.length > 0 && loaded < samples[samples.length - 1].loaded) samples.length = 0; // begun anew
      samples.push({ at, loaded });
      while (samples.length > 2 && at - samples[0].at > RATE_WINDOW_MS) samples.shift();
      const columns = terminal.columns();
      if (columns === 0) return;
      const seconds = (at - samples[0].at) / 1000;
      const text = describeProgress(
        progress,
        seconds > 0 ? (loaded - samples[0].loaded) / seconds : 0,
        columns - 1,
      );
      terminal.write(`\r\x1b[2K${text}`);
      drawn = true;
    },
    note(text) {
      clear();
      terminal.write(`${terminalText()(text)}\n`);
    },
    [Symbol.dispose]: clear,
  };
}

/** The line for a moment, at most `width` characters: `NAME 42% [####----] 275 MB of 640 MB, 12 MB/s, 0:30 left`. */
export function describeProgress(progress: DownloadProgress, rate: number, width: number): string {
  const { phase, loaded, total } = progress;
  const file = plain(progress.file); // it may be a URL with a signature
  if (phase === "wait") {
    return fit(`${file}: another process is downloading it, waiting`, width);
  }
  const part = total ? Math.min(1, loaded / total) : 0;
  const percent = total ? `${Math.floor(part * 100)}% ` : "";
  const filled = Math.floor(part * BAR);
  const bar = total ? `[${"#".repeat(filled)}${"-".repeat(BAR - filled)}] ` : "";
  const counts = total ? `${formatBytes(loaded)} of ${formatBytes(total)}` : formatBytes(loaded);
  const speed = phase === "verify" ? ", checking" : rate > 0 ? `, ${formatBytes(rate)}/s` : "";
  const left = phase === "download" && total && rate > 0
    ? `, ${formatTime((total - loaded) / rate)} left`
    : "";
  const name = file.slice(file.lastIndexOf("/") + 1);
  for (const text of [`${name} ${percent}${bar}`, `${name} ${percent}`, percent]) {
    const line = text + counts + speed + left;
    if (line.length <= width) return line;
  }
  return fit(percent + counts, width);
}

/** Seconds as `0:09`, `12:30` or `1:02:03`. */
export function formatTime(seconds: number): string {
  const whole = Math.round(Math.min(seconds, 359_999)); // 99:59:59
  const [h, m, s] = [Math.floor(whole / 3600), Math.floor(whole / 60) % 60, whole % 60];
  const two = (n: number) => String(n).padStart(2, "0");
  return h > 0 ? `${h}:${two(m)}:${two(s)}` : `${m}:${two(s)}`;
}

/** Text cut to a width. */
export function fit(text: string, width: number): string {
  return text.slice(0, Math.max(0, width));
}

/** The terminal that stderr is. */
export function stderrTerminal(): Terminal {
  const encoder = new TextEncoder();
  return {
    // Some terminals do not know their size.
    columns: () => (Deno.stderr.isTerminal() ? Deno.consoleSize().columns || 80 : 0),
    write: (text) => void Deno.stderr.writeSync(encoder.encode(text)),
    now: () => performance.now(),
  };
}
