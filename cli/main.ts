/**
 * The command line: the first word names a command, and one file of this folder runs it. `deno task
 * COMMAND` comes here directly, an installed `sparrow COMMAND` by way of `sparrow.ts`.
 *
 * @module
 */

import config from "../deno.json" with { type: "json" };
import { quote } from "../escape.ts";
import { commandName, setProgram, writeNote, writeOut } from "./command.ts";
import { didYouMean } from "./suggest.ts";

/** A command: its `--help` text, and what runs it and returns the exit code. */
interface Command {
  readonly help: string;
  run(args: string[]): Promise<number>;
}

/** Commands by name: what they do, and where they are loaded from when they are run. */
const COMMANDS: Readonly<Record<string, readonly [string, () => Promise<Command>]>> = {
  generate: ["continue a prompt", () => import("./generate.ts")],
  chat: ["talk with a model", () => import("./chat.ts")],
  inspect: ["show what is in a model file, and the memory it needs", () => import("./inspect.ts")],
  score: ["log-probability of every token of a text", () => import("./score.ts")],
  embed: ["vectors of texts", () => import("./embed.ts")],
  fill: ["words for the masks of a text", () => import("./fill.ts")],
  classify: ["labels of a text or a pair of texts", () => import("./classify.ts")],
  rerank: ["texts in the order in which they answer a query", () => import("./rerank.ts")],
  serve: ["answer OpenAI's and Ollama's clients", () => import("./serve.ts")],
  pull: ["download a model from a hub into the cache", () => import("./pull.ts")],
  quantize: ["write a model with smaller weights", () => import("./quantize.ts")],
  compare: ["how far a model's predictions are from another's", () => import("./compare.ts")],
  models: ["list or remove downloaded models", () => import("./models.ts")],
};

function usage(): string {
  const rows = Object.entries(COMMANDS).map(([name, [what]]) => `  ${name.padEnd(10)}${what}`);
  return `Usage: ${commandName("COMMAND")} [options]

${rows.join("\n")}

"${commandName("COMMAND")} --help" shows the options of each, "--version" the version.`;
}

/**
 * Runs a command line and returns its exit code.
 *
 * @param program what stands before a command's name when this program is called
 */
export async function main(program: string, args: readonly string[]): Promise<number> {
  setProgram(program);
  const [name, ...rest] = args;
  const [, load] = Object.hasOwn(COMMANDS, name ?? "") ? COMMANDS[name!]! : [];
  if (load) return await (await load()).run(rest);
  if (name === "--version" || name === "-V") {
    writeOut(`sparrow ${config.version} (deno ${Deno.version.deno}, v8 ${Deno.version.v8})\n`);
    return 0;
  }
  if (name === "help" || name === "--help" || name === "-h") {
    const about = rest[0] === undefined ? undefined : Object.hasOwn(COMMANDS, rest[0]);
    if (about) return await main(program, [rest[0]!, "--help"]);
    writeOut(`${usage()}\n`);
    return 0;
  }
  if (name !== undefined) {
    const meant = didYouMean(name, Object.keys(COMMANDS));
    writeNote(`Cannot run command ${quote(name)}: there is none of that name${meant}`);
  }
  writeNote(usage());
  return 2;
}

if (import.meta.main) Deno.exit(await main("deno task", Deno.args));
