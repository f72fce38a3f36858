/**
 * Rows of tables that stay in their files: read when a word comes, with the file's own numbers.
 *
 * @module
 */

import { quote } from "../../escape.ts";
import { type Transcoder, transcoder } from "../../quant/transcode.ts";
import type { TensorEntry } from "../files/model_file.ts";
import { type ByteSource, openSource } from "../files/source.ts";
import type { ResolvedWeight, ResolvedWeights } from "../models/weights.ts";

/** Some rows of a table, one after another in a file. */
interface Stretch {
  /** First row of the table that is in it, and one past the last. */
  readonly first: number;
  readonly end: number;
  /** What to read, and where its first row begins. */
  readonly source: ByteSource;
  readonly offset: number;
}

/** A table in one file or several. */
interface Table {
  readonly stretches: readonly Stretch[];
  /** Numbers and bytes of a row. */
  readonly columns: number;
  readonly stride: number;
  readonly convert: Transcoder;
  /** The id of its first row. */
  readonly firstId: number;
}

/** The tables of a model that are in its files, which stay open until they are closed. */
export class TableRows {
  readonly #sources: readonly ByteSource[];
  readonly #tables: ReadonlyMap<string, Table>;

  private constructor(sources: readonly ByteSource[], tables: ReadonlyMap<string, Table>) {
    this.#sources = sources;
    this.#tables = tables;
  }

  /**
   * Opens the files of all tables that are not in memory, once more: those of loading are closed after
   * it. Undefined where there is no such table.
   *
   * @throws SourceError when a file cannot be opened
   */
  static async open(weights: ResolvedWeights): Promise<TableRows | undefined> {
    const sources = new Map<string, ByteSource>(), tables = new Map<string, Table>();
    try {
      for (const weight of weights.values()) {
        if (!weight.inFile) continue;
        for (const { source: { path } } of entriesOf(weight)) {
          if (!sources.has(path!)) sources.set(path!, await openSource(path!));
        }
        tables.set(weight.name, tableOf(weight, sources));
      }
    } catch (error) {
      for (const source of sources.values()) source.close();
      throw error;
    }
    if (tables.size === 0) return undefined;
    return new TableRows(Array.from(sources.values()), tables);
  }

  /**
   * The rows `[ids.length, columns]` of words; zeros for those that the table does not have.
   *
   * @throws SourceError when they cannot be read, or the file has been written since it was opened
   */
  async read(name: string, ids: Int32Array): Promise<Float32Array<ArrayBuffer>> {
    const { stretches, columns, stride, convert, firstId } = this.#tables.get(name)!;
    const places = new Map<number, number>(); // of rows among those that are read
    for (const id of ids) {
      const row = id - firstId;
      if (row >= 0 && row < stretches.at(-1)!.end && !places.has(row)) places.set(row, places.size);
    }
    const bytes = new Uint8Array(places.size * stride), used = new Set<ByteSource>();
    for (const [row, place] of places) {
      const { source, offset, first } = stretches.find(({ end }) => row < end)!;
      const into = bytes.subarray(place * stride, (place + 1) * stride);
      await source.read(offset + (row - first) * stride, stride, into);
      used.add(source);
    }
    // What was read is what was there when the model was loaded if nobody has written since.
    for (const source of used) await source.intact?.();
    const { buffer, byteOffset } = convert.rows(bytes, columns);
    const found = new Float32Array(buffer, byteOffset, places.size * columns);
    const rows = new Float32Array(ids.length * columns);
    ids.forEach((id, i) => {
      const place = places.get(id - firstId);
      if (place === undefined) return;
      rows.set(found.subarray(place * columns, (place + 1) * columns), i * columns);
    });
    return rows;
  }

  /**
   * Compares the files with what lies where they were opened.
   *
   * @throws SourceError when another one has the name of one of them
   */
  async unchanged(): Promise<void> {
    for (const source of this.#sources) await source.unchanged?.();
  }

  /** Closes the files. Reads after it fail. */
  close(): void {
    for (const source of this.#sources) source.close();
  }
}

/** Whether rows of a weight can be read from local files, each by itself. */
export function hasRows({ source }: Pick<ResolvedWeight, "source">): boolean {
  return typeof source !== "function" && source.every((it) => it.source.path !== undefined);
}

function entriesOf({ source }: ResolvedWeight): readonly TensorEntry[] {
  return typeof source === "function" ? [] : source;
}

function tableOf(weight: ResolvedWeight, sources: ReadonlyMap<string, ByteSource>): Table {
  const { shape: [rows, columns], inFile } = weight as
    & { shape: readonly [number, number] }
    & typeof weight;
  const entries = entriesOf(weight), [{ type, name, source }] = entries as [TensorEntry];
  const stride = entries.reduce((sum, { bytes }) => sum + bytes, 0) / rows;
  let first = 0;
  const stretches = entries.map(({ source, offset, bytes }): Stretch => {
    const stretch = {
      first,
      end: first + bytes / stride,
      source: sources.get(source.path!)!,
      offset,
    };
    first = stretch.end;
    return stretch;
  });
  const convert = transcoder(type, "f32", `tensor ${quote(name)} of ${quote(source.name)}`);
  return { stretches, columns, stride, convert, firstId: inFile!.firstId };
}
