/**
 * A GGUF file while it is made: `OUT.part`, of its full size from the beginning, into which tensors
 * are written in any order, and beside it the journal `OUT.part.journal`, which says what it is made
 * from and how, and which tensors are whole. After a kill `resume` goes on from there.
 *
 * The journal is lines of JSON, each appended when what it tells of is on the disk. Whoever makes a
 * draft holds a lock on its journal, which the system takes back when the process ends.
 *
 * @module
 */

import { InputError } from "../errors.ts";
import { quote } from "../escape.ts";
import type { MetadataValue } from "../runtime/files/gguf.ts";
import { type GgufLayout, type GgufTensor, layoutGguf } from "../runtime/files/gguf_write.ts";
import type { ByteSource } from "../runtime/files/source.ts";
import { checkRoom, failed, readAt, writeAt, writeModel } from "./write.ts";

/** What decides the bytes of a file, by name: options, and what the source is. */
export type Terms = Readonly<Record<string, string>>;

/** Metadata of the file, by name. */
export type Fields = readonly (readonly [string, MetadataValue])[];

/** What a draft begins with. */
export interface DraftPlan {
  /** The file that it becomes. */
  readonly path: string;
  /** What decides its bytes. */
  readonly terms: Terms;
  /** Its metadata, as far as it is known; where it takes more room in the end all is copied once. */
  readonly fields: Fields;
  /** Its tensors, in the order of the file. */
  readonly tensors: readonly Omit<GgufTensor, "data">[];
  /** Whether a draft that is there is gone on with, and this one is kept when it does not become whole. */
  readonly resume: boolean;
  /** Told what became of a draft that was there. */
  readonly onWarning?: ((text: string) => void) | undefined;
}

/** A file that is being made. */
export interface Draft extends AsyncDisposable {
  /** Where it is now. */
  readonly path: string;
  /** Its bytes, to be read back. */
  readonly source: ByteSource;
  /** Whether it was there before. */
  readonly isResumed: boolean;
  /** Whether a tensor is whole. */
  has(name: string): boolean;
  /** Where a tensor lies. */
  placeOf(name: string): { readonly offset: number; readonly bytes: number };
  /** Writes bytes of a tensor, from `at` of its own on. */
  write(name: string, bytes: Uint8Array, at?: number): void;
  /** Keeps in the journal that these tensors are whole. */
  complete(names: readonly string[]): void;
  /** Keeps something else in the journal. */
  note(name: string, value: unknown): void;
  /** What was kept under a name. */
  noted(name: string): unknown;
  /** Makes it the file that it was to become, with this metadata; its size in bytes. */
  finish(fields: Fields): Promise<number>;
}

/** Lines of a journal. */
interface Journal {
  readonly terms: Terms;
  readonly layout: string;
  readonly whole: Set<string>;
  readonly notes: Map<string, unknown>;
  /** Bytes of its whole lines. */
  readonly length: number;
}

/** Names of a file's draft and of its journal. */
export function draftNames(path: string): readonly [part: string, journal: string] {
  return [`${path}.part`, `${path}.part.journal`];
}

/** Name of a file that is copied from its draft, because its metadata has become longer. */
function copyName(path: string): string {
  return `${path}.part.copy`;
}

/**
 * Begins a draft, or goes on with one.
 *
 * @throws InputError when another process is making it, or it is to be gone on with and was begun
 *   under other terms
 * @throws SparrowError when the disk has no room for all of it, or refuses
 */
export async function openDraft(plan: DraftPlan): Promise<Draft> {
  const [part, journalPath] = draftNames(plan.path), { resume, onWarning = () => {} } = plan;
  const layout = layoutGguf(plan), digest = await digestOf(layout.header, plan);
  let journal: Deno.FsFile, file: Deno.FsFile | undefined, isNew = false;
  try {
    journal = Deno.openSync(journalPath, { read: true, append: true, create: true });
  } catch (error) {
    throw failed(plan.path, error);
  }
  try {
    if (!journal.tryLockSync(true)) {
      throw new InputError(
        `Cannot write ${quote(plan.path)}: another process is writing ${
          quote(part)
        }; wait for it, ` +
          `or give another name`,
      );
    }
    const before = readJournal(journal), hadPart = isThere(part);
    const begun = before && hadPart ? before : undefined;
    if (resume && begun) checkTerms(part, begun, plan.terms, digest);
    const isResumed = resume && begun !== undefined;
    isNew = !isResumed;
    if (!isResumed && (begun || hadPart)) {
      onWarning(
        `${quote(part)}, which an earlier run had left unfinished, was begun anew` +
          (begun && !resume ? "; resume (--resume) would have gone on with it" : ""),
      );
    }
    if (resume && !isResumed && !hadPart) {
      onWarning(`there is no ${quote(part)} to go on with: it is begun`);
    }
    // What stands behind the last whole line was cut off by what ended the process.
    journal.truncateSync(isResumed ? begun!.length : 0);
    file = Deno.openSync(part, { read: true, write: true, create: true, truncate: !isResumed });
    file.truncateSync(layout.bytes);
    await checkRoom(plan.path, part, layout.bytes - (file.statSync().blocks ?? 0) * 512);
    writeAt(file, 0, layout.header);
    await Deno.remove(copyName(plan.path)).catch(() => {});
    if (!isResumed) append(journal, { terms: plan.terms, layout: digest });
    const known = isResumed ? begun! : { whole: new Set<string>(), notes: new Map() };
    return draftOf(plan, layout, file, journal, known, isResumed);
  } catch (error) {
    file?.close();
    journal.close();
    // Of a draft that could not begin there is nothing to go on with.
    for (const name of isNew ? [part, journalPath] : []) await Deno.remove(name).catch(() => {});
    throw failed(plan.path, error);
  }
}

