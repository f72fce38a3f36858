// Which panels a worker takes, one after the other, where a matrix meets a single token: four side by
// side as long as there are four, for the reason given in int4_vector.as.ts.

import { nextTask, shareStart } from "../common.as";

/** What to take now: `panelCount` panels, 1 or 4, from `firstPanel` on at the given distance. */
export let firstPanel: i32 = 0;
export let panelDistance: i32 = 0;
export let panelCount: i32 = 0;

// The worker's own range: a quarter of it from each of four places side by side, then single panels.
let start: i32 = 0;
let quarter: i32 = 0;
let stream: i32 = 0;
let single: i32 = 0;
let end: i32 = 0;
// What is shared: panels from `shared` up to `last` in tasks of `unit`; none where `unit` is 0.
let step: usize = 0;
let shared: i32 = 0;
let last: i32 = 0;
let unit: i32 = 0;

/** Panels from `from` up to `to`, all for this worker. */
export function startPanels(from: i32, to: i32): void {
  start = from;
  quarter = (to - from) >> 2;
  stream = 0;
  single = from + (quarter << 2);
  end = to;
  unit = 0;
}

/**
 * A share of `panels` for each worker, then, of an eighth that is left, what it can get, because
 * workers are not equally fast and the next step waits for the last of them. The eighth is taken by
 * `tasksOf` panels, 1 or 4.
 */
export function sharePanels(
  panels: i32,
  tasksOf: i32,
  args: usize,
  worker: i32,
  workers: i32,
): void {
  const left = workers > 1 ? panels >> 3 : 0;
  const own = panels - left;
  startPanels(shareStart(own, worker, workers), shareStart(own, worker + 1, workers));
  if (left == 0) return;
  step = args;
  shared = own;
  last = panels;
  unit = tasksOf;
}

/** Goes to the next panels; false if there are none. */
export function nextPanels(): bool {
  if (stream < quarter) {
    firstPanel = start + stream++;
    panelDistance = quarter;
    panelCount = 4;
    return true;
  }
  panelDistance = 1;
  panelCount = 1;
  if (single < end) {
    firstPanel = single++;
    return true;
  }
  if (unit == 0) return false;
  firstPanel = shared + nextTask(step) * unit;
  if (firstPanel >= last) return false;
  if (firstPanel + unit <= last) {
    panelCount = unit;
  } else { // Less than a task is left.
    single = firstPanel + 1;
    end = last;
  }
  return true;
}
