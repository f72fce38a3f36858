/**
 * Messages that are typed: line editing and history by `node:readline`, pasted lines that stay
 * together, and keys that are kept, unseen, while an answer is written.
 *
 * @module
 */

import { EventEmitter } from "node:events";
import process from "node:process";
import { createInterface, type Interface } from "node:readline";
import { Writable } from "node:stream";
import type { MessageInput } from "./input.ts";
import { MARK_NO_PASTES, MARK_PASTES, PasteSplitter } from "./keys.ts";
import { type Message, MessageLines } from "./messages.ts";

const PROMPT = "> ", MORE = "... ";

/** What a terminal's input tells. */
export interface TerminalEvents {
  /** Ctrl-C while nobody waits for a message, or on an empty line. */
  interrupt(): void;
}

/** Messages from the terminal that stdin is; prompts and what is typed are shown on stderr. */
export function terminalInput(events: TerminalEvents): MessageInput {
  const screen = new Screen(), keyboard = new Keyboard((text) => paste(text));
  const lines = createInterface({
    input: keyboard as unknown as NodeJS.ReadableStream,
    output: screen,
    terminal: true,
    prompt: PROMPT,
  });
  const parts = new MessageLines();
  /** What was sent while nobody waited. */
  const queue: Message[] = [];
  let waiting: ((message: Message | undefined) => void) | undefined;
  let isPasting = false, isClosed = false;

  const showPrompt = (): void => {
    lines.setPrompt(parts.isOpen ? MORE : PROMPT);
    lines.prompt(true); // keeps what has been typed, and the cursor in it
  };
  const deliver = (message: Message | undefined): void => {
    screen.isHidden = true;
    waiting?.(message);
    waiting = undefined;
  };
  const onLine = (line: string): void => {
    const message = parts.push(line, isPasting);
    if (!message) showPrompt();
    else if (waiting) deliver(message);
    else queue.push(message);
  };
  const onInterrupt = (): void => {
    if (!waiting || lines.line === "" && !parts.isOpen) return events.interrupt();
    clearLine(lines);
    parts.clear();
    showPrompt();
  };
  const paste = (text: string): void => {
    isPasting = true;
    lines.write(text); // a line break in it ends a line, as Enter would
    isPasting = false;
  };
  const onClose = (): void => {
    isClosed = true;
    if (!screen.isHidden) screen.writeNow("\n"); // what comes next begins a line
    deliver(undefined);
  };
  lines.on("line", onLine).on("SIGINT", onInterrupt).on("close", onClose);
  lines.on("SIGTSTP", () => {}); // suspending ourselves would take a permission to run programs
  screen.writeNow(MARK_PASTES);
  return {
    next(): Promise<Message | undefined> {
      screen.isHidden = false;
      const sent = queue.shift();
      if (sent) {
        screen.writeNow(`${PROMPT}${sent.text.replaceAll("\n", `\n${MORE}`)}\n`);
        screen.isHidden = true;
        return Promise.resolve(sent);
      }
      if (isClosed) return Promise.resolve(undefined);
      showPrompt();
      return new Promise((resolve) => waiting = resolve);
    },
    close: () => lines.close(),
    [Symbol.dispose](): void {
      lines.close();
      keyboard.stop();
      screen.writeNow(MARK_NO_PASTES);
    },
  };
}

function clearLine(lines: Interface): void {
  lines.write(null, { ctrl: true, name: "e" }); // to its end
  lines.write(null, { ctrl: true, name: "u" }); // deletes what is before the cursor
}

/** The terminal on stdin as `node:readline` reads it, without the pastes. */
class Keyboard extends EventEmitter {
  readonly isTTY = true;
  readonly #splitter: PasteSplitter;
  readonly #onData = (bytes: Uint8Array): void => this.#splitter.push(bytes);
  readonly #onEnd = (): void => void this.emit("end");

  constructor(onPaste: (text: string) => void) {
    super();
    this.#splitter = new PasteSplitter((keys) => this.emit("data", keys), onPaste);
    process.stdin.on("data", this.#onData).on("end", this.#onEnd);
  }

  setRawMode(on: boolean): void {
    process.stdin.setRawMode(on);
  }

  resume(): void {
    process.stdin.resume();
  }

  pause(): void {
    process.stdin.pause();
  }

  stop(): void {
    process.stdin.off("data", this.#onData).off("end", this.#onEnd);
  }
}

/** The terminal on stderr as `node:readline` writes to it, unless it is hidden. */
class Screen extends Writable {
  isHidden = true;

  constructor() {
    super({ decodeStrings: false });
    process.stderr.on("resize", () => this.emit("resize"));
  }

  /** While hidden nothing wraps, so that no line above is cleared when the typed line comes back. */
  get columns(): number {
    return this.isHidden ? 1e6 : Deno.consoleSize().columns || 80;
  }

  override _write(text: string | Uint8Array, _: string, done: () => void): void {
    if (!this.isHidden) this.writeNow(text);
    done();
  }

  /** Writes at once: what the answer writes must come after it. */
  writeNow(text: string | Uint8Array): void {
    try {
      const bytes = typeof text === "string" ? new TextEncoder().encode(text) : text;
      for (let at = 0; at < bytes.length;) at += Deno.stderr.writeSync(bytes.subarray(at));
    } catch {
      // The terminal is gone, and input will end too.
    }
  }
}
