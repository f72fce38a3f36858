/**
 * Which tokenizer a model's folder has, where there is no `tokenizer.json`: by the class that its
 * configuration names, else by the model's type and the files that are there.
 *
 * @module
 */

import { FormatError, SparrowError } from "../../../../errors.ts";
import { quote } from "../../../../escape.ts";
import { VOCABULARIES } from "../../../files/tokenizer_files.ts";
import type { Tokenizer } from "../core.ts";
import { type Fields, reasonOf } from "../fields.ts";
import { tokenizerFromSentencePiece } from "../sentencepiece/tokenizer.ts";
import { chatglm2, chatglm6b, glm130b } from "./chatglm.ts";
import { marian } from "./marian.ts";
import { missingForWords, pangu } from "./pangu.ts";
import { albert, gemma, llama, llamaPieces, t5, xlmRoberta, xlnet } from "./pieces.ts";
import type { Published } from "./settings.ts";
import { glm4, isRankedList } from "./tiktoken.ts";
import { transfoXl } from "./transfo_xl.ts";
import {
  bert,
  bertForm,
  gpt2,
  gpt2Form,
  type JsonForm,
  qwen2,
  qwen2Form,
  roberta,
  robertaForm,
} from "./vocabularies.ts";

/** Which files with a vocabulary are there. */
function vocabulariesOf({ files }: Published): readonly string[] {
  return VOCABULARIES.filter((file) => Object.hasOwn(files, file));
}

type Build = (published: Published, file: string) => Tokenizer | Promise<Tokenizer>;

/** A kind of tokenizer. */
interface Kind {
  /** Names of its class. */
  readonly classes: readonly string[];
  /** Model types that have it. */
  readonly types: readonly string[];
  /** Sets of files, the first of which that is whole is read. */
  readonly files: readonly (readonly string[])[];
  readonly build: Build;
  /** What a text misses that it has in the original, as sentences. */
  readonly notes?: (published: Published) => string[];
}

const PIECES = [["spiece.model"], ["tokenizer.model"], ["sentencepiece.bpe.model"]];
const MERGES = [["vocab.json", "merges.txt"]];

const KINDS: readonly Kind[] = [
  {
    classes: ["LlamaTokenizer"],
    types: ["llama", "mistral", "mixtral"],
    files: [["tokenizer.model"], ["spiece.model"]],
    build: llama,
  },
  {
    classes: ["GemmaTokenizer"],
    types: ["gemma", "gemma2"],
    files: [["tokenizer.model"]],
    build: gemma,
  },
  {
    classes: ["T5Tokenizer", "MT5Tokenizer"],
    types: ["t5", "mt5", "umt5", "switch_transformers"],
    files: PIECES,
    build: t5,
  },
  { classes: ["AlbertTokenizer"], types: ["albert"], files: PIECES, build: albert },
  { classes: ["XLNetTokenizer"], types: ["xlnet"], files: PIECES, build: xlnet },
  {
    classes: ["XLMRobertaTokenizer"],
    types: ["xlm-roberta", "xlm-roberta-xl"],
    files: [["sentencepiece.bpe.model"], ["tokenizer.model"], ["spiece.model"]],
    build: xlmRoberta,
  },
  {
    classes: ["BertTokenizer", "DistilBertTokenizer", "ElectraTokenizer", "ErnieTokenizer"],
    types: ["bert", "distilbert", "electra", "ernie", "nomic_bert"],
    files: [["vocab.txt"]],
    build: bert,
  },
  { classes: ["GPT2Tokenizer"], types: ["gpt2", "gpt_neo"], files: MERGES, build: gpt2 },
  {
    classes: ["RobertaTokenizer", "BartTokenizer", "LongformerTokenizer"],
    types: ["roberta", "bart", "longformer"],
    files: MERGES,
    build: roberta,
  },
  {
    classes: ["Qwen2Tokenizer"],
    types: ["qwen2", "qwen2_moe", "qwen3", "qwen3_moe"],
    files: MERGES,
    build: qwen2,
  },
  {
    classes: ["MarianTokenizer"],
    types: ["marian"],
    files: [["source.spm", "target.spm", "vocab.json"]],
    build: marian,
  },
  {
    classes: ["GPTPanguTokenizer"],
    types: ["gpt_pangu", "pangu"],
    files: [["vocab.model"]],
    build: pangu,
    notes({ name, files }) {
      const missing = missingForWords(files);
      if (missing.length === 0) return [];
      const instead = missing.includes("dict.txt")
        ? "words are those of vocab.model"
        : "characters that are in no word stand alone";
      return [
        `The original of ${
          quote(name)
        } cuts Chinese text into words by the program jieba; without ` +
        `its files ${missing.join(", ")} ${instead}, and a text may have other tokens: put these ` +
        `files of the Python package jieba beside the model`,
      ];
    },
  },
  {
    classes: ["TransfoXLTokenizer"],
    types: ["transfo-xl"],
    files: [["vocab.pkl"], ["vocab.bin"], ["vocab.txt"]],
    build: transfoXl,
  },
  {
    classes: ["ChatGLMTokenizer", "ChatGLM4Tokenizer"],
    types: ["chatglm", "glm-130b"],
    files: [["ice_text.model"], ["tokenizer.model"]],
    build(published, file) {
      if (file === "ice_text.model") {
        return modelType(published.model) === "glm-130b"
          ? glm130b(published)
          : chatglm6b(published);
      }
      return isRankedList(published.files[file]) ? glm4(published) : chatglm2(published);
    },
  },
];

