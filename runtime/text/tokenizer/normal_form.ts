/**
 * Unicode's normal forms in time that is linear in the text. The engine sorts a run of combining marks by
 * insertion, so that a letter with 100 000 marks in turn takes it half a minute; here long runs are sorted
 * before the engine sees them, which leaves it nothing to move.
 *
 * @module
 */

/** The four forms. */
export type NormalForm = "NFC" | "NFD" | "NFKC" | "NFKD";

/** Marks in a row from which on it is worth it; UAX #15 calls no text with more than 30 a real one. */
const LONG_RUN = /\p{M}{64,}/gu;

/** As `text.normalize(form)`. */
export function normalForm(text: string, form: NormalForm): string {
  if (!LONG_RUN.test(text)) return text.normalize(form);
  LONG_RUN.lastIndex = 0;
  const decomposed = form.startsWith("NFK") ? "NFKD" : "NFD";
  return text.replace(LONG_RUN, (run) => sorted(run, decomposed)).normalize(form);
}

/** Marks in canonical order, each decomposed; those of class 0 stay where they are. */
function sorted(run: string, form: NormalForm): string {
  const parts = Array.from(run, (mark) => mark.normalize(form)).join("");
  const marks = [...new Set(parts)];
  const moving = marks.filter((mark) => goesBefore(mark, LAST) || goesBefore(FIRST, mark))
    .sort((a, b) => goesBefore(a, b) ? -1 : goesBefore(b, a) ? 1 : 0);
  const classes = new Map<string, number>();
  moving.forEach((mark, i) => {
    const same = i > 0 && !goesBefore(moving[i - 1], mark);
    classes.set(mark, same ? classes.get(moving[i - 1])! : i);
  });
  const result: string[] = [];
  let buckets = new Map<number, string[]>();
  const flush = (): void => {
    for (const order of [...buckets.keys()].sort((a, b) => a - b)) {
      for (const mark of buckets.get(order)!) result.push(mark);
    }
    buckets = new Map();
  };
  for (const mark of parts) {
    const order = classes.get(mark);
    if (order === undefined) {
      flush();
      result.push(mark);
    } else if (buckets.has(order)) buckets.get(order)!.push(mark);
    else buckets.set(order, [mark]);
  }
  flush();
  return result.join("");
}

// Marks of the lowest class above 0 and of the highest.
const [FIRST, LAST] = ["\u0334", "\u0345"];

/** Whether the canonical order puts one mark before another. */
function goesBefore(a: string, b: string): boolean {
  return (b + a).normalize("NFD") !== b + a;
}
