/**
 * SentencePiece pairs (`llama` in GGUF files), which llama.cpp merges by the scores of what they make. A
 * tokenizer.json has merges in their place, whose order the scores follow from.
 *
 * @module
 */

import { ModelError } from "../../errors.ts";
import { quote } from "../../escape.ts";
import type { llamaPieces } from "../../runtime/text/tokenizer/published/pieces.ts";
import { type Json, stepsOf } from "./byte_level.ts";
import { flag, text } from "./fields.ts";
import { type Added, addTokens, TYPE, type Vocabulary } from "./vocabulary.ts";

const SPACE = "\u2581";
const BYTE_TOKEN = /^<0x[0-9A-F]{2}>$/;

/** How spaces go before texts, and whether one goes before a space too. */
interface Spaces {
  readonly prefix: "always" | "first" | "never";
  readonly doubled: boolean;
}

function finished(
  parts: Pick<Vocabulary, "tokens" | "types"> & { readonly scores: number[] },
  { prefix, doubled }: Spaces,
): Vocabulary {
  const notes = prefix === "first"
    ? [
      "a space goes before a whole text alone, and in GGUF files also before what follows an added " +
      "token: texts with added tokens get other tokens there",
    ]
    : [];
  const isSingle = prefix !== "never" && !doubled;
  if (isSingle) {
    notes.push(
      "no space goes before a text that begins with one, and in GGUF files one does: such texts get " +
        "other tokens there",
    );
  }
  return {
    ...{ ...parts, kind: "llama", notes },
    ...(isSingle && { differs: (text) => /^[ \u2581]/.test(text) }),
    fields: {
      "tokenizer.ggml.pre": text("default"),
      "tokenizer.ggml.add_space_prefix": flag(prefix !== "never"),
    },
  };
}

/**
 * The vocabulary of a SentencePiece model with what a folder adds.
 *
 * @throws ModelError when it is no model of pairs, or changes texts first
 */
export function pieceVocabulary(
  name: string,
  { model, specials }: ReturnType<typeof llamaPieces>,
  config: Readonly<Record<string, unknown>>,
): Vocabulary {
  const { kind, normalizer } = model;
  const changes = normalizer.charsMap.length > 0 || normalizer.removeExtraSpaces ||
    !normalizer.escapeSpaces || model.spaceIsSuffix;
  if (kind !== "bpe" || changes) {
    throw new ModelError(
      `Cannot convert the tokenizer of ${quote(name)}: ${quote(model.name)} is of type ${kind}${
        changes ? " and changes texts first" : ""
      }, expected pairs (bpe) and texts as they are; use the model as it is`,
    );
  }
  const parts = {
    tokens: [...model.pieces],
    types: Array.from(model.types),
    scores: Array.from(model.scores),
  };
  addTokens(parts, specials.added);
  const isNever = config.add_prefix_space === false || !normalizer.addDummyPrefix;
  const prefix = isNever ? "never" : config.legacy === false ? "first" : "always";
  return finished(parts, { prefix, doubled: true });
}

/**
 * The vocabulary of a tokenizer.json of such pairs.
 *
 * @throws ModelError when its steps or merges are not those of a SentencePiece model
 */
export function pairVocabulary(name: string, json: Json, added: Added[]): Vocabulary {
  const { model } = json, spaces = spacesOf(name, json);
  const tokens: (string | undefined)[] = [], types: number[] = [], scores: number[] = [];
  const ids = new Map<string, number>(Object.entries(model.vocab));
  for (const [token, id] of ids) {
    tokens[id] = token;
    types[id] = token === model.unk_token
      ? TYPE.unknown
      : BYTE_TOKEN.test(token)
      ? TYPE.byte
      : TYPE.normal;
    scores[id] = 0;
  }
  addTokens({ tokens, types, scores }, added);
  const merges: [string, string][] = model.merges.map((it: Json) =>
    typeof it === "string" ? it.split(" ") : it
  );
  setScores(name, merges, { ids, types, scores });
  return { ...finished({ tokens, types, scores }, spaces), unknown: model.unk_token ?? undefined };
}

/** How spaces go before texts, and whether nothing else is done to them. */
function spacesOf(name: string, { normalizer, pre_tokenizer: pre, model }: Json): Spaces {
  let prefix: Spaces["prefix"] = "never", doubled = true, spaces = false;
  const odd: string[] = [];
  for (const step of stepsOf(normalizer, "normalizers")) {
    const { type, prepend, pattern, content } = step;
    if (type === "Prepend" && prepend === SPACE) prefix = "always";
    else if (type === "Replace" && pattern?.String === " " && content === SPACE) spaces = true;
    else odd.push(type);
  }
  for (
    const { type, replacement, prepend_scheme: scheme, add_prefix_space, split } of stepsOf(
      pre,
      "pretokenizers",
    )
  ) {
    if (type !== "Metaspace" || replacement !== SPACE) odd.push(type);
    else if (split !== false && cutsTokens(model)) odd.push("Metaspace with split");
    else {
      spaces = true;
      doubled = false;
      prefix = scheme ?? (add_prefix_space === false ? "never" : "always");
    }
  }
  if (odd.length === 0 && spaces) return { prefix, doubled };
  throw new ModelError(
    `Cannot convert the tokenizer of ${quote(name)}: it prepares texts by ${
      odd.length > 0 ? odd.map((it) => quote(it)).join(", ") : "nothing"
    }, expected spaces to become ${quote(SPACE)}, and one before a text; use the model as it is`,
  );
}

/** Whether a cut before every space would cut tokens. */
const cutsTokens = ({ vocab }: Json): boolean =>
  Object.keys(vocab).some((it) => it.indexOf(SPACE, 1) > 0);

/** Scores for which llama.cpp merges as the merges say: a token made by an earlier one has a higher score. */
function setScores(
  name: string,
  merges: readonly (readonly [string, string])[],
  { ids, types, scores }: {
    readonly ids: ReadonlyMap<string, number>;
    readonly types: readonly number[];
    readonly scores: number[];
  },
): void {
  const fail = (what: string): never => {
    throw new ModelError(
      `Cannot convert the tokenizer of ${quote(name)}: ${what}, expected the merges of a ` +
        `SentencePiece model; use the model as it is`,
    );
  };
  const pairs = new Set<string>(), last = new Map<string, number>();
  merges.forEach(([left, right], place) => {
    pairs.add(`${left} ${right}`);
    last.set(left + right, place);
  });
  // Tokens whose merges lie among each other's had one score, by which nothing went before another.
  let rank = 0, end = -1;
  const made = new Set<string>();
  for (const [place, [left, right]] of merges.entries()) {
    const token = left + right, id = ids.get(token);
    if (id === undefined) return fail(`it merges ${quote(token)}, which is no token`);
    if (place > end) rank++;
    end = Math.max(end, last.get(token)!);
    if (made.has(token)) continue;
    made.add(token);
    if (types[id] === TYPE.normal) scores[id] = -rank;
  }
  // llama.cpp merges any two tokens that make one.
  for (const [token, id] of ids) {
    if (types[id] !== TYPE.normal) continue;
    if (!made.has(token)) scores[id] = -rank - 1 - id;
    for (let at = 1; at < token.length; at++) {
      const left = token.slice(0, at), right = token.slice(at);
      const parts = [ids.get(left), ids.get(right)];
      const isPair = parts.every((it) => it !== undefined && types[it] === TYPE.normal);
      if (isPair && !pairs.has(`${left} ${right}`)) {
        fail(`it does not merge ${quote(left)} and ${quote(right)} into the token they make`);
      }
    }
  }
}
