/**
 * Numbers that no sound model gives. Logits that are NaN or infinite would make a text all the same,
 * and a wrong one; so nothing that a model computes leaves the engine before it has been looked at.
 *
 * @module
 */

import { quote } from "../../escape.ts";
import type { BackendName } from "../backends/backend.ts";
import { NotFiniteError } from "../backends/candidates.ts";
import type { CacheType } from "../../kernels/op.ts";
import type { Output } from "../models/program.ts";

/** What a message says of where numbers come from. */
export interface ModelFacts {
  /** Path or URL of the model. */
  readonly name: string | undefined;
  /** What computed them. */
  readonly backend: BackendName;
  /** Element type of the caches. */
  readonly cacheType: CacheType;
}

/**
 * What is wrong with rows `[tokens, width]` of an output, the first of them of token `position`; or
 * undefined. Of logits, -Infinity is a word that is ruled out and no flaw, unless all of a row are.
 */
export function flawOf(
  rows: Float32Array,
  width: number,
  output: Output,
  position: number,
  facts: ModelFacts,
): NotFiniteError | undefined {
  const isLogits = output.names.includes("logits");
  for (let start = 0, row = 0; start < rows.length; start += width, row++) {
    const values = rows.subarray(start, start + width);
    // The engine's own searches: a loop here would take a millisecond until it is compiled.
    const isBad = values.includes(NaN) || values.includes(Infinity) ||
      (isLogits ? values.every((it) => it === -Infinity) : values.includes(-Infinity));
    if (!isBad) continue;
    const isFlaw = (it: number): boolean => isLogits ? !(it < Infinity) : !Number.isFinite(it);
    const bad = values.findIndex(isFlaw);
    const count = values.reduce((sum, value) => Number.isFinite(value) ? sum : sum + 1, 0);
    const what = output.names[0] === "hidden" ? "hidden states" : output.names[0];
    return notFinite(
      `after token ${position + row}, ${count} of ${width} ${what} are not finite numbers ` +
        `(number ${Math.max(bad, 0)} is ${values[Math.max(bad, 0)]})`,
      facts,
    );
  }
  return undefined;
}

/** The error for numbers that are not finite; `found` says where and how many. */
export function notFinite(found: string, { name, backend, cacheType }: ModelFacts): NotFiniteError {
  const causes = ["its weights are damaged"];
  if (backend === "webgpu") {
    causes.push(
      'numbers are too large for f16 kernels (webgpu: { arithmetic: "f32" } avoids them)',
    );
  }
  if (cacheType !== "f32") {
    causes.push(`keys or values are too large for caches of ${cacheType} (cacheType "f32" helps)`);
  }
  const model = name === undefined ? "the model" : `model ${quote(name)}`;
  return new NotFiniteError(
    `Cannot go on with ${model} on backend ${backend}: ${found}; ${causes.join(", or ")}`,
  );
}
