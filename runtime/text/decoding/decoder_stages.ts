/**
 * The steps of decoders of tokenizer.json. Each takes tokens one by one and gives out tokens, so that text comes
 * as soon as it is certain; all of them together are what the original makes of the whole list.
 *
 * @module
 */

import { byteLevelBytes } from "../tokenizer/byte_level.ts";
import { ByteJoiner } from "./byte_pieces.ts";
import { escapeByte, escapeBytes } from "./raw_bytes.ts";
import { byteOfToken } from "./text_decoder.ts";
import type { Pattern } from "../tokenizer/pattern.ts";

/** Takes what a stage gives out. */
export type Emit = (token: string) => void;

/** One step over one text. */
export interface Stage {
  /** One more token. */
  push(token: string, emit: Emit): void;
  /** The end: what still waits is given out. */
  end(emit: Emit): void;
  /** Whether more may wait than what makes a character or a space. */
  readonly waits?: boolean;
}

const nothing = (): void => {};

/** Bytes in GPT-2's spelling, to text; `raw` as in raw_bytes.ts. */
export function byteLevelStage(raw: boolean): Stage {
  const joiner = new ByteJoiner(raw);
  return {
    push: (token, emit) => emit(joiner.push(byteLevelBytes(token))),
    end: (emit) => emit(joiner.end()),
  };
}

/** How many bytes a character takes that begins with `byte`; 0 where none does. */
function lengthOf(byte: number): number {
  if (byte < 0x80) return 1;
  if (byte < 0xc2 || byte > 0xf4) return 0;
  return byte < 0xe0 ? 2 : byte < 0xf0 ? 3 : 4;
}

/**
 * Tokens like `<0xE6>` to characters. In the original a run of them is one token, and all of it is U+FFFD
 * where one byte does not fit. So it is here where later steps go by tokens. At the end of a decoder
 * (`eager`) characters come as soon as they are whole, and only the bytes that do not fit are U+FFFD:
 * a stream could not take back what it gave out. `raw` bytes (raw_bytes.ts) need not fit.
 */
export function byteFallbackStage(eager: boolean, raw: boolean): Stage {
  const utf8 = new TextDecoder("utf-8", { ignoreBOM: true, fatal: true });
  let bytes: number[] = [];
  function text(count: number): string | undefined {
    try {
      return utf8.decode(Uint8Array.from(bytes.slice(0, count)));
    } catch {
      return undefined;
    }
  }
  /** Gives out whole characters; at the end of a run also what is left. */
  function settle(emit: Emit, isEnd: boolean): void {
    while (bytes.length > 0) {
      const length = lengthOf(bytes[0]);
      const follows = bytes.slice(1, length).every((byte) => (byte & 0xc0) === 0x80);
      if (length > bytes.length && follows && !isEnd) return;
      const whole = length > 0 && length <= bytes.length && follows ? text(length) : undefined;
      emit(whole ?? "\ufffd");
      bytes = bytes.slice(whole === undefined ? 1 : length);
    }
  }
  function endRun(emit: Emit): void {
    if (eager) settle(emit, true);
    else if (bytes.length > 0) {
      const run = text(bytes.length);
      if (run !== undefined) emit(run);
      else if (raw) emit(escapeBytes(Uint8Array.from(bytes)));
      else for (const _ of bytes) emit("\ufffd");
      bytes = [];
    }
  }
  return {
    waits: !eager,
    push(token, emit) {
      const byte = byteOfToken(token);
      if (byte >= 0 && raw && eager) return emit(escapeByte(byte));
      if (byte >= 0) {
        bytes.push(byte);
        if (eager) settle(emit, false);
        return;
      }
      endRun(emit);
      emit(token);
    },
    end: endRun,
  };
}

/** A step that treats the first token in one way and the others in another. */
export function firstStage(
  first: (token: string) => string,
  later: (token: string) => string,
): Stage {
  let started = false;
  return {
    push(token, emit) {
      emit(started ? later(token) : first(token));
      started = true;
    },
    end: nothing,
  };
}

