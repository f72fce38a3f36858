/**
 * Text of others in a page.
 *
 * @module
 */

import { plain } from "../../escape.ts";

const ENTITIES: Readonly<Record<string, string>> = {
  ...{ "&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;", "'": "&#39;" },
};

/** Text as it stands in a page or in an attribute between quotes; control codes are shown. */
export function html(text: string): string {
  return plain(text).replace(/[&<>"']/g, (it) => ENTITIES[it]!);
}
