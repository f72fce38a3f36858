/**
 * Errors of the commands themselves, and what the operating system's errors are called in one line.
 *
 * @module
 */

import { SparrowError } from "../errors.ts";
import { quote } from "../escape.ts";

/** Wrong usage: exit code 2. */
export class UsageError extends SparrowError {}

/** The user pressed Ctrl-C: exit code 130, as shells have it for a program that SIGINT ended. */
export class Interrupted extends SparrowError {}

/** Reasons by the class of Deno's error. */
const REASONS: readonly (readonly [new (message?: string) => Error, string])[] = [
  [Deno.errors.NotFound, "there is no such file or folder"],
  [Deno.errors.PermissionDenied, "the system does not permit it"],
  [Deno.errors.AlreadyExists, "it exists already"],
  [Deno.errors.IsADirectory, "it is a folder"],
  [Deno.errors.NotADirectory, "a part of the path is no folder"],
  [Deno.errors.AddrInUse, "another program uses this address"],
  [Deno.errors.AddrNotAvailable, "this machine has no such address"],
  [Deno.errors.BrokenPipe, "the reader is gone"],
  [Deno.errors.Interrupted, "it was interrupted"],
];

/**
 * Why the system or the sandbox refused something, in plain words; undefined for an error that is
 * none of theirs, which is a bug or one of ours.
 */
export function systemReason(error: unknown): string | undefined {
  if (!(error instanceof Error) || error instanceof SparrowError) return undefined;
  if (error instanceof Deno.errors.NotCapable) {
    return error.message.replace(/^Requires/, "it requires").replace(/\s+/g, " ");
  }
  // Errors without a class of their own come as "No space left on device (os error 28): write".
  const known = REASONS.find(([kind]) => error instanceof kind)?.[1];
  if (known) return known;
  const code = /^(.+?) \(os error \d+\)/.exec(error.message)?.[1];
  return code && code[0]!.toLowerCase() + code.slice(1);
}

/** What the system calls an action, where that is no word of ours. */
const ACTIONS: Readonly<Record<string, string>> = {
  mkdir: "make the folder",
  readdir: "list the folder",
  readfile: "read",
  writefile: "write",
  stat: "look at",
};

/** What an error that no command expected says of the thing that it happened to, in one line. */
export function describeFailure(error: unknown): string | undefined {
  const reason = systemReason(error);
  if (reason === undefined) return undefined;
  const [, action = "", thing = ""] = /: (\w+) '(.*)'$/s.exec((error as Error).message) ?? [];
  if (action === "") return `Cannot go on: ${reason}`;
  const verb = Object.hasOwn(ACTIONS, action) ? ACTIONS[action] : action;
  return `Cannot ${verb} ${quote(thing)}: ${reason}`;
}
