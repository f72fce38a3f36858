/**
 * Chinese text cut into words as jieba does it in its default mode: of all ways to cut a stretch into
 * words of a dictionary the likeliest, and where single characters are left beside each other, words that
 * a model of characters makes of them.
 *
 * Source: the program jieba 0.42.1 (`Tokenizer.cut` and `finalseg`). jieba_files.ts reads its files.
 *
 * @module
 */

/** Words with how often each of them occurs. */
export interface WordCounts {
  /** Counts, more than 0 each. */
  readonly counts: ReadonlyMap<string, number>;
  /** What they are shares of. */
  readonly total: number;
}

/** Where a character stands in its word: at its begin, in its middle, at its end, or alone. */
type Place = "B" | "M" | "E" | "S";

/** Logarithms of probabilities by which words are found that no dictionary has. */
export interface CharacterModel {
  /** Of the places of a text's first character. */
  readonly start: ReadonlyMap<string, number>;
  /** Of the place that follows another one, under both names, as `BE`. */
  readonly steps: ReadonlyMap<string, number>;
  /** Of each character in a place. */
  readonly characters: Readonly<Record<Place, ReadonlyMap<string, number>>>;
}

/** The log-probability of what never occurs. */
const NEVER = -3.14e100;

/** For each place, those that may stand before it. */
const BEFORE: Readonly<Record<Place, readonly Place[]>> = {
  B: ["E", "S"],
  M: ["M", "B"],
  S: ["S", "E"],
  E: ["B", "M"],
};
const PLACES: readonly Place[] = ["B", "M", "E", "S"];

/** Stretches that a dictionary is asked about. */
const ASKED = /([\u4e00-\u9fd5a-zA-Z0-9+#&._%-]+)/;
/** White space, as Python has it. */
// deno-lint-ignore no-control-regex -- those are space to Python
const SPACE = /(\r\n|[\p{White_Space}\x1c-\x1f])/u;
const CHINESE = /([\u4e00-\u9fd5]+)/;
const NUMBER_OR_NAME = /([a-zA-Z0-9]+(?:\.\d+)?%?)/;

/**
 * What cuts texts into words; together the words are the text. Without a model of characters those
 * that are in no word of the dictionary stand alone.
 */
export function wordCutter(
  { counts, total }: WordCounts,
  characters?: CharacterModel,
): (text: string) => string[] {
  const logTotal = Math.log(total);
  const longest = new Map<string, number>(); // by the first character, in UTF-16 units
  for (const word of counts.keys()) {
    const first = word[0] ?? "";
    longest.set(first, Math.max(longest.get(first) ?? 1, word.length));
  }

  /** For each place of a stretch, where the word ends that begins there on the likeliest way. */
  function likeliest(text: string): Int32Array {
    const ends = new Int32Array(text.length);
    const scores = new Float64Array(text.length + 1);
    for (let at = text.length - 1; at >= 0; at--) {
      const most = Math.min(text.length, at + (longest.get(text[at]!) ?? 1));
      for (let end = at + 1; end <= most; end++) {
        const count = counts.get(text.slice(at, end));
        if (count === undefined) continue;
        const score = Math.log(count) - logTotal + scores[end]!;
        // Of equals the longer word.
        if (ends[at] === 0 || score >= scores[at]!) [scores[at], ends[at]] = [score, end];
      }
      if (ends[at] !== 0) continue;
      // A character with which no word begins stands alone, as one that occurred once.
      ends[at] = at + 1;
      scores[at] = scores[at + 1]! - logTotal;
    }
    return ends;
  }

  function cutStretch(text: string, out: string[]): void {
    const ends = likeliest(text);
    let alone = 0; // where the single characters before `at` begin
    const finish = (end: number): void => {
      const rest = text.slice(alone, end);
      if (rest.length > 1 && !counts.has(rest)) cutUnknown(rest, characters, out);
      else pushAll(out, rest);
    };
    for (let at = 0; at < text.length; at = ends[at]!) {
      if (ends[at]! === at + 1) continue;
      finish(at);
      alone = ends[at]!;
      out.push(text.slice(at, alone));
    }
    finish(text.length);
  }

  return (text) => {
    const words: string[] = [];
    text.split(ASKED).forEach((part, i) => {
      if (i % 2 === 1) return cutStretch(part, words);
      part.split(SPACE).forEach((it, k) => k % 2 === 1 ? words.push(it) : pushAll(words, it));
    });
    return words;
  };
}

/** Each of a list, or the characters of a text. */
function pushAll(words: string[], more: Iterable<string>): void {
  for (const word of more) words.push(word);
}

/** Words of which a dictionary knows nothing. */
function cutUnknown(text: string, model: CharacterModel | undefined, out: string[]): void {
  text.split(CHINESE).forEach((part, i) => {
    if (i % 2 === 0) pushAll(out, part.split(NUMBER_OR_NAME).filter((it) => it !== ""));
    else if (model) cutByCharacters(part, model, out);
    else pushAll(out, part);
  });
}

/** The likeliest places of characters (Viterbi), and the words that these make. */
function cutByCharacters(text: string, model: CharacterModel, out: string[]): void {
  const of = (place: Place, at: number): number => model.characters[place].get(text[at]!) ?? NEVER;
  let scores = PLACES.map((it) => (model.start.get(it) ?? NEVER) + of(it, 0));
  const from: number[][] = []; // for each character but the first, the place before each place
  for (let at = 1; at < text.length; at++) {
    const chosen: number[] = [];
    const previous = scores;
    scores = PLACES.map((place, k) => {
      let best = -Infinity;
      for (const before of BEFORE[place]) {
        const b = PLACES.indexOf(before);
        const score = previous[b]! + (model.steps.get(before + place) ?? NEVER) + of(place, at);
        // Of equals the one whose name comes later, as Python's max of pairs has it.
        if (score > best || score === best && before > PLACES[chosen[k]!]!) {
          [best, chosen[k]] = [score, b];
        }
      }
      return best;
    });
    from.push(chosen);
  }
  const [end, alone] = [PLACES.indexOf("E"), PLACES.indexOf("S")];
  let place = scores[end]! > scores[alone]! ? end : alone;
  const places = [place];
  for (const chosen of from.reverse()) places.push(place = chosen[place]!);
  places.reverse();
  let begin = 0, next = 0;
  places.forEach((it, at) => {
    if (PLACES[it] === "B") begin = at;
    if (it !== end && it !== alone) return;
    out.push(text.slice(it === end ? begin : at, at + 1));
    next = at + 1;
  });
  if (next < text.length) out.push(text.slice(next));
}
