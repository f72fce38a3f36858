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

/** An element with attributes and what is in it, which is markup already. */
export function element(
  name: string,
  attributes: Readonly<Record<string, string | number>>,
  content = "",
): string {
  const quoted = (value: string | number): string => ['"', '"'].join(html(String(value)));
  const written = Object.entries(attributes).map(([key, value]) => ` ${key}=` + quoted(value));
  return `<${name}${written.join("")}>${content}</${name}>`;
}
