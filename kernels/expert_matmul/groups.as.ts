// Which rows of activations meet which expert: a counting sort of the chosen experts, made anew by
// every worker in its own scratch memory, since that is cheaper than waiting for another.
//
// A pair is a token and one of its experts; its number is that of its row in `chosen` and `out`.

/** Experts that somebody chose, in order. */
export let groups: usize = 0;
/** First place of each expert in `pairs`; one more than there are experts. */
export let starts: usize = 0;
/** Numbers of the pairs, by expert. */
export let pairs: usize = 0;
/** The row of x that belongs to each of `pairs`. */
export let sources: usize = 0;
/** How many pairs are in groups: not those whose expert is none, −1. */
let grouped: i32 = 0;

/** The expert of a pair, which may be none, −1; pairs take experts in turn where none are chosen. */
@inline
function chosenAt(chosen: usize, pair: i32, experts: i32): i32 {
  return chosen == 0 ? pair % experts : load<i32>(chosen + (<usize> pair << 2));
}

/**
 * Sorts `count` pairs into memory at `to`: 4 · (2 · experts + 2 + 2 · count) bytes. A row of x
 * belongs to `each` successive pairs. Returns the number of groups.
 */
export function groupPairs(chosen: usize, count: i32, each: i32, experts: i32, to: usize): i32 {
  starts = to;
  groups = starts + (<usize> (experts + 2) << 2);
  pairs = groups + (<usize> experts << 2);
  sources = pairs + (<usize> count << 2);
  // Two places further on, so that counting up to the ends leaves the starts.
  const cells = starts + 8;
  memory.fill(starts, 0, <usize> (experts + 2) << 2);
  for (let pair = 0; pair < count; pair++) {
    const expert = chosenAt(chosen, pair, experts);
    if (expert < 0) continue;
    const cell = cells + (<usize> expert << 2);
    store<i32>(cell, load<i32>(cell) + 1);
  }
  let found = 0;
  let sum = 0;
  for (let expert = 0; expert < experts; expert++) {
    const cell = cells + (<usize> expert << 2);
    const members = load<i32>(cell);
    if (members > 0) {
      store<i32>(groups + (<usize> found << 2), expert);
      found++;
    }
    sum += members;
    store<i32>(cell, sum);
  }
  grouped = sum;
  for (let pair = 0; pair < count; pair++) {
    const expert = chosenAt(chosen, pair, experts);
    if (expert < 0) continue;
    const cell = starts + 4 + (<usize> expert << 2);
    const at = load<i32>(cell);
    store<i32>(cell, at + 1);
    store<i32>(pairs + (<usize> at << 2), pair);
    store<i32>(sources + (<usize> at << 2), each == 1 ? pair : pair / each);
  }
  return found;
}

/** Fills one worker's share of the results of those of `count` pairs that have no expert with zeros. */
export function clearDropped(
  chosen: usize,
  count: i32,
  out: usize,
  rows: i32,
  worker: i32,
  workers: i32,
): void {
  if (grouped == count) return;
  const bytes = <usize> rows << 2;
  for (let pair = worker; pair < count; pair += workers) {
    if (load<i32>(chosen + (<usize> pair << 2)) < 0) memory.fill(out + <usize> pair * bytes, 0, bytes);
  }
}

/** Expert of group `g`. */
@inline
export function expertOf(g: i32): i32 {
  return load<i32>(groups + (<usize> g << 2));
}

/** First place of an expert's pairs. */
@inline
export function startOf(expert: i32): i32 {
  return load<i32>(starts + (<usize> expert << 2));
}

/** The pair at a place. */
@inline
export function pairAt(place: i32): i32 {
  return load<i32>(pairs + (<usize> place << 2));
}

/** The row of x at a place. */
@inline
export function sourceAt(place: i32): i32 {
  return load<i32>(sources + (<usize> place << 2));
}
