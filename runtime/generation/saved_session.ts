/**
 * Sessions as bytes. The form, numbers little-endian:
 *
 * | bytes | what |
 * |---|---|
 * | 8 | `SPARROWS` |
 * | 4 | version of this form |
 * | 4 | length of the header |
 * | … | header, JSON: the model's fingerprint, how rows are stored, the tokens, how many are cached |
 * | … | rows of every cache of the model, as its backend stores them; see `CacheRows` |
 * | 32 | SHA-256 of all before it |
 *
 * @module
 */

import { FormatError, InputError, MemoryError, SparrowError } from "../../errors.ts";
import { quote } from "../../escape.ts";
import {
  accepts,
  FLAG,
  isA,
  readIds,
  readOptions,
  type Rules,
  wholeNumberIn,
} from "../../options.ts";
import type { LeaseHolder } from "../engine/leases.ts";
import type { RowCounts } from "../engine/requests.ts";
import { type Prompt, promptFields } from "../models/prompt.ts";
import { EMPTY, type Sequence } from "../models/sequence.ts";
import type { SessionModel, SessionState } from "./text_session.ts";

/** How `Model.restore` takes a session. */
export interface RestoreOptions {
  /**
   * Whether other sessions may take over what it has cached, as they do from sessions that this model
   * computed. Default false: whoever can write the bytes could make others' texts wrong. True is for
   * bytes that nobody else could have written.
   */
  readonly share?: boolean;
}

const RESTORE_RULES: Rules<RestoreOptions> = { share: FLAG };

/** What a session begins with. */
export interface RestoredSession {
  /** Its tokens. */
  readonly sequence: Sequence;
  /** What is cached of them. */
  readonly holder: LeaseHolder;
}

/** What the header says. */
interface Header {
  /** `SessionModel.fingerprint`. */
  readonly model: string;
  /** How rows are stored. */
  readonly form: string;
  /** Element type of the caches. */
  readonly cacheType: string;
  /** What the session began with; absent where nothing has been said. */
  readonly prompt?: Prompt;
  /** Tokens behind it. */
  readonly ids: readonly number[];
  /** Tokens that are cached. */
  readonly cached: number;
  /** Those whose rows others may take over. */
  readonly standard: number;
  /** Whether what an encoder read is cached. */
  readonly encoded: boolean;
}

const MAGIC = "SPARROWS", VERSION = 1, FRONT_BYTES = 16, SUM_BYTES = 32;

/** The bytes of a session. */
export async function saveSession(
  { engine, fingerprint }: SessionModel,
  state: SessionState,
): Promise<Uint8Array> {
  state.current(); // a session that has been disposed is refused at once
  const model = await fingerprint?.() ?? "";
  const all = await engine.exclusive(async () => {
    const sequence = state.current(), { holder } = state, { cached } = holder;
    const encoded = holder.encoded === true && sequence.source !== undefined;
    const standard = Math.min(holder.standard ?? 0, cached);
    const header: Header = {
      ...{ model, form: engine.cacheForm, cacheType: engine.options.cacheType },
      ...splitSequence(sequence, promptFields(engine.programs.prompts ?? {})),
      ...{ cached, standard, encoded },
    };
    const text = new TextEncoder().encode(JSON.stringify(header));
    const counts = rowCounts(sequence, cached, encoded), rowBytes = engine.rowBytes(counts);
    const rowsAt = FRONT_BYTES + text.length;
    const bytes = allocate(rowsAt + rowBytes + SUM_BYTES);
    bytes.set(new TextEncoder().encode(MAGIC));
    const view = new DataView(bytes.buffer);
    view.setUint32(8, VERSION, true);
    view.setUint32(12, text.length, true);
    bytes.set(text, FRONT_BYTES);
    await engine.readRows(holder, counts, bytes.subarray(rowsAt, rowsAt + rowBytes));
    return bytes;
  });
  all.set(await checksum(all), all.length - SUM_BYTES);
  return all;
}

/**
 * What `saveSession` has saved, with the rows in the cache again.
 *
 * @throws InputError when `given` is no bytes, or another model, cache or backend saved them
 * @throws FormatError when they are damaged, or of another version
 */
export async function restoreSession(
  { engine, fingerprint }: SessionModel,
  given: Uint8Array,
  options: RestoreOptions = {},
): Promise<RestoredSession> {
  const { share = false } = readOptions("restore a session", options, RESTORE_RULES);
  if (!isA(given, Uint8Array)) {
    throw new InputError(
      `Cannot restore a session from ${quote(given)}: expected the Uint8Array that save() gave`,
    );
  }
  const bytes = allocate(given.length);
  bytes.set(given); // nobody changes it meanwhile
  const rowsAt = checkFront(bytes);
  const sum = await checksum(bytes);
  if (!sum.every((it, i) => it === bytes[bytes.length - SUM_BYTES + i])) {
    throw damaged("their checksum is another one");
  }
  const header = readHeader(bytes.subarray(FRONT_BYTES, rowsAt));
  const { cacheType } = engine.options;
  checkSame("model", header.model, await fingerprint?.() ?? "");
  checkSame("cache type", header.cacheType, cacheType);
  checkSame("form of cache rows", header.form, engine.cacheForm);
  const sequence = joinSequence(header, engine);
  const { cached, encoded } = header;
  const standard = share ? header.standard : 0;
  if (cached > sequence.ids.length || header.standard > cached || encoded && !sequence.source) {
    throw damaged("more is said to be cached than there is");
  }
  const counts = rowCounts(sequence, cached, encoded), rowBytes = engine.rowBytes(counts);
  const rows = bytes.subarray(rowsAt, bytes.length - SUM_BYTES);
  if (rows.length !== rowBytes) {
    throw damaged(`they have ${rows.length} bytes of rows, expected ${rowBytes}`);
  }
  const held = { sequence, cached, standard, encoded };
  const holder = await engine.writeRows(held, counts, header.form, rows);
  return { sequence, holder };
}

