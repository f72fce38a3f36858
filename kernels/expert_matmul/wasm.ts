/**
 * The WebAssembly kernels of `expertMatmul`: one for each layout of the weight.
 *
 * @module
 */

import { BackendError } from "../../errors.ts";
import type { LayoutName } from "../../quant/formats.ts";
import { columnsOf, elements } from "../op.ts";
import { ACTIVATION_BLOCK_BYTES, PACKED_BLOCK_BYTES } from "../pack/layouts.ts";
import type { EncodedStep, Operand, WasmKernel } from "../wasm_kernel.ts";

const FLOAT_KERNELS: Readonly<Record<string, string>> = {
  f32: "expertMatmulF32",
  f16: "expertMatmulF16",
  bf16: "expertMatmulBf16",
};
const INTEGER_KERNELS: Readonly<Record<string, string>> = {
  int8: "expertMatmulInt8",
  int4: "expertMatmulInt4",
  int4m: "expertMatmulInt4m",
  int4n: "expertMatmulInt4n",
  int5: "expertMatmulInt5",
  int5m: "expertMatmulInt5m",
  int4k: "expertMatmulInt4k",
  int5k: "expertMatmulInt5k",
  int6k: "expertMatmulInt6k",
};

/** Pairs of a token and an expert that are worked on together. */
const PAIRS_AT_ONCE = 64;

/** What the kernels work on: rows of x and experts of a weight, which meet in pairs. */
export interface ExpertCall {
  /** `[..., K]`. */
  readonly x: Operand;
  /** `[experts * N, K]`. */
  readonly weight: Operand;
  /** Expert of each pair; where absent, pairs take the experts in turn. */
  readonly chosen?: Operand;
  /** A row of N for each pair. */
  readonly output: Operand;
  /** Experts of the weight. */
  readonly experts: number;
  /** Pairs of each row that `output.rows` counts. */
  readonly pairsOfRow: number;
  /** Most pairs of a run. */
  readonly mostPairs: number;
  /** Successive pairs that a row of x belongs to. */
  readonly pairsOfSource: number;
}

/**
 * Arguments: weight, x, out, chosen or 0, rows of an expert, columns, experts, pairs that a row of x
 * belongs to, address of the number of rows of x, address of the number of rows of the result, pairs
 * of each of these. Integer weights take quantized activations (a8), float weights f32.
 */
export function encodeExperts(call: ExpertCall): EncodedStep {
  const { x, weight, chosen, output, experts, mostPairs } = call;
  const layout = weight.dtype as LayoutName;
  const integer = Object.hasOwn(INTEGER_KERNELS, layout);
  if (x.dtype !== (integer ? "a8" : "f32")) {
    throw new BackendError(
      `Cannot compute expertMatmul: x is ${x.dtype} and the weight ${layout}, expected x as ` +
        `${integer ? "a8" : "f32"}`,
    );
  }
  const columns = columnsOf(weight);
  return {
    kernel: (integer ? INTEGER_KERNELS : FLOAT_KERNELS)[layout]!,
    args: [
      weight.address,
      x.address,
      output.address,
      chosen?.address ?? 0,
      weight.shape[0]! / experts,
      columns,
      experts,
      call.pairsOfSource,
      x.rows,
      output.rows,
      call.pairsOfRow,
    ],
    scratchBytes: 4 * (2 * experts + 2 + 2 * mostPairs) +
      (integer ? integerScratchBytes(columns) : floatScratchBytes()),
  };
}

/** Arguments: see `encodeExperts`. */
export const expertMatmulWasm: WasmKernel<"expertMatmul"> = {
  kernels: [...Object.values(FLOAT_KERNELS), ...Object.values(INTEGER_KERNELS)],
  encode: ([x, weight, chosen], output, { experts }) =>
    encodeExperts({
      x: x!,
      weight: weight!,
      chosen: chosen!,
      output,
      experts,
      pairsOfRow: 1,
      mostPairs: elements(chosen!.shape),
      pairsOfSource: x!.shape.length === 3 ? 1 : columnsOf(chosen!),
    }),
};

/** Sums of four panels, a block of int8, and activation blocks; the parts stand in integer.as.ts. */
function integerScratchBytes(columns: number): number {
  const blocks = Math.max(Math.ceil(columns / 32), PAIRS_AT_ONCE);
  return 2 * (PAIRS_AT_ONCE + 1) * 32 * 4 + PACKED_BLOCK_BYTES.int8 +
    blocks * ACTIVATION_BLOCK_BYTES;
}

/** An unpacked block, sums of eight panels, eight blocks of activations: see float.as.ts. */
function floatScratchBytes(): number {
  return 32 * 64 + 8 * (PAIRS_AT_ONCE + 1) * 64 + PAIRS_AT_ONCE * 8 * 128;
}
