/**
 * Checkpoints of models that were divided among processes, as Megatron-LM, DeepSpeed and SAT write
 * them: a file for each process ("rank"), which holds a part of most tensors under the same names, in a
 * folder whose name the file `latest` has. How the parts of a tensor fit together is the model's
 * business; here they get names of their own, such as `mp_rank_00/transformer.final_layernorm.bias`.
 *
 * @module
 */

import { FormatError } from "../../errors.ts";
import { quote } from "../../escape.ts";
import type { Folder } from "./folder.ts";
import { isSafeName } from "./safe_path.ts";
import { NotFoundError } from "./source.ts";

const RANK = /^mp_rank_(\d\d)_model_states\.pt$/;
const LATEST = "latest";
/** Bytes that `latest` has at most. */
const MOST_BYTES = 256;

/** Whether a file of this name holds the part of one rank. */
export function isRank(name: string): boolean {
  return RANK.test(name);
}

/** Where the files of the ranks are. */
export interface RankFiles {
  readonly folder: Folder;
  /** Names of the files, that of rank 0 first. */
  readonly names: readonly string[];
}

/**
 * The files of all ranks in a folder that has `names`, or in the one that its `latest` names; undefined
 * where there are none.
 *
 * @throws FormatError when `latest` names no folder, or a rank's file is missing
 */
export async function findRanks(
  folder: Folder,
  names: readonly string[],
): Promise<RankFiles | undefined> {
  if (names.some(isRank)) return ranksOf(folder, names);
  if (!names.includes(LATEST)) return undefined;
  const source = await folder.open(LATEST);
  const text = await source.read(0, Math.min(source.size, MOST_BYTES)).finally(() =>
    source.close()
  );
  const inner = new TextDecoder().decode(text).trim();
  if (!isSafeName(inner)) {
    throw new FormatError(
      `Cannot open the checkpoint that ${quote(source.name)} names: it is ${quote(inner)}, ` +
        `expected the name of a folder beside it`,
    );
  }
  const step = folder.subfolder(inner);
  const inside = await step.list().catch((error) => {
    if (!(error instanceof NotFoundError)) throw error;
    throw new NotFoundError(
      `Cannot open the checkpoint that ${quote(source.name)} names: there is no folder ` +
        `${quote(inner)} beside it`,
      { cause: error },
    );
  });
  return inside && ranksOf(step, inside);
}

/** The files of ranks 0, 1 and so on. */
function ranksOf(folder: Folder, names: readonly string[]): RankFiles | undefined {
  const ranks = names.filter(isRank).sort();
  const gap = ranks.findIndex((it, rank) => Number(RANK.exec(it)![1]) !== rank);
  if (gap >= 0) {
    throw new FormatError(
      `Cannot open the checkpoint in ${quote(folder.name)}: found ${ranks.join(", ")}, expected ` +
        `${rankName(gap)}_model_states.pt among them`,
    );
  }
  return ranks.length > 0 ? { folder, names: ranks } : undefined;
}

/** What stands before a tensor's name in a checkpoint of several ranks. */
export function rankName(rank: number): string {
  return `mp_rank_${String(rank).padStart(2, "0")}`;
}
