/**
 * What the fields of a configuration mean to a definition. A file may hold fields of which a
 * definition knows nothing: those that would change what is computed are refused, unless their value
 * is the one that changes nothing; those that nobody knows are told.
 *
 * @module
 */

import { ModelError } from "../../errors.ts";
import { quote } from "../../escape.ts";
import type { ModelFile } from "../files/model_file.ts";

/** Takes a message about something in a file that has no effect. */
export type Warn = (message: string) => void;

/** The fields of a configuration, sorted by what they mean to a definition. */
export interface FieldRules {
  /** Those that it reads. */
  readonly read: readonly string[];
  /** Those that have no influence on logits. A name may end in `*`, which stands for anything. */
  readonly harmless: readonly string[];
  /**
   * Those that it cannot honour, with the values under which there is nothing to honour; one that is
   * also among the harmless ones, which several families share, is not harmless here.
   */
  readonly neutral: Readonly<Record<string, readonly unknown[]>>;
}

/**
 * Checks every field whose name begins with `prefix`; `rules` have the names without it.
 *
 * @throws ModelError naming a field that would change the answer and is not supported
 */
export function checkFields(file: ModelFile, prefix: string, rules: FieldRules, warn: Warn): void {
  const { read, harmless, neutral } = rules;
  const known = new Set([...read, ...harmless.filter((it) => !Object.hasOwn(neutral, it))]);
  const beginnings = harmless.filter((it) => it.endsWith("*")).map((it) => it.slice(0, -1));
  const unknown: string[] = [];
  for (const [name, value] of Object.entries(file.metadata)) {
    const field = name.slice(prefix.length);
    if (!name.startsWith(prefix) || value === null || known.has(field)) continue;
    if (beginnings.some((it) => field.startsWith(it))) continue;
    if (!Object.hasOwn(neutral, field)) {
      if (!isEmpty(value)) unknown.push(name);
      continue;
    }
    const values = neutral[field]!;
    if (isEmpty(value) && values.length === 0) continue;
    if (values.some((it) => JSON.stringify(it) === JSON.stringify(value))) continue;
    const expected = values.length === 0
      ? "no such field"
      : values.map((it) => quote(it)).join(" or ");
    throw new ModelError(
      `Cannot load ${quote(file.name)}: field ${quote(name)} is ${
        quote(value, 60)
      }, which is not ` +
        `supported and would change the results, expected ${expected}`,
    );
  }
  if (unknown.length > 0) {
    const some = unknown.slice(0, 12).map((it) => quote(it)).join(", ");
    const more = unknown.length > 12 ? ` and ${unknown.length - 12} more` : "";
    warn(`${quote(file.name)} has fields that mean nothing to this architecture: ${some}${more}`);
  }
}

/** Whether a value says that something is not there. */
function isEmpty(value: unknown): boolean {
  if (value === false || value === 0 || value === "") return true;
  return typeof value === "object" && Object.keys(value as object).length === 0;
}
