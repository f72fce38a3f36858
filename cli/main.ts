/**
 * The command line: `deno task COMMAND …` runs one file of this folder.
 *
 * @module
 */

import { quote } from "../escape.ts";

/** A command: its `--help` text, and what runs it and returns the exit code. */
interface Command {
  readonly help: string;
  run(args: string[]): Promise<number>;
}

/** Commands by name, loaded when they are run. */
const COMMANDS: Readonly<Record<string, () => Promise<Command>>> = {
  generate: () => import("./generate.ts"),
  chat: () => import("./chat.ts"),
  inspect: () => import("./inspect.ts"),
  score: () => import("./score.ts"),
  pull: () => import("./pull.ts"),
  models: () => import("./models.ts"),
};

const USAGE = `Usage: deno task COMMAND [options]

Commands: ${Object.keys(COMMANDS).join(", ")}
"deno task COMMAND --help" shows the options of each.`;

if (import.meta.main) {
  const [name = "", ...args] = Deno.args;
  const load = Object.hasOwn(COMMANDS, name) ? COMMANDS[name] : undefined;
  if (load) Deno.exit(await (await load()).run(args));
  const wanted = ["", "help", "-h", "--help"].includes(name);
  if (!wanted) console.error(`Cannot run command ${quote(name)}: there is none of that name`);
  (name === "" || !wanted ? console.error : console.log)(USAGE);
  Deno.exit(wanted && name !== "" ? 0 : 2);
}
