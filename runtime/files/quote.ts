/**
 * Names from files, as messages show them.
 *
 * @module
 */

/** A name in quotes, with control characters escaped and no longer than a line. */
export function quote(name: string): string {
  return JSON.stringify(name.length > 96 ? `${name.slice(0, 95)}…` : name);
}