/**
 * Builds the tokenizer of a folder without `tokenizer.json`; undefined where no file is a vocabulary.
 *
 * @throws FormatError when a file is damaged, or which tokenizer is meant cannot be told
 */
export async function tokenizerFromFolder(published: Published): Promise<Tokenizer | undefined> {
  const there = vocabulariesOf(published);
  if (there.length === 0) return undefined;
  try {
    const plain = plainModel(published, there);
    if (plain) return tokenizerFromSentencePiece(published.files[plain], plain);
    const kind = kindOf(published, there);
    const file = kind.files.find((set) => set.every((name) => there.includes(name)))?.[0];
    if (file === undefined) {
      const wanted = kind.files.map((set) => set.join(" with ")).join(", or ");
      throw new FormatError(
        `Cannot read the tokenizer of ${quote(published.name)}: its class is ${
          kind.classes[0]
        }, and it has ` +
          `${there.join(", ")}, expected ${wanted}; fetch the missing file`,
      );
    }
    return await kind.build(published, file);
  } catch (cause) {
    if (cause instanceof SparrowError) throw cause;
    throw new FormatError(
      `Cannot read the tokenizer of ${quote(published.name)}: ${reasonOf(cause)}; ` +
        `a file is damaged or of a form that is not supported`,
      { cause },
    );
  }
}

/**
 * Which tokenizer a folder has, in words: `T5Tokenizer of spiece.model`. Undefined where no file is a
 * vocabulary.
 *
 * @throws FormatError when it cannot be told
 */
export function describeFolder(published: Published): string | undefined {
  const there = vocabulariesOf(published);
  if (there.length === 0) return undefined;
  const plain = plainModel(published, there);
  const name = plain ? "a SentencePiece model" : kindOf(published, there).classes[0];
  return `${name} of ${there.join(", ")}`;
}

/**
 * What a text misses, without `tokenizer.json`, that it has in the original: as sentences, usually none.
 *
 * @throws FormatError as `tokenizerFromFolder`
 */
export function folderNotes(published: Published): string[] {
  const there = vocabulariesOf(published);
  if (there.length === 0 || plainModel(published, there)) return [];
  return kindOf(published, there).notes?.(published) ?? [];
}

