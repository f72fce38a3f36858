/**
 * Where messages come from when nobody types: the lines of a pipe or a file.
 *
 * @module
 */

import { InputError, SourceError } from "../../errors.ts";
import { writeNote } from "../command.ts";
import { systemReason } from "../errors.ts";
import { type Message, MessageLines } from "./messages.ts";

/** A source of messages. */
export interface MessageInput extends Disposable {
  /** The next message; undefined at the end of the input, or after `close`. */
  next(): Promise<Message | undefined>;
  /** Ends it: whoever waits for a message gets none. */
  close(): void;
}

/** Messages on standard input that is no terminal. */
export function pipedInput(): MessageInput {
  const lines = readLines(Deno.stdin.readable);
  const parts = new MessageLines();
  const closed = Promise.withResolvers<undefined>();
  const next = async (): Promise<Message | undefined> => {
    for (;;) {
      const { value, done } = await lines.next();
      if (done) break;
      const message = parts.push(value);
      if (message) return message;
    }
    if (parts.isBlock) writeNote('chat: the input ended in a block that """ began');
    return parts.end();
  };
  return {
    next: () => Promise.race([next(), closed.promise]),
    close: () => closed.resolve(undefined),
    [Symbol.dispose]: () => closed.resolve(undefined),
  };
}

/**
 * Lines of UTF-8 text, without their ends.
 *
 * @throws InputError when it is not UTF-8
 */
export async function* readLines(
  stream: ReadableStream<Uint8Array<ArrayBuffer>>,
): AsyncGenerator<string, void, void> {
  const decoder = new TextDecoder("utf-8", { fatal: true });
  let rest = "";
  try {
    for await (const bytes of stream) {
      const lines = (rest + decoder.decode(bytes, { stream: true })).split("\n");
      rest = lines.pop()!;
      for (const line of lines) yield line.replace(/\r$/, "");
    }
    rest += decoder.decode();
  } catch (error) {
    if (error instanceof TypeError) {
      throw new InputError("Cannot read standard input: it is not UTF-8, expected text");
    }
    const reason = systemReason(error);
    if (reason === undefined) throw error;
    throw new SourceError(`Cannot read standard input: ${reason}`, { cause: error });
  }
  if (rest !== "") yield rest;
}
