/**
 * Tests that cannot run on every machine: why, for `tools/test.ts`, which says it at the end.
 *
 * @module
 */

/**
 * Whether tests of this file are to be ignored: unless `possible`. The reason is written where the
 * variable `SPARROW_SKIPS` says, and on the terminal where it says nothing.
 */
export function skipUnless(possible: boolean, reason: string): boolean {
  if (possible) return false;
  const path = Deno.env.get("SPARROW_SKIPS"), file = Deno.mainModule.replace(/^.*\//, "");
  if (path === undefined) console.log(`skipped: ${reason}`);
  else Deno.writeTextFileSync(path, `${JSON.stringify([file, reason])}\n`, { append: true });
  return true;
}
