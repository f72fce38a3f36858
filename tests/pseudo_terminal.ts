/**
 * Commands on a pseudo-terminal, by script(1) of util-linux. Tests that need one are ignored where
 * there is none, and that is told.
 *
 * @module
 */

import { skipUnless } from "./skips.ts";

const hasScript = await new Deno.Command("script", { args: ["--version"], stdin: "null" }).output()
  .then(({ stdout }) => new TextDecoder().decode(stdout).includes("util-linux"), () => false);

/** Whether tests on a terminal are to be ignored. */
export const ignore: boolean = skipUnless(hasScript, "script(1) of util-linux is not here");

/** Starts a command on a terminal; what it shows comes on stdout, keys go to stdin. */
export function spawnOnTerminal(words: readonly string[]): Deno.ChildProcess {
  const quoted = words.map((it) => `'${it.replaceAll("'", "'\\''")}'`);
  return new Deno.Command("script", {
    args: ["-qec", quoted.join(" "), "/dev/null"],
    cwd: new URL("../", import.meta.url),
    env: { NO_COLOR: "1", TERM: "xterm", SHELL: "/bin/sh" },
    stdin: "piped",
    stdout: "piped",
    stderr: "null",
    signal: AbortSignal.timeout(60_000),
  }).spawn();
}
