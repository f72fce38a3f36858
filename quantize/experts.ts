/**
 * What the experts of a mixture read: each has inputs of its own, those of the tokens that its layer's
 * router chose it for.
 *
 * @module
 */

import { NO_EXPERT, topExperts } from "../kernels/top_experts/op.ts";
import {
  compileGraph,
  DEFINITION,
  type Layers,
  type RunOptions,
  runText,
  type Stream,
  type SumsKind,
} from "./layers.ts";
import type { Products } from "./products.ts";
import type { Experts, Section } from "./sections.ts";

/** Sums over what one expert's matrices are multiplied with, of some kind. */
export interface ExpertSums<T = Products> {
  /** Of tokens that came to it through rounded layers. */
  readonly products: T;
  /** Tokens that came to it without any rounding. */
  count: number;
  /** Σ z² of those `[columns]`. */
  readonly squares: Float64Array;
}

/** Bytes of sums that are in memory at a time. */
const MOST_BYTES = 1 << 30;

/**
 * Sums for each expert, a few experts at a time: the texts run through the section once for each few.
 *
 * @param columns of the experts' matrices
 * @param by the experts' input: one row for each token, or one for each of its experts
 */
export function sumExperts(
  layers: Layers,
  section: Section,
  about: { by: string; experts: Experts; columns: number },
  rounded: Stream,
  exact: Stream,
  options: RunOptions,
): AsyncIterable<readonly [expert: number, sums: ExpertSums]> {
  return sumExpertsAs(layers, section, about, rounded, exact, options, DEFINITION);
}

/** As `sumExperts`, with another kind of sums. They are there until the next is asked for. */
export async function* sumExpertsAs<T>(
  { program }: Layers,
  section: Section,
  { by, experts, columns }: { by: string; experts: Experts; columns: number },
  rounded: Stream,
  exact: Stream,
  { signal, ...where }: RunOptions,
  kind: SumsKind<T>,
): AsyncIterable<readonly [expert: number, sums: ExpertSums<T>]> {
  const few = Math.max(1, Math.floor(MOST_BYTES / (16 * columns * columns)));
  await using compiled = await compileGraph(section.inputs, rounded, where);
  await using compiledExact = await compileGraph(section.inputs, exact, where);
  for (let first = 0; first < experts.count; first += few) {
    using _room = kind.room();
    const sums = Array.from(
      { length: Math.min(few, experts.count - first) },
      (): ExpertSums<T> => ({
        ...{ products: kind.none(columns), count: 0, squares: new Float64Array(columns) },
      }),
    );
    for (const text of rounded.ids.keys()) {
      signal?.throwIfAborted();
      const found = await runText(program, section.inputs, section, rounded, compiled, text);
      const wanted = await runText(program, section.inputs, section, exact, compiledExact, text);
      await addText(kind, sums, first, { ...experts, columns }, {
        found: { inputs: found.valueOf(by), scores: found.valueOf(experts.scores) },
        wanted: { inputs: wanted.valueOf(by), scores: wanted.valueOf(experts.scores) },
      });
    }
    for (const [i, it] of sums.entries()) {
      kind.end(it.products);
      yield [first + i, it];
    }
  }
}

/** What a router and its experts get of one text. */
interface Routed {
  /** `[tokens, columns]`, or `[tokens, perToken, columns]`. */
  readonly inputs: Float32Array;
  /** `[tokens, experts]`. */
  readonly scores: Float32Array;
}

/** Adds what experts from `first` on read of one text. */
async function addText<T>(
  kind: SumsKind<T>,
  sums: readonly ExpertSums<T>[],
  first: number,
  { count, perToken, columns }: Experts & { readonly columns: number },
  { found, wanted }: { readonly found: Routed; readonly wanted: Routed },
): Promise<void> {
  const [chosen, exactly] = [chosenOf(found, count, perToken), chosenOf(wanted, count, perToken)];
  const tokens = found.scores.length / count;
  const isOne = found.inputs.length === tokens * columns; // for all experts of a token
  const row = ({ inputs }: Routed, place: number): Float32Array => {
    const at = (isOne ? Math.floor(place / perToken) : place) * columns;
    return inputs.subarray(at, at + columns);
  };
  for (const [i, { products }] of sums.entries()) {
    const own: Float32Array[] = [], exact: Float32Array[] = [];
    for (let place = 0; place < chosen.length; place++) {
      const begin = place - place % perToken, token = exactly.subarray(begin, begin + perToken);
      if (exactly[place] === first + i) addSquares(sums[i]!, row(wanted, place));
      if (chosen[place] !== first + i) continue;
      const x = row(found, place), same = token.indexOf(first + i);
      own.push(x);
      // Without rounding the token might have gone to others: then nobody knows how far x is off.
      exact.push(isOne ? row(wanted, place) : same < 0 ? x : row(wanted, begin + same));
    }
    if (own.length > 0) {
      await kind.add(products, joined(own, columns), joined(exact, columns));
    }
  }
}

function addSquares(sums: ExpertSums<unknown>, z: Float32Array): void {
  sums.count++;
  for (let j = 0; j < z.length; j++) sums.squares[j]! += z[j]! ** 2;
}

function joined(rows: readonly Float32Array[], columns: number): Float32Array {
  const all = new Float32Array(rows.length * columns);
  rows.forEach((row, i) => all.set(row, i * columns));
  return all;
}

/** Which experts each token gets `[tokens, perToken]`. */
function chosenOf({ scores }: Routed, count: number, perToken: number): Int32Array {
  const tokens = scores.length / count;
  const data = new Int32Array(tokens * perToken).fill(NO_EXPERT);
  topExperts.reference(
    { shape: [tokens, perToken], dtype: "i32", data },
    [{ shape: [tokens, count], dtype: "f32", data: scores }],
    { count: perToken },
  );
  return data;
}

/**
 * Sums of an expert that has read little, with a share of what all experts read: as if a quarter as many
 * tokens as there are columns had come from there. One that has read nothing has theirs alone.
 */
export function withOthers({ products }: ExpertSums, all: Products): Products {
  const { columns } = products;
  if (all.count === 0) return products;
  const share = columns / 4 / all.count;
  return {
    ...products,
    count: products.count + columns / 4,
    sums: products.sums.map((sum, i) => sum + share * all.sums[i]!),
  };
}
