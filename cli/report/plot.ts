/**
 * Plots of points as SVG, in a page's own colours: `--ink`, `--faint` and `--mark-0` to `--mark-7`.
 *
 * @module
 */

import { element, html } from "./html_text.ts";

/** A point of a plot. */
export interface Point {
  readonly x: number;
  readonly y: number;
  /** What it is, shown when it is pointed at. */
  readonly title: string;
  /** Written beside it, where there is room for words. */
  readonly label?: string;
  /** Whether it stands out from the others, by a ring. */
  readonly isRinged?: boolean;
}

/** Points of one colour. */
export interface Series {
  /** What they have in common, for the legend. */
  readonly name: string;
  readonly points: readonly Point[];
}

/** An axis. */
export interface Axis {
  readonly title: string;
  /** How a number is written at it. */
  readonly format: (value: number) => string;
  /** Whether equal steps are equal factors. Default false: it begins at 0. */
  readonly isLogarithmic?: boolean;
  /** Whether it has whole numbers alone, and begins before the first. Default false. */
  readonly isCount?: boolean;
  /** Whether it begins a little before the smallest number in place of at 0. Default false. */
  readonly isTight?: boolean;
}

const WIDTH = 640, HEIGHT = 340;
const LEFT = 92, RIGHT = 24, TOP = 16, BOTTOM = 48;
/** Colours that there are. */
const COLOURS = 8;
/** Half the size of a mark. */
const SIZE = 5;

/**
 * A plot, with a legend where there are several series. Points that are no numbers are left out; on a
 * logarithmic axis what is not above 0 lies at its beginning.
 *
 * @param about what it shows, for those who do not see it
 *
 * @example
 * ```ts
 * import { plot } from "./plot.ts";
 *
 * const axis = { title: "size", format: String };
 * plot("sizes", axis, axis, [{ name: "a", points: [{ x: 1, y: 2, title: "one" }] }]); // "<svg …"
 * ```
 */
export function plot(about: string, x: Axis, y: Axis, given: readonly Series[]): string {
  const series = given.map(({ name, points }) => ({
    name,
    points: points.filter((it) => Number.isFinite(it.x) && Number.isFinite(it.y)),
  }));
  const points = series.flatMap((it) => it.points);
  const across = scaleOf(x, points.map((it) => it.x), [LEFT, WIDTH - RIGHT]);
  const up = scaleOf(y, points.map((it) => it.y), [HEIGHT - BOTTOM, TOP]);
  const middle = { "text-anchor": "middle" };
  const grid = (d: string): string => element("path", { class: "grid", d });
  const below = HEIGHT - BOTTOM;
  const parts = [
    ...across.ticks.flatMap((it) => {
      const at = across.place(it);
      const tick = html(x.format(it));
      return [
        grid(`M${at} ${TOP}V${below}`),
        element("text", { x: at, y: below + 18, ...middle }, tick),
      ];
    }),
    ...up.ticks.flatMap((it) => {
      const at = up.place(it), tick = html(y.format(it));
      return [
        grid(`M${LEFT} ${at}H${WIDTH - RIGHT}`),
        element("text", { x: LEFT - 8, y: at + 4, "text-anchor": "end" }, tick),
      ];
    }),
    element("text", { x: (LEFT + WIDTH - RIGHT) / 2, y: HEIGHT - 8, ...middle }, html(x.title)),
    element(
      "text",
      { transform: `translate(18 ${(TOP + below) / 2}) rotate(-90)`, ...middle },
      html(y.title),
    ),
    ...series.flatMap(({ points }, i) =>
      points.map((it) => {
        const [cx, cy] = [across.place(it.x), up.place(it.y)];
        const ring = it.isRinged ? element("circle", { class: "ring", cx, cy, r: 10 }) : "";
        return element("g", {}, ring + mark(i, cx, cy) + element("title", {}, html(it.title)));
      })
    ),
    labels(points, (it) => [across.place(it.x), up.place(it.y)]),
  ];
  const view = { class: "plot", viewBox: `0 0 ${WIDTH} ${HEIGHT}`, role: "img" };
  const picture = element("svg", { ...view, "aria-label": about }, parts.join(""));
  return series.length > 1 ? picture + legendOf(series) : picture;
}

/** What the marks of several series look like. */
function legendOf(series: readonly Series[]): string {
  const size = { viewBox: "-7 -7 14 14", width: 12, height: 12, "aria-hidden": "true" };
  const items = series.map(({ name }, i) =>
    element("li", {}, `${element("svg", size, mark(i, 0, 0))} ${html(name)}`)
  );
  return element("ul", { class: "legend" }, items.join(""));
}

