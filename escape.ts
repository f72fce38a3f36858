/**
 * How text that others wrote is shown: in error messages, in the output of commands, on terminals.
 *
 * Names of files and tensors, metadata, configuration fields, what a template or a server says, and
 * what a model writes may hold anything: codes that a terminal obeys (an OSC 52 sequence sets the
 * clipboard), characters that turn the direction of a line around, characters that nobody sees.
 *
 * - {@linkcode quote} is for a name or a value inside a message: `Cannot open ${quote(name)}: …`.
 * - {@linkcode word} is the same for short names in lists.
 * - {@linkcode plain} is for a sentence of others that goes on in ours: `…: ${plain(reason)}`.
 * - {@linkcode terminalText} is for a model's text on a terminal, where line breaks must stay.
 *
 * Sizes in messages are written by {@linkcode formatBytes}.
 *
 * `SparrowError` passes every message through `plain`, so that a forgotten call shows an ugly name
 * and does no harm.
 *
 * @module
 */

/** Characters of a name or value that are shown. */
const QUOTE_LIMIT = 200;
/** Characters of a sentence of others that are shown. */
const PLAIN_LIMIT = 4000;
/** Items of a list, and fields of an object, that are shown. */
const ITEMS = 8;

/**
 * Characters that are not shown as they are: controls (C0, DEL, C1), marks without width and marks of
 * direction (Cf), lone surrogates, line and paragraph separators, and the rest of what Unicode lets
 * a renderer ignore.
 */
const UNSAFE = /[\p{Cc}\p{Cf}\p{Cs}\p{Zl}\p{Zp}\p{Default_Ignorable_Code_Point}]/u;

/** The same, and what a JSON string escapes. */
const UNQUOTABLE = new RegExp(`["\\\\]|${UNSAFE.source}`, "u");

const UNSAFE_IN_JSON = new RegExp(`(?!\\n)${UNSAFE.source}`, "gu");

const SHORT: Readonly<Record<string, string>> = {
  "\n": "\\n",
  "\r": "\\r",
  "\t": "\\t",
  '"': '\\"',
  "\\": "\\\\",
};

/** A character as JSON escapes it: `\n`, `\u001b`. */
function escaped(character: string): string {
  const units = Array.from(
    { length: character.length },
    (_, i) => `\\u${character.charCodeAt(i).toString(16).padStart(4, "0")}`,
  );
  return SHORT[character] ?? units.join("");
}

/** `text` with the characters of `unsafe` escaped; what is longer than `limit` loses its middle. */
function escapeText(text: string, unsafe: RegExp, limit: number): string {
  // Most text needs nothing.
  if (text.length <= limit && !unsafe.test(text)) return text;
  const show = (part: string): string[] =>
    Array.from(part, (character) => unsafe.test(character) ? escaped(character) : character);
  if (text.length <= limit) {
    const pieces = show(text);
    if (lengthOf(pieces) <= limit) return pieces.join("");
  }
  const tail = Math.floor(limit / 3);
  const head = take(show(text.slice(0, limit)), limit - tail - 1);
  return `${head.join("")}…${take(show(text.slice(-tail)).reverse(), tail).reverse().join("")}`;
}

function lengthOf(pieces: readonly string[]): number {
  return pieces.reduce((sum, piece) => sum + piece.length, 0);
}

/** The first pieces, `limit` characters of them at most. */
function take(pieces: readonly string[], limit: number): string[] {
  const taken: string[] = [];
  for (const piece of pieces) {
    if ((limit -= piece.length) < 0) break;
    taken.push(piece);
  }
  return taken;
}

/**
 * A name or value as messages show it, on one line and of bounded length: text in double quotes as a
 * JSON string, numbers as they are, the beginning of lists and objects as JSON, other things in words.
 *
 * @example
 * ```ts
 * import { quote } from "./escape.ts";
 *
 * console.log(quote("a\x1b]52;c;Zg==\x07")); // "a\u001b]52;c;Zg==\u0007"
 * console.log(quote([1, 2, { a: null }])); // [1, 2, {"a": null}]
 * ```
 */
export function quote(value: unknown, limit: number = QUOTE_LIMIT): string {
  if (typeof value === "string") return `"${escapeText(value, UNQUOTABLE, limit)}"`;
  return escapeText(describe(value, 3), UNSAFE, limit);
}

/**
 * A short name, such as that of a type, a file or a kind: bare where it is an ordinary word, so that a
 * list of them reads well, and as {@linkcode quote} has it otherwise.
 */
export function word(value: unknown): string {
  return typeof value === "string" && /^[\w.:/+-]{1,120}$/.test(value) ? value : quote(value);
}

/** What is no text, in the manner of JSON; lists and objects to the given depth. */
function describe(value: unknown, depth: number): string {
  switch (typeof value) {
    case "string":
      return `"${escapeText(value, UNQUOTABLE, QUOTE_LIMIT)}"`;
    case "function":
      return "a function";
    case "symbol":
      return "a symbol";
    case "object":
      break;
    default: // numbers, bigints, booleans, undefined
      return Object.is(value, -0) ? "-0" : String(value);
  }
  if (value === null) return "null";
  try {
    if (Array.isArray(value) || ArrayBuffer.isView(value) && !(value instanceof DataView)) {
      const list = value as ArrayLike<unknown>;
      if (depth === 0 && list.length > 0) return "[…]";
      const shown = Array.from(
        { length: Math.min(list.length, ITEMS) },
        (_, i) => describe(list[i], depth - 1),
      );
      return `[${shown.join(", ")}${list.length > ITEMS ? ", …" : ""}]`;
    }
    const kind = value.constructor?.name;
    if (kind !== undefined && kind !== "Object") return `an object of class ${kind}`;
    const keys = Object.keys(value);
    if (depth === 0 && keys.length > 0) return "{…}";
    const shown = keys.slice(0, ITEMS).map((key) =>
      `${describe(key, 0)}: ${describe((value as Record<string, unknown>)[key], depth - 1)}`
    );
    return `{${shown.join(", ")}${keys.length > ITEMS ? ", …" : ""}}`;
  } catch {
    return "an object"; // one that throws when looked at
  }
}

