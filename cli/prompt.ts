/**
 * Where a prompt comes from: the command line, a file or a pipe.
 *
 * @module
 */

import { InputError, SourceError } from "../errors.ts";
import { quote } from "../escape.ts";
import { writeNote } from "./command.ts";
import { systemReason, UsageError } from "./errors.ts";

/** A pipe that is silent this long is mentioned, so that nobody waits without knowing for what. */
const SILENCE_MS = 1000;

/** What the command line says about a prompt. */
export interface PromptPlace {
  /** The command, for notes and errors. */
  readonly command: string;
  /** The prompt, or `-` for standard input; absent where the command line has none. */
  readonly text: string | undefined;
  /** Path of `--file`, `-` for standard input. */
  readonly file: string | undefined;
  /** What is read, and how the command line has it; a prompt where absent. */
  readonly wanted?: PromptWords;
}

/** How messages call what is read. */
export interface PromptWords {
  /** As in "a prompt". */
  readonly what: string;
  /** As in "PROMPT, in quotes if it has blanks". */
  readonly form: string;
}

const PROMPT: PromptWords = { what: "a prompt", form: "PROMPT, in quotes if it has blanks" };

/**
 * The prompt's text. Files and pipes lose the newline at their end, which whoever wrote them rarely
 * means. Without text and file a pipe is read; a terminal is asked only with `-`.
 *
 * @throws UsageError when there is no prompt, or there are two
 * @throws InputError when what was read is not UTF-8
 */
export async function readPrompt(
  { command, text, file, wanted = PROMPT }: PromptPlace,
): Promise<string> {
  const { what, form } = wanted;
  if (text !== undefined && file !== undefined) {
    const read = what === PROMPT.what ? "the prompt: it is" : `${what}: they are`;
    throw new UsageError(`Cannot read ${read} given twice, by itself and with --file`);
  }
  if (file !== undefined && file !== "-") return dropNewline(await readPromptFile(file));
  if (text !== undefined && text !== "-") {
    // What Deno puts where an argument is not UTF-8.
    if (text.includes("\ufffd")) {
      writeNote(`${command}: the text holds U+FFFD: what was typed was perhaps not UTF-8`);
    }
    return text;
  }
  const asked = text ?? file;
  if (asked === undefined && Deno.stdin.isTerminal()) {
    throw new UsageError(
      `Cannot ${command} without ${what}: expected ${form}, --file FILE, or "-" for standard input`,
    );
  }
  const read = dropNewline(await readStdin(command));
  if (read === "" && asked === undefined) {
    throw new UsageError(
      `Cannot ${command} without ${what}: expected ${
        form.replace(/,.*$/, "")
      }, --file FILE or text on ` +
        `standard input, found standard input empty`,
    );
  }
  return read;
}

/**
 * All text on standard input.
 *
 * @throws InputError when it is not UTF-8
 */
async function readStdin(command: string): Promise<string> {
  const note = (): void => writeNote(`${command}: reading standard input, Ctrl-D ends it`);
  const isTerminal = Deno.stdin.isTerminal();
  if (isTerminal) note();
  const timer = isTerminal ? undefined : setTimeout(note, SILENCE_MS);
  const parts: Uint8Array<ArrayBuffer>[] = [];
  try {
    for await (const part of Deno.stdin.readable) {
      clearTimeout(timer);
      parts.push(part);
    }
  } catch (error) {
    throw new SourceError(
      `Cannot read standard input: ${systemReason(error) ?? (error as Error).message}`,
      { cause: error },
    );
  } finally {
    clearTimeout(timer);
  }
  return decode(await new Blob(parts).bytes(), "standard input");
}

async function readPromptFile(path: string): Promise<string> {
  let bytes: Uint8Array;
  try {
    bytes = await Deno.readFile(path);
  } catch (error) {
    const reason = systemReason(error);
    if (reason === undefined) throw error;
    throw new SourceError(`Cannot read ${quote(path)}: ${reason}`, {
      cause: error,
    });
  }
  return decode(bytes, quote(path));
}

function decode(bytes: Uint8Array, name: string): string {
  try {
    return new TextDecoder("utf-8", { fatal: true }).decode(bytes);
  } catch {
    throw new InputError(
      `Cannot read ${name}: its ${bytes.length} bytes are not UTF-8, expected text`,
    );
  }
}

/** Without one newline at the end. */
function dropNewline(text: string): string {
  return text.replace(/\r?\n$/, "");
}