/** A mark: colours alone do not tell series apart for everybody. */
function mark(series: number, x: number, y: number): string {
  const colour = { class: `mark-${series % COLOURS}` }, d = SIZE * 1.3;
  switch (series % 4) {
    case 0:
      return element("circle", { ...colour, cx: x, cy: y, r: SIZE });
    case 1: {
      const corner = { x: round(x - SIZE), y: round(y - SIZE) };
      return element("rect", { ...colour, ...corner, width: 2 * SIZE, height: 2 * SIZE });
    }
    case 2:
      return element("path", {
        ...{ ...colour, d: `M${x} ${round(y - d)}l${d} ${d}l${-d} ${d}l${-d} ${-d}z` },
      });
    default:
      return element("path", {
        ...{ ...colour, d: `M${x} ${round(y - d)}l${d} ${2 * SIZE + 1}h${-2 * d}z` },
      });
  }
}

/** Words beside marks, each where it covers neither another nor a mark; none where there is no room. */
function labels(
  points: readonly Point[],
  place: (point: Point) => readonly [x: number, y: number],
): string {
  const taken = points.map((it) => {
    const [x, y] = place(it);
    return { left: x - SIZE, right: x + SIZE, top: y - SIZE, bottom: y + SIZE };
  });
  return points.map((point) => {
    if (point.label === undefined) return "";
    const [x, y] = place(point), width = LETTER * point.label.length;
    for (const [isLeft, dy] of PLACES) {
      const left = isLeft ? x - GAP - width : x + GAP, baseline = y + dy;
      const box = { left, right: left + width, top: baseline - 12, bottom: baseline + 3 };
      const isInside = box.left > LEFT && box.right < WIDTH - 2 && box.top > 0 &&
        box.bottom < HEIGHT - BOTTOM;
      const isFree = taken.every((it) =>
        it.right < box.left || it.left > box.right || it.bottom < box.top || it.top > box.bottom
      );
      if (!isInside || !isFree) continue;
      taken.push(box);
      const at = { x: round(isLeft ? x - GAP : x + GAP), y: round(baseline) };
      const anchor = isLeft ? "end" : "start";
      return element(
        "text",
        { class: "label", ...at, "text-anchor": anchor },
        html(point.label),
      );
    }
    return "";
  }).join("");
}

/** How wide a letter of a label is, at most, and how far it is from its mark. */
const LETTER = 11, GAP = 14;
/** Where a label is tried: on the left or not, and how far down. */
const PLACES = [[false, 4], [true, 4], [false, -9], [true, -9], [false, 17], [true, 17]] as const;

interface Scale {
  readonly ticks: readonly number[];
  place(value: number): number;
}

function scaleOf(
  { isLogarithmic = false, isCount = false, isTight = false }: Axis,
  values: readonly number[],
  [from, to]: readonly [number, number],
): Scale {
  const real = values.filter((it) => !isLogarithmic || it > 0);
  const [least, most] = real.length === 0 ? [0, 1] : [Math.min(...real), Math.max(...real)];
  if (isLogarithmic) {
    const [low, high] = real.length === 0
      ? [-1, 0]
      : [Math.floor(Math.log10(least) - 0.05), Math.ceil(Math.log10(most) + 0.05)];
    const step = Math.ceil((high - low) / 8);
    const ticks = Array.from(
      { length: Math.floor((high - low) / step) + 1 },
      (_, i) => Number(`1e${low + i * step}`),
    );
    const share = (value: number): number =>
      value > 0 ? (Math.log10(value) - low) / (high - low) : 0;
    return { ticks, place: (value) => round(from + (to - from) * share(value)) };
  }
  const room = isCount ? 0.5 : 0.1 * (most - least) || 0.1 * most || 1;
  const low = isCount || isTight ? Math.max(isCount ? -0.5 : 0, least - room) : 0,
    high = most + room;
  const step = stepOf((high - low) / 6, isCount), first = Math.ceil(low / step) * step;
  const count = Math.max(0, Math.floor((high - first) / step + 1e-9)) + 1;
  return {
    ticks: Array.from({ length: count }, (_, i) => Number((first + i * step).toPrecision(9))),
    place: (value) => round(from + (to - from) * (value - low) / (high - low)),
  };
}

/** The next of 1, 2 and 5 times a power of ten. */
function stepOf(least: number, isCount: boolean): number {
  const power = 10 ** Math.floor(Math.log10(least));
  const step = [1, 2, 5, 10].map((it) => it * power).find((it) => it >= least * 0.999)!;
  return isCount ? Math.max(1, step) : step;
}

function round(value: number): number {
  return Math.round(value * 10) / 10;
}
