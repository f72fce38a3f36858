/**
 * Matrices of whole numbers with a scale and a zero for every group of columns, as GPTQ, AWQ and
 * compressed-tensors write them: element (r, c) is `scale[g, r] · (code[r, c] − zero[g, r])`, where g
 * is the group of column c. They are read as blocks of GGUF types, in which codes and scales stay what
 * they are, or as f32 (packed_blocks.ts). gptq.ts, awq.ts and compressed_tensors.ts know where the parts
 * lie.
 *
 * @module
 */

import type { TensorEntry } from "./model_file.ts";

/** Columns of a block. */
export const BLOCK = 32;

/** As what such a matrix is read: layouts that may keep its codes, or the numbers themselves. */
export type PackedForm = "int4" | "int4m" | "int8" | "f32";

/** A matrix in a quantizer's form. */
export interface PackedMatrix {
  /** What stands for it in the file: `NAME.weight`. */
  readonly name: string;
  /** Extents of the matrix, as products take it: `[outputs, inputs]`. */
  readonly shape: readonly [rows: number, columns: number];
  /** Bits of a code. */
  readonly bits: 4 | 8;
  /** Which columns share a scale. */
  readonly groups: Groups;
  /** Whether the file says that every zero is half of the codes' range; checked when it is read. */
  readonly symmetric: boolean;
  /** Whether every scale is a number of half precision, as blocks have them. */
  readonly halfScales: boolean;
  /** The tensor of the codes, whose place in the file stands for the whole. */
  readonly codes: TensorEntry;
  /** The other tensors of the file that it consists of. */
  readonly others: readonly TensorEntry[];
  /** Writes the codes of rows `first` up to `end` to `out [end − first, columns]`. */
  unpack(codes: Uint32Array, first: number, end: number, out: Uint8Array): void;
  /** Reads scales and zeros. */
  readScales(): Promise<Scales>;
}

/** A tensor that stands for a matrix in a quantizer's form: its bytes are those of the codes. */
export interface PackedEntry extends TensorEntry {
  /** The matrix. */
  readonly packed: PackedMatrix;
}

/** The matrix that a tensor stands for, undefined for one that lies in the file as it is. */
export function packedOf(entry: TensorEntry): PackedMatrix | undefined {
  return (entry as Partial<PackedEntry>).packed;
}

/** Scales and zeros of all groups and rows: those of group g and row r are at `g · rows + r`. */
export interface Scales {
  /** `[groups, rows]`. */
  readonly scales: Float32Array;
  /** `[groups, rows]`; half of the codes' range where absent. */
  readonly zeros?: Uint16Array | undefined;
}

/** Which columns share a scale. */
export interface Groups {
  /** Columns of a group, as the file says. */
  readonly size: number;
  /** How many there are. */
  readonly count: number;
  /** The group of each column, where they are not one after another (activation order). */
  readonly of?: Int32Array | undefined;
  /** The columns by their group, where they are not one after another. */
  readonly order?: Uint32Array | undefined;
  /** Whether all columns of each block, in that order, are of one group. */
  readonly fillBlocks: boolean;
}

/** Groups of so many columns, one after another. */
export function evenGroups(columns: number, size: number): Groups {
  const fillBlocks = size % BLOCK === 0 || size >= columns;
  return { size, count: Math.ceil(columns / size), fillBlocks };
}

/** Groups by the group of each column, all below `count`. */
export function groupsOf(of: Int32Array, size: number, count: number): Groups {
  if (of.every((group, column) => group === Math.floor(column / size))) {
    return { ...evenGroups(of.length, size), count };
  }
  // The sort is stable.
  const order = Uint32Array.from(of.keys()).sort((a, b) => of[a]! - of[b]! || a - b);
  const fillBlocks = order.every((column, i) => of[column] === of[order[i - i % BLOCK]!]);
  return { size, count, of, order, fillBlocks };
}

/** What a form makes of a matrix: whether codes and scales stay what they are, and whether all does. */
export interface Keeping {
  /** Whether it has the same codes and scales; otherwise the numbers are rounded anew. */
  readonly codes: boolean;
  /** Whether every number stays what it is. */
  readonly exact: boolean;
}

/** What `form` keeps of matrices that make up one weight. */
export function keepsOf(matrices: readonly PackedMatrix[], form: PackedForm): Keeping {
  if (form === "f32") return { codes: true, exact: true };
  const codes = matrices.every(({ groups, halfScales, bits, symmetric }) => {
    if (!groups.fillBlocks || !halfScales) return false;
    return form === "int4" ? bits === 4 && symmetric : bits === 4 || form === "int8" && symmetric;
  });
  // Several can be in one order only.
  const one = haveOneOrder(matrices);
  // A minimum is the scale times the zero, which takes more digits than a half has unless it is 8.
  const exact = codes && one && (form !== "int4m" || matrices.every((it) => it.symmetric));
  return { codes: codes && one, exact };
}

function haveOneOrder([first, ...others]: readonly PackedMatrix[]): boolean {
  const { order } = first!.groups;
  return others.every(({ groups }) =>
    order?.length === groups.order?.length &&
    (order ?? []).every((it, i) => it === groups.order![i])
  );
}

/** Why no layout of integers keeps all numbers of the matrices. */
export function obstacleOf(matrices: readonly PackedMatrix[]): string {
  const some = (test: (it: PackedMatrix) => boolean): PackedMatrix | undefined =>
    matrices.find(test);
  const narrow = some(({ groups }) => !groups.fillBlocks);
  if (narrow) {
    return narrow.groups.order
      ? `its columns do not fall into blocks of ${BLOCK} of one group`
      : `its groups of ${narrow.groups.size} columns do not fill blocks of ${BLOCK}`;
  }
  if (some(({ halfScales }) => !halfScales)) return "its scales are no numbers of half precision";
  if (some(({ bits, symmetric }) => bits === 8 && !symmetric)) {
    return "its codes of 8 bits less their zeros take 9 bits";
  }
  return "its parts are in different orders of columns";
}
