/**
 * The tasks of deno.json as tests run them: without the task runner, with the same flags.
 *
 * @module
 */

const { tasks } = JSON.parse(await Deno.readTextFile(new URL("../deno.json", import.meta.url)));

/** Variables by name; the process's own where a test says nothing. */
export type Variables = Readonly<Record<string, string | undefined>>;

/** The arguments of `deno` that a task stands for, with variables filled in as its shell does. */
export function taskArgs(name: string, variables: Variables = Deno.env.toObject()): string[] {
  const words = (tasks[name].command as string).match(/"[^"]*"|\S+/g)!.slice(1);
  return words.map((word) =>
    word.replaceAll('"', "").replaceAll(/\$(\w+)/g, (_, name) => variables[name] ?? "")
  );
}

/** The command line of a task, for programs that start it. */
export function taskCommand(name: string): string[] {
  return [Deno.execPath(), ...taskArgs(name)];
}
