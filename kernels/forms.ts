/**
 * What each op is given: its inputs in order and its attributes, as data. `checkedOps` refuses calls
 * that do not follow it; the documentation of `OpAttributes` says the same in words, and a test holds
 * the two together.
 *
 * @module
 */

import type { Role } from "./op.ts";
import type { OpAttributes, OpName } from "./op_attributes.ts";

/** One input of an op. */
export interface OpInput {
  /** Name in documentation and messages. */
  readonly name: string;
  /** Element type and shape, for people. */
  readonly type: string;
  /** How it is stored; `dense` where absent. */
  readonly role?: Role;
  /** The attribute that asks for it; always there where absent. */
  readonly when?: string;
  /** Whether it may be left out. */
  readonly optional?: true;
}

/** Type of an attribute's value; with `?` it may be left out. */
export type AttributeType = "number" | "text" | "flag" | "number?" | "text?" | "flag?";

/** What an op is given. */
export interface OpForm<A> {
  /** Inputs in order; those that an attribute asks for are there only with it. */
  readonly inputs: readonly OpInput[];
  /** Type of every attribute. */
  readonly attributes: { readonly [K in keyof Required<A>]: AttributeType };
}

const x: OpInput = { name: "x", type: "f32 [..., width]" };

/** The form of every op. */
export const FORMS: { readonly [N in OpName]: OpForm<OpAttributes[N]> } = {
  activation: { inputs: [{ name: "x", type: "f32 [...]" }], attributes: { kind: "text" } },
  add: {
    inputs: [{ name: "a", type: "f32 [..., width]" }, {
      name: "b",
      type: "f32, the shape of a or [width]",
    }],
    attributes: {},
  },
  attention: {
    inputs: [
      { name: "q", type: "f32 [tokens, heads * headDim]" },
      { name: "keys", type: "f32, f16 or int8 [rows, kvHeads, headDim]", role: "keyCache" },
      { name: "values", type: "f32, f16 or int8 [rows, kvHeads, headDim]", role: "valueCache" },
      { name: "spans", type: "i32 [tokens, 2]" },
      { name: "bias", type: "f32 [heads, width] or [tokens, heads * width]", when: "bias" },
      { name: "rows", type: "i32 [tokens]", when: "bias" },
      { name: "sinks", type: "f32 [heads]", when: "sinks" },
    ],
    attributes: {
      heads: "number",
      scale: "number",
      softCap: "number?",
      bias: "text?",
      center: "number?",
      sinks: "flag?",
    },
  },
  cacheStore: {
    inputs: [
      { name: "cache", type: "f32, f16 or int8 [rows, kvHeads, headDim]", role: "keyCache" },
      { name: "x", type: "f32 [tokens, kvHeads * headDim]" },
      { name: "rows", type: "i32 [tokens]" },
    ],
    attributes: {},
  },
  divideColumn: {
    inputs: [
      { name: "x", type: "f32 [..., width]" },
      { name: "parts", type: "f32 [..., count], the rows of x" },
    ],
    attributes: { column: "number" },
  },
  embed: {
    inputs: [
      { name: "ids", type: "i32 [tokens]" },
      { name: "table", type: "matrix of any layout [rows, width]", role: "matrix" },
    ],
    attributes: { first: "number?" },
  },
  expertMatmul: {
    inputs: [
      { name: "x", type: "f32 or a8 [tokens, K] or [tokens, count, K]" },
      { name: "weight", type: "matrix of any layout [experts * N, K]", role: "matrix" },
      { name: "chosen", type: "i32 [tokens, count]" },
    ],
    attributes: { experts: "number" },
  },
  expertSum: {
    inputs: [
      { name: "x", type: "f32 [tokens, count, width], or [tokens, width] where count is 1" },
      { name: "weights", type: "f32 [tokens, count]" },
    ],
    attributes: {},
  },
  expertWeights: {
    inputs: [
      { name: "scores", type: "f32 [tokens, experts]" },
      { name: "chosen", type: "i32 [tokens, count]" },
    ],
    attributes: { over: "text" },
  },
  glu: {
    inputs: [{ name: "gate", type: "f32 [...]" }, { name: "up", type: "f32, the shape of gate" }],
    attributes: { kind: "text" },
  },
  headMatmul: {
    inputs: [
      { name: "x", type: "f32 [tokens, heads * K]" },
      { name: "weight", type: "matrix of f32, f16 or bf16 [heads * N, K]", role: "matrix" },
    ],
    attributes: { heads: "number" },
  },
  layerNorm: {
    inputs: [
      x,
      { name: "weight", type: "f32 [width]" },
      { name: "bias", type: "f32 [width]", optional: true },
    ],
    attributes: { eps: "number" },
  },
  logSoftmax: { inputs: [x], attributes: {} },
  matmul: {
    inputs: [
      { name: "x", type: "f32 or a8 [..., K]" },
      { name: "weight", type: "matrix of any layout [N, K]", role: "matrix" },
      { name: "up", type: "matrix of the layout of weight [N, K]", role: "matrix", when: "gate" },
      { name: "gain", type: "f32 [K]", when: "eps" },
      { name: "residual", type: "f32 [..., N]", when: "residual" },
      { name: "bias", type: "f32 [N]", optional: true },
    ],
    attributes: { gate: "text?", eps: "number?", residual: "flag?" },
  },
  mul: {
    inputs: [{ name: "a", type: "f32 [..., width]" }, {
      name: "b",
      type: "f32, the shape of a or [width]",
    }],
    attributes: {},
  },
  quantizeActivations: {
    inputs: [
      x,
      { name: "gain", type: "f32 [width]", when: "eps" },
      { name: "up", type: "f32, the shape of x", when: "gate" },
    ],
    attributes: { eps: "number?", gate: "text?" },
  },
  rmsNorm: {
    inputs: [x, { name: "weight", type: "f32 [width] or a divisor of it" }],
    attributes: { eps: "number" },
  },
  rope: {
    inputs: [
      { name: "x", type: "f32 [tokens, heads * headDim]" },
      { name: "positions", type: "i32 [tokens]" },
      { name: "table", type: "f32 [positions, rotaryDim]" },
    ],
    attributes: { heads: "number", pairing: "text", offset: "number?" },
  },
  scale: { inputs: [{ name: "x", type: "f32 [...]" }], attributes: { factor: "number" } },
  selectColumns: {
    inputs: [x, { name: "columns", type: "f32 [count]" }],
    attributes: {},
  },
  selectRows: {
    inputs: [{ name: "x", type: "f32 [tokens, width]" }, { name: "rows", type: "i32 [count]" }],
    attributes: {},
  },
  softmax: { inputs: [x], attributes: {} },
  topExperts: {
    inputs: [
      { name: "scores", type: "f32 [tokens, experts]" },
      { name: "starts", type: "i32 [tokens]", when: "capacity" },
    ],
    attributes: { count: "number", capacity: "number?" },
  },
};
