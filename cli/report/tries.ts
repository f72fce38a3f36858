/**
 * What other types and methods would cost, for a report.
 *
 * @module
 */

import { quote } from "../../escape.ts";
import { QUANTIZED_TYPES } from "../../quant/quantize.ts";
import {
  METHODS,
  type QuantizeMethod,
  quantizeModel,
  type QuantizeOptions,
} from "../../quantize/quantize_model.ts";
import { MIXTURE_NAMES } from "../../quantize/mixtures.ts";
import { UsageError } from "../errors.ts";
import type { TriedType } from "./page.ts";

const TYPES: readonly string[] = [...QUANTIZED_TYPES, ...MIXTURE_NAMES];

/** A type, and how it is rounded to. */
export interface Try {
  readonly type: string;
  readonly method: QuantizeMethod;
}

/**
 * Reads `TYPE` or `TYPE:METHOD`, several between commas; to nearest where no method is given.
 *
 * @throws UsageError when it is something else
 */
export function readTries(text: string | undefined): Try[] {
  if (text === undefined) return [];
  return text.split(",").map((it) => {
    const [type = "", method = "nearest", ...more] = it.trim().split(":");
    const isKnown = TYPES.includes(type.toUpperCase()) &&
      (METHODS as readonly string[]).includes(method) && more.length === 0;
    if (isKnown) return { type: type.toUpperCase(), method: method as QuantizeMethod };
    throw new UsageError(
      `Cannot read --try ${quote(it)}: expected TYPE or TYPE:METHOD, with one of ${
        TYPES.join(", ").toLowerCase()
      } and one of ${METHODS.join(", ")}`,
    );
  });
}

/** Makes each of them, in a file beside the destination that is removed again, and compares it. */
export async function tryTypes(
  source: string,
  destination: string,
  tries: readonly Try[],
  heldOut: readonly (readonly number[])[],
  { calibration, imatrix, ...given }: QuantizeOptions,
): Promise<TriedType[]> {
  const { targetBpw: _bits, targetSize: _size, saveImatrix: _sums, resume: _resume, ...options } =
    given;
  const tried: TriedType[] = [];
  for (const { type, method } of tries) {
    const path = `${destination}.${crypto.randomUUID().slice(0, 8)}.try`;
    try {
      const { bytes, bitsPerWeight, comparison } = await quantizeModel(source, path, {
        ...{ ...options, type, method, verify: heldOut },
        ...(calibration !== undefined && method !== "nearest" && { calibration }),
        ...(imatrix !== undefined && method === "importance" && { imatrix }),
      });
      tried.push({ type, method, bytes, bitsPerWeight, comparison: comparison! });
    } finally {
      await Deno.remove(path).catch(() => {});
    }
  }
  return tried;
}
