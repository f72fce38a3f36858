/**
 * Lines of a conversation that are commands: `/help` and the others.
 *
 * @module
 */

import { InputError, SourceError, SparrowError } from "../../errors.ts";
import { quote } from "../../escape.ts";
import { writeNote } from "../command.ts";
import { systemReason } from "../errors.ts";
import { counted } from "../format.ts";
import { didYouMean } from "../suggest.ts";
import { type Conversation, fromJson, toJson, withoutAnswer } from "./conversation.ts";

/** What a command can reach. */
export interface CommandContext {
  /** What has been said; commands change it. */
  readonly conversation: Conversation;
  /** Whether the model knows instructions, questions and answers, or only continues text. */
  readonly hasTemplate: boolean;
}

/** What happens after a command. */
export type Outcome = "go on" | "answer" | "exit";

interface ChatCommand {
  readonly usage: string;
  readonly help: string;
  run(argument: string, context: CommandContext): Outcome | Promise<Outcome>;
}

const COMMANDS: Readonly<Record<string, ChatCommand>> = {
  help: {
    usage: "/help",
    help: "list these commands",
    run: () => note(COMMANDS_HELP),
  },
  reset: {
    usage: "/reset",
    help: "forget the conversation",
    run(_, { conversation }) {
      conversation.messages = [];
      return note("The conversation is forgotten.");
    },
  },
  regenerate: {
    usage: "/regenerate",
    help: "answer the last question again",
    run(_, { conversation }) {
      withoutAnswer(conversation);
      return "answer";
    },
  },
  system: {
    usage: "/system [TEXT]",
    help: 'show or change the instructions at the start; "" removes them',
    run: system,
  },
  save: {
    usage: "/save FILE",
    help: "write the conversation to a file",
    run: (path, { conversation }) => save(path, conversation),
  },
  load: {
    usage: "/load FILE",
    help: "go on with a conversation that was saved",
    run: (path, { conversation }) => load(path, conversation),
  },
  exit: {
    usage: "/exit",
    help: "end the program, as does the end of input",
    run: () => "exit",
  },
};

/** The commands, one a line. */
export const COMMANDS_HELP: string = [
  ...Object.values(COMMANDS).map(({ usage, help }) => `  ${usage.padEnd(18)}  ${help}`),
  `  ${'"""'.padEnd(18)}  begin a message of several lines, which ends with """`,
].join("\n");

/** Whether a line is a command; one that begins with a blank never is. */
export function isCommand(line: string): boolean {
  return line.startsWith("/");
}

/** Runs a line that is a command; a mistake is told and changes nothing. */
export async function runChatCommand(line: string, context: CommandContext): Promise<Outcome> {
  const [, name, argument] = /^\/(\S*)\s*(.*)$/s.exec(line)!;
  const command = Object.hasOwn(COMMANDS, name!) ? COMMANDS[name!]! : undefined;
  if (!command) {
    const hint = didYouMean(name!, Object.keys(COMMANDS), "/");
    return note(
      `There is no command ${quote(`/${name}`)}${hint}; /help lists them, and a line that begins ` +
        `with a blank is a message`,
    );
  }
  try {
    const text = argument!.trim();
    if (text !== "" && !command.usage.includes(" ")) {
      throw new InputError(`Cannot run /${name} with ${quote(text)}: it takes nothing`);
    }
    if (text === "" && / [A-Z]/.test(command.usage)) {
      throw new InputError(`Cannot run /${name} without a file: expected ${command.usage}`);
    }
    return await command.run(text, context);
  } catch (error) {
    if (!(error instanceof SparrowError)) throw error;
    return note(error.message);
  }
}

function note(text: string): Outcome {
  writeNote(text);
  return "go on";
}

function system(text: string, { conversation, hasTemplate }: CommandContext): Outcome {
  if (!hasTemplate) {
    throw new InputError("Cannot give instructions: the model came without a chat template");
  }
  if (text === "") return note(conversation.system ?? "There are no instructions.");
  const bare = /^"(.*)"$/s.exec(text)?.[1] ?? text;
  conversation.system = bare === "" ? undefined : bare;
  return note(bare === "" ? "The instructions are removed." : "The instructions are changed.");
}

async function save(path: string, conversation: Conversation): Promise<Outcome> {
  await withPermission("write", path, async () => {
    const old = await Deno.readTextFile(path).catch((error) => {
      if (error instanceof Deno.errors.NotFound) return undefined;
      if (error instanceof Deno.errors.NotCapable) return undefined; // may write and not read
      throw error;
    });
    // A file that is no conversation is somebody's work, named by mistake.
    if (old !== undefined) {
      try {
        fromJson(old, path);
      } catch {
        throw new InputError(`Cannot save to ${quote(path)}: it exists and is no conversation`);
      }
    }
    await Deno.writeTextFile(path, toJson(conversation));
  });
  return note(`Saved ${counted(conversation.messages.length, "message")} to ${quote(path)}.`);
}

async function load(path: string, conversation: Conversation): Promise<Outcome> {
  const text = await withPermission("read", path, () => Deno.readTextFile(path));
  Object.assign(conversation, fromJson(text, path));
  return note(`Loaded ${counted(conversation.messages.length, "message")} from ${quote(path)}.`);
}

/** Reads or writes a file without letting Deno ask on the terminal, which has other uses now. */
async function withPermission<T>(
  name: "read" | "write",
  path: string,
  task: () => Promise<T>,
): Promise<T> {
  const verb = name === "read" ? "load" : "save to";
  const { state } = Deno.permissions.querySync({ name, path });
  if (state !== "granted") {
    throw new SourceError(
      `Cannot ${verb} ${
        quote(path)
      }: this takes the permission --allow-${name}, which was not given`,
    );
  }
  try {
    return await task();
  } catch (error) {
    const reason = systemReason(error);
    if (reason === undefined) throw error;
    throw new SourceError(`Cannot ${verb} ${quote(path)}: ${reason}`, { cause: error });
  }
}
