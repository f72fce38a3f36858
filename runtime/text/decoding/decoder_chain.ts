/**
 * The `decoder` of tokenizer.json: from tokens to text, kind by kind as the original does it.
 *
 * @module
 */

import { byteLevelBytes } from "../tokenizer/byte_level.ts";
import { bytePieces } from "./byte_pieces.ts";
import {
  byteFallbackStage,
  byteLevelStage,
  cleanUp,
  firstStage,
  lastStage,
  repeatsStage,
  replaceStage,
  type Stage,
  stripStage,
  stripText,
  wholeStage,
} from "./decoder_stages.ts";
import type { Pieces } from "./text_decoder.ts";
import {
  countField,
  flagField,
  listField,
  objectField,
  textField,
  wrongField,
} from "../tokenizer/fields.ts";
import type { Fields } from "../tokenizer/fields.ts";
import { compilePattern } from "../tokenizer/pattern.ts";

/** The vocabulary that {@linkcode piecesFromJson} reads. */
export interface PieceVocabulary {
  /** Token texts by id; undefined where an id has none. */
  readonly tokens: readonly (string | undefined)[];
  /** Ids of tokens that control rather than spell. */
  readonly special: ReadonlySet<number>;
}

const MAX_STAGES = 64;
const MAX_INSERT = 256; // UTF-16 units that one replacement may insert
const MAX_PIECE = 1 << 16; // UTF-16 units
const MAX_STRIP = 1 << 16;

/** Makes a stage; `raw` as in raw_bytes.ts. */
type MakeStage = (isLast: boolean, raw: boolean) => Stage;

/** The stages of a decoder, and what every token goes through first, whatever its place. */
interface Chain {
  readonly maps: ((token: string) => string)[];
  /** Makes the stages; each is told whether no later one goes by tokens, and whether bytes wait. */
  readonly stages: MakeStage[];
  /** Whether tokens are parts of one text from here on. */
  fused: boolean;
  /** How many stages there were when they became so. */
  fusedAt: number;
  /** Whether it is no more than bytes. */
  bytesOnly: boolean;
}

/**
 * Reads the `decoder` of tokenizer.json.
 *
 * @throws FormatError for an unknown kind or a malformed field
 */
export function piecesFromJson(
  config: unknown,
  { tokens, special }: PieceVocabulary,
): Pieces {
  const chain: Chain = { maps: [], stages: [], fused: false, fusedAt: -1, bytesOnly: false };
  // Without a decoder the tokens are words, as in the original.
  if (config === null || config === undefined) {
    chain.stages.push(() => firstStage((token) => token, (token) => " " + token));
  } else read(config, "decoder", chain);

  const isSpecial = (id: number): boolean => special.has(id);
  if (chain.bytesOnly) {
    return bytePieces({
      vocabSize: tokens.length,
      isSpecial,
      bytes: (id) => byteLevelBytes(tokens[id] ?? ""),
      stripLeading: false,
    });
  }
  const mapped: (string | undefined)[] = []; // tokens after the maps
  function first(id: number): string | undefined {
    if (tokens[id] === undefined) return undefined;
    return mapped[id] ??= chain.maps.reduce((token, map) => {
      const result = map(token);
      if (result.length > MAX_PIECE) {
        throw wrongField("decoder", result, `pieces of at most ${MAX_PIECE} characters`);
      }
      return result;
    }, tokens[id]);
  }
  return {
    vocabSize: tokens.length,
    isSpecial,
    begin(raw) {
      const stages = chain.stages.map((make, i) =>
        make(i === chain.stages.length - 1 || i + 1 === chain.fusedAt, raw)
      );
      let out = "";
      // The stage after the last one collects.
      const into: ((token: string) => void)[] = [];
      into[stages.length] = (token) => {
        out += token;
      };
      for (let i = stages.length - 1; i >= 0; i--) {
        into[i] = (token) => stages[i].push(token, into[i + 1]);
      }
      const taken = (): string => {
        const text = out;
        out = "";
        return text;
      };
      return {
        waits: stages.some((stage) => stage.waits),
        push(id) {
          const token = first(id);
          if (token !== undefined) into[0](token);
          return taken();
        },
        end() {
          stages.forEach((stage, i) => stage.end(into[i + 1]));
          return taken();
        },
      };
    },
  };
}

function fuse(chain: Chain): void {
  if (!chain.fused) chain.fusedAt = chain.stages.length;
  chain.fused = true;
}