/** Checks what is before the header, and lengths; returns where the rows begin. */
function checkFront(bytes: Uint8Array<ArrayBuffer>): number {
  const magic = new TextDecoder().decode(bytes.subarray(0, MAGIC.length));
  if (magic !== MAGIC) {
    throw new FormatError(
      `Cannot restore a session: the bytes begin with ${quote(magic)}, expected ${quote(MAGIC)}, ` +
        `as those that save() gives`,
    );
  }
  if (bytes.length < FRONT_BYTES + SUM_BYTES) throw damaged("their end is missing");
  const view = new DataView(bytes.buffer), version = view.getUint32(8, true);
  if (version !== VERSION) {
    throw new FormatError(
      `Cannot restore a session of version ${version}: this version of Sparrow reads version ` +
        `${VERSION}; begin the session anew`,
    );
  }
  const rowsAt = FRONT_BYTES + view.getUint32(12, true);
  if (rowsAt > bytes.length - SUM_BYTES) throw damaged("their end is missing");
  return rowsAt;
}

function readHeader(bytes: Uint8Array): Header {
  let header: Header;
  try {
    header = JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(bytes));
  } catch {
    throw damaged("their header is no JSON");
  }
  const counts = [header?.cached, header?.standard];
  const isRight = typeof header === "object" && counts.every((it) => accepts(COUNT, it)) &&
    typeof header.encoded === "boolean";
  if (!isRight) throw damaged("their header lacks what is cached");
  return header;
}

const COUNT = wholeNumberIn(0, Number.MAX_SAFE_INTEGER);

function checkSame(what: string, found: unknown, expected: string): void {
  if (found === expected) return;
  throw new InputError(
    `Cannot restore a session of another ${what}: it was saved with ${
      quote(found)
    }, this model has ` +
      `${quote(expected)}; load the model as it was loaded then, or begin the session anew`,
  );
}

/** A sequence as the prompt that it began with, of fields that the model takes, and the tokens behind it. */
function splitSequence(
  sequence: Sequence,
  fields: readonly string[],
): Pick<Header, "prompt" | "ids"> {
  if (sequence === EMPTY) return { ids: [] };
  const { ids, source, opening } = sequence;
  // Numbers that go along with ids are those of the prompt.
  const { tokenTypeIds, taskTypeIds } = sequence;
  const length = opening ?? (tokenTypeIds ?? taskTypeIds ?? ids).length;
  const first = ids.slice(0, length);
  const others = Object.entries(source ?? sequence)
    .filter(([name]) => name !== "ids" && fields.includes(name));
  const prompt = source ? { ids: source.ids, decoderIds: first } : { ids: first };
  return { prompt: { ...prompt, ...Object.fromEntries(others) }, ids: ids.slice(length) };
}

/** The sequence that `splitSequence` was given, checked like a prompt. */
function joinSequence({ prompt, ids }: Header, engine: SessionModel["engine"]): Sequence {
  if (prompt === undefined) return EMPTY;
  try {
    const sequence = engine.sequenceOf(prompt), { contextLength } = engine.options;
    const all = [...sequence.ids, ...readIds(ids, engine.config.vocabSize, 0)];
    if (all.length > contextLength) {
      throw new InputError(
        `Cannot restore a session of ${all.length} tokens: the context holds ${contextLength}; ` +
          `raise contextLength`,
      );
    }
    return { ...sequence, ids: all };
  } catch (error) {
    if (!(error instanceof SparrowError)) throw error;
    throw new InputError(`Cannot restore a session: ${error.message}`, { cause: error });
  }
}

function rowCounts({ source }: Sequence, cached: number, encoded: boolean): RowCounts {
  return { tokens: cached, source: encoded ? source!.ids.length : 0 };
}

async function checksum(bytes: Uint8Array<ArrayBuffer>): Promise<Uint8Array> {
  const covered = bytes.subarray(0, bytes.length - SUM_BYTES);
  return new Uint8Array(await crypto.subtle.digest("SHA-256", covered));
}

function damaged(reason: string): FormatError {
  return new FormatError(
    `Cannot restore a session: the bytes are damaged, ${reason}; begin the session anew`,
  );
}

function allocate(length: number): Uint8Array<ArrayBuffer> {
  try {
    return new Uint8Array(length);
  } catch (cause) {
    throw new MemoryError(
      `Cannot hold a saved session of ${length} bytes: the memory cannot be had`,
      { cause },
    );
  }
}
