/**
 * How numbers are written for people: times, speeds, counts.
 *
 * @module
 */

/** Milliseconds as `4.2 ms`, `475 ms`, `1.2 s`, `95 s` or `12 min 5 s`. */
export function formatMs(ms: number): string {
  if (ms < 9.95) return `${shorten(ms)} ms`;
  if (ms < 999.5) return `${Math.round(ms)} ms`;
  const seconds = ms / 1000;
  if (seconds < 9.95) return `${seconds.toFixed(1)} s`;
  if (seconds < 99.5) return `${Math.round(seconds)} s`;
  const whole = Math.round(seconds);
  if (whole < 3600) return `${Math.floor(whole / 60)} min ${whole % 60} s`;
  return `${Math.floor(whole / 3600)} h ${Math.floor(whole / 60) % 60} min`;
}

/** How many in how many milliseconds, as `325/s`, `4.2/s` or `0.021/s`; `-` where it says nothing. */
export function formatRate(count: number, ms: number): string {
  const rate = count / ms * 1000;
  return count > 0 && ms > 0 && Number.isFinite(rate) ? `${shorten(rate)}/s` : "-";
}

/** ` at 325/s`, or nothing where there is no rate. */
export function atRate(count: number, ms: number): string {
  const rate = formatRate(count, ms);
  return rate === "-" ? "" : ` at ${rate}`;
}

/** `1 thread`, `2 threads`. */
export function counted(count: number, one: string, many = `${one}s`): string {
  return `${count} ${count === 1 ? one : many}`;
}

/** Two digits at least, and nothing behind the point from ten on. */
function shorten(value: number): string {
  if (value >= 9.95) return String(Math.round(value));
  return String(Number(value.toPrecision(2)));
}