function draftOf(
  { path, tensors, resume }: DraftPlan,
  { header, sizes, starts, bytes: size }: GgufLayout,
  file: Deno.FsFile,
  journal: Deno.FsFile,
  { whole, notes }: Pick<Journal, "whole" | "notes">,
  isResumed: boolean,
): Draft {
  const [part, journalPath] = draftNames(path);
  const places = new Map(tensors.map(({ name }, i) => [name, i]));
  const placeOf = (name: string) => {
    const i = places.get(name)!;
    return { offset: starts[i]!, bytes: sizes[i]! };
  };
  let isOver = false;
  const close = (): void => {
    isOver = true;
    file.close();
    journal.close();
  };
  const attempt = <T>(action: () => T): T => {
    try {
      return action();
    } catch (error) {
      throw failed(path, error);
    }
  };
  return {
    path: part,
    source: {
      ...{ name: part, size, path: part, close: () => {} },
      read(offset, length, into = new Uint8Array(length)) {
        const bytes = into.subarray(0, length);
        return Promise.resolve(attempt(() => readAt(file, offset, bytes)));
      },
    },
    isResumed,
    has: (name) => whole.has(name),
    placeOf,
    write(name, bytes, at = 0) {
      attempt(() => writeAt(file, placeOf(name).offset + at, bytes));
    },
    complete(names) {
      if (names.length === 0) return;
      attempt(() => {
        file.syncDataSync();
        append(journal, { whole: names });
      });
      for (const name of names) whole.add(name);
    },
    note(name, value) {
      attempt(() => append(journal, { note: name, value }));
      notes.set(name, value);
    },
    noted: (name) => notes.get(name),
    async finish(fields) {
      const last = layoutGguf({ fields, tensors });
      if (last.header.length === header.length) {
        attempt(() => {
          writeAt(file, 0, last.header);
          file.syncSync();
        });
        close();
        await Deno.rename(part, path).catch((error) => {
          throw failed(path, error);
        });
      } else {
        // Fields of another size move everything behind them.
        await writeModel(path, {
          fields,
          tensors: tensors.map((it) => ({ ...it, data: piecesOf(file, placeOf(it.name)) })),
        }, copyName(path));
        close();
        await Deno.remove(part).catch(() => {});
      }
      await Deno.remove(journalPath).catch(() => {});
      return last.bytes;
    },
    async [Symbol.asyncDispose]() {
      if (isOver) return;
      close();
      if (resume) return;
      await Deno.remove(part).catch(() => {});
      await Deno.remove(journalPath).catch(() => {});
    },
  };
}

function* piecesOf(
  file: Deno.FsFile,
  { offset, bytes }: { offset: number; bytes: number },
): Iterable<Uint8Array> {
  const PIECE = 4 << 20;
  for (let at = 0; at < bytes; at += PIECE) {
    yield readAt(file, offset + at, new Uint8Array(Math.min(PIECE, bytes - at)));
  }
}

/** SHA-256 of names, types and places of tensors, and of how long the header is. */
async function digestOf(
  { length }: Uint8Array,
  { tensors }: Pick<DraftPlan, "tensors">,
): Promise<string> {
  const list = tensors.map(({ name, type, shape }) => [name, type, shape]);
  const bytes = new TextEncoder().encode(JSON.stringify([length, list]));
  return new Uint8Array(await crypto.subtle.digest("SHA-256", bytes)).toHex();
}

function isThere(path: string): boolean {
  try {
    return Deno.statSync(path).isFile;
  } catch {
    return false;
  }
}

function append(journal: Deno.FsFile, line: unknown): void {
  const bytes = new TextEncoder().encode(`${JSON.stringify(line)}\n`);
  for (let at = 0; at < bytes.length;) at += journal.writeSync(bytes.subarray(at));
  journal.syncDataSync();
}

/** What a journal says, as far as its lines are whole; undefined where it has no first line. */
function readJournal(journal: Deno.FsFile): Journal | undefined {
  const { size } = journal.statSync();
  const text = new TextDecoder().decode(readAt(journal, 0, new Uint8Array(size)));
  const whole = new Set<string>(), notes = new Map<string, unknown>();
  let first: { terms: Terms; layout: string } | undefined;
  let length = 0;
  for (const line of text.split("\n").slice(0, -1)) {
    let found: Record<string, unknown>;
    try {
      found = JSON.parse(line);
    } catch {
      break;
    }
    length += new TextEncoder().encode(line).length + 1;
    if (!first) first = found as unknown as typeof first;
    else if (Array.isArray(found.whole)) {
      for (const name of found.whole) whole.add(String(name));
    } else notes.set(String(found.note), found.value);
  }
  return typeof first?.terms === "object" ? { ...first, whole, notes, length } : undefined;
}

/** Refuses to go on with a draft that would have become another file. */
function checkTerms(part: string, journal: Journal, terms: Terms, layout: string): void {
  const names = new Set([...Object.keys(journal.terms), ...Object.keys(terms)]);
  for (const name of names) {
    const before = journal.terms[name] ?? "none", now = terms[name] ?? "none";
    if (before === now) continue;
    throw new InputError(
      `Cannot go on with ${quote(part)}: it was begun with ${name} ${quote(before)}, found ` +
        `${quote(now)}; give the same, or leave resume (--resume) away to begin anew`,
    );
  }
  if (journal.layout === layout) return;
  throw new InputError(
    `Cannot go on with ${quote(part)}: its tensors lie in other places than they would now, as ` +
      `another version of Sparrow began it; leave resume (--resume) away to begin anew`,
  );
}
