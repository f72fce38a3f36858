/**
 * The README says what the code does.
 */

import { assertEquals } from "@std/assert";
import { modelTable, withTable } from "./readme_table.ts";

Deno.test("the README's table of models is the registry's", async () => {
  const readme = await Deno.readTextFile(new URL("../README.md", import.meta.url));
  // The formatter aligns columns and wraps lines; blanks and rules do not count.
  const plain = (text: string): string => text.replaceAll(/[\s-]+/g, " ").replaceAll("| |", "||");
  assertEquals(plain(readme), plain(withTable(readme, await modelTable())));
});
