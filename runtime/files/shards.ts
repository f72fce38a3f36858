/**
 * Names of the files of a GGUF model that is split: `NAME-00001-of-00003.gguf` and so on. A shard is one
 * of these files.
 *
 * @module
 */

/** Most shards of a model. */
export const MAX_SHARDS = 1000;

/** Everything before the number, the number, the number of shards, the ending. */
const SHARD = /^(.*)-(\d{5})-of-(\d{5})(\.gguf)$/is;

/** What the name of a shard says. */
export interface Shard {
  /** Its place among the shards, from 1. */
  readonly number: number;
  /** How many there are. */
  readonly count: number;
}

/** What a name or path says, unless it is none of a shard. */
export function shardOf(path: string): Shard | undefined {
  const [, , number, count] = SHARD.exec(path) ?? [];
  return count === undefined ? undefined : { number: Number(number), count: Number(count) };
}

/** The name or path of another shard of the same model; what is no shard's stays as it is. */
export function shardPath(path: string, number: number): string {
  return path.replace(SHARD, (_, before, __, count, ending) => {
    return `${before}-${shardDigits(number)}-of-${count}${ending}`;
  });
}

/** A name or path without its number and the number of shards. */
export function withoutShard(path: string): string {
  return path.replace(SHARD, "$1$4");
}

/** A number as it stands in names of shards. */
export function shardDigits(number: number): string {
  return String(number).padStart(5, "0");
}

/** The first shard among `names`, or undefined where they are not those of exactly one model. */
export function firstShard(names: readonly string[]): string | undefined {
  const firsts = names.filter((name) => shardOf(name)?.number === 1);
  const model = withoutShard(firsts[0] ?? "");
  const hasOthers = names.some((name) => !shardOf(name) || withoutShard(name) !== model);
  return firsts.length === 1 && !hasOthers ? firsts[0] : undefined;
}
