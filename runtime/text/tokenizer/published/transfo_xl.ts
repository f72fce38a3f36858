/**
 * TransfoXLTokenizer: whole words of English as the Moses tokenizer cuts them, numbers cut once more at
 * their commas and points, and a vocabulary that is a pickled dictionary (`vocab.pkl`, `vocab.bin`) or a
 * list (`vocab.txt`).
 *
 * Source: `tokenization_transfo_xl.py` of Transformers, whose last release with it is 4.57.
 *
 * @module
 */

import { FormatError } from "../../../../errors.ts";
import { quote } from "../../../../escape.ts";
import { readPickledDict } from "../../../files/pickled_dict.ts";
import { everywhere, wordsOf } from "../../moses/characters.ts";
import { mosesText } from "../../moses/detokenize.ts";
import { normalizePunctuation } from "../../moses/normalize.ts";
import { mosesWords } from "../../moses/tokenize.ts";
import { assembleTokenizer, type Tokenizer } from "../core.ts";
import { flagField, MAX_VOCABULARY, wrongField } from "../fields.ts";
import { wordListModel } from "../words.ts";
import { type Published, readSpecials, textFile } from "./settings.ts";

const USUAL = { unk_token: "<unk>", eos_token: "<eos>" };
/** A word of the original's training text that counts as special. */
const FORMULA = "<formula>";
/** Where a number is cut. */
const IN_NUMBER = everywhere("(?<=\\p{Nd})[,.](?=\\p{Nd})");
/** Spaces that are left out where decoded texts are cleaned up. */
const CLEANED = / (?=[.?!,]|n't|'(?:m|s|ve|re))/g;

/** Builds it. Nothing is put around a text: the original adds `<eos>` behind lines of training alone. */
export async function transfoXl(published: Published, file: string): Promise<Tokenizer> {
  const { config } = published, where = "tokenizer_config.json: ";
  const lowers = flagField(config.lower_case, `${where}lower_case`, false);
  const cleans = flagField(
    config.clean_up_tokenization_spaces,
    `${where}clean_up_tokenization_spaces`,
    false,
  );
  for (const [name, known] of [["language", "en"], ["delimiter", null]] as const) {
    const found = config[name] ?? known;
    if (found !== known) throw wrongField(`${where}${name}`, found, `${quote(known)} or none`);
  }
  const tokens = file === "vocab.txt" ? listed(published) : await pickled(published, file);
  const ids = new Map(tokens.map((token, id) => [token, id]));
  const unknown = ids.get("<unk>") ?? ids.get("<UNK>");
  const given = { additional_special_tokens: [FORMULA], ...config };
  const specials = readSpecials(
    { ...published, config: given },
    USUAL,
    (it) => ids.get(it),
    tokens.length,
  );
  // The original gives a special token that the vocabulary lacks an id that its model does not have.
  const added = specials.added.filter(({ id }) => id < tokens.length);
  const special = new Set(added.filter((it) => it.special).map(({ id }) => id));
  const eosId = ids.get(textOf(added, specials.id("eos_token")) ?? "<eos>");
  // The spellings of special tokens in other cases are whole words too.
  const exact = new Set(added.map(({ content }) => content));
  const others = added.map(({ content }) => content.replace(/[\\^$.*+?()[\]{}|/]/g, "\\$&"));
  const inAnyCase = others.length > 0 ? everywhere(others.join("|"), "i") : undefined;

  function words(text: string): string[] {
    const known = inAnyCase && text.match(inAnyCase)?.filter((it) => !exact.has(it));
    const whole = known && known.length > 0 ? inAnyCase : undefined;
    return mosesWords(normalizePunctuation(lowers ? text.toLowerCase() : text), whole)
      .flatMap((word) => wordsOf(word.replace(IN_NUMBER, " @$&@ ")));
  }

  return assembleTokenizer({
    tokens,
    idOf: (token) => ids.get(token),
    added,
    normalize: (text) => text,
    split: words,
    model: wordListModel(ids, unknown),
    prefix: [],
    suffix: [],
    pieces: {
      vocabSize: tokens.length,
      isSpecial: (id) => special.has(id),
      begin() {
        const text = cleans ? cleanedUp(mosesText()) : mosesText();
        return { waits: true, push: (id) => text.push(tokens[id]!), end: () => text.end() };
      },
    },
    bosId: undefined,
    eosIds: eosId === undefined ? [] : [eosId],
  });
}

/** A text without some of its spaces; what stands behind the last one waits for more. */
function cleanedUp(text: ReturnType<typeof mosesText>): ReturnType<typeof mosesText> {
  let waiting = "";
  return {
    push(token) {
      const all = waiting + text.push(token), at = Math.max(all.lastIndexOf(" "), 0);
      waiting = all.slice(at);
      return all.slice(0, at).replace(CLEANED, "");
    },
    end() {
      const all = waiting + text.end();
      waiting = "";
      return all.replace(CLEANED, "");
    },
  };
}

function textOf(
  added: readonly { readonly id: number; readonly content: string }[],
  id: number | undefined,
): string | undefined {
  return added.find((it) => it.id === id)?.content;
}

/** The first word of each line. */
function listed(published: Published): string[] {
  const lines = textFile(published, "vocab.txt").split(/\r\n|\r|\n/);
  if (lines.at(-1) === "") lines.pop();
  const tokens = [...new Set(lines.map((line) => wordsOf(line)[0] ?? ""))];
  return checked(tokens, "vocab.txt");
}

/** The tokens of a pickled vocabulary: the list `idx2sym`, with which the dictionary `sym2idx` agrees. */
async function pickled({ files, name }: Published, file: string): Promise<string[]> {
  const found = await readPickledDict(files[file]!, file);
  const list = found.get("idx2sym"), ids = found.get("sym2idx");
  if (!Array.isArray(list) || !(ids instanceof Map) || ids.size !== list.length) {
    throw new FormatError(
      `Cannot read the tokenizer of ${quote(name)}: ${quote(file)} has idx2sym ` +
        `${Array.isArray(list) ? `with ${list.length} tokens` : quote(list)} and sym2idx ` +
        `${
          ids instanceof Map ? `with ${ids.size}` : quote(ids)
        }, expected a list and a dictionary ` +
        `of the same tokens`,
    );
  }
  const wrong = list.findIndex((token, id) => typeof token !== "string" || ids.get(token) !== id);
  if (wrong >= 0) {
    throw new FormatError(
      `Cannot read the tokenizer of ${quote(name)}: in ${
        quote(file)
      } token ${wrong} of idx2sym is ` +
        `${quote(list[wrong])}, of which sym2idx says ${quote(ids.get(list[wrong]))}, expected a ` +
        `text and the same number`,
    );
  }
  return checked(list as string[], file);
}

function checked(tokens: string[], file: string): string[] {
  if (tokens.length === 0 || tokens.length > MAX_VOCABULARY) {
    throw wrongField(file, tokens, `1 to ${MAX_VOCABULARY} tokens`);
  }
  if (!tokens.includes("<unk>") && !tokens.includes("<UNK>")) {
    throw wrongField(file, tokens, "a token <unk>");
  }
  return tokens;
}
