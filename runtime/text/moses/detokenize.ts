/**
 * From the words of a Moses tokenizer for English back to a text, word by word: punctuation goes to the
 * word that it belongs to, quotes open and close in turn, and hyphens (`@-@`), commas and points inside of
 * numbers (`@,@`, `@.@`) join what stands around them.
 *
 * Source: `detokenizer.perl` of https://github.com/moses-smt/mosesdecoder, in the form of
 * https://github.com/alvations/sacremoses (0.0.45); `detokenize_numbers` of the tokenizer of
 * Transformer-XL in Transformers.
 *
 * @module
 */

import { CURRENCY, isIdeograph, LETTER, wordsOf } from "./characters.ts";

const OPENS = new RegExp(`^[${CURRENCY}\\(\\[\\{¿¡]+$`, "v");
const CLOSES = /^[,.?!:;\\%}\])]+$/;
const CONTRACTION = new RegExp(`^'${LETTER}`, "v");
const QUOTES = /^['"„“\`]+$/;

/** XML, as older forms of the tokenizer write it; the ampersand comes last. */
const ENTITIES: readonly (readonly [entity: string, character: string])[] = [
  ...[["&bar;", "|"], ["&#124;", "|"], ["&lt;", "<"], ["&gt;", ">"], ["&bra;", "["]] as const,
  ...[["&ket;", "]"], ["&quot;", '"'], ["&apos;", "'"], ["&#91;", "["], ["&#93;", "]"]] as const,
  ["&amp;", "&"],
];

function unescaped(word: string): string {
  if (!word.includes("&")) return word;
  return ENTITIES.reduce((it, [entity, character]) => it.replaceAll(entity, character), word);
}

/** Words in the order of a text, which say what goes before each: a space or nothing. */
class Spacing {
  /** What goes before the next word, unless it says otherwise. */
  #before = "";
  #last = "";
  readonly #quotes = new Map<string, number>();

  /** What a word adds to the text; of the first one, never a space. */
  next(word: string): string {
    const isFirst = this.#last === "", gap = this.#before;
    const last = this.#last;
    this.#last = word;
    this.#before = " ";
    const first = String.fromCodePoint(word.codePointAt(0)!);
    if (isIdeograph(first)) return !isFirst && isIdeograph(lastOf(last)) ? word : gap + word;
    if (OPENS.test(word)) {
      this.#before = "";
      return gap + word;
    }
    if (CLOSES.test(word) || !isFirst && CONTRACTION.test(word)) return word;
    if (!QUOTES.test(word)) return gap + word;
    const kind = /^[„“]+$/.test(word) ? '"' : word, count = this.#quotes.get(kind) ?? 0;
    const isOpening = count % 2 === 0;
    // The houses of the Joneses: no quote.
    if (isOpening && word === "'" && last.endsWith("s")) return word;
    this.#quotes.set(kind, count + 1);
    if (isOpening) this.#before = "";
    return isOpening ? gap + word : word;
  }
}

function lastOf(word: string): string {
  return Array.from(word.slice(-2)).at(-1) ?? "";
}

const isMark = (text: string): boolean => text === " @,@" || text === " @.@";

/**
 * A text that is being spelled by tokens, each of which is a word or several.
 *
 * @example
 * ```ts
 * import { mosesText } from "./detokenize.ts";
 *
 * const text = mosesText();
 * const parts = ["It", "costs", "$", "1", "@,@", "500", "."].map((it) => text.push(it));
 * console.log(parts.join("") + text.end()); // It costs $1,500.
 * ```
 */
export function mosesText(): { push(token: string): string; end(): string } {
  const spacing = new Spacing();
  let word = ""; // the last one, to which a hyphen may add the next
  let joins = false; // whether a hyphen has been added
  let marks = ""; // commas and points of which the next word tells what they are
  /** What a whole word adds to the text. */
  function give(whole: string): string {
    if (whole === "") return "";
    // An entity may leave nothing but white space, or several words.
    return wordsOf(unescaped(whole)).map((it) => joined(spacing.next(it))).join("");
  }
  function joined(text: string): string {
    if (isMark(text)) {
      marks += text;
      return "";
    }
    if (marks === "") return text;
    const all = (marks + text).replaceAll(" @,@ ", ",").replaceAll(" @.@ ", ".");
    marks = "";
    return all;
  }
  return {
    push(token) {
      let out = "";
      for (const it of wordsOf(token)) {
        if (joins || it === "@-@") {
          word += joins ? it : "-";
          joins = !joins;
        } else {
          out += give(word);
          word = it;
        }
      }
      return out;
    },
    end() {
      const out = give(word) + marks;
      word = marks = "";
      return out;
    },
  };
}