/**
 * Text of others inside a message of ours: control characters, marks without width or of direction
 * and lone surrogates are escaped as in `\u001b`, passwords, signatures and tokens of URLs are left
 * out, objects that somebody made text of are called so, and very long text loses its middle.
 */
export function plain(text: string, limit: number = PLAIN_LIMIT): string {
  return escapeText(withoutSecrets(text).replace(/\[object \w+\]/g, "an object"), UNSAFE, limit);
}

/** A URL, in a sentence or in quotes; browsers take `https:` with any number of slashes. */
const URLS = /\b(https?:[\\/]*|[a-z][a-z0-9+.-]{1,20}:\/\/)([^\s"`<>]+)/gi;
/** Tokens of hubs, and what follows the word that says so in a header. */
const TOKENS = /\bhf_[A-Za-z0-9]{16,}|\b(Bearer +)[A-Za-z0-9+/=._~-]{16,}/g;

/** Text without user names, passwords, queries and fragments of the URLs in it, and without tokens. */
export function withoutSecrets(text: string): string {
  return text.replace(URLS, (_, scheme: string, rest: string) => scheme + bareUrl(rest))
    .replace(TOKENS, (_, bearer: string | undefined) => bearer ? `${bearer}…` : "hf_…");
}

/** What follows the scheme of a URL, without user name, password, query and fragment. */
function bareUrl(rest: string): string {
  const place = rest.replace(/[?#].*$/, "");
  const [host, ...path] = place.split(/(?=[\\/])/);
  // A sentence goes on after the query: its comma or full stop stays.
  const after = place === rest ? "" : /[.,:;!?)\]']*$/.exec(rest)![0];
  return host!.slice(host!.lastIndexOf("@") + 1) + path.join("") + after;
}

/**
 * What an error was made from, fit for a log, which shows it too. An error whose text is safe is kept;
 * of another there is a stand-in with the same prototype, whose message and stack are escaped.
 */
export function safeCause(cause: unknown): unknown {
  if (!(cause instanceof Error)) return cause;
  const [message, stack = ""] = [String(cause.message), cause.stack].map((it) =>
    // The lines of a stack stay lines.
    it?.split("\n").map((line) => plain(line)).join("\n")
  );
  const inner = safeCause(cause.cause);
  if (message === cause.message && stack === (cause.stack ?? "") && inner === cause.cause) {
    return cause;
  }
  const hidden = { writable: true, configurable: true, enumerable: false };
  return Object.create(Object.getPrototypeOf(cause), {
    name: { value: cause.name, ...hidden },
    message: { value: message, ...hidden },
    stack: { value: stack, ...hidden },
    cause: { value: inner, ...hidden },
  });
}

/** A value as JSON whose text no terminal obeys: what `quote` escapes is escaped, which JSON allows. */
export function safeJson(value: unknown, indent?: number): string {
  const json = JSON.stringify(
    value,
    (_, it) => typeof it === "bigint" ? it.toString() : it,
    indent,
  );
  // JSON itself has escaped all controls but those of C1, so that breaks of lines are those of `indent`.
  return json.replace(UNSAFE_IN_JSON, escaped);
}

/** Numbers of f32 for JSON, with nine digits, which tell each from its neighbours. */
export function jsonNumbers(numbers: Float32Array): number[] {
  return Array.from(numbers, (it) => Number(it.toPrecision(9)));
}

/** Pictures of control characters. */
function picture(character: string): string {
  const code = character.charCodeAt(0);
  return code < 0x20 ? String.fromCharCode(0x2400 + code) : code === 0x7f ? "␡" : "�";
}

/**
 * A filter for a stream of text that a terminal shows: line breaks and tabs stay, every other control
 * character is shown by its picture (`␛`) instead of being obeyed. `\r\n` is a line break. Pieces
 * may be cut anywhere.
 *
 * @example
 * ```ts
 * import { terminalText } from "./escape.ts";
 *
 * const show = terminalText();
 * console.log(show("a\x1b") + show("[2Jb")); // a␛[2Jb
 * ```
 */
export function terminalText(): (text: string) => string {
  let returned = false; // whether the last piece ended in \r
  return (text) => {
    if (returned) text = "\r" + text;
    returned = text.endsWith("\r");
    if (returned) text = text.slice(0, -1);
    // deno-lint-ignore no-control-regex
    return text.replaceAll("\r\n", "\n").replace(/[\x00-\x08\x0b-\x1f\x7f-\x9f]/g, picture);
  };
}

/** Bytes with three digits in decimal units: `640 MB`, `1.23 GB`. */
export function formatBytes(bytes: number): string {
  const units = ["B", "kB", "MB", "GB", "TB"];
  let unit = 0;
  while (bytes >= 999.5 && unit < units.length - 1) [bytes, unit] = [bytes / 1000, unit + 1];
  return `${unit === 0 ? Math.round(bytes) : Number(bytes.toPrecision(3))} ${units[unit]}`;
}
