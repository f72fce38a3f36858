/**
 * Lines of input as messages: a line is one, a block between `"""` is one, and pasted lines are one
 * together with the line that they end in.
 *
 * @module
 */

/** What the user sent. */
export interface Message {
  /** Its text; of a block, what is between the quotes. */
  readonly text: string;
  /** Whether it was a block or pasted lines, whose text is never a command. */
  readonly literal: boolean;
}

const QUOTES = '"""';

/** Lines that are not a message yet. */
export class MessageLines {
  #lines: string[] = [];
  #isBlock = false;

  /** Whether more lines are needed before there is a message. */
  get isOpen(): boolean {
    return this.#lines.length > 0;
  }

  /** Whether `"""` began a block that has not ended. */
  get isBlock(): boolean {
    return this.#isBlock;
  }

  /**
   * Takes a line; the message that it completes, or undefined. Lines that were `pasted` with others
   * after them complete nothing.
   */
  push(line: string, pasted = false): Message | undefined {
    if (!pasted && !this.isOpen && line.startsWith(QUOTES)) {
      line = line.slice(QUOTES.length);
      this.#isBlock = true;
    }
    const ends = this.#isBlock && !pasted && line.trimEnd().endsWith(QUOTES);
    this.#lines.push(ends ? line.trimEnd().slice(0, -QUOTES.length) : line);
    return pasted || this.#isBlock && !ends ? undefined : this.end();
  }

  /** What there is, as a message; undefined where there is nothing. */
  end(): Message | undefined {
    if (!this.isOpen) return undefined;
    const text = this.#lines.join("\n");
    const literal = this.#isBlock || this.#lines.length > 1;
    this.clear();
    // A block is taken as it is, but for the line breaks beside its quotes.
    return { text: literal ? text.replace(/^\n|\n$/g, "") : text, literal };
  }

  /** Forgets the lines. */
  clear(): void {
    this.#lines = [];
    this.#isBlock = false;
  }
}