/** Adds what one decoder does to the chain. */
function read(value: unknown, field: string, chain: Chain): void {
  const config = objectField(value, field);
  if (chain.stages.length + chain.maps.length > MAX_STAGES) {
    throw wrongField(field, value, `at most ${MAX_STAGES} decoders`);
  }
  const isFirst = chain.stages.length + chain.maps.length === 0 && !chain.fused;
  const { fused } = chain;
  /** A step that goes by tokens; after `Fuse` there is only one. */
  const add = (make: MakeStage): void => {
    chain.bytesOnly = false;
    chain.stages.push(fused ? (_, raw) => wholeStage(make(false, raw)) : make);
  };
  /** A step that treats all tokens alike. */
  const map = (change: (token: string) => string): void => {
    if (chain.stages.length === 0) chain.maps.push(change);
    else add(() => firstStage(change, change));
  };
  switch (config.type) {
    case "Sequence":
      // A sequence nested so deep that its path is this long is a cycle.
      if (field.length > 1024) throw wrongField(field, value, "decoders nested less deep");
      listField(config.decoders, `${field}.decoders`).forEach((part, i) =>
        read(part, `${field}.decoders[${i}]`, chain)
      );
      return;
    case "ByteLevel":
      add((_, raw) => byteLevelStage(raw));
      chain.bytesOnly = isFirst;
      fuse(chain);
      return;
    case "ByteFallback":
      add(byteFallbackStage);
      return;
    case "Fuse":
      fuse(chain);
      return;
    case "Replace": {
      const pattern = compilePattern(config.pattern, `${field}.pattern`);
      const content = textField(config.content, `${field}.content`);
      if (content.length > MAX_INSERT) {
        throw wrongField(`${field}.content`, content, `at most ${MAX_INSERT} characters`);
      }
      if (fused) {
        chain.bytesOnly = false;
        chain.stages.push(() => replaceStage(pattern, content));
      } else map((token) => pattern.replace(token, content));
      return;
    }
    case "Strip": {
      const content = textField(config.content, `${field}.content`);
      if ([...content].length !== 1) throw wrongField(`${field}.content`, content, "one character");
      const start = countField(config.start, `${field}.start`, 0, MAX_STRIP, 0);
      const stop = countField(config.stop, `${field}.stop`, 0, MAX_STRIP, 0);
      if (fused) {
        chain.bytesOnly = false;
        chain.stages.push(() => stripStage(content, start, stop));
      } else map((token) => stripText(token, content, start, stop));
      return;
    }
    case "Metaspace":
      add(metaspace(config, field));
      return;
    case "WordPiece":
      add(wordPiece(config, field));
      return;
    case "BPEDecoder": {
      const suffix = optional(config.suffix, `${field}.suffix`, "</w>");
      if (suffix === "") return;
      add((isLast) =>
        lastStage(
          (token) => token.replaceAll(suffix, " "),
          (token) => token.replaceAll(suffix, ""),
          isLast,
        )
      );
      return;
    }
    case "CTC": {
      const pad = optional(config.pad_token, `${field}.pad_token`, "<pad>");
      const delimiter = optional(config.word_delimiter_token, `${field}.word_delimiter_token`, "|");
      const cleanup = flagField(config.cleanup, `${field}.cleanup`, true);
      add(() =>
        repeatsStage((token) => {
          const text = pad === "" ? token : token.replaceAll(pad, "");
          return cleanup ? cleanUp(text).replaceAll(delimiter, " ") : text;
        })
      );
      return;
    }
  }
  throw wrongField(
    `${field}.type`,
    config.type,
    "ByteLevel, Metaspace, WordPiece, BPEDecoder, CTC, Sequence, Replace, ByteFallback, Fuse or Strip",
  );
}

function optional(value: unknown, field: string, fallback: string): string {
  return value === undefined ? fallback : textField(value, field);
}

/** Marks are spaces again; those of the first token belong to the encoding. */
function metaspace(config: Fields, field: string): () => Stage {
  const mark = optional(config.replacement, `${field}.replacement`, "\u2581");
  const legacy = flagField(config.add_prefix_space, `${field}.add_prefix_space`, true);
  const keeps = !legacy || config.prepend_scheme === "never";
  return () =>
    firstStage(
      (token) => token.replaceAll(mark, keeps ? " " : ""),
      (token) => token.replaceAll(mark, " "),
    );
}

/** Words come after spaces, but for pieces that continue one. */
function wordPiece(config: Fields, field: string): () => Stage {
  const prefix = optional(config.prefix, `${field}.prefix`, "##");
  const cleaned = flagField(config.cleanup, `${field}.cleanup`, true)
    ? cleanUp
    : (token: string): string => token;
  return () =>
    firstStage(
      cleaned,
      (token) => cleaned(token.startsWith(prefix) ? token.slice(prefix.length) : " " + token),
    );
}
