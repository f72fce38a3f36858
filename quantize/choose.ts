/**
 * Types per tensor under a size: what the rounding of each tensor costs is measured, and bits are spent
 * where they help most.
 *
 * @module
 */

import { InputError } from "../errors.ts";
import { quote } from "../escape.ts";
import { tensorBlocks } from "../quant/ggml_types.ts";
import { readConfig } from "../runtime/files/config.ts";
import type { ModelFile, TensorEntry } from "../runtime/files/model_file.ts";
import type { ResolvedModel } from "../runtime/engine/resolve.ts";
import { bytesAs, measureCosts, type TensorGroup } from "./costs.ts";
import type { Layers, RunOptions } from "./layers.ts";
import { mixedType } from "./mixtures.ts";
import { type Choice, spend } from "./spend.ts";
import { bitsOf, type ChosenType, isRounded, type TensorWish } from "./types.ts";

/** What a choice must keep to. */
export interface Budget {
  /** Most bytes of everything. */
  readonly bytes: number;
  /** Bytes of everything but the groups. */
  readonly fixed: number;
  /** What the bytes of a tensor are rounded up to a multiple of. */
  readonly alignment: number;
  /** A number of bytes, as people gave it. */
  readonly show: (bytes: number) => string;
}

/** Types that tensors may get, of those with as many bits the better one first. */
const TYPES = ["Q4_K", "IQ4_NL", "Q4_0", "Q4_1", "Q5_K", "Q5_0", "Q5_1", "Q6_K", "Q8_0", "F16"];

/**
 * The groups of tensors whose types are chosen: those of each matrix that is rounded at all, but for
 * those that wishes find.
 */
export function groupsOf(
  file: ModelFile,
  model: ResolvedModel,
  wishes: readonly TensorWish[],
): TensorGroup[] {
  const groups: Set<string>[] = [];
  for (const weight of model.weights.values()) {
    if (!isRounded(weight, model.config.vocabSize)) continue;
    const names = new Set(
      weight.tensors.filter((name) => {
        const { shape } = file.tensors.get(name)!;
        return shape.length > 1 && !wishes.some(({ pattern }) => pattern.test(name));
      }),
    );
    // A tensor may hold several weights: queries, keys and values.
    const same = groups.find((it) => !it.isDisjointFrom(names));
    if (same) names.forEach((name) => same.add(name));
    else if (names.size > 0) groups.push(names);
  }
  return groups.map((names) => {
    const tensors = Array.from(names, (name) => file.tensors.get(name)!);
    return { tensors, types: typesFor(tensors) };
  });
}

/** Types with fewer bits than the tensors have, and what they have. */
function typesFor(tensors: readonly TensorEntry[]): string[] {
  const from = tensors[0]!.type;
  const fits = (type: string): boolean =>
    bitsOf(type) < bitsOf(from) &&
    tensors.every(({ shape }) => shape.at(-1)! % tensorBlocks(type)!.blockSize === 0);
  const isOneType = tensors.every(({ type }) => type === from);
  return [...TYPES.filter(fits), ...(isOneType ? [from] : [])];
}

/** What a mixture of llama.cpp would give each tensor of groups. */
export function mixtureOf(
  mixture: string,
  file: ModelFile,
  groups: readonly TensorGroup[],
): Map<string, ChosenType> {
  const architecture = readConfig(file).text("general.architecture");
  const config = readConfig(file, `${architecture}.`);
  const model = {
    layers: config.count("block_count"),
    experts: Math.max(1, config.number("expert_count", 0)),
    isTied: !file.tensors.has("output.weight"),
  };
  return new Map(
    groups.flatMap(({ tensors, types }) =>
      tensors.map(({ name, shape, type }) => {
        const given = mixedType(mixture, name, shape.at(-1)!, model);
        return [name, { type: types.includes(given) ? given : type }] as const;
      })
    ),
  );
}

/**
 * Chooses the type of each group under a budget that can be kept to.
 *
 * @param ids texts to measure on
 */
export async function chooseTypes(
  file: ModelFile,
  model: ResolvedModel,
  layers: Layers,
  groups: readonly TensorGroup[],
  ids: readonly (readonly number[])[],
  budget: Budget,
  where: RunOptions & { readonly onSection: (name: string, i: number) => void },
): Promise<Map<string, ChosenType>> {
  const sizes = sizesOf(groups, budget);
  // Where there is one type there is nothing to choose.
  const open = groups.filter(({ types }) => types.length > 1);
  const measured = await measureCosts(file, model, layers, open, ids, where);
  const costs = new Map(open.map((group, i) => [group, measured[i]!]));
  const items = groups.map((group, g): Choice[] =>
    group.types.map((type, i) => ({ type, bytes: sizes[g]![i]!, cost: costs.get(group)?.[i] ?? 0 }))
  );
  const chosen = new Map<string, ChosenType>();
  for (const [i, { type, cost }] of spend(items, budget.bytes - budget.fixed).entries()) {
    const { tensors } = groups[i]!;
    for (const { name } of tensors) chosen.set(name, { type, cost: cost / tensors.length });
  }
  return chosen;
}

/** Up to the next multiple. */
export function aligned(bytes: number, alignment: number): number {
  return Math.ceil(bytes / alignment) * alignment;
}

/** Bytes of each type of each group. */
function sizesOf(groups: readonly TensorGroup[], { alignment }: Budget): number[][] {
  return groups.map(({ tensors, types }) =>
    types.map((type) => tensors.reduce((sum, it) => sum + aligned(bytesAs(type, it), alignment), 0))
  );
}

/** The least and the most that all choices of types take. */
function reachOf(groups: readonly TensorGroup[], budget: Budget): [least: number, most: number] {
  const sizes = sizesOf(groups, budget);
  const total = (pick: (...sizes: number[]) => number): number =>
    sizes.reduce((sum, it) => sum + pick(...it), budget.fixed);
  return [total(Math.min), total(Math.max)];
}

/** Whether some choice keeps to the budget, and others do not. */
export function isReachable(groups: readonly TensorGroup[], budget: Budget): boolean {
  const [least, most] = reachOf(groups, budget);
  return budget.bytes >= least && budget.bytes <= most;
}

/** @throws InputError when no choice keeps to the budget, or every one does */
export function checkReachable(
  file: ModelFile,
  groups: readonly TensorGroup[],
  budget: Budget,
): void {
  if (isReachable(groups, budget)) return;
  const { bytes, show } = budget, [least, most] = reachOf(groups, budget);
  throw new InputError(
    `Cannot quantize ${quote(file.name)} to ${show(bytes)}: expected from ${show(least)} to ${
      show(most)
    }, the least and the most that its tensors can take`,
  );
}