/**
 * A step that treats the last token in another way. Where it is the last step of all, what both ways
 * begin with is given out at once.
 */
export function lastStage(
  inner: (token: string) => string,
  last: (token: string) => string,
  eager: boolean,
): Stage {
  let waiting: { inner: string; last: string } | undefined;
  return {
    waits: !eager,
    push(token, emit) {
      const both = { inner: inner(token), last: last(token) };
      let shared = 0;
      while (eager && shared < both.last.length && both.inner[shared] === both.last[shared]) {
        shared++;
      }
      // Not within a pair of surrogates.
      if (/[\ud800-\udbff]/.test(both.last[shared - 1] ?? "")) shared--;
      if (waiting || eager) emit((waiting?.inner ?? "") + both.last.slice(0, shared));
      waiting = { inner: both.inner.slice(shared), last: both.last.slice(shared) };
    },
    end(emit) {
      if (waiting) emit(waiting.last);
      waiting = undefined;
    },
  };
}

/** CTC: a token that repeats the one before it counts once. */
export function repeatsStage(change: (token: string) => string): Stage {
  let previous: string | undefined;
  return {
    push(token, emit) {
      if (token === previous) return;
      previous = token;
      const text = change(token);
      if (text !== "") emit(text);
    },
    end: nothing,
  };
}

/** Joins all tokens to one, to which a step is applied at the end. */
export function wholeStage(inner: Stage): Stage {
  const parts: string[] = [];
  return {
    waits: true,
    push: (token) => {
      parts.push(token);
    },
    end(emit) {
      inner.push(parts.join(""), emit);
      inner.end(emit);
    },
  };
}

/** Replaces in a text whose tokens are its parts, however a match is spread over them. */
export function replaceStage(pattern: Pattern, content: string): Stage {
  const replacer = pattern.replacer?.(content);
  if (!replacer) {
    return wholeStage({ push: (text, emit) => emit(pattern.replace(text, content)), end: nothing });
  }
  return {
    waits: true,
    push: (token, emit) => emit(replacer.push(token)),
    end: (emit) => emit(replacer.end()),
  };
}

/** Takes up to `start` times a character from the start of a text and up to `stop` times from its end. */
export function stripStage(character: string, start: number, stop: number): Stage {
  let left = start; // how many may still go at the start
  let waiting = ""; // characters that may be the last ones
  return {
    push(token, emit) {
      while (left > 0 && token !== "") {
        if (!token.startsWith(character)) {
          left = 0;
          break;
        }
        token = token.slice(character.length);
        left--;
      }
      if (token === "") return;
      const text = waiting + token;
      let end = text.length;
      for (let i = 0; i < stop && text.endsWith(character, end) && end > 0; i++) {
        end -= character.length;
      }
      emit(text.slice(0, end));
      waiting = text.slice(end);
    },
    end: (emit) => {
      // What waits is at most what goes.
      waiting = "";
      emit("");
    },
  };
}

/** The same of a text that is whole. */
export function stripText(text: string, character: string, start: number, stop: number): string {
  const parts: string[] = [];
  const stage = stripStage(character, start, stop);
  stage.push(text, (part) => parts.push(part));
  return parts.join("");
}

/** Undoes the spaces that BERT's words got before punctuation and contractions. */
export function cleanUp(text: string): string {
  for (const [from, to] of CLEAN_UPS) text = text.replaceAll(from, to);
  return text;
}

const CLEAN_UPS: readonly (readonly [string, string])[] = [
  [" .", "."],
  [" ?", "?"],
  [" !", "!"],
  [" ,", ","],
  [" ' ", "'"],
  [" n't", "n't"],
  [" 'm", "'m"],
  [" do not", " don't"],
  [" 's", "'s"],
  [" 've", "'ve"],
  [" 're", "'re"],
];
