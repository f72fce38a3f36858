/**
 * The README says what the code does.
 */

import { assert, assertEquals } from "@std/assert";
import { modelTable, withTable } from "./readme_table.ts";

Deno.test("the README's table of models is the registry's", async () => {
  const readme = await Deno.readTextFile(new URL("../README.md", import.meta.url));
  // The formatter aligns columns and wraps lines; blanks and rules do not count.
  const plain = (text: string): string => text.replaceAll(/[\s-]+/g, " ").replaceAll("| |", "||");
  assertEquals(plain(readme), plain(withTable(readme, await modelTable())));
});

Deno.test("the README's sample is what the command writes", async () => {
  const root = new URL("../", import.meta.url);
  const readme = await Deno.readTextFile(new URL("README.md", root));
  const found = /With `([^`]+)`[^`]*the first one writes:\n\n```\n([^`]+)```/.exec(readme);
  const prompt = /^deno task generate "([^"]+)"/m.exec(readme);
  assert(found && prompt, "the README has a sample with its flags");
  const { stdout, stderr } = await new Deno.Command(Deno.execPath(), {
    args: ["run", "-A", "cli/main.ts", "generate", ...found![1]!.split(" "), prompt![1]!],
    cwd: root,
  }).output();
  assertEquals(new TextDecoder().decode(stdout), found![2], new TextDecoder().decode(stderr));
});
