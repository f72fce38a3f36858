/**
 * Where a report goes.
 *
 * @module
 */

import { SparrowError } from "../../errors.ts";
import { quote, safeJson } from "../../escape.ts";
import { checkDestination } from "../../quantize/write.ts";
import { systemReason, UsageError } from "../errors.ts";
import { type Report, reportPage } from "./page.ts";

/**
 * Refuses a report that could not be written in the end.
 *
 * @throws UsageError when its name says neither HTML nor JSON, or is that of another file of the command
 * @throws InputError when it is there already and `force` is not given
 * @throws SparrowError when the system refuses it
 */
export async function checkReport(
  path: string,
  others: readonly string[],
  force: boolean,
): Promise<void> {
  if (!/\.(html|json)$/i.test(path)) {
    throw new UsageError(
      `Cannot use --report ${quote(path)}: expected the name of a .html or a .json file`,
    );
  }
  if (others.includes(path)) {
    throw new UsageError(
      `Cannot use --report ${quote(path)}: another of the files to write has that name`,
    );
  }
  await checkDestination(path, force);
}

/**
 * Writes a report, as its name says.
 *
 * @throws SparrowError when the system refuses it
 */
export async function writeReport(path: string, report: Report): Promise<void> {
  const text = /\.json$/i.test(path) ? `${safeJson(report, 2)}\n` : reportPage(report);
  const part = `${path}.${crypto.randomUUID().slice(0, 8)}.part`;
  try {
    await Deno.writeTextFile(part, text);
    await Deno.rename(part, path);
  } catch (error) {
    await Deno.remove(part).catch(() => {});
    throw new SparrowError(
      `Cannot write the report ${quote(path)}: ${
        systemReason(error) ?? (error as Error).message
      }; ` +
        `the model is written`,
      { cause: error },
    );
  }
}