/** What a tokenizer of a class without `tokenizer.json` is made of. */
export type PublishedForm = JsonForm | ReturnType<typeof llamaPieces>;

/** By the first name of a kind. */
const FORMS: Readonly<Partial<Record<string, (it: Published, file: string) => PublishedForm>>> = {
  LlamaTokenizer: llamaPieces,
  BertTokenizer: bertForm,
  GPT2Tokenizer: gpt2Form,
  Qwen2Tokenizer: qwen2Form,
  RobertaTokenizer: robertaForm,
};

/**
 * What the tokenizer of a folder without `tokenizer.json` is made of; the name of its class where that is
 * not to be had in another form.
 *
 * @throws FormatError as `tokenizerFromFolder`
 */
export function publishedForm(published: Published): PublishedForm | string {
  const there = vocabulariesOf(published);
  const plain = plainModel(published, there);
  if (plain) return llamaPieces(published, plain);
  const kind = kindOf(published, there), name = kind.classes[0]!;
  const file = kind.files.find((set) => set.every((it) => there.includes(it)))?.[0];
  const form = FORMS[name];
  return form && file !== undefined ? form(published, file) : name;
}

/** A lone SentencePiece model with nothing beside it that says what it belongs to. */
function plainModel(published: Published, there: readonly string[]): string | undefined {
  const says = className(published) ?? modelType(published.model);
  return says === undefined && there.length === 1 && /\.model$/.test(there[0]) &&
      there[0] !== "ice_text.model"
    ? there[0]
    : undefined;
}

/** The class that the configuration names, without "Fast". */
function className({ config, model }: Published): string | undefined {
  const named = config.tokenizer_class ?? model.tokenizer_class;
  const map = (config.auto_map as Fields | undefined)?.AutoTokenizer;
  const mapped = Array.isArray(map) ? map.find((it) => typeof it === "string") : map;
  const name = typeof named === "string"
    ? named
    : typeof mapped === "string"
    ? mapped.replace(/^.*\./, "")
    : undefined;
  return name?.replace(/Fast$/, "");
}

function modelType(model: Fields): string | undefined {
  return typeof model.model_type === "string" ? model.model_type : undefined;
}

function kindOf(published: Published, there: readonly string[]): Kind {
  const name = className(published), type = modelType(published.model);
  const has = (file: string): boolean => there.includes(file);
  const byName = KINDS.find(({ classes }) => name !== undefined && classes.includes(name));
  if (byName) return byName;
  // A class that is not known is not guessed at by the model's type.
  const byType = name === undefined && type !== undefined
    ? KINDS.find(({ types }) => types.includes(type))
    : undefined;
  // Models of other types may have BERT's list of words too, as Chinese ones of ALBERT.
  const isKnown = byType !== undefined || name === undefined && type === undefined;
  const hasOwnList = byType?.files.some((set) => set.length === 1 && set[0] === "vocab.txt");
  const isBert = isKnown && !hasOwnList && there.length === 1 && has("vocab.txt");
  if (isBert) return KINDS.find(({ types }) => types.includes("bert"))!;
  if (byType) return byType;
  if (name === undefined && type === undefined) {
    if (has("ice_text.model")) return KINDS.find(({ types }) => types.includes("chatglm"))!;
    if (has("source.spm")) return KINDS.find(({ types }) => types.includes("marian"))!;
  }
  const says = name !== undefined
    ? `the class ${quote(name)}`
    : type !== undefined
    ? `the model type ${quote(type)} and no class`
    : "no class and no model type";
  throw new FormatError(
    `Cannot read the tokenizer of ${quote(published.name)}: its files say ${says} and there is ` +
      `${there.join(", ")}, expected one of ${
        KINDS.flatMap(({ classes }) => classes).join(", ")
      } ` +
      `as tokenizer_class of tokenizer_config.json, or a tokenizer.json`,
  );
}
