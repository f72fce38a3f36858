/**
 * What one compilation or one rendering may use: time, steps, characters, list items, depth. Everything
 * that grows is counted here before it is made, so that a template cannot outlast its clock or fill
 * the memory. Also the two errors that templates end in.
 *
 * @module
 */

/** What is wrong with a template, or goes wrong in it; the caller puts it into a typed error. */
export class TemplateError extends Error {}

/** The template's own refusal: what it gave to `raise_exception`. */
export class TemplateRefusal extends Error {}

/** A limit was reached. */
export class TemplateLimit extends Error {}

/** The limits of a budget. */
export interface Limits {
  /** Longest time, in milliseconds. */
  readonly timeMs: number;
  /** Longest single text, in UTF-16 units. The output is one. */
  readonly text: number;
  /** Most list items and dictionary entries made in all. */
  readonly items: number;
}

/** Characters made in all: so many of the longest texts, but not more than would fill the memory. */
const MADE_TEXTS = 64;
const MADE_CHARACTERS = 1 << 27;
/** Work between two looks at the clock; a unit is one step, or a few dozen characters. */
const CLOCK_WORK = 512;
const CHARACTERS_PER_UNIT = 32;
/** Python refuses to write or read longer numbers, too. */
export const MAX_DIGITS = 4300;
/** Bits of the largest whole number, a little more than `MAX_DIGITS` digits. */
export const MAX_BITS = 1 << 14;
/** Nested expressions, statements and calls; bounded by the stack of the JavaScript engine. */
export const MAX_DEPTH = 600;

/** Counts what is used, and ends it when a limit is reached. */
export class Budget {
  readonly #limits: Limits;
  readonly #end: number;
  #work = 0;
  #characters = 0;
  #items = 0;
  #depth = 0;

  /** Begins now. */
  constructor(limits: Limits) {
    this.#limits = limits;
    this.#end = performance.now() + limits.timeMs;
  }

  /** One step of work, or several. */
  step(units = 1): void {
    this.#work += units;
    if (this.#work < CLOCK_WORK) return;
    this.#work = 0;
    if (performance.now() > this.#end) {
      throw new TemplateLimit(`ran longer than ${this.#limits.timeMs} ms`);
    }
  }

  /** Reading this many characters. */
  read(characters: number): void {
    this.step(1 + Math.ceil(characters / CHARACTERS_PER_UNIT));
  }

  /** A text of this many characters is about to be made. */
  text(characters: number): void {
    this.joined(characters);
    this.#count(characters);
  }

  /** As `text`, for joining texts, which engines do without copying. */
  joined(characters: number): void {
    this.fits(characters);
    this.#count(characters / 8);
  }

  /** A whole number has been made; those that do not fit into 64 bits are kept like texts. */
  whole(value: bigint): void {
    if (BigInt.asIntN(64, value) !== value) this.#count(MAX_BITS / 16);
  }

  /** Refuses a text of this length, which is made piece by piece and counted by its pieces. */
  fits(characters: number): void {
    this.step();
    if (characters <= this.#limits.text) return;
    throw new TemplateLimit(
      `makes a text of more than ${this.#limits.text} characters, ` +
        `the most that such a conversation can need`,
    );
  }

  #count(characters: number): void {
    this.#characters += characters;
    this.step(Math.ceil(characters / CHARACTERS_PER_UNIT));
    const { text } = this.#limits;
    const most = Math.min(MADE_TEXTS * text, Math.max(MADE_CHARACTERS, 2 * text));
    if (this.#characters > most) {
      throw new TemplateLimit(`made more than ${most} characters on the way`);
    }
  }

  /** This many list items or dictionary entries are about to be made. */
  items(count: number): void {
    this.#items += count;
    this.step(1 + Math.ceil(count / 8));
    if (!(this.#items <= this.#limits.items)) {
      throw new TemplateLimit(`made more than ${this.#limits.items} list items`);
    }
  }

  /** Goes one level deeper. After an error the level no longer matters: nothing goes on. */
  enter(): void {
    this.step();
    if (++this.#depth > MAX_DEPTH) {
      throw new TemplateError(`it is nested deeper than ${MAX_DEPTH} levels`);
    }
  }

  /** Comes back from a level. */
  leave(): void {
    this.#depth--;
  }
}
